//! Access tokens.

use homeport_api::{AccessToken, NewAccessToken, Page};

use crate::access;
use crate::store::{Paging, Row, StoreError, Tx};

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
        self.one(
            &format!(
                "INSERT INTO access_tokens (hash, user_id, name, role, project, created_ms, expires_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING {COLUMNS}"
            ),
            &[
                &hash,
                &user,
                &new.name,
                &new.role.as_str(),
                &project,
                &now_ms,
                &expires_ms,
            ],
            token,
        )
    }

    /// Forgets access tokens that have expired.
    pub fn prune_access_tokens(&self, now_ms: i64) -> Result<(), StoreError> {
        self.execute("DELETE FROM access_tokens WHERE expires_ms <= ?1", &[&now_ms])?;
        Ok(())
    }

    /// Number of a user's access tokens.
    pub fn count_access_tokens(&self, user: i64) -> Result<usize, StoreError> {
        self.value("SELECT count(*) FROM access_tokens WHERE user_id = ?1", &[&user])
    }

    /// A user's access tokens, newest first.
    pub fn access_tokens(&self, user: i64, paging: &Paging<u64>) -> Result<Page<AccessToken>, StoreError> {
        let tokens = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM access_tokens WHERE user_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
            ),
            &[&user, &paging.below(), &paging.rows()],
            token,
        )?;
        Ok(paging.page(tokens, |token: &AccessToken| token.id)?)
    }

    /// Deletes a user's access token, and returns its name if there was one.
    pub fn delete_access_token(&self, user: i64, id: u64) -> Result<Option<String>, StoreError> {
        self.row(
            "DELETE FROM access_tokens WHERE user_id = ?1 AND id = ?2 RETURNING name",
            &[&user, &id],
            |row| row.get(0),
        )
    }

    /// Deletes every access token of a user.
    pub fn delete_access_tokens_of(&self, user: i64) -> Result<(), StoreError> {
        self.execute("DELETE FROM access_tokens WHERE user_id = ?1", &[&user])?;
        Ok(())
    }

    /// Deletes every access token.
    pub fn delete_access_tokens(&self) -> Result<(), StoreError> {
        self.execute("DELETE FROM access_tokens", &[])?;
        Ok(())
    }

    /// Notes when an access token was used.
    pub fn access_token_used(&self, id: i64, now_ms: i64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE access_tokens SET last_used_ms = ?1 WHERE id = ?2",
            &[&now_ms, &id],
        )?;
        Ok(())
    }
}

fn token(row: Row<'_>) -> Result<AccessToken, StoreError> {
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
