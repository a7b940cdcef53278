//! Where the engine's reports go.

use std::{future::Future, io};

use homeport_protocol::{Report, deployment::Progress};

/// Takes what the engine has to say to the server. The agent implements it with its durable queue.
pub trait ReportSink: Send + Sync + 'static {
    /// Queues a report and returns once it is safely on disk. Called in order, one at a time. After an error the engine
    /// tries again later and does not go on before it succeeded.
    ///
    /// A report may come twice, with identical content, when the device lost power between the queueing and the
    /// engine's own note of it.
    fn report(&self, report: Report) -> impl Future<Output = io::Result<()>> + Send;

    /// Passes progress on to whoever watches. Lossy; must not block.
    fn progress(&self, progress: Progress);

    /// The slots or their status have changed: the inventory is out of date. Must not block.
    fn slots_changed(&self);
}
