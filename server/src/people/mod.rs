//! People: passwords and logins.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{self, Output, Salt, SaltString},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use homeport_api::{Session, User};
use tokio::{sync::Semaphore, task};

mod failed_logins;
pub(crate) mod http;
mod rows;

use self::failed_logins::{FailedLogins, Failures};
pub use self::rows::Account;
use crate::{
    audit::FAILED_LOGIN,
    files,
    fleet::{Fleet, FleetError},
    limits::{attempts::Attempts, network},
    now_ms, random, sha256,
    store::{Store, StoreError, Tx},
};

/// Shortest and longest new password, in characters.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=256;

/// Longest user name and password that the server checks, in bytes.
const MAX_INPUT: usize = 1024;

/// How long a login lasts, in milliseconds.
const SESSION_LIFE: i64 = 24 * 60 * 60 * 1000;

/// Passwords that are checked at the same time: each check takes 19 MiB and a core for some 50 ms.
const CHECKS: usize = 2;

/// Memory that is reserved for a check, in bytes. glibc takes pieces larger than 32 MiB from the system and gives them back at once;
/// smaller pieces stay with the thread that used them. Only the part that Argon2 uses becomes real memory.
const CHECK_MEMORY: usize = 33 << 20;

/// Past logins that the server reads when it starts, so that addresses where somebody logged in stay known.
pub(crate) const LOGINS: u32 = 4096;

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
    /// Too many wrong attempts before, or too many at a time.
    #[error("too many logins: try again in {} seconds", .0.as_secs().max(1))]
    Throttled(Duration),
    /// Everything else.
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

#[derive(Debug)]
pub(crate) struct Accounts {
    checks: Arc<Semaphore>,
    /// Hash that is checked for an unknown user, so that both cases take the same time.
    decoy: String,
    attempts: Attempts,
    failed: FailedLogins,
}

