//! Users: made, changed and given roles by administrators.
//!
//! A user belongs to a project, or to none. The administrators of that project manage the user, as far as the user may not do more than
//! they do: otherwise a new password would give them another's rights.

use homeport_api::{CreatedUser, Grant, NewGrant, NewUser, Page, Permission, UserInfo, UserKind, UserPatch};

use crate::{
    access::{Access, Actor, Credential, Held, Place, Scope, is_within, named},
    fleet::{Fleet, FleetError, effects::Effect},
    now_ms,
    passwords::{hash, random_password},
    store::{Paging, Tx},
};

/// Longest user name, in bytes.
const MAX_NAME: usize = 64;

/// Names under which the audit record has entries of the server's own.
const RESERVED: [&str; 2] = ["system", "stranger"];

/// Most users who belong to one project, or to none.
const MAX_USERS: usize = 10_000;

/// Most roles of one user: every request reads them.
const MAX_GRANTS: usize = 100;

// === impl Fleet ===

impl Fleet {
    /// Users, by name.
    pub async fn users(&self, actor: &Actor, paging: Paging<String>) -> Result<Page<UserInfo>, FleetError> {
        self.ask(actor, move |tx, access| {
            let page = tx.users(&access.scope(Permission::UserRead), &paging)?;
            let users = page.items.into_iter();
            Ok(Page {
                items: users.map(|user| access.trim_user(user)).collect(),
                next: page.next,
            })
        })
        .await
    }

    /// The user of that name.
    pub async fn user(&self, actor: &Actor, name: String) -> Result<UserInfo, FleetError> {
        self.ask(actor, move |tx, access| {
            Ok(access.trim_user(access.find_user(tx, &name)?.1))
        })
        .await
    }

    /// Makes a user who can do nothing yet. A person gets a random password.
    pub async fn create_user(&self, actor: &Actor, new: NewUser) -> Result<CreatedUser, FleetError> {
        let valid = (1..=MAX_NAME).contains(&new.name.len())
            && new.name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && new
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
            && !RESERVED.contains(&new.name.to_ascii_lowercase().as_str());
        if !valid {
            return Err(FleetError::Invalid(
                "a user name is 1 to 64 characters of a-z, A-Z, 0-9 and `._-@`, begins with a letter or a digit, and is neither \
                 `system` nor `stranger`"
                    .into(),
            ));
        }
        let new = NewUser {
            project: named(new.project)?,
            ..new
        };
        let wanted = new.clone();
        // Before the password is hashed, which takes a core for a while, and again in the transaction.
        self.ask(actor, move |tx, access| may_create(tx, access, &wanted))
            .await?;
        let (password, hash) = match new.kind {
            UserKind::Person => {
                let (password, hash) = self.new_password(actor).await?;
                (Some(password), hash)
            }
            UserKind::Service => (None, String::new()),
        };
        self.act(actor, move |tx, access, _| {
            let project = may_create(tx, access, &new)?;
            let now_ms = now_ms();
            tx.insert_user(now_ms, &new.name, &hash, new.kind, &project)?;
            tx.audit(now_ms, &project, &access.user, "user.create", &new.name, "")?;
            let (_, user) = access.find_user(tx, &new.name)?;
            Ok(CreatedUser {
                user,
                password: password.clone(),
            })
        })
        .await
    }

    /// Shuts a user out at once, or lets the user in again.
    pub async fn change_user(
        &self,
        actor: &Actor,
        name: String,
        patch: UserPatch,
    ) -> Result<UserInfo, FleetError> {
        self.act(actor, move |tx, access, effects| {
            let (id, user) = access.manage(tx, &name)?;
            if let Some(disabled) = patch.disabled {
                tx.set_disabled(id, disabled)?;
                keep_administrator(tx)?;
                effects.push(Effect::Rights);
                let action = if disabled { "user.disable" } else { "user.enable" };
                let project = user.project.as_deref().unwrap_or_default();
                tx.audit(now_ms(), project, &access.user, action, &name, "")?;
            }
            Ok(access.trim_user(access.find_user(tx, &name)?.1))
        })
        .await
    }

    /// Deletes a user with all roles, logins and access tokens.
    pub async fn delete_user(&self, actor: &Actor, name: String) -> Result<(), FleetError> {
        self.act(actor, move |tx, access, effects| {
            let (id, user) = access.manage(tx, &name)?;
            tx.delete_user(id)?;
            keep_administrator(tx)?;
            effects.push(Effect::Rights);
            let project = user.project.unwrap_or_default();
            tx.audit(now_ms(), &project, &access.user, "user.delete", &name, "")?;
            Ok(())
        })
        .await
    }

