//! The one thread that writes. Jobs that wait are committed together: one fsync for many acknowledgements.

use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{StoreError, Tx};

/// Jobs that may wait. Senders wait when it is full, so that devices are slowed down rather than memory filled.
const QUEUE: usize = 4096;

/// Most jobs in one transaction: bounds the time until the first of them is answered.
const BATCH: usize = 1024;

#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Box<dyn Job>>);

trait Job: Send {
    /// Does the work; whether to keep it.
    fn run(&mut self, tx: &Tx) -> bool;

    /// Answers the one who waits.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Typed<F, T, E> {
    job: Option<F>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || run(&Tx(connection), receiver))
            .map_err(|_| StoreError::Closed)?;
        Ok(Self(sender))
    }

    pub(super) async fn run<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Typed {
            job: Some(job),
            outcome: None,
            reply,
        };
        self.0.send(Box::new(job)).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

fn run(tx: &Tx, mut receiver: mpsc::Receiver<Box<dyn Job>>) {
    let mut batch: Vec<Box<dyn Job>> = Vec::new();
    while let Some(first) = receiver.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH {
            let Ok(next) = receiver.try_recv() else { break };
            batch.push(next);
        }
        let committed = commit(tx, &mut batch);
        if let Err(error) = &committed {
            tracing::error!(%error, jobs = batch.len(), "cannot commit");
        }
        for job in batch.drain(..) {
            job.finish(committed.clone());
        }
    }
}

fn commit(tx: &Tx, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    tx.0.execute_batch("BEGIN IMMEDIATE")?;
    let done = run_batch(tx, batch).and_then(|()| tx.0.execute_batch("COMMIT").map_err(StoreError::from));
    if done.is_err() && !tx.0.is_autocommit() {
        tx.0.execute_batch("ROLLBACK")?;
    }
    done
}

fn run_batch(tx: &Tx, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    for job in batch {
        tx.0.prepare_cached("SAVEPOINT job")?.execute([])?;
        if !job.run(tx) {
            tx.0.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        tx.0.prepare_cached("RELEASE job")?.execute([])?;
    }
    Ok(())
}

// === impl Typed ===

impl<F, T, E> Job for Typed<F, T, E>
where
    F: FnOnce(&Tx) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &Tx) -> bool {
        self.outcome = self.job.take().map(|job| job(tx));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            // What a job found out and gave as an error stands, whatever became of the others' work.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Closed.into()),
        };
        // Nobody waits any more when the device has gone: the work is committed all the same.
        let _ = self.reply.send(outcome);
    }
}
