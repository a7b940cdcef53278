//! The queue, shared by all that fill it and the link that empties it.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use homeport_ota::ReportSink;
use homeport_protocol::{Inventory, Report, deployment::Progress, senml::Pack};
use homeport_system::{Ticks, file::blocking};
use tokio::sync::Notify;

use super::queue::{Lane, Limits, Queue, QueueStatus, Unsynced};

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    progress: Mutex<Option<Progress>>,
    inventory_is_due: AtomicBool,
    left_out: AtomicUsize,
    changed: Notify,
}

// === impl Outbox ===

impl Outbox {
    /// Opens the queue in `directory`.
    pub(crate) fn open(directory: &Path, limits: Limits) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            queue: Mutex::new(Queue::open(directory, limits)?),
            progress: Mutex::new(None),
            inventory_is_due: AtomicBool::new(false),
            left_out: AtomicUsize::new(0),
            changed: Notify::new(),
        }))
    }

    /// Queues a report; it is safe when this returns.
    pub(crate) async fn report(&self, report: Report) {
        let unsynced = self.queue().push(Lane::Report, report);
        self.changed.notify_one();
        self.sync(unsynced).await;
    }

    /// Queues the answer to a command, and does not wait until it is safe: the server sends a command again whose answer
    /// was lost.
    pub(crate) fn answer(&self, report: Report) {
        self.queue().push_unhurried(Lane::Report, report);
        self.changed.notify_one();
    }

    /// Queues telemetry, to be written some time later.
    pub(crate) async fn telemetry(&self, pack: Pack) {
        let unsynced = self.queue().push(Lane::Telemetry, pack);
        self.changed.notify_one();
        self.sync(unsynced).await;
    }

    /// Queues the inventory for the present connection only: the next one begins with a new inventory.
    pub(crate) fn inventory(&self, inventory: Inventory) {
        self.queue()
            .push_volatile(Lane::Report, Report::Inventory(inventory));
        self.changed.notify_one();
    }

    /// Asks for the inventory to be sent again.
    pub(crate) fn request_inventory(&self) {
        self.inventory_is_due.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether somebody asked for the inventory since this was last called.
    pub(crate) fn take_inventory_request(&self) -> bool {
        self.inventory_is_due.swap(false, Ordering::Relaxed)
    }

    /// The newest progress, once.
    pub(crate) fn take_progress(&self) -> Option<Progress> {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// There may be something to send, or room to send it.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Returns when there may be something to send.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Writes what waits in memory every `interval`, for ever.
    pub(crate) async fn flush_every(&self, interval: Duration) {
        let mut ticks = Ticks::every(interval);
        loop {
            ticks.next().await;
            let unsynced = self.queue().flush();
            self.sync(unsynced).await;
        }
    }

    /// Writes everything before the agent ends.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.queue().close()
    }

    pub(crate) fn peek(&self, lane: Lane, after: u64) -> Option<(u64, Vec<u8>)> {
        self.queue().peek(lane, after)
    }

    pub(crate) fn acknowledge(&self, lane: Lane, sequence: u64) {
        self.queue().acknowledge(lane, sequence);
    }

    /// The server will never take `sequence`.
    pub(crate) fn refuse(&self, lane: Lane, sequence: u64) {
        self.queue().refuse(lane, sequence);
    }

    /// Notes how many series the newest telemetry had to leave out.
    pub(crate) fn note_left_out(&self, series: usize) {
        self.left_out.store(series, Ordering::Relaxed);
    }

    pub(crate) fn drop_volatile(&self) {
        self.queue().drop_volatile();
    }

    pub(crate) fn status(&self) -> QueueStatus {
        QueueStatus {
            left_out_series: self.left_out.load(Ordering::Relaxed),
            ..self.queue().status()
        }
    }

    async fn sync(&self, unsynced: Unsynced) {
        if unsynced.is_empty() {
            return;
        }
        // Storage may take long; meanwhile the link goes on.
        if let Err(error) = blocking(move || unsynced.sync()).await {
            self.queue().note_fault(&error);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what the update engine reports.
#[derive(Debug)]
pub(crate) struct EngineSink(pub(crate) Arc<Outbox>);

// === impl EngineSink ===

impl ReportSink for EngineSink {
    async fn report(&self, report: Report) -> io::Result<()> {
        self.0.report(report).await;
        Ok(())
    }

    fn progress(&self, progress: Progress) {
        *self.0.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
        self.0.changed.notify_one();
    }

    fn slots_changed(&self) {
        self.0.request_inventory();
    }
}
