//! Users, and their access tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Grant, Role};

/// What a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UserKind {
    /// Logs in with a password.
    Person,
    /// A program: has access tokens and no password.
    Service,
}

/// A user, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserInfo {
    /// User name.
    pub name: String,
    /// Person or service.
    pub kind: UserKind,
    /// Path of the project whose administrators manage the user; absent if only administrators of everything do.
    pub project: Option<String>,
    /// Whether the user is shut out.
    pub disabled: bool,
    /// When the user was made.
    pub created_ms: i64,
    /// The last login with a password; absent if there was none.
    pub last_login_ms: Option<i64>,
    /// The user's roles. Only those that the reader may see.
    pub grants: Vec<Grant>,
}

/// A new user. It can do nothing until a role is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewUser {
    /// User name, 1 to 64 of `a-z A-Z 0-9 . _ - @`.
    pub name: String,
    /// Person or service.
    pub kind: UserKind,
    /// Path of the project whose administrators manage the user.
    #[serde(default)]
    pub project: Option<String>,
}

/// A user with a new password.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedUser {
    /// The user.
    pub user: UserInfo,
    /// The password, shown once; absent for a service.
    pub password: Option<String>,
}

/// A change to a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserPatch {
    /// Shuts the user out, or lets the user in again.
    pub disabled: Option<bool>,
}

/// An access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessToken {
    /// Number.
    pub id: u64,
    /// The name that its maker gave it.
    pub name: String,
    /// The most that it can do: a role that the user lacks adds nothing.
    pub role: Role,
    /// Path of the project to which it is limited.
    pub project: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
    /// When it was last used, to the minute; absent if it never was.
    pub last_used_ms: Option<i64>,
}

/// An access token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAccessToken {
    /// Name, 1 to 64 characters.
    pub name: String,
    /// The most that it can do.
    pub role: Role,
    /// Path of the project to which it is limited.
    #[serde(default)]
    pub project: Option<String>,
    /// Its life, 1 to 366.
    pub days: u32,
}

/// An access token with its secret.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedAccessToken {
    /// The secret, shown once: send it as `Authorization: Bearer <secret>`.
    pub secret: String,
    /// The token.
    pub token: AccessToken,
}

// === impl CreatedUser ===

impl fmt::Debug for CreatedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedUser")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

// === impl CreatedAccessToken ===

impl fmt::Debug for CreatedAccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedAccessToken")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
