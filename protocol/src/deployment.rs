//! The life of one update on one device, as both sides name it.

use serde::{Deserialize, Serialize};

/// Where an update stands on a device.
///
/// ```text
/// offered → waiting → downloading → installing → installed → rebooting → trial → verified
///                         │             │            │           │         ├──→ rolled_back
///                         └─────────────┴────────────┴───────────┴─────────┴──→ failed | cancelled
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// Assigned by the server; the device has not said anything yet.
    Offered,
    /// The device has accepted it and waits for a lease, a window or a budget; the reason says which.
    Waiting,
    /// The bundle's header and manifest are being fetched and checked.
    Downloading,
    /// The update backend writes the inactive slot (and streams what it needs).
    Installing,
    /// Written and activated; the next boot tries it.
    Installed,
    /// The reboot was asked for.
    Rebooting,
    /// The new slot runs and is being checked.
    Trial,
    /// The new slot runs, is healthy, has reached the server, and was marked good. Final.
    Verified,
    /// The device runs the old version again; the reason says why. Final.
    RolledBack,
    /// Refused or broken off before a reboot; the running system is untouched. Final.
    Failed,
    /// Cancelled by an operator before the reboot. Final.
    Cancelled,
    /// A state of a newer protocol.
    #[serde(other)]
    Unknown,
}

/// Why an update failed, rolled back or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For programs.
    pub code: FailureCode,
    /// For people: one sentence, at most [`crate::limits::MAX_TEXT`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The kinds of [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The bundle's signature is not from a key in the device's keyring.
    Signature,
    /// The bundle is for another kind of device.
    Incompatible,
    /// The bundle's version is older than the device allows.
    VersionTooOld,
    /// The bundle is shorter than announced.
    Truncated,
    /// The bundle's content is damaged or not what was offered.
    Corrupt,
    /// The server no longer has the bundle.
    BundleGone,
    /// The device has no room for the download cache or its state.
    DiskFull,
    /// The server could not be reached for longer than the device retries.
    Network,
    /// The update backend (RAUC, SWUpdate, OSTree) reported an error of another kind.
    Backend,
    /// The backend is busy with an update that somebody else started.
    Busy,
    /// A health check of the new system failed.
    HealthCheck,
    /// A systemd unit of the new system failed.
    FailedUnit,
    /// The new system did not reach the server before the deadline.
    ServerUnreachable,
    /// The new system did not finish its checks before the deadline.
    Deadline,
    /// The bootloader gave up on the new slot: it never ran long enough to be checked.
    BootFailed,
    /// The device came back in a slot that nobody expected.
    UnexpectedSlot,
    /// An operator cancelled it.
    Cancelled,
    /// Waiting for a local application's lease.
    Lease,
    /// A code of a newer protocol.
    #[serde(other)]
    Other,
}

/// A bundle as it is offered to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleOffer {
    /// The server's name for the bundle: lower-case hex SHA-256 of its bytes. Also the cache key and ETag.
    pub id: String,
    /// Length in bytes.
    pub size: u64,
    /// Path on the server's HTTPS port, starting with `/`.
    pub path: String,
    /// `version` of the manifest.
    pub version: String,
    /// `compatible` of the manifest.
    pub compatible: String,
    /// SHA-256 of the manifest, lower-case hex, as RAUC's `require-manifest-hash` wants it (absent when unknown).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_hash: Option<String>,
}

/// How far an update is, for people who watch. Lossy: the truth is in [`crate::Report::Deployment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which deployment.
    pub deployment: u64,
    /// Where it stands.
    pub state: DeploymentState,
    /// Of the current state, 0 to 100.
    pub percent: u8,
    /// Bytes fetched from the server so far.
    pub bytes_fetched: u64,
    /// What the backend is doing, in its own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

// === impl DeploymentState ===

impl DeploymentState {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Verified | Self::RolledBack | Self::Failed | Self::Cancelled
        )
    }

    /// Whether a cancellation still leaves the device untouched. From `installed` on, the next boot tries the new slot.
    #[must_use]
    pub fn is_cancellable(self) -> bool {
        matches!(
            self,
            Self::Offered | Self::Waiting | Self::Downloading | Self::Installing
        )
    }

    /// The name used on the wire, in the API and in documentation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Waiting => "waiting",
            Self::Downloading => "downloading",
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Rebooting => "rebooting",
            Self::Trial => "trial",
            Self::Verified => "verified",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Reason ===

impl Reason {
    /// A reason whose detail is cut to the protocol's limit.
    #[must_use]
    pub fn new(code: FailureCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: crate::limits::clip(detail.into()),
        }
    }
}

// === impl Progress ===

impl Progress {
    /// The payload for [`crate::topic::Channel::Progress`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        crate::codec::encode(self)
    }

    /// Reads what [`Progress::encode`] wrote.
    pub fn decode(payload: &[u8]) -> Result<Self, crate::DecodeError> {
        crate::codec::decode(payload)
    }
}
