//! Pairing tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A request for a one-time pairing token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewPairingToken {
    /// Seconds until it expires: 1 to 2592000 (30 days). Without it, 3600.
    pub ttl_seconds: Option<u64>,
    /// Name that the device gets. Without it, the device's host name.
    pub device_name: Option<String>,
    /// Pair this device again: it keeps its id and history, and its old certificate is revoked.
    pub device: Option<String>,
    /// Path of the project for the device; empty for none. Without it, the only project in which the user may pair, else none. A device that is
    /// paired again stays in its project.
    pub project: Option<String>,
}

/// A new token. The server shows its text only in this answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedPairingToken {
    /// The text for `homeport-agent pair`.
    pub token: String,
    /// The token without its text.
    #[serde(flatten)]
    pub info: PairingTokenInfo,
}

/// A token without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PairingTokenInfo {
    /// Number.
    pub id: u64,
    /// When it was made.
    pub created_ms: i64,
    /// User who made it.
    pub created_by: String,
    /// When it expires.
    pub expires_ms: i64,
    /// Path of the project for the device; absent for none.
    pub project: Option<String>,
    /// Name for the device, if given.
    pub device_name: Option<String>,
    /// The device that used it.
    pub used_by: Option<String>,
}

// === impl CreatedPairingToken ===

impl fmt::Debug for CreatedPairingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedPairingToken")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
