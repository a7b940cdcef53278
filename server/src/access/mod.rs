//! Who may do what, and where.
//!
//! Every method of the fleet that somebody asks for takes an [`Actor`]. Its transaction asks the database anew what the actor may do, see
//! `Fleet::ask` and `Fleet::act`: a right that was taken away a moment before is gone. What somebody may not see does not exist for
//! that person, in lists, counts, events and errors.

use std::collections::BTreeSet;

use homeport_api::{Device, Grant, Permission, Role};

mod place;
mod rows;
mod uses;

pub(crate) use self::{
    place::Place,
    rows::{
        AUDIT_SEEN, BUNDLE_SEEN, COMMAND_SEEN, DEPLOYMENT_SEEN, DEVICE_SEEN, EVERYTHING, GROUP_SEEN,
        IN_PROJECT, TOKEN_SEEN, limited,
    },
    uses::Uses,
};
use crate::{
    error::FleetError,
    now_ms,
    store::{StoreError, Tx},
};

/// Somebody who asks for something, and the secret that this person or program showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// User name.
    pub user: String,
    /// Row of the user.
    pub(crate) id: i64,
    pub(crate) credential: Credential,
}

/// The secret that shows who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Hash of a session's token.
    Session([u8; 32]),
    /// Row of an access token.
    Token(i64),
}

/// What an actor may do at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// User name.
    pub user: String,
    /// Row of the user.
    pub(crate) id: i64,
    grants: Vec<Held>,
    /// The most that the credential can do.
    limit: Role,
}

/// A role, and where the user has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) scope: Scope,
}

/// Where a role holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In this project and below; everywhere, if the path is empty.
    Project(String),
    /// For the devices of a group, which is in this project.
    Group { name: String, project: String },
}

