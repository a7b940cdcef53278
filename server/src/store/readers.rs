//! Connections that read, on blocking threads.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::{sync::Semaphore, task};

use super::{StoreError, Tx};

/// Reads that run at the same time.
const CONNECTIONS: usize = 4;

/// How long a read waits for a database that is being recovered or checkpointed.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Tx>>,
    permits: Arc<Semaphore>,
}

// === impl Readers ===

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::new(Vec::with_capacity(CONNECTIONS)),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    pub(super) async fn run<T, E>(
        self: Arc<Self>,
        job: impl FnOnce(&Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        // The permit goes along: a caller who gives up does not free it while the thread still reads.
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let done = task::spawn_blocking(move || {
            let _permit = permit;
            self.read(job)
        });
        done.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    fn read<T, E: From<StoreError>>(&self, job: impl FnOnce(&Tx) -> Result<T, E>) -> Result<T, E> {
        let idle = self.idle.lock().pop();
        let tx = match idle {
            Some(tx) => tx,
            None => self.open()?,
        };
        tx.0.execute_batch("BEGIN DEFERRED").map_err(StoreError::from)?;
        let outcome = job(&tx);
        tx.0.execute_batch("ROLLBACK").map_err(StoreError::from)?;
        self.idle.lock().push(tx);
        outcome
    }

    fn open(&self) -> Result<Tx, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(Tx(connection))
    }
}
