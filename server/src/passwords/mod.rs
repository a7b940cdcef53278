//! Checks of passwords: a few at a time, a bounded number of attempts, and a count of failures.

use std::sync::Arc;

use tokio::{sync::Semaphore, task};

pub(crate) mod failed_logins;
mod hash;

use self::failed_logins::FailedLogins;
pub(crate) use self::hash::{hash, is_password, random_password};
use crate::{limits::attempts::Attempts, store::StoreError};

/// Passwords that are checked at the same time: each check takes 19 MiB and a core for some 50 ms.
const CHECKS: usize = 2;

/// Past logins that the server reads when it starts, so that addresses where somebody logged in stay known.
pub(crate) const LOGINS: u32 = 4096;

#[derive(Debug)]
pub(crate) struct Passwords {
    checks: Arc<Semaphore>,
    /// Passwords that administrators give out are made one at a time, and keep nobody from logging in.
    making: Arc<Semaphore>,
    /// Hash that is checked for an unknown user, so that both cases take the same time.
    decoy: String,
    pub(crate) attempts: Attempts,
    pub(crate) failed: FailedLogins,
}

// === impl Passwords ===

impl Passwords {
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
            making: Arc::new(Semaphore::new(1)),
            decoy: hash(&random_password()).unwrap_or_default(),
            attempts,
            failed: FailedLogins::default(),
        }
    }

    /// Whether this is the password with the hash. Without a hash it takes as long, and is wrong.
    pub(crate) async fn check(&self, password: String, hash: Option<String>) -> Result<bool, StoreError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
        let right = self.run(move || is_password(&password, &hash).unwrap_or(false));
        Ok(right.await? && known)
    }

    /// Runs work on passwords, in its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        Self::in_turn(&self.checks, work).await
    }

    /// Makes a new password for somebody else.
    pub(crate) async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        Self::in_turn(&self.making, work).await
    }

    async fn in_turn<T: Send + 'static>(
        places: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(places)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let done = task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| StoreError::Closed)
    }
}
