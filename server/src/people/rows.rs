//! People and their logins.

use homeport_api::UserKind;
use rusqlite::{OptionalExtension as _, params};

use super::user_rows::{kind, kind_name};
use crate::store::{StoreError, Tx};

/// A person's account, for the check of a password.
#[derive(Debug, Clone)]
pub struct Account {
    /// Row.
    pub id: i64,
    /// User name.
    pub name: String,
    /// PHC string; empty for a service.
    pub password: String,
    /// Person or service.
    pub kind: UserKind,
    /// Whether the user is shut out.
    pub disabled: bool,
    /// Path of the project whose administrators manage the user.
    pub project: String,
}

/// Logins of one person at a time.
const SESSIONS_OF_USER: u32 = 100;

// === impl Account ===

impl Account {
    /// Whether a password opens it.
    pub(super) fn may_log_in(&self) -> bool {
        self.kind == UserKind::Person && !self.disabled
    }
}

// === impl Tx ===

impl Tx {
    /// Whether there are no users yet.
    pub fn has_no_users(&self) -> Result<bool, StoreError> {
        Ok(self
            .0
            .query_row("SELECT NOT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))?)
    }

    /// Adds a user, and returns its row.
    pub fn insert_user(
        &self,
        now_ms: i64,
        name: &str,
        password: &str,
        kind: UserKind,
        project: &str,
    ) -> Result<i64, StoreError> {
        Ok(self
            .0
            .prepare_cached(
                "INSERT INTO users (name, password, created_ms, kind, project) VALUES (?, ?, ?, ?, ?) RETURNING id",
            )?
            .query_row(params![name, password, now_ms, kind_name(kind), project], |row| row.get(0))?)
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT id, name, password, kind, disabled, project FROM users WHERE name = ?")?;
        let account = statement.query_row([name], |row| {
            Ok(Account {
                id: row.get(0)?,
                name: row.get(1)?,
                password: row.get(2)?,
                kind: kind(&row.get::<_, String>(3)?),
                disabled: row.get(4)?,
                project: row.get(5)?,
            })
        });
        Ok(account.optional()?)
    }

    /// Past logins, newest first: user name and address, as the audit log has them.
    pub fn logins(&self, limit: u32) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT subject, detail FROM audit WHERE action = 'session.create' ORDER BY id DESC LIMIT ?",
        )?;
        let rows = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Sets a password and ends every login but `keep`.
    pub fn set_password(&self, user: i64, password: &str, keep: Option<&[u8; 32]>) -> Result<(), StoreError> {
        self.0
            .prepare_cached("UPDATE users SET password = ? WHERE id = ?")?
            .execute(params![password, user])?;
        self.0
            .prepare_cached("DELETE FROM sessions WHERE user = ? AND hash IS NOT ?")?
            .execute(params![user, keep])?;
        Ok(())
    }

    /// Adds a login; `hash` is the hash of its token. Forgets logins that have expired, and the person's oldest beyond
    /// [`SESSIONS_OF_USER`].
    pub fn insert_session(
        &self,
        hash: &[u8; 32],
        user: i64,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<(), StoreError> {
        self.0
            .prepare_cached("UPDATE users SET last_login_ms = ? WHERE id = ?")?
            .execute(params![now_ms, user])?;
        self.0
            .prepare_cached("DELETE FROM sessions WHERE expires_ms <= ?")?
            .execute([now_ms])?;
        self.0
            .prepare_cached("INSERT INTO sessions (hash, user, expires_ms) VALUES (?, ?, ?)")?
            .execute(params![hash, user, expires_ms])?;
        self.0
            .prepare_cached(
                "DELETE FROM sessions WHERE hash IN \
                 (SELECT hash FROM sessions WHERE user = ? AND hash <> ? ORDER BY expires_ms DESC LIMIT -1 OFFSET ?)",
            )?
            .execute(params![user, hash, SESSIONS_OF_USER - 1])?;
        Ok(())
    }

    /// Ends every login.
    pub fn delete_sessions(&self) -> Result<(), StoreError> {
        self.0.prepare_cached("DELETE FROM sessions")?.execute([])?;
        Ok(())
    }

    /// Ends a login.
    pub fn delete_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.0
            .prepare_cached("DELETE FROM sessions WHERE hash = ?")?
            .execute([hash])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn a_person_s_oldest_logins_give_way() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let live = store
            .write(|tx| {
                tx.insert_user(0, "a", "", UserKind::Person, "")?;
                tx.insert_user(0, "b", "", UserKind::Person, "")?;
                tx.insert_session(&[255; 32], 2, 0, 1)?;
                for login in 0..=u8::try_from(SESSIONS_OF_USER).unwrap() {
                    tx.insert_session(&[login; 32], 1, 0, i64::from(login) + 10)?;
                }
                [0, 1, 100, 255]
                    .iter()
                    .map(|login| tx.identify(&[*login; 32], 0))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await
            .unwrap();
        let live: Vec<_> = live
            .into_iter()
            .map(|actor| actor.map(|(actor, _)| actor.user))
            .collect();
        let of = |name: &str| Some(name.to_owned());
        assert_eq!(live, [None, of("a"), of("a"), of("b")]);
    }
}
