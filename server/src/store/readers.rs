//! Connections that read, on blocking threads.
//!
//! Each purpose has connections of its own, so that a long read keeps nobody from logging in. A read ends when its deadline passes, or when
//! nobody waits for it any more.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, task, time::timeout};

use super::{StoreError, Tx, postgres, sqlite};

/// Reads of each purpose that run at the same time.
const LOGINS: usize = 1;
const USUAL: usize = 3;
const LONG: usize = 2;

/// How long a read may take, including the wait for its turn.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Readers {
    /// Checks of logins. Short, and every request needs one.
    pub(super) logins: Lane,
    /// All other short reads.
    pub(super) usual: Lane,
    /// Reads that may scan millions of rows.
    pub(super) long: Lane,
}

/// Connections for one purpose. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lane(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    idle: Mutex<Vec<Tx>>,
    permits: Arc<Semaphore>,
    deadline: Duration,
}

/// What the connections read.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The file of an embedded database.
    Sqlite(PathBuf),
    /// A database beside the server.
    Postgres(postgres::Address),
}

/// Ends the read, on drop, because nobody waits any more.
struct Waiting(Interrupt);

/// How a read is ended.
#[derive(Debug, Clone)]
pub(super) enum Interrupt {
    /// The database asks now and then.
    Flag(Arc<AtomicBool>),
    /// The database is told, while a read runs.
    Cancel(postgres::Cancel),
}

// === impl Readers ===

impl Readers {
    pub(super) fn new(source: &Source) -> Self {
        let lane = |connections| Lane::new(source.clone(), connections, DEADLINE);
        Self {
            logins: lane(LOGINS),
            usual: lane(USUAL),
            long: lane(LONG),
        }
    }
}

// === impl Lane ===

impl Lane {
    fn new(source: Source, connections: usize, deadline: Duration) -> Self {
        Self(Arc::new(Inner {
            source,
            idle: Mutex::new(Vec::with_capacity(connections)),
            permits: Arc::new(Semaphore::new(connections)),
            deadline,
        }))
    }

    pub(super) async fn run<T, E>(
        &self,
        job: impl FnOnce(&Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let done = timeout(self.0.deadline, self.in_turn(job));
        done.await.unwrap_or_else(|_| Err(StoreError::TooSlow.into()))
    }

    async fn in_turn<T, E>(&self, job: impl FnOnce(&Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        // The permit goes along: when a caller gives up, the permit is free as soon as the thread has noticed.
        let permit = Arc::clone(&self.0.permits)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let interrupt = self.0.source.interrupt();
        let _waiting = Waiting(interrupt.clone());
        let inner = Arc::clone(&self.0);
        let done = task::spawn_blocking(move || {
            let _permit = permit;
            inner.read(&interrupt, job)
        });
        done.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }
}

// === impl Inner ===

impl Inner {
    fn read<T, E: From<StoreError>>(
        &self,
        interrupt: &Interrupt,
        job: impl FnOnce(&Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().pop();
        let tx = if let Some(tx) = idle.filter(|tx| tx.begin_read(interrupt).is_ok()) {
            tx
        } else {
            // None was idle, or the database has ended the connection since.
            let tx = self.source.open()?;
            tx.begin_read(interrupt)?;
            tx
        };
        let outcome = job(&tx);
        if tx.end_read(interrupt) {
            self.idle.lock().push(tx);
        }
        outcome
    }
}

// === impl Source ===

impl Source {
    fn open(&self) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(Tx::embedded(sqlite::open_to_read(path)?)),
            Self::Postgres(address) => postgres::open_to_read(address),
        }
    }

    fn interrupt(&self) -> Interrupt {
        match self {
            Self::Sqlite(_) => Interrupt::Flag(Arc::default()),
            Self::Postgres(address) => Interrupt::Cancel(postgres::Cancel::new(address)),
        }
    }
}

// === impl Tx ===

impl Tx {
    /// Begins a read of one moment.
    fn begin_read(&self, interrupt: &Interrupt) -> Result<(), StoreError> {
        match interrupt {
            Interrupt::Flag(over) => sqlite::begin_read(self.connection()?, Arc::clone(over)),
            Interrupt::Cancel(cancel) => {
                let session: &postgres::Session = self.connection()?;
                session.begin_read()?;
                cancel.arm(session)
            }
        }
    }

    /// Ends it, and returns whether the connection can be used again.
    fn end_read(&self, interrupt: &Interrupt) -> bool {
        match interrupt {
            Interrupt::Flag(_) => self.connection().and_then(sqlite::end_read).is_ok(),
            Interrupt::Cancel(cancel) => {
                cancel.disarm() && self.connection().is_ok_and(postgres::Session::end_read)
            }
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting {
    fn drop(&mut self) {
        match &self.0 {
            Interrupt::Flag(over) => over.store(true, Ordering::Relaxed),
            Interrupt::Cancel(cancel) => cancel.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn lane(deadline: Duration) -> (tempfile::TempDir, Lane) {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(&crate::store::Database::Embedded, directory.path()).unwrap());
        let lane = Lane::new(Source::Sqlite(directory.path().join("homeport.db")), 1, deadline);
        (directory, lane)
    }

    /// Counts for ever.
    fn endless(tx: &Tx) -> Result<i64, StoreError> {
        let query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        tx.value(query, &[])
    }

    fn one(tx: &Tx) -> Result<i64, StoreError> {
        tx.value("SELECT 1", &[])
    }

    #[tokio::test]
    async fn a_read_ends_at_its_deadline_and_frees_its_place() {
        let (_directory, lane) = lane(Duration::from_millis(200));
        let error = lane.run(endless).await.unwrap_err();
        assert!(matches!(error, StoreError::TooSlow), "{error}");
        // The place is free as soon as the thread has noticed.
        while lane.run(one).await.is_err() {}
    }

    #[tokio::test]
    async fn a_read_ends_when_nobody_waits_for_it() {
        let (_directory, lane) = lane(Duration::from_secs(3600));
        let reading = tokio::spawn({
            let lane = lane.clone();
            async move { lane.run(endless).await }
        });
        while lane.0.permits.available_permits() > 0 {
            task::yield_now().await;
        }
        reading.abort();
        assert_eq!(lane.run(one).await.unwrap(), 1);
    }
}
