//! Users and their roles.

use homeport_api::{Page, Role, UserInfo, UserKind};
use rusqlite::{OptionalExtension as _, Row, params};

use crate::access::{self, IN_PROJECT, limited};
use crate::store::{Paging, StoreError, Tx};

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
        let found = self
            .0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE name = ?"))?
            .query_row([name], user)
            .optional()?;
        found.map(|found| self.with_grants(found)).transpose()
    }

    /// Number of users who belong to a project.
    pub fn count_users(&self, project: &str) -> Result<usize, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT count(*) FROM users WHERE project = ?")?
            .query_row([project], |row| row.get(0))?)
    }

    /// Whether there is a user of that name, in upper or lower case.
    pub fn has_user(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM users WHERE name = ? COLLATE NOCASE)")?
            .query_row([name], |row| row.get(0))?)
    }

    /// Users of a scope, and those who have a role in it, by name, with all their roles.
    pub fn users(&self, scope: &str, paging: &Paging<String>) -> Result<Page<UserInfo>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM users WHERE ({IN_PROJECT} OR EXISTS (SELECT 1 FROM grants LEFT JOIN groups ON groups.name = group_name, \
             json_each(?1, '$.projects') WHERE user = users.id AND (coalesce(grants.project, groups.project) = value OR \
             substr(coalesce(grants.project, groups.project), 1, length(value) + 1) = value || '/'))) AND name > ?2 ORDER BY name LIMIT ?3",
            IN_PROJECT = limited(scope, IN_PROJECT)
        ))?;
        let after = paging.after.as_deref().unwrap_or_default();
        let rows = statement.query_map(params![scope, after, paging.rows()], user)?;
        let mut users = Vec::new();
        for row in rows {
            users.push(self.with_grants(row?)?.1);
        }
        Ok(paging.page(users, |user: &UserInfo| user.name.clone())?)
    }

    fn with_grants(&self, (id, mut user): (i64, UserInfo)) -> Result<(i64, UserInfo), StoreError> {
        user.grants = self.held(id)?.into_iter().map(Into::into).collect();
        Ok((id, user))
    }

    /// Path of the project whose administrators manage a user.
    pub fn user_project(&self, id: i64) -> Result<String, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT project FROM users WHERE id = ?")?
            .query_row([id], |row| row.get(0))?)
    }

    /// Shuts a user out, or lets the user in again.
    pub fn set_disabled(&self, id: i64, disabled: bool) -> Result<(), StoreError> {
        self.0
            .prepare_cached("UPDATE users SET disabled = ? WHERE id = ?")?
            .execute(params![disabled, id])?;
        if disabled {
            self.0
                .prepare_cached("DELETE FROM sessions WHERE user = ?")?
                .execute([id])?;
        }
        Ok(())
    }

    /// Deletes a user with all roles, logins and access tokens.
    pub fn delete_user(&self, id: i64) -> Result<(), StoreError> {
        self.0
            .prepare_cached("DELETE FROM users WHERE id = ?")?
            .execute([id])?;
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
        self.0
            .prepare_cached("DELETE FROM grants WHERE user = ?1 AND project IS ?2 AND group_name IS ?3")?
            .execute(params![user, project, group])?;
        Ok(self
            .0
            .prepare_cached(
                "INSERT INTO grants (user, role, project, group_name) VALUES (?, ?, ?, ?) RETURNING id",
            )?
            .query_row(params![user, role.as_str(), project, group], |row| row.get(0))?)
    }

    /// Takes a role away.
    pub fn delete_grant(&self, id: u64) -> Result<(), StoreError> {
        self.0
            .prepare_cached("DELETE FROM grants WHERE id = ?")?
            .execute([id])?;
        Ok(())
    }

    /// Whether somebody who can log in may do everything.
    pub fn has_administrator(&self) -> Result<bool, StoreError> {
        Ok(self
            .0
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM grants JOIN users ON users.id = user WHERE grants.project = '' \
                 AND role = 'administrator' AND kind = 'person' AND disabled = 0)",
            )?
            .query_row([], |row| row.get(0))?)
    }
}

fn user(row: &Row<'_>) -> rusqlite::Result<(i64, UserInfo)> {
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
