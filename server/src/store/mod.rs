//! The databases: transactions, the one writer, readers, the schemas.
//!
//! Callers give closures to [`Store::write`] and [`Store::read`]; inside they see a [`Tx`]. Its methods speak in the API's types. They are
//! in the `rows.rs` of each capability, and nothing else knows SQL. Only `sqlite` and `postgres` know a driver. See
//! `docs/development/decisions/database.md`.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
};

use homeport_protocol::DeviceId;
use nix::fcntl::{Flock, FlockArg};

mod copy;
pub mod moving;
pub mod offline;
mod page;
pub mod postgres;
mod readers;
mod schema;
mod sql;
mod sqlite;
mod tx;
mod writer;

pub(crate) use self::sql::{Param, Row, tuples};
use self::{
    moving::Held,
    readers::{Readers, Source},
    writer::Writer,
};
pub use self::{page::Paging, tx::Tx};

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    readers: Arc<Readers>,
    is_embedded: bool,
    _lock: Arc<Flock<File>>,
}

/// Where a server keeps its rows.
#[derive(Debug, Clone)]
pub enum Database {
    /// SQLite, in a file of the data directory.
    Embedded,
    /// PostgreSQL.
    Postgres(postgres::Address),
}

/// Why the database refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another server uses the data directory.
    #[error(
        "the data directory {} is in use by another homeport-server: stop it first, or give this one a --data-dir of its own",
        .0.display()
    )]
    Locked(PathBuf),
    /// Another server uses the database.
    #[error(
        "another homeport-server uses the database: stop it first, or give this one a database of its own"
    )]
    InUse,
    /// The database does not hold what this server wrote last.
    #[error(
        "the database has changed while it was away: another server wrote to it, or a standby took its place; start again to go on \
         with what is there"
    )]
    Superseded,
    /// A fleet is there already.
    #[error("PostgreSQL holds a fleet already: name a database of its own")]
    NotEmpty,
    /// There is nothing to copy.
    #[error("there is no {}: check --data-dir", .0.display())]
    NoDatabase(PathBuf),
    /// A file is in the way.
    #[error("{} exists already: move it away", .0.display())]
    Exists(PathBuf),
    /// A restore was cut short.
    #[error(
        "{} is from a restore that was not finished: start the server with the --database of the restore once, which puts it into PostgreSQL",
        .0.display()
    )]
    Pending(PathBuf),
    /// The data directory has a database that nobody reads.
    #[error(
        "PostgreSQL holds no fleet yet, and {} is a database: `homeport-server database copy` copies it; to begin a new fleet, move it away",
        .0.display()
    )]
    NotCopied(PathBuf),
    /// The database is down, or cannot be reached.
    #[error("cannot reach the database: {0}")]
    Away(Arc<dyn std::error::Error + Send + Sync>),
    /// A database that would not keep what is promised.
    #[error("this PostgreSQL cannot be used: {0}")]
    Unsuitable(String),
    /// Other transactions won every race.
    #[error("the database is too busy: try again")]
    Busy,
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {source}", .path.display())]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: Arc<std::io::Error>,
    },
    /// The database is from a newer server.
    #[error(
        "the database was written by a newer homeport-server (its schema is {found}, this server knows {known}): \
         start that version, or restore a backup made before the upgrade"
    )]
    Newer {
        /// Schema of the database.
        found: i64,
        /// Newest schema that this server knows.
        known: i64,
    },
    /// No room left.
    #[error("the disk that holds the database is full: free some space on it")]
    Full,
    /// The database holds something that this server does not write.
    #[error("the database holds something unexpected: {0}")]
    Corrupt(String),
    /// A read took too long.
    #[error("this takes longer than 30 seconds: ask for less at a time, or try again later")]
    TooSlow,
    /// The server is stopping, or a thread of the database has ended.
    #[error("the database is closed")]
    Closed,
    /// Everything else.
    #[error("database: {0}")]
    Database(Arc<dyn std::error::Error + Send + Sync>),
}

pub(crate) const DATABASE: &str = "homeport.db";
pub(crate) const LOCK: &str = "lock";

// === impl Store ===

impl Store {
    /// Opens the database, makes its tables if there are none, and brings older ones up to date. No other server uses `data_dir`.
    pub fn open(database: &Database, data_dir: &Path) -> Result<Self, StoreError> {
        let lock = Arc::new(lock(data_dir)?);
        let (writer, source) = match database {
            Database::Embedded => {
                moving::nothing_pending(data_dir)?;
                let path = data_dir.join(DATABASE);
                let mut connection = sqlite::open(&path)?;
                schema::migrate(&mut connection)?;
                let writing = sqlite::Writing::new(connection);
                (Writer::start(writing)?, Source::Sqlite(path))
            }
            Database::Postgres(address) => {
                let mut held = Held::new(address)?;
                held.import_restored(data_dir)?;
                let file = data_dir.join(DATABASE);
                if file.exists() && !held.is_in_use()? {
                    return Err(StoreError::NotCopied(file));
                }
                (
                    Writer::start(held.into_writing())?,
                    Source::Postgres(address.clone()),
                )
            }
        };
        Ok(Self {
            writer,
            readers: Arc::new(Readers::new(&source)),
            is_embedded: matches!(database, Database::Embedded),
            _lock: lock,
        })
    }

