//! People and their logins.

use homeport_api::UserKind;

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
        self.value("SELECT NOT EXISTS (SELECT 1 FROM users)", &[])
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
        self.value(
            "INSERT INTO users (name, password, created_ms, kind, project) VALUES (?1, ?2, ?3, ?4, ?5) \
             RETURNING id",
            &[&name, &password, &now_ms, &kind_name(kind), &project],
        )
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.row(
            "SELECT id, name, password, kind, disabled, project FROM users WHERE name = ?1",
            &[&name],
            |row| {
                Ok(Account {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    password: row.get(2)?,
                    kind: kind(&row.get::<String>(3)?),
                    disabled: row.get(4)?,
                    project: row.get(5)?,
                })
            },
        )
    }

    /// Past logins, newest first: user name and address, as the audit log has them.
    pub fn logins(&self, limit: u32) -> Result<Vec<(String, String)>, StoreError> {
        self.rows(
            "SELECT subject, detail FROM audit WHERE action = 'session.create' ORDER BY id DESC LIMIT ?1",
            &[&limit],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Sets a password and ends every login but `keep`.
    pub fn set_password(&self, user: i64, password: &str, keep: Option<&[u8; 32]>) -> Result<(), StoreError> {
        self.execute(
            "UPDATE users SET password = ?1 WHERE id = ?2",
            &[&password, &user],
        )?;
        self.execute(
            "DELETE FROM sessions WHERE user_id = ?1 AND hash IS DISTINCT FROM ?2",
            &[&user, &keep],
        )?;
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
        self.execute(
            "UPDATE users SET last_login_ms = ?1 WHERE id = ?2",
            &[&now_ms, &user],
        )?;
        self.execute("DELETE FROM sessions WHERE expires_ms <= ?1", &[&now_ms])?;
        self.execute(
            "INSERT INTO sessions (hash, user_id, expires_ms) VALUES (?1, ?2, ?3)",
            &[&hash, &user, &expires_ms],
        )?;
        self.execute(
            "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE user_id = ?1 AND hash <> \
             ?2 ORDER BY expires_ms DESC LIMIT 9223372036854775807 OFFSET ?3)",
            &[&user, &hash, &(SESSIONS_OF_USER - 1)],
        )?;
        Ok(())
    }

    /// Ends every login.
    pub fn delete_sessions(&self) -> Result<(), StoreError> {
        self.execute("DELETE FROM sessions", &[])?;
        Ok(())
    }

    /// Ends a login.
    pub fn delete_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.execute("DELETE FROM sessions WHERE hash = ?1", &[&hash])?;
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
        let store = Store::for_test(directory.path());
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
