//! People: passwords and logins.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use argon2::{
    Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _,
    password_hash::{Salt, SaltString},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use homeport_api::{Session, User};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task};

use super::{Fleet, FleetError};
use crate::{
    files, now_ms, random, sha256,
    store::{Account, Store, StoreError, Tx},
};

/// Shortest and longest new password, in characters.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=256;

/// Longest user name and password that are looked at, in bytes.
const MAX_INPUT: usize = 1024;

/// How long a login lasts, in milliseconds.
const SESSION_LIFE: i64 = 24 * 60 * 60 * 1000;

/// Passwords that are checked at the same time: each takes 19 MiB and a core for some 50 ms.
const CHECKS: usize = 2;

/// Failures of one address for one user that cost nothing.
const FREE_FAILURES: u32 = 5;

/// Longest wait after a failure.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Addresses and users whose failures are remembered.
const REMEMBERED: usize = 10_000;

const FIRST_ADMIN: &str = "admin";
pub(crate) const FIRST_ADMIN_PASSWORD: &str = "first-admin-password";

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct Credential {
    /// User name.
    pub user: String,
    session: [u8; 32],
}

/// Why a login is refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Wrong user or password.
    #[error("user name or password is wrong")]
    Wrong,
    /// Too many wrong ones before.
    #[error("too many failed logins: try again in {} seconds", .0.as_secs().max(1))]
    Throttled(Duration),
    /// Everything else.
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

#[derive(Debug)]
pub(super) struct Accounts {
    checks: Arc<Semaphore>,
    /// Checked in place of a user who does not exist, so that both take the same time.
    decoy: String,
    failures: Mutex<HashMap<(IpAddr, String), Failures>>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    until: Instant,
}

/// Makes the first user of a new server. The password is only in a file that its administrator can read.
pub async fn create_first_admin(store: &Store, data_dir: &Path) -> Result<(), FleetError> {
    if !store.read(Tx::has_no_users).await? {
        return Ok(());
    }
    let path = data_dir.join(FIRST_ADMIN_PASSWORD);
    let password = random_password();
    files::write_private(&path, format!("{password}\n").as_bytes()).map_err(|source| {
        StoreError::Directory {
            path: path.clone(),
            source: source.into(),
        }
    })?;
    let hash = hash(&password)?;
    store
        .write(move |tx| {
            tx.insert_user(now_ms(), FIRST_ADMIN, &hash)?;
            tx.audit(now_ms(), "system", "user.create", FIRST_ADMIN, "first start")
        })
        .await?;
    tracing::info!(user = FIRST_ADMIN, password_file = %path.display(), "made the first user");
    Ok(())
}

/// Gives a user a new random password, ends the user's logins, and returns the password.
pub async fn reset_password(store: &Store, user: String) -> Result<String, FleetError> {
    let password = random_password();
    let hash = hash(&password)?;
    store
        .write(move |tx| {
            let Some(account) = tx.user(&user)? else {
                return Err(FleetError::NotFound {
                    what: "user",
                    id: user,
                });
            };
            tx.set_password(account.id, &hash, None)?;
            Ok(tx.audit(now_ms(), "system", "user.reset-password", &user, "")?)
        })
        .await?;
    Ok(password)
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
        let accounts = &self.0.accounts;
        let key = (address, user.clone());
        accounts.check_throttle(&key)?;
        let name = user.clone();
        let account = self
            .0
            .store
            .read(move |tx| tx.user(&name))
            .await
            .map_err(FleetError::from)?;
        let account = accounts.verify(account, password).await?;
        let Some(account) = account else {
            accounts.note_failure(key);
            tracing::warn!(%address, "failed login");
            return Err(LoginError::Wrong);
        };
        accounts.failures.lock().remove(&key);
        let token = URL_SAFE_NO_PAD.encode(random::<32>());
        let hash = sha256(token.as_bytes());
        let now_ms = now_ms();
        let expires_ms = now_ms + SESSION_LIFE;
        let actor = user.clone();
        self.0
            .store
            .write(move |tx| {
                tx.insert_session(&hash, account.id, now_ms, expires_ms)?;
                tx.audit(now_ms, &actor, "session.create", &actor, &address.to_string())
            })
            .await
            .map_err(FleetError::from)?;
        Ok(Session {
            token,
            user: User { name: user },
            expires_ms,
        })
    }

    /// Who is logged in with this token.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Credential>, FleetError> {
        let session = sha256(token.as_bytes());
        let user = self
            .0
            .store
            .read(move |tx| tx.session_user(&session, now_ms()))
            .await?;
        Ok(user.map(|user| Credential { user, session }))
    }

    /// Whether a login is still good.
    pub async fn is_logged_in(&self, credential: &Credential) -> Result<bool, FleetError> {
        let session = credential.session;
        let user = self
            .0
            .store
            .read(move |tx| tx.session_user(&session, now_ms()))
            .await?;
        Ok(user.is_some())
    }

    /// Ends a login.
    pub async fn log_out(&self, credential: Credential) -> Result<(), FleetError> {
        self.0
            .store
            .write(move |tx| {
                tx.delete_session(&credential.session)?;
                let user = &credential.user;
                Ok(tx.audit(now_ms(), user, "session.delete", user, "")?)
            })
            .await
    }

    /// Changes a person's password, and ends that person's other logins.
    pub async fn change_password(
        &self,
        address: IpAddr,
        credential: Credential,
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
        let accounts = &self.0.accounts;
        let key = (address, credential.user.clone());
        accounts.check_throttle(&key)?;
        let name = credential.user.clone();
        let account = self
            .0
            .store
            .read(move |tx| tx.user(&name))
            .await
            .map_err(FleetError::from)?;
        let Some(account) = accounts.verify(account, current).await? else {
            accounts.note_failure(key);
            return Err(LoginError::Wrong);
        };
        let hash = accounts.run(move || hash(&new)).await??;
        self.0
            .store
            .write(move |tx| {
                tx.set_password(account.id, &hash, Some(&credential.session))?;
                let user = &credential.user;
                tx.audit(now_ms(), user, "user.change-password", user, "")
            })
            .await
            .map_err(FleetError::from)?;
        Ok(())
    }
}