/// Whether `project` is `above` or below it. Everything is below the empty path.
pub(crate) fn is_within(project: &str, above: &str) -> bool {
    above.is_empty()
        || project
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A name that a request may leave out. An empty one is a script's empty variable: taken for none, it could mean everything.
pub(crate) fn named(name: Option<String>) -> Result<Option<String>, FleetError> {
    match name {
        Some(name) if name.is_empty() => Err(FleetError::Invalid(
            "an empty name stands for nothing: leave the project or group out".into(),
        )),
        name => Ok(name),
    }
}

/// A path as the API has it: absent for none.
pub(crate) fn path(project: String) -> Option<String> {
    Some(project).filter(|project| !project.is_empty())
}

// === impl Access ===

impl Access {
    /// Rights of a credential that is limited to `role` and `project`, whose user holds `grants`.
    pub(crate) fn new(user: String, id: i64, grants: Vec<Held>, limit: Role, project: &str) -> Self {
        let grants = grants
            .into_iter()
            .filter_map(|held| held.limited_to(project))
            .collect();
        Self {
            user,
            id,
            grants,
            limit,
        }
    }

    /// The user as an actor, who showed this credential.
    fn actor(&self, credential: Credential) -> Actor {
        Actor {
            user: self.user.clone(),
            id: self.id,
            credential,
        }
    }

    /// Whether the actor may do this in `place`.
    pub(crate) fn allows(&self, permission: Permission, place: &Place) -> bool {
        self.holding(permission).any(|held| held.scope.covers(place))
    }

    /// Whether the actor may do this in the whole of a project, not only for a group in it.
    pub(crate) fn allows_in(&self, permission: Permission, project: &str) -> bool {
        self.allows(permission, &Place::of_project(project))
    }

    /// Whether the actor may do this anywhere.
    pub(crate) fn allows_somewhere(&self, permission: Permission) -> bool {
        self.holding(permission).next().is_some()
    }

    /// Whether the actor may do this everywhere.
    pub(crate) fn allows_everywhere(&self, permission: Permission) -> bool {
        self.allows_in(permission, "")
    }

    /// Refuses what the actor may not do in `place`.
    pub(crate) fn require(&self, permission: Permission, place: &Place) -> Result<(), FleetError> {
        if self.allows(permission, place) {
            return Ok(());
        }
        Err(FleetError::forbidden(permission, &place.project))
    }

    /// Refuses what the actor may not do in the whole of a project.
    pub(crate) fn require_in(&self, permission: Permission, project: &str) -> Result<(), FleetError> {
        self.require(permission, &Place::of_project(project))
    }

    /// Refuses a device, and what the actor may not do with it. A device that the actor may not see does not exist.
    pub(crate) fn device(&self, tx: &Tx, id: &str, permission: Permission) -> Result<Place, FleetError> {
        let place = tx
            .device_place(id)?
            .filter(|place| self.allows(Permission::DeviceRead, place));
        let place = place.ok_or_else(|| FleetError::no_device(id))?;
        self.require(permission, &place)?;
        Ok(place)
    }

    /// The same for a group.
    pub(crate) fn group(&self, tx: &Tx, name: &str, permission: Permission) -> Result<Place, FleetError> {
        let place = tx
            .group_place(name)?
            .filter(|place| self.allows(Permission::GroupRead, place));
        let place = place.ok_or_else(|| FleetError::no_group(name))?;
        self.require(permission, &place)?;
        Ok(place)
    }

    /// The same for a deployment.
    pub(crate) fn deployment(&self, tx: &Tx, id: u64, permission: Permission) -> Result<(), FleetError> {
        let place = tx
            .deployment_place(id)?
            .filter(|place| self.allows(Permission::DeploymentRead, place));
        let place = place.ok_or_else(|| FleetError::no_deployment(id))?;
        self.require(permission, &place)
    }

    /// The same for a command.
    pub(crate) fn command(&self, tx: &Tx, id: u64, permission: Permission) -> Result<(), FleetError> {
        let place = tx
            .command_place(id)?
            .filter(|place| self.allows(Permission::CommandRead, place));
        let place = place.ok_or_else(|| FleetError::no_command(id))?;
        self.require(permission, &place)
    }

    /// Refuses a project that the actor may not see, as one that does not exist, and one where the actor may not do this.
    pub(crate) fn project(&self, tx: &Tx, path: &str, permission: Permission) -> Result<(), FleetError> {
        if !path.is_empty() {
            self.find_project(tx, path)?;
        }
        self.require_in(permission, path)
    }

    /// Refuses a project of which the actor sees nothing, as one that does not exist.
    pub(crate) fn find_project(&self, tx: &Tx, path: &str) -> Result<(), FleetError> {
        let seen = self.allows_in(Permission::ProjectRead, path)
            || self
                .homes(Permission::DeviceRead)
                .any(|home| is_within(home, path) || is_within(path, home));
        if seen && tx.has_project(path)? {
            return Ok(());
        }
        Err(FleetError::NotFound {
            what: "project",
            id: path.to_owned(),
        })
    }

    /// Where the actor has the permission, for a query's `?1`: see [`DEVICE_SEEN`].
    pub(crate) fn scope(&self, permission: Permission) -> String {
        if self.allows_everywhere(permission) {
            return EVERYTHING.to_owned();
        }
        let (mut projects, mut groups, mut homes) = (Vec::new(), Vec::new(), Vec::new());
        for held in self.holding(permission) {
            match &held.scope {
                Scope::Project(path) => projects.push(path),
                Scope::Group { name, project } => {
                    groups.push(name);
                    homes.push(project);
                }
            }
        }
        // What lies below another one adds nothing, and costs a search.
        let all = projects.clone();
        projects.retain(|path| !all.iter().any(|above| *above != *path && is_within(path, above)));
        serde_json::json!({ "projects": projects, "groups": groups, "homes": homes }).to_string()
    }

    /// The project for a request that names none: no project, for those who may do this outside of projects; else the only one in which the
    /// actor may do it.
    pub(crate) fn default_project(&self, permission: Permission) -> Result<String, FleetError> {
        if self.allows_everywhere(permission) {
            return Ok(String::new());
        }
        let mut projects = self.holding(permission).filter_map(|held| match &held.scope {
            Scope::Project(path) => Some(path),
            Scope::Group { .. } => None,
        });
        match (projects.next(), projects.next()) {
            (Some(project), None) => Ok(project.clone()),
            (Some(_), Some(_)) => Err(FleetError::Invalid(format!(
                "name a `project`: you may {} in several",
                permission.words()
            ))),
            (None, _) => Err(FleetError::forbidden(permission, "")),
        }
    }

    /// The projects of the actor's scopes that have the permission; of a group, the project that it is in.
    fn homes(&self, permission: Permission) -> impl Iterator<Item = &str> {
        self.holding(permission).map(|held| match &held.scope {
            Scope::Project(project) | Scope::Group { project, .. } => project.as_str(),
        })
    }

    /// Whether the actor sees the bundles of a project: it is one of the actor's, or above one, whose devices can get them.
    pub(crate) fn sees_bundles_of(&self, project: &str) -> bool {
        self.allows_in(Permission::BundleRead, project)
            || self
                .homes(Permission::BundleRead)
                .any(|home| is_within(home, project))
    }

    /// A device without the groups that the actor may not see.
    pub(crate) fn trim(&self, mut device: Device) -> Device {
        device
            .groups
            .retain(|group| self.allows(Permission::GroupRead, &Place::of_group(group)));
        device
    }

    /// All that the actor may do somewhere.
    pub(crate) fn permissions(&self) -> BTreeSet<Permission> {
        let all = Permission::ALL.iter().copied();
        all.filter(|permission| self.allows_somewhere(*permission))
            .collect()
    }

    /// The roles, as the API has them.
    pub(crate) fn grants(&self) -> Vec<Grant> {
        let grants = self.grants.iter().cloned();
        grants
            .map(|held| Held {
                role: held.role.min(self.limit),
                ..held
            })
            .map(Grant::from)
            .collect()
    }

    fn holding(&self, permission: Permission) -> impl Iterator<Item = &Held> {
        let limit = self.limit;
        self.grants
            .iter()
            .filter(move |held| limit.allows(permission) && held.role.allows(permission))
    }
}

// === impl Held ===

impl Held {
    /// The part of it that lies in `project`.
    fn limited_to(self, project: &str) -> Option<Self> {
        let scope = match self.scope {
            Scope::Project(path) if is_within(project, &path) => Scope::Project(project.to_owned()),
            Scope::Project(path) if is_within(&path, project) => Scope::Project(path),
            Scope::Group { name, project: of } if is_within(&of, project) => {
                Scope::Group { name, project: of }
            }
            _ => return None,
        };
        Some(Self { scope, ..self })
    }
}

impl From<Held> for Grant {
    fn from(held: Held) -> Self {
        let (project, group) = match held.scope {
            Scope::Project(project) => (path(project), None),
            Scope::Group { name, .. } => (None, Some(name)),
        };
        Self {
            id: held.id,
            role: held.role,
            project,
            group,
        }
    }
}

// === impl Scope ===

impl Scope {
    fn covers(&self, place: &Place) -> bool {
        match self {
            Self::Project(path) => is_within(&place.project, path),
            Self::Group { name, .. } => place.groups.contains(name),
        }
    }
}

// === impl Tx ===

impl Tx {
    /// What the actor may do in this transaction.
    pub(crate) fn access(&self, actor: &Actor) -> Result<Access, FleetError> {
        self.find_access(actor.credential, now_ms())?
            .ok_or(FleetError::NotLoggedIn)
    }
}

/// Somebody who may do everything.
#[cfg(test)]
pub(crate) fn everything() -> Access {
    let held = Held {
        id: 1,
        role: Role::Administrator,
        scope: Scope::Project(String::new()),
    };
    Access::new("admin".to_owned(), 1, vec![held], Role::Administrator, "")
}

/// A role that this server does not know.
pub(crate) fn role(name: &str) -> Result<Role, StoreError> {
    let known = Role::ALL.into_iter().find(|role| role.as_str() == name);
    known.ok_or_else(|| StoreError::Corrupt(format!("{name} is not a role")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(role: Role, scope: Scope) -> Held {
        Held { id: 1, role, scope }
    }

    fn project(path: &str) -> Scope {
        Scope::Project(path.to_owned())
    }

    fn group(name: &str, project: &str) -> Scope {
        Scope::Group {
            name: name.to_owned(),
            project: project.to_owned(),
        }
    }

    fn access(grants: &[Held], limit: Role, project: &str) -> Access {
        Access::new("a".to_owned(), 1, grants.to_vec(), limit, project)
    }

    #[test]
    fn a_project_holds_what_is_below_it() {
        for (inner, outer, within) in [
            ("", "", true),
            ("acme", "", true),
            ("acme", "acme", true),
            ("acme/plant", "acme", true),
            ("acme", "acme/plant", false),
            ("acme2", "acme", false),
            ("acme-x/plant", "acme", false),
            ("", "acme", false),
        ] {
            assert_eq!(is_within(inner, outer), within, "{inner:?} in {outer:?}");
        }
    }

    #[test]
    fn a_role_counts_where_it_was_granted() {
        let mine = access(
            &[
                held(Role::Viewer, project("acme")),
                held(Role::Operator, group("acme/pilot", "acme")),
            ],
            Role::Administrator,
            "",
        );
        let in_pilot = Place {
            project: "acme/plant".to_owned(),
            groups: vec!["acme/pilot".to_owned()],
        };
        assert!(mine.allows(Permission::DeploymentCreate, &in_pilot));
        assert!(mine.allows_in(Permission::DeviceRead, "acme/plant"));
        assert!(!mine.allows_in(Permission::DeploymentCreate, "acme/plant"));
        assert!(!mine.allows_in(Permission::DeviceRead, ""));
        assert!(!mine.allows_in(Permission::DeviceRead, "acme2"));
        assert!(!mine.allows_somewhere(Permission::UserRead));
        assert_eq!(
            mine.default_project(Permission::DeviceRead).ok().as_deref(),
            Some("acme")
        );
        assert!(mine.default_project(Permission::DeploymentCreate).is_err());
    }

    #[test]
    fn a_token_takes_away_and_never_adds() {
        let grants = [
            held(Role::Maintainer, project("acme")),
            held(Role::Viewer, project("beta/x")),
            held(Role::Operator, group("acme/pilot", "acme")),
        ];
        let viewer = access(&grants, Role::Viewer, "");
        assert!(viewer.allows_in(Permission::DeviceRead, "acme"));
        assert!(!viewer.allows_in(Permission::DeviceChange, "acme"));
        let below = access(&grants, Role::Administrator, "acme/plant");
        assert!(below.allows_in(Permission::DeviceRevoke, "acme/plant"));
        assert!(!below.allows_in(Permission::DeviceRead, "acme"));
        assert!(!below.allows_in(Permission::UserRead, "acme/plant"));
        let above = access(&grants, Role::Administrator, "beta");
        assert!(above.allows_in(Permission::DeviceRead, "beta/x"));
        assert!(!above.allows_in(Permission::DeviceRead, "beta"));
        assert_eq!(above.grants().len(), 1);
        let elsewhere = access(&grants, Role::Administrator, "gamma");
        assert!(elsewhere.permissions().is_empty());
    }
}
