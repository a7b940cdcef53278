//! The connection that writes.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        StoreError, Tx,
        tx::Connection as _,
        writer::{Commit, Job},
    },
    Address, Session, apart, schema,
    session::Fate,
};
use crate::{hex, random};

/// Names the lock that a server holds while it uses the database: "homeport" in ASCII.
const LOCK: i64 = 0x686f_6d65_706f_7274;

/// How long jobs wait for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long they wait for the lock that this server's own lost connection may still hold.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// How long a new server waits for the one before it to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// The oldest PostgreSQL, as `server_version_num` has it.
const OLDEST: u32 = 150_000;

/// Pause between two tries to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// How often work runs that loses races.
const TRIES: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Writing {
    address: Address,
    /// How this connection calls itself: so it finds its own remains after it was lost.
    name: String,
    tx: Option<Tx>,
    /// The mark that the table `homeport` holds, as far as this writer knows. Another one means that somebody else has written.
    last: i64,
    /// The connection was lost during a commit, and nobody knows yet whether that happened.
    uncertain: bool,
}

/// How a try to commit ended.
#[derive(Debug)]
enum Outcome {
    Committed,
    /// A job failed, and nothing of the others may be lost: each gets a savepoint.
    Apart,
    Raced,
    Lost,
}

// === impl Writing ===

impl Writing {
    /// Connects, makes sure that no other server uses the database, and brings it up to date.
    pub(in super::super) fn open(address: &Address) -> Result<Self, StoreError> {
        apart(|| Self::open_here(address))?
    }

    fn open_here(address: &Address) -> Result<Self, StoreError> {
        let mut writing = Self {
            address: address.clone(),
            name: format!("homeport-server writer {}", hex(&random::<4>())),
            tx: None,
            last: new_mark(),
            uncertain: false,
        };
        let session = address.connect(&writing.name)?;
        check(&session)?;
        let since = Instant::now();
        while !lock(&session)? {
            if since.elapsed() > GOODBYE {
                return Err(StoreError::InUse);
            }
            thread::sleep(PAUSE);
        }
        schema::migrate(&session)?;
        session.execute("UPDATE homeport SET batch = ?1", &[&writing.last])?;
        writing.tx = Some(Tx::remote(session));
        Ok(writing)
    }