    /// Gives a person a new random password, and ends the person's logins and access tokens.
    pub async fn reset_user(&self, actor: &Actor, name: String) -> Result<CreatedUser, FleetError> {
        let wanted = name.clone();
        self.ask(actor, move |tx, access| may_reset(tx, access, &wanted).map(drop))
            .await?;
        let (password, hash) = self.new_password(actor).await?;
        self.act(actor, move |tx, access, effects| {
            let (id, user) = may_reset(tx, access, &name)?;
            tx.set_password(id, &hash, None)?;
            tx.delete_access_tokens_of(id)?;
            effects.push(Effect::Rights);
            let project = user.project.as_deref().unwrap_or_default();
            tx.audit(now_ms(), project, &access.user, "user.reset-password", &name, "")?;
            Ok(CreatedUser {
                user: access.trim_user(user),
                password: Some(password.clone()),
            })
        })
        .await
    }

    /// Gives a user a role on everything, on a project or on a group, instead of the role that the user has there.
    pub async fn grant(&self, actor: &Actor, name: String, new: NewGrant) -> Result<Grant, FleetError> {
        self.act(actor, move |tx, access, effects| {
            let (id, user) = access.find_user(tx, &name)?;
            let scope = match (named(new.project.clone())?, named(new.group.clone())?) {
                (Some(_), Some(_)) => {
                    return Err(FleetError::Invalid("name either a project or a group".into()));
                }
                (_, Some(name)) => {
                    let project = access.group(tx, &name, Permission::GroupRead)?.project;
                    access.require_in(Permission::UserChange, &project)?;
                    Scope::Group { name, project }
                }
                (project, None) => {
                    let project = project.unwrap_or_default();
                    access.project(tx, &project, Permission::UserChange)?;
                    Scope::Project(project)
                }
            };
            let home = user.project.as_deref().unwrap_or_default();
            if !is_within(scope.project(), home) {
                return Err(FleetError::Conflict {
                    kind: "other-project",
                    detail: format!(
                        "`{name}` belongs to the project `{home}`, whose administrators manage this user: grant a role there or below, or \
                         make a user who belongs to no project"
                    ),
                });
            }
            let held = tx.held(id)?;
            let replaces = held.iter().any(|held| held.scope == scope);
            if !replaces && held.len() >= MAX_GRANTS {
                return Err(FleetError::Conflict {
                    kind: "too-many-roles",
                    detail: format!(
                        "`{name}` has {MAX_GRANTS} roles already: grant one on a project above instead"
                    ),
                });
            }
            let (project, group) = scope.columns();
            let number = tx.set_grant(id, new.role, project, group)?;
            keep_administrator(tx)?;
            effects.push(Effect::Rights);
            let detail = format!("{} on {scope}", new.role);
            tx.audit(
                now_ms(),
                scope.project(),
                &access.user,
                "user.grant",
                &name,
                &detail,
            )?;
            let held = Held {
                id: number,
                role: new.role,
                scope,
            };
            Ok(held.into())
        })
        .await
    }

    /// Takes a role away.
    pub async fn revoke_grant(&self, actor: &Actor, name: String, grant: u64) -> Result<(), FleetError> {
        self.act(actor, move |tx, access, effects| {
            let (id, _) = access.find_user(tx, &name)?;
            let held = tx.held(id)?.into_iter().find(|held| held.id == grant);
            let held = held
                .filter(|held| access.allows_in(Permission::UserRead, held.scope.project()))
                .ok_or_else(|| FleetError::NotFound {
                    what: "role",
                    id: grant.to_string(),
                })?;
            access.require_in(Permission::UserChange, held.scope.project())?;
            tx.delete_grant(grant)?;
            keep_administrator(tx)?;
            effects.push(Effect::Rights);
            let detail = format!("{} on {}", held.role, held.scope);
            tx.audit(
                now_ms(),
                held.scope.project(),
                &access.user,
                "user.revoke",
                &name,
                &detail,
            )?;
            Ok(())
        })
        .await
    }

