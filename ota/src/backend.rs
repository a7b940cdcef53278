//! What the engine asks of an update system, whichever it is.

use std::{future::Future, time::Duration};

use homeport_protocol::{FailureCode, Reason, Slot};
use homeport_system::Backoff;
use tokio::time::{Instant, sleep};

pub mod rauc;

/// How long a backend that is busy or cannot be reached is asked again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2 * 60);

/// An update system that writes the inactive slot and talks to the bootloader.
///
/// Implementations keep no state of their own about deployments: the engine does, and may be killed at any time.
pub trait Backend: Send + Sync + 'static {
    /// Name and version for people, e.g. `rauc 1.13`.
    fn name(&self) -> String;

    /// The device's `compatible`: which bundles it takes.
    fn compatible(&self) -> impl Future<Output = Result<String, BackendError>> + Send;

    /// All slots as they are now. Fails with [`BackendError::Busy`] while an installation runs.
    fn slots(&self) -> impl Future<Output = Result<Vec<SlotStatus>, BackendError>> + Send;

    /// Name of the slot that the bootloader tries next.
    fn primary(&self) -> impl Future<Output = Result<String, BackendError>> + Send;

    /// Checks the signature of the bundle at `source` and reads its manifest. `None` when the backend cannot tell, or not
    /// why it does not like the bundle; the installation will.
    fn inspect(&self, source: &str) -> impl Future<Output = Result<Option<BundleInfo>, BackendError>> + Send;

    /// Installs a bundle and returns when the installation has ended. `progress` is called with a percentage and the
    /// backend's own words.
    fn install(
        &self,
        request: &InstallRequest,
        progress: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Waits for an installation that is already running, whoever started it; `None` when there is none.
    fn reattach(
        &self,
        progress: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> impl Future<Output = Option<Result<(), BackendError>>> + Send;

    /// Tells the bootloader about a slot, by the slot's name.
    fn mark(&self, slot: &str, mark: Mark) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Returns when something has happened that may have changed a slot: an installation ended, somebody else's too.
    fn changed(&self) -> impl Future<Output = Result<InstallEnded, BackendError>> + Send;
}

/// See [`Backend::mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It works: keep booting it.
    Good,
    /// Never boot it again.
    Bad,
    /// Boot it next.
    Active,
}

/// One slot, as [`Backend::slots`] returns it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotStatus {
    /// What the server is told.
    pub slot: Slot,
    /// The backend's class, e.g. `rootfs`.
    pub class: String,
    /// The backend's id of the installation that wrote it last; empty where it has none (RAUC before 1.10).
    pub transaction: String,
    /// How often the slot was written.
    pub installed_count: u32,
    /// Whether the last installation into it was completed.
    pub installed_ok: bool,
}

/// How an installation ended, as seen by [`Backend::changed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallEnded {
    /// The backend's error, if it failed.
    pub error: Option<String>,
}

/// What a bundle says about itself, after its signature was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleInfo {
    /// `compatible` of the manifest.
    pub compatible: String,
    /// `version` of the manifest; empty without one.
    pub version: String,
    /// SHA-256 of the manifest in hex, where the backend tells.
    pub manifest_hash: Option<String>,
    /// Whether every byte of the payload will be read; `None` when the backend does not tell.
    pub reads_everything: Option<bool>,
}

/// See [`Backend::install`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallRequest {
    /// A path or URL that the backend can read.
    pub source: String,
    /// Our id for this installation (a UUID), found again in [`SlotStatus::transaction`] where the backend can.
    pub transaction: String,
    /// Refuse a bundle with another manifest than the inspected one, where the backend can.
    pub manifest_hash: Option<String>,
}

/// Why the update system did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// It cannot be reached at all.
    #[error("{name} cannot be reached: {detail}; is its service installed and may this user call it?")]
    Unreachable {
        /// Which update system.
        name: &'static str,
        /// What its client library said.
        detail: String,
    },
    /// It is doing something else.
    #[error("busy: {0}")]
    Busy(String),
    /// It could not read the bundle's bytes (as opposed to: did not like them).
    #[error("{0}")]
    Source(String),
    /// It, or the connection to it, went away during the installation. How that ended is told by the slots.
    #[error("{0}")]
    Interrupted(String),
    /// It refused or failed, and says why.
    #[error("{}", .0.detail)]
    Failed(Reason),
}

// === impl BackendError ===

impl BackendError {
    /// The reason to report to the server.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } | Self::Source(_) | Self::Interrupted(_) => {
                Reason::new(FailureCode::Backend, self.to_string())
            }
            Self::Busy(detail) => Reason::new(FailureCode::Busy, detail.clone()),
            Self::Failed(reason) => reason.clone(),
        }
    }
}

/// Asks a backend that may be starting or busy, with pauses up to `max_pause`, until it answers or [`PATIENCE`] is over.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, BackendError>>>(
    max_pause: Duration,
    ask: impl Fn() -> F,
) -> Result<T, BackendError> {
    let start = Instant::now();
    let mut backoff = Backoff::up_to(max_pause);
    loop {
        match ask().await {
            Err(BackendError::Busy(_) | BackendError::Unreachable { .. }) if start.elapsed() < PATIENCE => {
                sleep(backoff.next_wait()).await;
            }
            answer => return answer,
        }
    }
}
