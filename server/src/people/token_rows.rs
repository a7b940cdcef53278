//! Access tokens.

use homeport_api::{AccessToken, NewAccessToken, Page};
use rusqlite::{OptionalExtension as _, Row, params};

use crate::access;
use crate::store::{Paging, StoreError, Tx};

const COLUMNS: &str = "id, name, role, project, created_ms, expires_ms, last_used_ms";

// === impl Tx ===

impl Tx {
    /// Adds an access token; `hash` is the hash of its secret.
    pub fn insert_access_token(
        &self,
        hash: &[u8; 32],
        user: i64,
        now_ms: i64,
        expires_ms: i64,
        new: &NewAccessToken,
    ) -> Result<AccessToken, StoreError> {
        let project = new.project.as_deref().unwrap_or_default();
        let mut statement = self.0.prepare_cached(&format!(
            "INSERT INTO access_tokens (hash, user, name, role, project, created_ms, expires_ms) \
             VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}"
        ))?;
        let values = params![
            hash,
            user,
            new.name,
            new.role.as_str(),
            project,
            now_ms,
            expires_ms
        ];
        statement.query_row(values, |row| Ok(token(row)))?
    }

    /// Forgets access tokens that have expired.
    pub fn prune_access_tokens(&self, now_ms: i64) -> Result<(), StoreError> {
        self.0
            .prepare_cached("DELETE FROM access_tokens WHERE expires_ms <= ?")?
            .execute([now_ms])?;
        Ok(())
    }

    /// Number of a user's access tokens.
    pub fn count_access_tokens(&self, user: i64) -> Result<usize, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT count(*) FROM access_tokens WHERE user = ?")?
            .query_row([user], |row| row.get(0))?)
    }

    /// A user's access tokens, newest first.
    pub fn access_tokens(&self, user: i64, paging: &Paging<u64>) -> Result<Page<AccessToken>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM access_tokens WHERE user = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![user, paging.below(), paging.rows()])?;
        let mut tokens = Vec::new();
        while let Some(row) = rows.next()? {
            tokens.push(token(row)?);
        }
        Ok(paging.page(tokens, |token: &AccessToken| token.id)?)
    }

    /// Deletes a user's access token, and returns its name if there was one.
    pub fn delete_access_token(&self, user: i64, id: u64) -> Result<Option<String>, StoreError> {
        Ok(self
            .0
            .prepare_cached("DELETE FROM access_tokens WHERE user = ? AND id = ? RETURNING name")?
            .query_row(params![user, id], |row| row.get(0))
            .optional()?)
    }

    /// Deletes every access token of a user.
    pub fn delete_access_tokens_of(&self, user: i64) -> Result<(), StoreError> {
        self.0
            .prepare_cached("DELETE FROM access_tokens WHERE user = ?")?
            .execute([user])?;
        Ok(())
    }

    /// Deletes every access token.
    pub fn delete_access_tokens(&self) -> Result<(), StoreError> {
        self.0.prepare_cached("DELETE FROM access_tokens")?.execute([])?;
        Ok(())
    }

    /// Notes when an access token was used.
    pub fn access_token_used(&self, id: i64, now_ms: i64) -> Result<(), StoreError> {
        self.0
            .prepare_cached("UPDATE access_tokens SET last_used_ms = ? WHERE id = ?")?
            .execute([now_ms, id])?;
        Ok(())
    }
}

fn token(row: &Row<'_>) -> Result<AccessToken, StoreError> {
    let role: String = row.get(2)?;
    Ok(AccessToken {
        id: row.get(0)?,
        name: row.get(1)?,
        role: access::role(&role)?,
        project: access::path(row.get(3)?),
        created_ms: row.get(4)?,
        expires_ms: row.get(5)?,
        last_used_ms: row.get(6)?,
    })
}
