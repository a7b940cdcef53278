//! Who may do what, and where.
//!
//! A [`Permission`] is one thing that can be done. A [`Role`] is a set of them. A [`Grant`] gives a user a role: on everything, on a
//! project and all projects below it, or on a group of devices.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines [`Permission`], so that a permission, its name and its words are in one place. The name is a `tt`: utoipa does not read a
/// `literal` that a macro passes on.
macro_rules! permissions {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:tt, $words:literal;)*) => {
        /// One thing that can be done. The name is part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Permission {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Permission {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, e.g. `device.read`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The act in words, after "may" or "may not".
            #[must_use]
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }
        }
    };
}

// The order counts: see `Permission::role`.
permissions! {
    /// See devices and their updates.
    DeviceRead = "device.read", "see devices";
    /// See what devices measure.
    TelemetryRead = "telemetry.read", "see telemetry";
    /// See groups.
    GroupRead = "group.read", "see groups";
    /// See bundles.
    BundleRead = "bundle.read", "see bundles";
    /// See deployments.
    DeploymentRead = "deployment.read", "see deployments";
    /// See projects.
    ProjectRead = "project.read", "see projects";
    /// Rename devices.
    DeviceChange = "device.change", "rename devices";
    /// Have devices install a bundle.
    DeploymentCreate = "deployment.create", "deploy bundles";
    /// Cancel deployments.
    DeploymentCancel = "deployment.cancel", "cancel deployments";
    /// See commands, their output and results.
    CommandRead = "command.read", "see commands";
    /// Have devices run commands, as far as their own policies allow them, and cancel them.
    CommandRun = "command.run", "run commands on devices";
    /// Revoke certificates of devices.
    DeviceRevoke = "device.revoke", "revoke certificates of devices";
    /// Delete devices with all data about them.
    DeviceDelete = "device.delete", "delete devices";
    /// Move devices from this project, or into it.
    DeviceMove = "device.move", "move devices between projects";
    /// See pairing tokens, without their secrets.
    PairingRead = "pairing.read", "see pairing tokens";
    /// Make and revoke pairing tokens.
    PairingChange = "pairing.change", "make and revoke pairing tokens";
    /// Make and delete groups, and change their devices.
    GroupChange = "group.change", "change groups";
    /// Upload and delete bundles.
    BundleChange = "bundle.change", "upload and delete bundles";
    /// Read the audit record.
    AuditRead = "audit.read", "read the audit record";
    /// See users and their grants.
    UserRead = "user.read", "see users";
    /// Make, change, disable and delete users, and grant roles.
    UserChange = "user.change", "change users and their roles";
    /// Make and delete projects.
    ProjectChange = "project.change", "make and delete projects";
}

/// A set of permissions. Each role can do all that the one before it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Sees devices, telemetry, groups, bundles and deployments.
    Viewer,
    /// Also renames devices, deploys and cancels, and runs commands.
    Operator,
    /// Also pairs, revokes, deletes and moves devices, changes groups and bundles, and reads the audit record.
    Maintainer,
    /// Everything: also users, roles and projects.
    Administrator,
}

/// A role for a user: on a project and all below it, on a group, or on everything if neither is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grant {
    /// Number.
    pub id: u64,
    /// The role.
    pub role: Role,
    /// Path of the project.
    pub project: Option<String>,
    /// Name of the group.
    pub group: Option<String>,
}

/// A role to grant. It replaces the role that the user has on the same project or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewGrant {
    /// The role.
    pub role: Role,
    /// Path of the project.
    #[serde(default)]
    pub project: Option<String>,
    /// Name of the group.
    #[serde(default)]
    pub group: Option<String>,
}

/// A part of the fleet that is kept apart from others, such as a customer. Each device, group and bundle is in one project, or in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Project {
    /// Path: names joined by `/`, e.g. `acme/plant-1`.
    pub path: String,
    /// Number of devices in it and below it.
    pub devices: u64,
}

/// A new project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewProject {
    /// Path: 1 to 4 names of 1 to 32 characters of `a-z 0-9 -`, joined by `/`. The project above it exists.
    pub path: String,
}

// === impl Permission ===

impl Permission {
    /// The lowest role that has it.
    #[must_use]
    pub fn role(self) -> Role {
        if self <= Self::ProjectRead {
            Role::Viewer
        } else if self <= Self::CommandRun {
            Role::Operator
        } else if self <= Self::AuditRead {
            Role::Maintainer
        } else {
            Role::Administrator
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Role ===

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [
        Self::Viewer,
        Self::Operator,
        Self::Maintainer,
        Self::Administrator,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Maintainer => "maintainer",
            Self::Administrator => "administrator",
        }
    }

    /// Whether it has this permission.
    #[must_use]
    pub fn allows(self, permission: Permission) -> bool {
        permission.role() <= self
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_the_names_shown() {
        for permission in Permission::ALL {
            let json = serde_json::to_string(permission).unwrap();
            assert_eq!(json, format!("\"{permission}\""));
        }
        for role in Role::ALL {
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
    }

    #[cfg(feature = "openapi")]
    #[test]
    fn names_in_the_openapi_document_are_the_names_on_the_wire() {
        let schema = serde_json::to_value(<Permission as utoipa::PartialSchema>::schema()).unwrap();
        let names: Vec<&str> = Permission::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(schema["enum"], serde_json::json!(names));
    }

    #[test]
    fn roles_are_what_the_documentation_says() {
        let count = |role: Role| {
            let allowed = Permission::ALL
                .iter()
                .filter(|permission| role.allows(**permission));
            allowed.count()
        };
        assert_eq!(Role::ALL.map(count), [6, 11, 19, 22]);
        assert!(!Role::Viewer.allows(Permission::DeviceChange));
        assert!(!Role::Operator.allows(Permission::DeviceRevoke));
        assert!(!Role::Maintainer.allows(Permission::UserRead));
    }
}
