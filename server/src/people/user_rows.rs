//! Users and their roles.

use homeport_api::{Page, Role, UserInfo, UserKind};

use crate::access::{self, IN_PROJECT, limited};
use crate::store::{Paging, Row, StoreError, Tx};

const COLUMNS: &str = "id, name, kind, project, disabled, created_ms, last_login_ms";

/// The name of a kind in the database.
pub(super) fn kind_name(kind: UserKind) -> &'static str {
    match kind {
        UserKind::Person => "person",
        UserKind::Service => "service",
    }
}

/// The kind of this name. An unknown one gets no password.
pub(super) fn kind(name: &str) -> UserKind {
    if name == "person" {
        UserKind::Person
    } else {
        UserKind::Service
    }
}

// === impl Tx ===

impl Tx {
    /// The user of that name and its row, with all its roles.
    pub fn user_info(&self, name: &str) -> Result<Option<(i64, UserInfo)>, StoreError> {
        let found = self.row(
            &format!("SELECT {COLUMNS} FROM users WHERE name = ?1"),
            &[&name],
            user,
        )?;
        found.map(|found| self.with_grants(found)).transpose()
    }

    /// Number of users who belong to a project.
    pub fn count_users(&self, project: &str) -> Result<usize, StoreError> {
        self.value("SELECT count(*) FROM users WHERE project = ?1", &[&project])
    }

    /// Whether there is a user of that name, in upper or lower case.
    pub fn has_user(&self, name: &str) -> Result<bool, StoreError> {
        self.value(
            "SELECT EXISTS (SELECT 1 FROM users WHERE lower(name) = ?1)",
            &[&name.to_ascii_lowercase()],
        )
    }

    /// Users of a scope, and those who have a role in it, by name, with all their roles.
    pub fn users(&self, scope: &str, paging: &Paging<String>) -> Result<Page<UserInfo>, StoreError> {
        let after = paging.after.as_deref().unwrap_or_default();
        let users = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM users WHERE ({IN_PROJECT} OR EXISTS (SELECT 1 FROM grants LEFT JOIN \
                 groups ON groups.name = group_name, json_each(?1, '$.projects') WHERE user_id = users.id \
                 AND (coalesce(grants.project, groups.project) = value OR substr(coalesce(grants.project, \
                 groups.project), 1, length(value) + 1) = value || '/'))) AND name > ?2 ORDER BY name LIMIT \
                 ?3",
                IN_PROJECT = limited(scope, IN_PROJECT)
            ),
            &[&scope, &after, &paging.rows()],
            |row| Ok(self.with_grants(user(row)?)?.1),
        )?;
        Ok(paging.page(users, |user: &UserInfo| user.name.clone())?)
    }

    fn with_grants(&self, (id, mut user): (i64, UserInfo)) -> Result<(i64, UserInfo), StoreError> {
        user.grants = self.held(id)?.into_iter().map(Into::into).collect();
        Ok((id, user))
    }

    /// Path of the project whose administrators manage a user.
    pub fn user_project(&self, id: i64) -> Result<String, StoreError> {
        self.value("SELECT project FROM users WHERE id = ?1", &[&id])
    }

    /// Shuts a user out, or lets the user in again.
    pub fn set_disabled(&self, id: i64, disabled: bool) -> Result<(), StoreError> {
        self.execute("UPDATE users SET disabled = ?1 WHERE id = ?2", &[&disabled, &id])?;
        if disabled {
            self.execute("DELETE FROM sessions WHERE user_id = ?1", &[&id])?;
        }
        Ok(())
    }

    /// Deletes a user with all roles, logins and access tokens.
    pub fn delete_user(&self, id: i64) -> Result<(), StoreError> {
        self.execute("DELETE FROM users WHERE id = ?1", &[&id])?;
        Ok(())
    }

    /// Gives a user a role on a project, of which the empty path is everything, or on a group, instead of the role that the user has there.
    /// Returns its number.
    pub fn set_grant(
        &self,
        user: i64,
        role: Role,
        project: Option<&str>,
        group: Option<&str>,
    ) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM grants WHERE user_id = ?1 AND project IS NOT DISTINCT FROM ?2 AND group_name IS \
             NOT DISTINCT FROM ?3",
            &[&user, &project, &group],
        )?;
        self.value(
            "INSERT INTO grants (user_id, role, project, group_name) VALUES (?1, ?2, ?3, ?4) RETURNING id",
            &[&user, &role.as_str(), &project, &group],
        )
    }

    /// Takes a role away.
    pub fn delete_grant(&self, id: u64) -> Result<(), StoreError> {
        self.execute("DELETE FROM grants WHERE id = ?1", &[&id])?;
        Ok(())
    }

    /// Whether somebody who can log in may do everything.
    pub fn has_administrator(&self) -> Result<bool, StoreError> {
        self.value(
            "SELECT EXISTS (SELECT 1 FROM grants JOIN users ON users.id = user_id WHERE grants.project = '' \
                 AND role = 'administrator' AND kind = 'person' AND disabled = 0)",
            &[],
        )
    }
}

fn user(row: Row<'_>) -> Result<(i64, UserInfo), StoreError> {
    let name: String = row.get(2)?;
    Ok((
        row.get(0)?,
        UserInfo {
            name: row.get(1)?,
            kind: kind(&name),
            project: access::path(row.get(3)?),
            disabled: row.get(4)?,
            created_ms: row.get(5)?,
            last_login_ms: row.get(6)?,
            grants: Vec::new(),
        },
    ))
}
