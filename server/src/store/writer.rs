//! The one thread that writes. Jobs that wait are committed together: one fsync for many acknowledgements.
//!
//! The same thread applies the effects of each job, after the commit and before the next job runs. So memory changes in the same order as
//! the database, no matter which task wakes up first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{StoreError, Tx};

/// Jobs that may wait. When the queue is full, senders wait: that slows devices down instead of filling memory.
const QUEUE: usize = 4096;

/// Most jobs in one transaction: bounds the time until the first of them is answered.
const BATCH: usize = 1024;

#[derive(Debug, Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    state: Arc<State>,
}

/// How the last transaction ended.
#[derive(Debug, Default)]
struct State {
    failing: AtomicBool,
    failed: Notify,
}

/// A connection that writes.
pub(super) trait Commit: Send {
    /// Runs the jobs in one transaction, and commits it. What a failed job did is undone, and hurts no other.
    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError>;
}

/// The work of somebody who waits.
pub(super) trait Job: Send {
    /// Does the work, and returns whether to keep it. It may run again, in another transaction: only the last run counts.
    fn run(&mut self, tx: &Tx) -> bool;

    /// Applies the effects of the work if it was committed, and answers the caller.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Typed<F, A, T, U, E> {
    job: F,
    apply: A,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<U, E>>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn start(connection: impl Commit + 'static) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || run(connection, receiver, &shared))
            .map_err(|_| StoreError::Closed)?;
        Ok(Self { jobs: sender, state })
    }

    pub(super) async fn run<T, U, E, F, A>(&self, job: F, apply: A) -> Result<U, E>
    where
        F: Fn(&Tx) -> Result<T, E> + Send + 'static,
        A: FnOnce(T) -> U + Send + 'static,
        T: Send + 'static,
        U: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Typed {
            job,
            apply,
            outcome: None,
            reply,
        };
        self.jobs
            .send(Box::new(job))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    pub(super) async fn closed(&self) {
        self.jobs.closed().await;
    }

    /// Whether the last transaction could not be committed.
    pub(super) fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Relaxed)
    }

    /// Resolves when a transaction could not be committed.
    pub(super) async fn failed(&self) {
        self.state.failed.notified().await;
    }
}

fn run(mut connection: impl Commit, mut receiver: mpsc::Receiver<Box<dyn Job>>, state: &State) {
    let mut batch: Vec<Box<dyn Job>> = Vec::new();
    while let Some(first) = receiver.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH {
            let Ok(next) = receiver.try_recv() else { break };
            batch.push(next);
        }
        let committed = connection.commit(&mut batch);
        if let Err(error) = &committed {
            tracing::error!(%error, jobs = batch.len(), "cannot commit");
            state.failed.notify_one();
        }
        state.failing.store(committed.is_err(), Ordering::Relaxed);
        for job in batch.drain(..) {
            job.finish(committed.clone());
        }
        if let Err(StoreError::InUse | StoreError::Superseded) = committed {
            // What this server has in memory is of no use any more.
            return;
        }
    }
}

// === impl Typed ===

impl<F, A, T, U, E> Job for Typed<F, A, T, U, E>
where
    F: Fn(&Tx) -> Result<T, E> + Send,
    A: FnOnce(T) -> U + Send,
    T: Send,
    U: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &Tx) -> bool {
        self.outcome = Some((self.job)(tx));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            // An error that the job itself returned stands, no matter how the rest of the batch ended.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok((self.apply)(value)),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Closed.into()),
        };
        // If the device has gone, nobody waits any more: the work is committed all the same.
        let _ = self.reply.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use parking_lot::Mutex;

    use super::{super::sqlite::Writing, *};

    fn writer() -> Writer {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
            .unwrap();
        Writer::start(Writing::new(connection)).unwrap()
    }

    fn insert(tx: &Tx, number: usize) -> Result<usize, StoreError> {
        tx.execute("INSERT INTO numbers VALUES (?1)", &[&number])?;
        Ok(number)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_follows_is_applied_in_the_order_of_commits() {
        let (writer, applied) = (writer(), Arc::new(Mutex::new(Vec::new())));
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks = (0..500).map(|number| {
            let (writer, applied, order) = (writer.clone(), Arc::clone(&applied), Arc::clone(&order));
            tokio::spawn(async move {
                let seen = Arc::clone(&applied);
                let job = move |tx: &Tx| {
                    order.lock().push(number);
                    insert(tx, number)
                };
                let apply = move |number| applied.lock().push(number);
                writer.run(job, apply).await.unwrap();
                assert!(seen.lock().contains(&number), "before the caller is answered");
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        assert_eq!(*applied.lock(), *order.lock());
    }

    #[tokio::test]
    async fn what_follows_does_not_need_the_caller_and_does_need_the_commit() {
        let (writer, applied) = (writer(), Arc::new(Mutex::new(Vec::new())));
        let apply = || {
            let applied = Arc::clone(&applied);
            move |number| applied.lock().push(number)
        };
        // Keeps the writer busy until the next job has been abandoned.
        let (release, released) = std::sync::mpsc::channel::<()>();
        let wait = move |_: &Tx| Ok::<_, StoreError>(released.recv().is_ok());
        let mut busy = Box::pin(writer.run(wait, |_| ()));
        assert!(futures_util::poll!(&mut busy).is_pending());
        {
            // Polled once: the job is in the queue, and then nobody waits for it.
            let mut abandoned = Box::pin(writer.run(|tx| insert(tx, 1), apply()));
            assert!(futures_util::poll!(&mut abandoned).is_pending());
        }
        release.send(()).unwrap();
        busy.await.unwrap();
        let repeated = writer.run(|tx| insert(tx, 1), apply()).await;
        assert!(repeated.is_err());
        writer.run(|tx| insert(tx, 2), apply()).await.unwrap();
        assert_eq!(*applied.lock(), [1, 2]);
    }
}