    /// Runs `job` in a transaction and resolves after it is committed. An error of the job undoes what it did. A job may run several times,
    /// and only its last run counts.
    ///
    /// Dropping the future does not stop the job.
    pub async fn write<T, E>(&self, job: impl Fn(&Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.write_then(job, |value| value).await
    }

    /// The same, and `apply` turns the result of the job into the answer. `apply` runs on the thread that writes, right after the commit
    /// and in the order of commits, even if the future was dropped. It changes the state in memory, and must not block.
    pub async fn write_then<T, U, E>(
        &self,
        job: impl Fn(&Tx) -> Result<T, E> + Send + 'static,
        apply: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U, E>
    where
        T: Send + 'static,
        U: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.run(job, apply).await
    }

    /// Runs `job` on a snapshot of the committed state. A write in it is an error. It is cut short when the future is dropped, or when it
    /// takes longer than 30 seconds.
    pub async fn read<T, E>(&self, job: impl FnOnce(&Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.usual.run(job).await
    }

    /// The same for the check of a login: it waits for no other kind of read.
    pub async fn read_login<T, E>(
        &self,
        job: impl FnOnce(&Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.logins.run(job).await
    }

    /// The same for reads that may scan millions of rows: no other kind of read waits for them.
    pub async fn read_long<T, E>(
        &self,
        job: impl FnOnce(&Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.long.run(job).await
    }

    /// Whether the rows are in a file of the data directory.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.is_embedded
    }

    /// Whether the last transaction could not be committed: the disk is full or broken.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.writer.is_failing()
    }

    /// Resolves when a transaction could not be committed.
    pub async fn failed(&self) {
        self.writer.failed().await;
    }

    /// A new database for the test that owns `data_dir`: PostgreSQL's, if the tests run beside one.
    #[cfg(test)]
    pub(crate) fn for_test(data_dir: &Path) -> Self {
        let database = match homeport_testkit::postgres::database(data_dir) {
            Some(address) => Database::Postgres(postgres::Address::parse(&address, None, None).unwrap()),
            None => Database::Embedded,
        };
        Self::open(&database, data_dir).unwrap()
    }

    /// Makes all transactions fail from now on, like a broken disk, and counts them.
    #[cfg(test)]
    pub(crate) async fn break_disk(&self) -> Arc<std::sync::atomic::AtomicUsize> {
        let failed = Arc::<std::sync::atomic::AtomicUsize>::default();
        let count = Arc::clone(&failed);
        let hook = move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            true
        };
        let installed = self.write(move |tx| {
            let connection: &rusqlite::Connection = tx.connection()?;
            connection.commit_hook(Some(hook.clone()));
            Ok::<_, StoreError>(())
        });
        assert!(installed.await.is_err(), "it is the first to fail");
        failed
    }

    /// Resolves when the database can no longer be written: the server must end.
    pub async fn closed(&self) {
        self.writer.closed().await;
    }
}

/// Makes sure that no server uses the data directory, until the result is dropped.
pub(crate) fn lock(data_dir: &Path) -> Result<Flock<File>, StoreError> {
    let path = data_dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| StoreError::Directory {
            path,
            source: Arc::new(source),
        })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| StoreError::Locked(data_dir.to_owned()))
}

/// Parses a device id from the database.
pub(crate) fn device_id(id: &str) -> Result<DeviceId, StoreError> {
    id.parse()
        .map_err(|_| StoreError::Corrupt(format!("{id} is not a device id")))
}

// === impl StoreError ===

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[tokio::test]
    async fn one_server_per_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _store = Store::for_test(directory.path());
        assert!(matches!(
            Store::open(&Database::Embedded, directory.path()),
            Err(StoreError::Locked(_))
        ));
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(&Database::Embedded, directory.path()).unwrap());
        let connection = Connection::open(directory.path().join(DATABASE)).unwrap();
        connection.pragma_update(None, "user_version", 1000).unwrap();
        drop(connection);
        // The first store's writer may take a moment to let go of the lock file.
        let error = Store::open(&Database::Embedded, directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 1000, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_failed_job_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let failing = store.write(|tx| {
            tx.create_group("a", "")?;
            Err::<(), _>(StoreError::TooSlow)
        });
        let working = store.write(|tx| tx.create_group("b", ""));
        let (failed, worked) = tokio::join!(failing, working);
        assert!(failed.is_err() && worked.unwrap());
        let groups = store
            .read(|tx| tx.groups(crate::access::EVERYTHING, &Paging::first(10)))
            .await
            .unwrap();
        assert_eq!(groups.items.len(), 1);
        assert_eq!(groups.items[0].name, "b");
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        assert!(store.read(|tx| tx.create_group("a", "")).await.is_err());
    }
}
