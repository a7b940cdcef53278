//! Queries that decide who may see what.
//!
//! A query of a list has one of the conditions below, through [`limited`], and the actor's [`scope`](super::Access::scope) as `?1`. The rows
//! that somebody sees are found by an index on their project: those of a small customer in a large fleet cost no more than in a small one.

use homeport_api::Role;

use super::{Access, Actor, Credential, Held, Place, Scope, role};
use crate::store::{StoreError, Tx};

/// The scope that holds everything.
pub(crate) const EVERYTHING: &str = r#"{"everything":true}"#;

/// The condition, unless the scope holds everything.
pub(crate) fn limited(scope: &str, condition: &'static str) -> &'static str {
    if scope == EVERYTHING {
        "CAST(?1 AS TEXT) IS NOT NULL"
    } else {
        condition
    }
}

/// Keys of the rows of a table that are in one of the actor's projects, or below one. `0` follows `/`.
macro_rules! keys_in_projects {
    ($table:literal, $key:literal) => {
        concat!(
            "SELECT seen.",
            $key,
            " FROM json_each(?1, '$.projects') CROSS JOIN ",
            $table,
            " AS seen WHERE seen.project = value UNION ALL SELECT seen.",
            $key,
            " FROM json_each(?1, '$.projects') CROSS JOIN ",
            $table,
            " AS seen WHERE seen.project > value || '/' AND seen.project < value || '0'"
        )
    };
}

/// Condition on a row of a small table with the column `project`. A role on a group does not count.
pub(crate) const IN_PROJECT: &str = "EXISTS (SELECT 1 FROM json_each(?1, '$.projects') WHERE project = value OR \
     substr(project, 1, length(value) + 1) = value || '/')";

/// The same for a row of `audit`.
pub(crate) const AUDIT_SEEN: &str = concat!("audit.id IN (", keys_in_projects!("audit", "id"), ")");

/// The same for a row of `pairing_tokens`.
pub(crate) const TOKEN_SEEN: &str = concat!(
    "pairing_tokens.id IN (",
    keys_in_projects!("pairing_tokens", "id"),
    ")"
);

/// Condition on a row of `devices`.
pub(crate) const DEVICE_SEEN: &str = concat!(
    "devices.id IN (",
    keys_in_projects!("devices", "id"),
    " UNION ALL SELECT device FROM json_each(?1, '$.groups') CROSS JOIN group_devices WHERE group_devices.name = value)"
);

/// Condition on a row of `groups`.
pub(crate) const GROUP_SEEN: &str = concat!(
    "groups.name IN (",
    keys_in_projects!("groups", "name"),
    " UNION ALL SELECT value FROM json_each(?1, '$.groups'))"
);

/// Condition on a row of a table of what was asked for a device or a group.
macro_rules! target_seen {
    ($table:literal) => {
        concat!(
            $table,
            ".id IN (",
            keys_in_projects!($table, "id"),
            " UNION ALL SELECT seen.id FROM json_each(?1, '$.groups') CROSS JOIN ",
            $table,
            " AS seen WHERE seen.target_group = value UNION ALL SELECT seen.id FROM json_each(?1, '$.groups') \
             CROSS JOIN group_devices CROSS JOIN ",
            $table,
            " AS seen WHERE group_devices.name = value AND seen.target_device = group_devices.device)"
        )
    };
}

/// Condition on a row of `deployments`.
pub(crate) const DEPLOYMENT_SEEN: &str = target_seen!("deployments");

/// The same for a row of `commands`.
pub(crate) const COMMAND_SEEN: &str = target_seen!("commands");

/// Condition on a row with the column `project` of `bundle_projects`. A bundle is seen in its project, above it, and below it, because it
/// can be deployed there.
pub(crate) const BUNDLE_SEEN: &str = "(project = '' OR EXISTS (SELECT 1 FROM json_each(?1, '$.projects') WHERE project = value OR \
     substr(project, 1, length(value) + 1) = value || '/' OR substr(value, 1, length(project) + 1) = project || '/') \
     OR EXISTS (SELECT 1 FROM json_each(?1, '$.homes') WHERE value = project OR substr(value, 1, length(project) + 1) = project || '/'))";

// === impl Tx ===

impl Tx {
    /// What somebody with this credential may do; `None` if it is not valid any more.
    pub(crate) fn find_access(
        &self,
        credential: Credential,
        now_ms: i64,
    ) -> Result<Option<Access>, StoreError> {
        let found: Option<(String, i64, String, String)> = match credential {
            Credential::Session(hash) => self.row(
                "SELECT users.name, users.id, 'administrator', '' FROM sessions JOIN users ON users.id = \
                 sessions.user_id WHERE hash = ?1 AND expires_ms > ?2 AND disabled = 0",
                &[&hash, &now_ms],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )?,
            Credential::Token(id) => self.row(
                "SELECT users.name, users.id, role, access_tokens.project FROM access_tokens JOIN users ON \
                 users.id = access_tokens.user_id WHERE access_tokens.id = ?1 AND expires_ms > ?2 AND \
                 disabled = 0",
                &[&id, &now_ms],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )?,
        };
        let Some((user, id, limit, project)) = found else {
            return Ok(None);
        };
        let grants = self.held(id)?;
        Ok(Some(Access::new(user, id, grants, role(&limit)?, &project)))
    }

    /// What a user may do who is not shut out.
    pub(crate) fn user_access(&self, id: i64) -> Result<Option<Access>, StoreError> {
        let name: Option<String> = self.row(
            "SELECT name FROM users WHERE id = ?1 AND disabled = 0",
            &[&id],
            |row| row.get(0),
        )?;
        let Some(name) = name else {
            return Ok(None);
        };
        Ok(Some(Access::new(
            name,
            id,
            self.held(id)?,
            Role::Administrator,
            "",
        )))
    }

    /// The roles of a user.
    pub(crate) fn held(&self, user: i64) -> Result<Vec<Held>, StoreError> {
        self.rows(
            "SELECT id, role, grants.project, group_name, groups.project FROM grants LEFT JOIN groups ON \
             groups.name = group_name WHERE user_id = ?1 ORDER BY id",
            &[&user],
            |row| {
                let name: String = row.get(1)?;
                let scope = match row.get::<Option<String>>(2)? {
                    Some(project) => Scope::Project(project),
                    None => Scope::Group {
                        name: row.get(3)?,
                        project: row.get(4)?,
                    },
                };
                Ok(Held {
                    id: row.get(0)?,
                    role: role(&name)?,
                    scope,
                })
            },
        )
    }

    /// The user who shows the secret with this hash, and what the user may do.
    pub(crate) fn identify(
        &self,
        hash: &[u8; 32],
        now_ms: i64,
    ) -> Result<Option<(Actor, Access)>, StoreError> {
        let mut credential = Credential::Session(*hash);
        let mut access = self.find_access(credential, now_ms)?;
        if access.is_none() {
            let token = self.row("SELECT id FROM access_tokens WHERE hash = ?1", &[&hash], |row| {
                row.get(0)
            })?;
            let Some(token) = token else {
                return Ok(None);
            };
            credential = Credential::Token(token);
            access = self.find_access(credential, now_ms)?;
        }
        Ok(access.map(|access| (access.actor(credential), access)))
    }

    /// Where a device is.
    pub(crate) fn device_place(&self, id: &str) -> Result<Option<Place>, StoreError> {
        let project = self.row("SELECT project FROM devices WHERE id = ?1", &[&id], |row| {
            row.get(0)
        })?;
        let Some(project) = project else {
            return Ok(None);
        };
        Ok(Some(Place {
            project,
            groups: self.groups_of(id)?,
        }))
    }

    /// Where a group is.
    pub(crate) fn group_place(&self, name: &str) -> Result<Option<Place>, StoreError> {
        let project: Option<String> =
            self.row("SELECT project FROM groups WHERE name = ?1", &[&name], |row| {
                row.get(0)
            })?;
        Ok(project.map(|project| Place {
            project,
            groups: vec![name.to_owned()],
        }))
    }

    /// Where a deployment is: where its target is.
    pub(crate) fn deployment_place(&self, id: u64) -> Result<Option<Place>, StoreError> {
        self.target_place(
            "SELECT project, target_device, target_group FROM deployments WHERE id = ?1",
            id,
        )
    }

    /// Where something is that was asked for a device or a group: in its project, in that group, and in those of the device. The query
    /// gives these three of the thing with the number `?1`.
    pub(crate) fn target_place(&self, query: &str, id: u64) -> Result<Option<Place>, StoreError> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(None);
        };
        let found: Option<(String, Option<String>, Option<String>)> =
            self.row(query, &[&id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let Some((project, device, group)) = found else {
            return Ok(None);
        };
        let mut groups: Vec<String> = group.into_iter().collect();
        if let Some(device) = device {
            groups.extend(self.groups_of(&device)?);
        }
        Ok(Some(Place { project, groups }))
    }
}

#[cfg(test)]
mod tests {
    use homeport_api::Permission;

    use super::*;
    use crate::store::Store;

    /// What SQL says is what the rules say, for every kind of right and place.
    #[tokio::test]
    async fn queries_and_rules_agree() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let checked = store
            .write(|tx| {
                let projects = ["", "acme", "acme/plant", "acme2", "beta"];
                for project in projects {
                    tx.insert_project(project, 0)?;
                    let id = format!("d{}", project.replace('/', "-"));
                    tx.insert_device(0, &id, &id, None, project)?;
                    let group = if project.is_empty() {
                        "g".to_owned()
                    } else {
                        format!("{project}/g")
                    };
                    tx.create_group(&group, project)?;
                    tx.join_group(&group, &id)?;
                }
                tx.join_group("g", "dacme")?;
                let scopes = projects
                    .map(|path| Scope::Project(path.to_owned()))
                    .into_iter()
                    .chain(
                        [("g", ""), ("acme/g", "acme")].map(|(name, project)| Scope::Group {
                            name: name.to_owned(),
                            project: project.to_owned(),
                        }),
                    );
                let mut checked = 0;
                for scope in scopes {
                    let held = Held {
                        id: 1,
                        role: Role::Viewer,
                        scope,
                    };
                    let access = Access::new("a".to_owned(), 1, vec![held], Role::Administrator, "");
                    let scope = access.scope(Permission::DeviceRead);
                    let seen = |query: &str| -> Result<Vec<String>, StoreError> {
                        tx.rows(query, &[&scope], |row| row.get(0))
                    };
                    let devices = seen(&format!(
                        "SELECT id FROM devices WHERE {}",
                        limited(&scope, DEVICE_SEEN)
                    ))?;
                    let groups = seen(&format!(
                        "SELECT name FROM groups WHERE {}",
                        limited(&scope, GROUP_SEEN)
                    ))?;
                    for project in projects {
                        let id = format!("d{}", project.replace('/', "-"));
                        let place = tx.device_place(&id)?.unwrap();
                        assert_eq!(
                            devices.contains(&id),
                            access.allows(Permission::DeviceRead, &place),
                            "{access:?} {id}"
                        );
                        let group = if project.is_empty() {
                            "g".to_owned()
                        } else {
                            format!("{project}/g")
                        };
                        let place = tx.group_place(&group)?.unwrap();
                        assert_eq!(
                            groups.contains(&group),
                            access.allows(Permission::GroupRead, &place),
                            "{access:?} {group}"
                        );
                        checked += 2;
                    }
                }
                Ok::<_, StoreError>(checked)
            })
            .await
            .unwrap();
        assert_eq!(checked, 70);
    }
}
