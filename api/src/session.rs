//! Logging in, and errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Grant, Permission};

/// Whether the server is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, `disk-low` (devices keep their telemetry), `disk-full` (devices keep everything) or `failing` (the server cannot write).
    pub status: String,
    /// Version of the server.
    pub version: String,
}

/// Credentials.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// A login that lasts until `expires_ms`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Bearer token. The same value is set as the cookie `homeport_session`.
    pub token: String,
    /// The user who is logged in.
    pub user: User,
    /// When the login ends.
    pub expires_ms: i64,
}

/// The user who is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// User name.
    pub name: String,
    /// The user's roles, or what an access token leaves of them.
    pub grants: Vec<Grant>,
    /// All that the user may do anywhere: what is not in it is refused everywhere.
    pub permissions: Vec<Permission>,
}

/// A new password for the logged-in user. Ends that user's other sessions.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PasswordChange {
    /// The present password.
    pub current: String,
    /// The new one, 12 to 256 characters.
    pub new: String,
}

/// An error, as problem details (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Stable name of the kind of problem, e.g. `token-expired`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The cause, and what to do next.
    pub detail: String,
}

// === impl Login ===

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

// === impl Session ===

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

// === impl PasswordChange ===

impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordChange").finish_non_exhaustive()
    }
}