/// Makes the first user of a new server. Only a file that the administrator can read holds the password.
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
        let token = URL_SAFE_NO_PAD.encode(random::<32>());
        let hash = sha256(token.as_bytes());
        let now_ms = now_ms();
        let expires_ms = now_ms + SESSION_LIFE;
        let actor = user.clone();
        self.0
            .store
            .write(move |tx| {
                still_has_password(tx, &account)?;
                tx.insert_session(&hash, account.id, now_ms, expires_ms)?;
                tx.audit(now_ms, &actor, "session.create", &actor, &address.to_string())?;
                Ok::<_, LoginError>(())
            })
            .await?;
        Ok(Session {
            token,
            user: User { name: user },
            expires_ms,
        })
    }

    /// The user who is logged in with this token.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Credential>, FleetError> {
        let session = sha256(token.as_bytes());
        let user = self
            .0
            .store
            .read_login(move |tx| tx.session_user(&session, now_ms()))
            .await?;
        Ok(user.map(|user| Credential { user, session }))
    }

    /// Whether a login is still valid.
    pub async fn is_logged_in(&self, credential: &Credential) -> Result<bool, FleetError> {
        let session = credential.session;
        let user = self
            .0
            .store
            .read_login(move |tx| tx.session_user(&session, now_ms()))
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
        let account = self.check_password(address, &credential.user, current).await?;
        let hash = self.0.accounts.run(move || hash(&new)).await??;
        self.0
            .store
            .write(move |tx| {
                still_has_password(tx, &account)?;
                tx.set_password(account.id, &hash, Some(&credential.session))?;
                let user = &credential.user;
                tx.audit(now_ms(), user, "user.change-password", user, "")?;
                Ok::<_, LoginError>(())
            })
            .await?;
        Ok(())
    }

    /// The account, if this is its password and the limits allow the attempt.
    async fn check_password(
        &self,
        address: IpAddr,
        user: &str,
        password: String,
    ) -> Result<Account, LoginError> {
        let accounts = &self.0.accounts;
        // Counted before the check, so that concurrent attempts cannot slip through.
        let attempt = match accounts.attempts.begin(address, user) {
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
            .map_err(FleetError::from)?;
        if let Some(account) = accounts.verify(account, password).await? {
            attempt.succeeded();
            return Ok(account);
        }
        drop(attempt);
        tracing::warn!(%address, "failed login");
        self.note_failure(address, user).await;
        Err(LoginError::Wrong)
    }

    async fn note_failure(&self, address: IpAddr, user: &str) {
        let noted = self.0.accounts.failed.note(network(address), user);
        if noted.begun {
            let fleet = Arc::downgrade(&self.0);
            tokio::spawn(async move {
                tokio::time::sleep(failed_logins::WINDOW).await;
                if let Some(fleet) = fleet.upgrade().map(Fleet) {
                    let rest = fleet.0.accounts.failed.drain();
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

// === impl Accounts ===

impl Accounts {
    /// `logins` are names and addresses, newest first.
    pub(crate) fn new(logins: &[(String, String)]) -> Self {
        let attempts = Attempts::default();
        for (user, address) in logins.iter().rev() {
            if let Ok(address) = address.parse() {
                attempts.know(address, user);
            }
        }
        Self {
            checks: Arc::new(Semaphore::new(CHECKS)),
            decoy: hash(&random_password()).unwrap_or_default(),
            attempts,
            failed: FailedLogins::default(),
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
            .run(move || is_password(&password, &hash).unwrap_or(false))
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
}

/// The password may have changed since the check: it must not open a session that the change would have ended.
fn still_has_password(tx: &Tx, checked: &Account) -> Result<(), LoginError> {
    let now = tx.user(&checked.name)?;
    if now.is_some_and(|account| account.password == checked.password) {
        return Ok(());
    }
    Err(LoginError::Wrong)
}

/// A PHC string.
fn hash(password: &str) -> Result<String, FleetError> {
    let hash = || {
        let salt = SaltString::encode_b64(&random::<{ Salt::RECOMMENDED_LENGTH }>())?;
        // Argon2id with the parameters that OWASP recommends, the crate's default.
        let (algorithm, version, params) = (Algorithm::default(), Version::default(), Params::default());
        let output = derive(password, salt.as_salt(), algorithm, version, params.clone())?;
        let hash = PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: (&params).try_into()?,
            salt: Some(salt.as_salt()),
            hash: Some(output),
        };
        Ok(hash.to_string())
    };
    hash().map_err(|error: password_hash::Error| {
        FleetError::Invalid(format!("cannot hash the password: {error}"))
    })
}

fn is_password(password: &str, hash: &str) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else {
        return Ok(false);
    };
    let algorithm = Algorithm::try_from(hash.algorithm)?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from)?;
    let params = Params::try_from(&hash)?;
    // The comparison of `Output` takes constant time.
    Ok(derive(password, salt, algorithm, version, params)? == expected)
}

fn derive(
    password: &str,
    salt: Salt<'_>,
    algorithm: Algorithm,
    version: Version,
    params: Params,
) -> Result<Output, password_hash::Error> {
    let mut buffer = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut buffer)?;
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(CHECK_MEMORY / Block::SIZE));
    memory.resize(blocks, Block::default());
    let argon2 = Argon2::new(algorithm, version, params);
    Output::init_with(length, |output| {
        Ok(argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, &mut memory)?)
    })
}

fn random_password() -> String {
    URL_SAFE_NO_PAD.encode(random::<18>())
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[test]
    fn hashes_are_what_others_make() {
        let ours = hash("correct horse").unwrap();
        let parsed = PasswordHash::new(&ours).unwrap();
        assert!(
            Argon2::default()
                .verify_password(b"correct horse", &parsed)
                .is_ok()
        );
        let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
        let theirs = Argon2::default()
            .hash_password(b"correct horse", &salt)
            .unwrap()
            .to_string();
        assert!(is_password("correct horse", &theirs).unwrap());
        assert!(!is_password("correct house", &theirs).unwrap());
        assert!(is_password("x", "no hash").is_err());
    }

    #[tokio::test]
    async fn a_password_that_was_changed_since_it_was_checked_opens_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        create_first_admin(&store, directory.path()).await.unwrap();
        let checked = store.read(|tx| tx.user(FIRST_ADMIN)).await.unwrap().unwrap();
        let ask = |checked: Account| store.read(move |tx| still_has_password(tx, &checked));
        assert!(ask(checked.clone()).await.is_ok());
        reset_password(&store, FIRST_ADMIN.to_owned()).await.unwrap();
        assert!(matches!(ask(checked).await, Err(LoginError::Wrong)));
    }
}