    async fn new_password(&self, actor: &Actor) -> Result<(String, String), FleetError> {
        // A password would outlive the token.
        if let Credential::Token(_) = actor.credential {
            return Err(FleetError::Conflict {
                kind: "no-session",
                detail: "an access token cannot give out passwords: log in with a password to do this".into(),
            });
        }
        let password = random_password();
        let to_hash = password.clone();
        let hash = self.0.passwords.make(move || hash(&to_hash)).await??;
        Ok((password, hash))
    }
}

/// The project that the user will belong to.
fn may_create(tx: &Tx, access: &Access, new: &NewUser) -> Result<String, FleetError> {
    let project = match &new.project {
        Some(project) => project.clone(),
        None => access.default_project(Permission::UserChange)?,
    };
    access.project(tx, &project, Permission::UserChange)?;
    if tx.count_users(&project)? >= MAX_USERS {
        return Err(FleetError::Conflict {
            kind: "too-many-users",
            detail: format!("there are {MAX_USERS} users already: delete some first"),
        });
    }
    if tx.has_user(&new.name)? {
        return Err(FleetError::Conflict {
            kind: "user-exists",
            detail: format!("the name `{}` is taken: choose another", new.name),
        });
    }
    Ok(project)
}

fn may_reset(tx: &Tx, access: &Access, name: &str) -> Result<(i64, UserInfo), FleetError> {
    let found = access.manage(tx, name)?;
    if found.1.kind == UserKind::Service {
        return Err(FleetError::Conflict {
            kind: "service",
            detail: format!("`{name}` is a service and has no password: make an access token for it"),
        });
    }
    Ok(found)
}

/// Undoes a change after which nobody could do everything.
fn keep_administrator(tx: &Tx) -> Result<(), FleetError> {
    if tx.has_administrator()? {
        return Ok(());
    }
    Err(FleetError::Conflict {
        kind: "last-administrator",
        detail: "this is the last person who may do everything: make somebody else administrator of everything first".into(),
    })
}

// === impl Access ===

impl Access {
    /// A user whom the actor may see, with the user's row. Everybody sees oneself.
    pub(super) fn find_user(&self, tx: &Tx, name: &str) -> Result<(i64, UserInfo), FleetError> {
        let found = tx
            .user_info(name)?
            .filter(|(id, user)| *id == self.id || self.reads_user(user));
        found.ok_or_else(|| FleetError::NotFound {
            what: "user",
            id: name.to_owned(),
        })
    }

    /// A user whom the actor may change. A user's roles lie in the user's project, so the actor may do there all that the user may.
    pub(super) fn manage(&self, tx: &Tx, name: &str) -> Result<(i64, UserInfo), FleetError> {
        let (id, user) = self.find_user(tx, name)?;
        self.require_in(
            Permission::UserChange,
            user.project.as_deref().unwrap_or_default(),
        )?;
        Ok((id, user))
    }

    /// Whether the actor may see a user: one of the actor's projects, or somebody with a role in one.
    fn reads_user(&self, user: &UserInfo) -> bool {
        let project = user.project.as_deref().unwrap_or_default();
        self.allows_in(Permission::UserRead, project)
            || user.grants.iter().any(|grant| self.reads_grant(grant))
    }

    fn reads_grant(&self, grant: &Grant) -> bool {
        let project = match (&grant.project, &grant.group) {
            (Some(project), _) => project.clone(),
            (None, Some(group)) => Place::of_group(group).project,
            (None, None) => String::new(),
        };
        self.allows_in(Permission::UserRead, &project)
    }

    /// A user without what the actor may not see. One sees one's own roles as far as the credential reaches.
    fn trim_user(&self, mut user: UserInfo) -> UserInfo {
        let project = user.project.as_deref().unwrap_or_default();
        if self.allows_in(Permission::UserRead, project) {
            return user;
        }
        if user.name == self.user {
            user.grants = self.grants();
        } else {
            user.grants.retain(|grant| self.reads_grant(grant));
        }
        user
    }
}

// === impl Scope ===

impl Scope {
    /// The project that it is, or that its group is in.
    fn project(&self) -> &str {
        match self {
            Self::Project(project) | Self::Group { project, .. } => project,
        }
    }

    /// Project and group, as rows hold them.
    fn columns(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Project(project) => (Some(project), None),
            Self::Group { name, .. } => (None, Some(name)),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Project(project) if project.is_empty() => f.write_str("everything"),
            Self::Project(project) => write!(f, "project {project}"),
            Self::Group { name, .. } => write!(f, "group {name}"),
        }
    }
}
