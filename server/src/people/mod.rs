//! People: passwords and logins.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use homeport_api::{Role, Session, User, UserKind};

pub(crate) mod http;
mod rows;
mod token_rows;
mod tokens;
mod user_rows;
mod users;

pub use self::rows::Account;
use crate::{
    access::{Access, Actor, Credential},
    audit::FAILED_LOGIN,
    files::{self, FileError},
    fleet::{Fleet, FleetError, effects::Effect},
    limits::network,
    now_ms,
    passwords::{
        failed_logins::{self, Failures},
        hash, random_password,
    },
    random, sha256,
    store::{Store, StoreError, Tx},
};

/// Shortest and longest new password, in characters.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=256;

/// Longest user name and password that the server checks, in bytes.
const MAX_INPUT: usize = 1024;

/// How long a login lasts, in milliseconds.
const SESSION_LIFE: i64 = 24 * 60 * 60 * 1000;

const FIRST_ADMIN: &str = "admin";
pub(crate) const FIRST_ADMIN_PASSWORD: &str = "first-admin-password";

/// Why a login is refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Wrong user or password.
    #[error("user name or password is wrong")]
    Wrong,
    /// Too many wrong attempts before, or too many at a time.
    #[error("too many logins: try again in {} seconds", .0.as_secs().max(1))]
    Throttled(Duration),
    /// Everything else.
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

/// Makes the first user of a new server. Only a file that the administrator can read holds the password.
pub async fn create_first_admin(store: &Store, data_dir: &Path) -> Result<(), FleetError> {
    if !store.read(Tx::has_no_users).await? {
        return Ok(());
    }
    let path = data_dir.join(FIRST_ADMIN_PASSWORD);
    let password = random_password();
    files::write_private(&path, format!("{password}\n").as_bytes()).map_err(|source| FileError {
        path: path.clone(),
        source,
    })?;
    let hash = hash(&password)?;
    store
        .write(move |tx| {
            let now_ms = now_ms();
            let id = tx.insert_user(now_ms, FIRST_ADMIN, &hash, UserKind::Person, "")?;
            tx.set_grant(id, Role::Administrator, Some(""), None)?;
            tx.audit(now_ms, "", "system", "user.create", FIRST_ADMIN, "first start")
        })
        .await?;
    tracing::info!(user = FIRST_ADMIN, password_file = %path.display(), "made the first user");
    Ok(())
}

/// Gives a user a new random password, ends the user's logins and access tokens, lets the user in again, and returns the password. If nobody may do
/// everything any more, the user may from now on: whoever can write the database may appoint somebody.
pub async fn reset_password(store: &Store, user: String) -> Result<String, FleetError> {
    let password = random_password();
    let hash = hash(&password)?;
    store
        .write(move |tx| {
            let Some(account) = tx.user(&user)? else {
                return Err(FleetError::NotFound {
                    what: "user",
                    id: user.clone(),
                });
            };
            if account.kind == UserKind::Service {
                return Err(FleetError::Invalid(format!(
                    "`{user}` is a service and has no password"
                )));
            }
            tx.set_password(account.id, &hash, None)?;
            tx.delete_access_tokens_of(account.id)?;
            tx.set_disabled(account.id, false)?;
            if !tx.has_administrator()? {
                tx.set_grant(account.id, Role::Administrator, Some(""), None)?;
            }
            Ok(tx.audit(now_ms(), "", "system", "user.reset-password", &user, "")?)
        })
        .await?;
    Ok(password)
}

// === impl LoginError ===

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        Self::Fleet(error.into())
    }
}

// === impl Fleet ===

impl Fleet {
    /// Logs a person in.
    pub async fn log_in(
        &self,
        address: IpAddr,
        user: String,
        password: String,
    ) -> Result<Session, LoginError> {
        if user.len() > MAX_INPUT || password.len() > MAX_INPUT {
            return Err(LoginError::Wrong);
        }
        let account = self.check_password(address, &user, password).await?;
        self.take_own(account.id)?;
        let token = URL_SAFE_NO_PAD.encode(random::<32>());
        let hash = sha256(token.as_bytes());
        let now_ms = now_ms();
        let expires_ms = now_ms + SESSION_LIFE;
        let user = self
            .0
            .store
            .write(move |tx| {
                still_has_password(tx, &account)?;
                tx.insert_session(&hash, account.id, now_ms, expires_ms)?;
                let name = &account.name;
                tx.audit(
                    now_ms,
                    &account.project,
                    name,
                    "session.create",
                    name,
                    &address.to_string(),
                )?;
                let access = tx
                    .find_access(Credential::Session(hash), now_ms)?
                    .ok_or(LoginError::Wrong)?;
                Ok::<_, LoginError>(shown(&access))
            })
            .await?;
        Ok(Session {
            token,
            user,
            expires_ms,
        })
    }

    /// The user whose session's token, or access token, this is, and what the user may do at this moment.
    pub async fn authenticate(&self, token: &str) -> Result<Option<(Actor, Access)>, FleetError> {
        let hash = sha256(token.as_bytes());
        let read = self.0.store.read_login(move |tx| tx.identify(&hash, now_ms()));
        let found = read.await?;
        if let Some((actor, _)) = &found {
            self.note_use(actor);
        }
        Ok(found)
    }

    /// The user who is logged in.
    pub async fn who(&self, actor: &Actor) -> Result<User, FleetError> {
        let access = self.access(actor).await?.ok_or(FleetError::NotLoggedIn)?;
        Ok(shown(&access))
    }

