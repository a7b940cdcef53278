//! The record of who did what.

use serde::{Deserialize, Serialize};

/// One entry, newest first in listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Number, rising.
    pub id: u64,
    /// When the action happened.
    pub at_ms: i64,
    /// User, `device:<id>` or `system`.
    pub actor: String,
    /// Path of the project that it concerns; absent if it concerns none, or everything.
    pub project: Option<String>,
    /// The action, e.g. `deployment.create`.
    pub action: String,
    /// The object of the action, e.g. a device id.
    pub subject: String,
    /// Details, as text.
    pub detail: String,
}
