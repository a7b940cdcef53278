//! Why the rules refuse a request.

use std::{fmt, time::Duration};

use homeport_api::Permission;

use crate::{files::FileError, store::StoreError};

/// A place where a permission is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// In a project that the actor sees.
    Project(String),
    /// For things that are in no project.
    OutsideProjects,
    /// Nowhere does the actor have it.
    Anywhere,
}

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
    #[error("you may not {} {place}: `{permission}` needs the role {}", .permission.words(), .permission.role())]
    Forbidden {
        /// The permission that is missing.
        permission: Permission,
        /// Where it is missing.
        place: Where,
    },
    /// The actor changed the own account too often. The time until the next change.
    #[error(
        "you log in, or change your password or your access tokens, too often: try again in {} seconds. A program uses one access token \
         for all that it does",
        .0.as_secs().max(1)
    )]
    TooOften(Duration),
    /// The actor asked for too many commands. The time until the next one.
    #[error("you request commands too often: try again in {} seconds. One request can be for a whole group", .0.as_secs().max(1))]
    TooManyCommands(Duration),
    /// The request is invalid and can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl FleetError ===

impl FleetError {
    pub(crate) fn forbidden(permission: Permission, project: &str) -> Self {
        let place = match project {
            "" => Where::OutsideProjects,
            project => Where::Project(project.to_owned()),
        };
        Self::Forbidden { permission, place }
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

    pub(crate) fn no_command(id: u64) -> Self {
        Self::NotFound {
            what: "command",
            id: id.to_string(),
        }
    }

    pub(crate) fn no_deployment(id: u64) -> Self {
        Self::NotFound {
            what: "deployment",
            id: id.to_string(),
        }
    }
}

// === impl Where ===

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(path) => write!(f, "in the project `{path}`"),
            Self::OutsideProjects => f.write_str("outside of projects"),
            Self::Anywhere => f.write_str("anywhere"),
        }
    }
}
