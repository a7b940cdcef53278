//! Why the rules refuse a request.

use homeport_api::Permission;

use crate::store::StoreError;

/// Why the fleet refused a request.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its id or name.
        id: String,
    },
    /// The request conflicts with the present state.
    #[error("{detail}")]
    Conflict {
        /// Stable name of the problem.
        kind: &'static str,
        /// The cause, and what to do next.
        detail: String,
    },
    /// The login has ended, or the access token.
    #[error("log in first: `POST /api/v1/session`, or `homeport login`")]
    NotLoggedIn,
    /// The actor sees the thing, and may not do this with it.
    #[error(
        "you may not {} {}: `{permission}` needs the role {} there",
        .permission.words(), place(.project), .permission.role()
    )]
    Forbidden {
        /// The permission that is missing.
        permission: Permission,
        /// Path of the project where it is missing.
        project: String,
    },
    /// The request is invalid and can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl FleetError ===

impl FleetError {
    pub(crate) fn forbidden(permission: Permission, project: &str) -> Self {
        Self::Forbidden {
            permission,
            project: project.to_owned(),
        }
    }

    pub(crate) fn no_device(id: &str) -> Self {
        Self::NotFound {
            what: "device",
            id: id.to_owned(),
        }
    }

    pub(crate) fn no_group(name: &str) -> Self {
        Self::NotFound {
            what: "group",
            id: name.to_owned(),
        }
    }

    pub(crate) fn no_bundle(id: &str) -> Self {
        Self::NotFound {
            what: "bundle",
            id: id.to_owned(),
        }
    }

    pub(crate) fn no_deployment(id: u64) -> Self {
        Self::NotFound {
            what: "deployment",
            id: id.to_string(),
        }
    }
}

/// Where, in words.
fn place(project: &str) -> String {
    if project.is_empty() {
        "outside of projects".to_owned()
    } else {
        format!("in the project `{project}`")
    }
}