    /// Changes something in one transaction, before there is a writer.
    pub(in super::super) fn change<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tx = self.tx.take().ok_or(StoreError::Closed)?;
        let (last, mark) = (self.last, new_mark());
        let (tx, done) = apart(move || {
            let done = in_one_transaction(&tx, last, mark, job);
            (tx, done)
        })?;
        self.tx = Some(tx);
        if done.is_ok() {
            self.last = mark;
        }
        done
    }

    /// Connects again, and takes the lock from its own lost connection.
    fn reconnect(&self) -> Result<Tx, StoreError> {
        let since = Instant::now();
        loop {
            let connected = self.address.connect(&self.name).and_then(|session| {
                // One that is active may be in the middle of a commit.
                session.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE application_name = ?1 AND pid <> pg_backend_pid() AND state <> 'active'",
                    &[&self.name],
                )?;
                if lock(&session)? {
                    Ok(session)
                } else {
                    Err(StoreError::InUse)
                }
            });
            match connected {
                Ok(session) => {
                    tracing::info!("connected to the database again");
                    return Ok(Tx::remote(session));
                }
                Err(StoreError::InUse) if since.elapsed() < LOCK_PATIENCE => thread::sleep(PAUSE),
                Err(error) if since.elapsed() >= PATIENCE => return Err(error),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    /// Runs the jobs once, and commits them.
    fn attempt(&mut self, batch: &mut [Box<dyn Job>], mark: i64, apart: bool) -> Result<Outcome, StoreError> {
        let tx = match self.tx.take() {
            Some(tx) => tx,
            None => self.reconnect()?,
        };
        let session: &Session = tx.connection()?;
        let mut committing = false;
        let done = self.transact(&tx, session, batch, mark, apart, &mut committing);
        let outcome = match (done, session.fate()) {
            (Ok(outcome), Fate::Fine) => Ok(outcome),
            (_, Fate::Lost) => {
                tracing::warn!("the connection to the database was lost");
                self.uncertain |= committing;
                return Ok(Outcome::Lost);
            }
            (_, Fate::Raced) => Ok(Outcome::Raced),
            (Err(error), Fate::Fine) => Err(error),
        };
        if !matches!(outcome, Ok(Outcome::Committed)) && session.batch("ROLLBACK").is_err() {
            self.uncertain |= committing;
            return Ok(Outcome::Lost);
        }
        self.tx = Some(tx);
        outcome
    }

    /// One transaction. `committing` is set when its end has been asked for.
    fn transact(
        &mut self,
        tx: &Tx,
        session: &Session,
        batch: &mut [Box<dyn Job>],
        mark: i64,
        apart: bool,
        committing: &mut bool,
    ) -> Result<Outcome, StoreError> {
        session.begin("BEGIN ISOLATION LEVEL SERIALIZABLE")?;
        if self.uncertain {
            // Waits for the end of the lost transaction, if it has none yet.
            let found: i64 = session.one("SELECT batch FROM homeport FOR UPDATE", &[])?;
            if found == mark {
                session.batch("COMMIT")?;
                self.last = mark;
                self.uncertain = false;
                return Ok(Outcome::Committed);
            }
            self.uncertain = false;
        }
        let alone = batch.len() == 1;
        for job in batch {
            if apart {
                session.batch("SAVEPOINT job")?;
            }
            let keep = job.run(tx);
            if session.fate() != Fate::Fine {
                return Ok(Outcome::Raced);
            }
            match (keep, alone, apart) {
                (true, _, false) => {}
                (true, _, true) => session.batch("RELEASE job")?,
                (false, true, _) => {
                    session.batch("ROLLBACK")?;
                    return Ok(Outcome::Committed);
                }
                (false, false, true) => session.batch("ROLLBACK TO job; RELEASE job")?,
                (false, false, false) => return Ok(Outcome::Apart),
            }
        }
        set_mark(session, self.last, mark)?;
        *committing = true;
        session.batch("COMMIT")?;
        self.last = mark;
        Ok(Outcome::Committed)
    }
}

impl Commit for Writing {
    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let mark = new_mark();
        let (mut apart, mut raced, mut lost) = (false, 0, 0);
        loop {
            match self.attempt(batch, mark, apart) {
                Ok(Outcome::Committed) => return Ok(()),
                Ok(Outcome::Apart) => apart = true,
                Ok(Outcome::Raced) if raced < TRIES => {
                    raced += 1;
                    // The other one needs time to end.
                    thread::sleep(Duration::from_millis(
                        u64::from(random::<1>()[0]) * u64::from(raced) / 16,
                    ));
                }
                Ok(Outcome::Lost) if lost < TRIES => {
                    if lost > 0 {
                        thread::sleep(PAUSE);
                    }
                    lost += 1;
                }
                // The database knows better.
                Err(error @ (StoreError::InUse | StoreError::Superseded)) => return Err(error),
                // Memory must not fall behind what may be committed: nothing goes on before that is known.
                Ok(_) | Err(_) if self.uncertain => {
                    tracing::error!(
                        "the connection was lost during a commit, and the database does not answer since"
                    );
                    thread::sleep(PAUSE);
                }
                Ok(Outcome::Raced) => return Err(StoreError::Busy),
                Ok(Outcome::Lost) => {
                    let error = io::Error::other("the connection was lost again and again");
                    return Err(StoreError::Away(Arc::new(error)));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn new_mark() -> i64 {
    i64::from_ne_bytes(random())
}

/// Leaves the mark of this transaction, in place of the writer's last one.
fn set_mark(session: &Session, last: i64, mark: i64) -> Result<(), StoreError> {
    let set = "UPDATE homeport SET batch = ?1 WHERE batch = ?2";
    match session.execute(set, &[&mark, &last])? {
        1 => Ok(()),
        // While this connection was lost, somebody else had the lock, and wrote. Or this is a standby that was promoted, and lacks commits.
        _ => Err(StoreError::Superseded),
    }
}

fn in_one_transaction<T>(
    tx: &Tx,
    last: i64,
    mark: i64,
    job: impl FnOnce(&Tx) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let session: &Session = tx.connection()?;
    // It may be about everything that there is.
    session
        .begin("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '60s'")?;
    let done = job(tx).and_then(|value| {
        set_mark(session, last, mark)?;
        Ok(value)
    });
    session.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

/// Makes sure that the database is one that keeps what the server promises.
fn check(session: &Session) -> Result<(), StoreError> {
    let setting =
        |name: &str| -> Result<String, StoreError> { session.one("SELECT current_setting(?1)", &[&name]) };
    let version = setting("server_version_num")?;
    if version.parse().unwrap_or(0) < OLDEST {
        let version = setting("server_version")?;
        return Err(StoreError::Unsuitable(format!(
            "it is version {version}, and 15 is the oldest that works"
        )));
    }
    let encoding = setting("server_encoding")?;
    if encoding != "UTF8" {
        return Err(StoreError::Unsuitable(format!(
            "the database's encoding is {encoding}: make one with `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`"
        )));
    }
    for name in ["fsync", "full_page_writes"] {
        if setting(name)? == "off" {
            tracing::warn!(
                "PostgreSQL runs with {name} = off: a power cut there loses what devices were told is safe"
            );
        }
    }
    Ok(())
}

fn lock(session: &Session) -> Result<bool, StoreError> {
    session.one("SELECT pg_try_advisory_lock(?1)", &[&LOCK])
}