// === impl Accounts ===

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            checks: Arc::new(Semaphore::new(CHECKS)),
            decoy: hash(&random_password()).unwrap_or_default(),
            failures: Mutex::default(),
        }
    }

    /// The account, if this is its password.
    async fn verify(
        &self,
        account: Option<Account>,
        password: String,
    ) -> Result<Option<Account>, FleetError> {
        let hash = account
            .as_ref()
            .map_or_else(|| self.decoy.clone(), |account| account.password.clone());
        let right = self
            .run(move || {
                PasswordHash::new(&hash).is_ok_and(|hash| {
                    Argon2::default()
                        .verify_password(password.as_bytes(), &hash)
                        .is_ok()
                })
            })
            .await?;
        Ok(account.filter(|_| right))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FleetError> {
        let permit = Arc::clone(&self.checks)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let done = task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        Ok(done.await.map_err(|_| StoreError::Closed)?)
    }

    fn check_throttle(&self, key: &(IpAddr, String)) -> Result<(), LoginError> {
        let failures = self.failures.lock();
        let wait = failures
            .get(key)
            .map(|failures| failures.until.saturating_duration_since(Instant::now()));
        match wait {
            Some(wait) if !wait.is_zero() => Err(LoginError::Throttled(wait)),
            _ => Ok(()),
        }
    }

    fn note_failure(&self, key: (IpAddr, String)) {
        let now = Instant::now();
        let mut failures = self.failures.lock();
        if failures.len() >= REMEMBERED {
            failures.retain(|_, failures| failures.until + MAX_WAIT > now);
            if failures.len() >= REMEMBERED {
                failures.clear();
            }
        }
        let failures = failures.entry(key).or_insert(Failures { count: 0, until: now });
        failures.count += 1;
        if let Some(above) = failures.count.checked_sub(FREE_FAILURES) {
            let wait = Duration::from_secs(1 << above.min(9));
            failures.until = now + wait.min(MAX_WAIT);
        }
    }
}

fn hash(password: &str) -> Result<String, FleetError> {
    let failed = |error| FleetError::Invalid(format!("cannot hash the password: {error}"));
    let salt = SaltString::encode_b64(&random::<{ Salt::RECOMMENDED_LENGTH }>()).map_err(failed)?;
    // Argon2id with the parameters that OWASP recommends, the crate's default.
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(failed)?;
    Ok(hash.to_string())
}

fn random_password() -> String {
    URL_SAFE_NO_PAD.encode(random::<18>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_cost_time() {
        let accounts = Accounts::new();
        let key = (IpAddr::from([127, 0, 0, 1]), "a".to_owned());
        for _ in 0..FREE_FAILURES - 1 {
            accounts.note_failure(key.clone());
            assert!(accounts.check_throttle(&key).is_ok());
        }
        for _ in 0..40 {
            accounts.note_failure(key.clone());
            assert!(accounts.check_throttle(&key).is_err());
        }
        let other = (IpAddr::from([127, 0, 0, 2]), "a".to_owned());
        assert!(accounts.check_throttle(&other).is_ok());
    }
}
