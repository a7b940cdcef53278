//! Pairing tokens.

use homeport_api::{NewPairingToken, Page, PairingTokenInfo};

use crate::access::{self, TOKEN_SEEN, limited};
use crate::store::{Paging, Row, StoreError, Tx};

/// A token, with the facts that a check needs.
#[derive(Debug, Clone)]
pub struct Token {
    /// The part that people see.
    pub info: PairingTokenInfo,
    /// The device that it pairs again, if it is for one.
    pub device: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// SHA-256 of the public key that was certified for it.
    pub used_key: Option<[u8; 32]>,
    /// The user whose right it relies on; `None` for a token of an older database.
    pub maker: Option<i64>,
}

const COLUMNS: &str =
    "id, created_ms, created_by, expires_ms, device_name, used_by, device, revoked, used_key, project, maker";

// === impl Tx ===

impl Tx {
    /// Adds a token; `hash` is the hash of its secret.
    pub fn insert_token(
        &self,
        hash: &[u8; 32],
        now_ms: i64,
        expires_ms: i64,
        created_by: &str,
        new: &NewPairingToken,
        (maker, project): (i64, &str),
    ) -> Result<PairingTokenInfo, StoreError> {
        Ok(self.one(
            &format!(
                "INSERT INTO pairing_tokens (hash, created_ms, created_by, expires_ms, device_name, device, \
                 project, maker) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING {COLUMNS}"
            ),
            &[&hash, &now_ms, &created_by, &expires_ms, &new.device_name, &new.device, &project, &maker],
            token,
        )?.info)
    }

    /// The token whose secret has this hash.
    pub fn token(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        self.row(
            &format!("SELECT {COLUMNS} FROM pairing_tokens WHERE hash = ?1"),
            &[&hash],
            token,
        )
    }

    /// Tokens of a scope that were not revoked, newest first.
    pub fn tokens(&self, scope: &str, paging: &Paging<u64>) -> Result<Page<PairingTokenInfo>, StoreError> {
        let after = paging.below();
        let rows = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM pairing_tokens WHERE {TOKEN_SEEN} AND revoked = 0 AND id < ?2 ORDER \
                 BY id DESC LIMIT ?3",
                TOKEN_SEEN = limited(scope, TOKEN_SEEN)
            ),
            &[&scope, &after, &paging.rows()],
            |row| Ok(token(row)?.info),
        )?;
        Ok(paging.page(rows, |token: &PairingTokenInfo| token.id)?)
    }

    /// Number of a project's tokens that can still be used.
    pub fn count_unused_tokens(&self, project: &str, now_ms: i64) -> Result<usize, StoreError> {
        self.value(
            "SELECT count(*) FROM pairing_tokens \
                 WHERE project = ?1 AND used_by IS NULL AND revoked = 0 AND expires_ms > ?2",
            &[&project, &now_ms],
        )
    }

    /// The project of a token that was not revoked.
    pub fn token_project(&self, id: u64) -> Result<Option<String>, StoreError> {
        self.row(
            "SELECT project FROM pairing_tokens WHERE id = ?1 AND revoked = 0",
            &[&id],
            |row| row.get(0),
        )
    }

    /// Moves the tokens that a device used, or that pair it again, to its project.
    pub fn move_tokens(&self, device: &str, project: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE pairing_tokens SET project = ?1 WHERE used_by = ?2 OR device = ?2",
            &[&project, &device],
        )?;
        Ok(())
    }

    /// Notes the device that used a token, and its key.
    pub fn use_token(&self, id: u64, device: &str, key: &[u8; 32]) -> Result<(), StoreError> {
        self.execute(
            "UPDATE pairing_tokens SET used_by = ?1, used_key = ?2 WHERE id = ?3",
            &[&device, &key, &id],
        )?;
        Ok(())
    }

    /// Revokes a token, and returns whether there was one.
    pub fn revoke_token(&self, id: u64) -> Result<bool, StoreError> {
        let revoked = self.execute(
            "UPDATE pairing_tokens SET revoked = 1 WHERE id = ?1 AND revoked = 0",
            &[&id],
        )?;
        Ok(revoked == 1)
    }

    /// Revokes the unused tokens that were made to pair this device again.
    pub fn revoke_tokens_for(&self, device: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE pairing_tokens SET revoked = 1 WHERE device = ?1 AND used_by IS NULL",
            &[&device],
        )?;
        Ok(())
    }

    /// Forgets the keys of the tokens that this device used, so that those keys get no further certificate.
    pub fn forget_token_keys(&self, device: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE pairing_tokens SET used_key = NULL WHERE used_by = ?1",
            &[&device],
        )?;
        Ok(())
    }

    /// Forgets tokens that expired before `before_ms`.
    pub fn prune_tokens(&self, before_ms: i64) -> Result<(), StoreError> {
        self.execute("DELETE FROM pairing_tokens WHERE expires_ms < ?1", &[&before_ms])?;
        Ok(())
    }
}

fn token(row: Row<'_>) -> Result<Token, StoreError> {
    Ok(Token {
        info: PairingTokenInfo {
            id: row.get(0)?,
            created_ms: row.get(1)?,
            created_by: row.get(2)?,
            expires_ms: row.get(3)?,
            device_name: row.get(4)?,
            used_by: row.get(5)?,
            project: access::path(row.get(9)?),
        },
        device: row.get(6)?,
        revoked: row.get(7)?,
        used_key: row.get(8)?,
        maker: row.get(10)?,
    })
}