    /// Ends a login.
    pub async fn log_out(&self, actor: &Actor) -> Result<(), FleetError> {
        let session = session(actor)?;
        self.act(actor, move |tx, access, effects| {
            let user = &access.user;
            tx.delete_session(&session)?;
            effects.push(Effect::Rights);
            let project = tx.user_project(access.id)?;
            tx.audit(now_ms(), &project, user, "session.delete", user, "")?;
            Ok(())
        })
        .await
    }

    /// Changes a person's password, and ends that person's other logins.
    pub async fn change_password(
        &self,
        address: IpAddr,
        actor: &Actor,
        current: String,
        new: String,
    ) -> Result<(), LoginError> {
        if !PASSWORD_LENGTH.contains(&new.chars().count()) || new.len() > MAX_INPUT {
            return Err(FleetError::Invalid(format!(
                "a password has {} to {} characters",
                PASSWORD_LENGTH.start(),
                PASSWORD_LENGTH.end()
            ))
            .into());
        }
        let session = session(actor)?;
        let account = self.check_password(address, &actor.user, current).await?;
        self.take_own(account.id)?;
        let hash = self.0.passwords.run(move || hash(&new)).await??;
        self.change(move |tx, effects| {
            still_has_password(tx, &account)?;
            tx.set_password(account.id, &hash, Some(&session))?;
            effects.push(Effect::Rights);
            let user = &account.name;
            tx.audit(now_ms(), &account.project, user, "user.change-password", user, "")?;
            Ok::<_, LoginError>(())
        })
        .await
    }

    /// Takes one from what a person may do to the own account. That needs no role, and stays in the audit record for long.
    fn take_own(&self, user: i64) -> Result<(), FleetError> {
        self.0.budgets.own.take(&user, 1).map_err(FleetError::TooOften)
    }

    /// The account, if this is its password and the limits allow the attempt.
    async fn check_password(
        &self,
        address: IpAddr,
        user: &str,
        password: String,
    ) -> Result<Account, LoginError> {
        let passwords = &self.0.passwords;
        // Counted before the check, so that concurrent attempts cannot slip through.
        let attempt = match passwords.attempts.begin(address, user) {
            Ok(attempt) => attempt,
            Err(wait) => {
                self.note_failure(address, user).await;
                return Err(LoginError::Throttled(wait));
            }
        };
        let name = user.to_owned();
        let account = self
            .0
            .store
            .read_login(move |tx| tx.user(&name))
            .await
            .map_err(FleetError::from)?
            .filter(Account::may_log_in);
        let hash = account.as_ref().map(|account| account.password.clone());
        let right = passwords.check(password, hash).await?;
        if let Some(account) = account.filter(|_| right) {
            attempt.succeeded();
            return Ok(account);
        }
        drop(attempt);
        tracing::warn!(%address, "failed login");
        self.note_failure(address, user).await;
        Err(LoginError::Wrong)
    }

    async fn note_failure(&self, address: IpAddr, user: &str) {
        let noted = self.0.passwords.failed.note(network(address), user);
        if noted.begun {
            let fleet = Arc::downgrade(&self.0);
            tokio::spawn(async move {
                tokio::time::sleep(failed_logins::WINDOW).await;
                if let Some(fleet) = fleet.upgrade().map(Fleet) {
                    let rest = fleet.0.passwords.failed.drain();
                    fleet.audit_failures(rest).await;
                }
            });
        }
        if let Some(failures) = noted.write {
            self.audit_failures(vec![failures]).await;
        }
    }

    async fn audit_failures(&self, failures: Vec<Failures>) {
        let written = self.0.store.write(move |tx| {
            failures.iter().try_for_each(|failures| {
                tx.audit(
                    now_ms(),
                    "",
                    "stranger",
                    FAILED_LOGIN,
                    &failures.user,
                    &failures.detail(),
                )
            })
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "cannot note failed logins in the audit log");
        }
    }
}

/// The rights of somebody who is logged in, for that person.
fn shown(access: &Access) -> User {
    User {
        name: access.user.clone(),
        grants: access.grants(),
        permissions: access.permissions().into_iter().collect(),
    }
}

/// The session that an actor showed. An access token is none: it can neither log out nor change the password.
fn session(actor: &Actor) -> Result<[u8; 32], FleetError> {
    match actor.credential {
        Credential::Session(session) => Ok(session),
        Credential::Token(_) => Err(FleetError::Conflict {
            kind: "no-session",
            detail: "an access token is no login: log in with a password to do this".into(),
        }),
    }
}

/// The password may have changed since the check: it must not open a session that the change would have ended.
fn still_has_password(tx: &Tx, checked: &Account) -> Result<(), LoginError> {
    let now = tx.user(&checked.name)?.filter(Account::may_log_in);
    if now.is_some_and(|account| account.password == checked.password) {
        return Ok(());
    }
    Err(LoginError::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_that_was_changed_since_it_was_checked_opens_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        create_first_admin(&store, directory.path()).await.unwrap();
        let checked = store.read(|tx| tx.user(FIRST_ADMIN)).await.unwrap().unwrap();
        let ask = |checked: Account| store.read(move |tx| still_has_password(tx, &checked));
        assert!(ask(checked.clone()).await.is_ok());
        reset_password(&store, FIRST_ADMIN.to_owned()).await.unwrap();
        assert!(matches!(ask(checked).await, Err(LoginError::Wrong)));
    }
}
