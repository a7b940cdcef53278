//! Becoming a member of a fleet, and staying one: enrolment and renewal.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use homeport_protocol::{DeviceId, PairingToken, pairing::InvalidToken};
use homeport_system::{Backoff, file};
use http::{Request, StatusCode};
use http_body_util::Full;
use ring::digest;
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    est::{self, EstError, Hints, Key},
    store::{Identity, IdentityError, IdentityStore},
    tls, token_text,
};
use crate::{
    clock,
    config::Config,
    https::{self, HttpsError},
    inventory,
};

/// Name of the systemd credential that may hold a token.
const CREDENTIAL: &str = "homeport.pairing-token";

/// Longest file that a token is read from, in bytes. In UTF-16 the longest token is a quarter of it.
pub(crate) const MAX_TOKEN_FILE: u64 = 4096;

/// Hash of the token that the server refused, so that it is not offered again and again.
const REFUSED: &str = "refused-token";

const DEVICE_CONFIG: &str = "/device/v1/config";

/// How often an unpaired agent looks for a token: somebody may plug in a USB stick.
const TOKEN_POLL: Duration = Duration::from_secs(10);

/// How often a paired agent looks whether its certificate should be renewed.
const RENEWAL_POLL: Duration = Duration::from_secs(60 * 60);

/// Why the device is not paired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error(transparent)]
    Token(#[from] InvalidToken),
    #[error("cannot read the pairing token in {}: {source}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("this device is paired with {0} already; `--force` makes it leave")]
    AlreadyPaired(String),
    #[error(transparent)]
    Est(#[from] EstError),
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the server answered {0} to the new certificate")]
    Unproven(StatusCode),
    #[error("the server's answer to the new certificate is not understood")]
    Config,
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Somebody on the device asks to pair it.
#[derive(Debug)]
pub(crate) struct PairRequest {
    pub(crate) token: String,
    /// Whether an already paired device leaves its server.
    pub(crate) anew: bool,
    pub(crate) reply: oneshot::Sender<Result<DeviceId, PairError>>,
}

/// The present identity, and what went wrong last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Membership {
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) error: Option<String>,
}

/// Keeps the device paired.
#[derive(Debug)]
pub(crate) struct Pairing {
    store: IdentityStore,
    state_dir: PathBuf,
    token_file: PathBuf,
    backoff: Backoff,
    membership: watch::Sender<Membership>,
    requests: mpsc::Receiver<PairRequest>,
}

/// A token that was found on the device.
struct FoundToken {
    text: String,
    path: PathBuf,
}

#[derive(Deserialize)]
struct DeviceConfig {
    mqtt_authority: String,
}

// === impl Pairing ===

impl Pairing {
    /// Loads the present identity. `requests` come from the local command line.
    pub(crate) fn open(
        config: &Config,
        requests: mpsc::Receiver<PairRequest>,
    ) -> Result<(Self, watch::Receiver<Membership>), PairError> {
        let store = IdentityStore::open(&config.state_dir)?;
        let (membership, receiver) = watch::channel(match store.load() {
            Ok(identity) => Membership {
                identity: identity.map(Arc::new),
                error: None,
            },
            Err(error) => {
                warn!("{error}");
                Membership {
                    identity: None,
                    error: Some(error.to_string()),
                }
            }
        });
        let pairing = Self {
            store,
            state_dir: config.state_dir.clone(),
            token_file: config.token_file.clone(),
            backoff: Backoff::new(config.link.backoff_min, config.link.backoff_max),
            membership,
            requests,
        };
        Ok((pairing, receiver))
    }

    /// Pairs when it can, renews when it should, for ever.
    pub(crate) async fn run(mut self) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => self.answer(request).await,
                    None => return,
                },
                () = sleep_until(next) => {}
            }
            next = Instant::now() + self.work().await;
        }
    }

    async fn answer(&mut self, request: PairRequest) {
        let result = self.pair_on_request(&request).await;
        // A paired device that stays with its server has no problem; whoever asked is told.
        if let (Err(error), None) = (&result, self.identity()) {
            self.note(error);
        }
        // Whoever asked may have gone away meanwhile.
        let _ = request.reply.send(result);
    }

    async fn pair_on_request(&mut self, request: &PairRequest) -> Result<DeviceId, PairError> {
        let token: PairingToken = request.token.parse()?;
        if let Some(identity) = self.identity().filter(|_| !request.anew) {
            return Err(PairError::AlreadyPaired(identity.authority.clone()));
        }
        self.enroll(&token).await
    }

    /// Does what is due, and says when to look again.
    async fn work(&mut self) -> Duration {
        let result = match self.identity() {
            Some(identity) => self.renew_if_due(&identity).await,
            None => self.pair_if_possible().await,
        };
        if let Err(error) = &result {
            warn!("{error}");
            self.note(error);
            return match error {
                PairError::Est(EstError::Busy(wait)) => *wait,
                _ => self.backoff.next_wait(),
            };
        }
        self.backoff.reset();
        if self.identity().is_some() {
            RENEWAL_POLL
        } else {
            TOKEN_POLL
        }
    }

    async fn pair_if_possible(&mut self) -> Result<(), PairError> {
        // A certificate that came just before the power went: the token is used up, so this is the way on.
        if let Some(pending) = self.store.load_pending().unwrap_or(None) {
            return self.prove(&pending).await.map(|_| ());
        }
        let Some(found) = FoundToken::find(&self.token_file)? else {
            return Ok(());
        };
        if self.is_refused(&found) {
            self.tell_about_refused(&found);
            return Ok(());
        }
        let token: PairingToken = match found.text.parse() {
            Ok(token) => token,
            Err(error) => {
                self.refuse(&found);
                return Err(error.into());
            }
        };
        info!(
            "pairing with {} by the token in {}",
            token.authority,
            found.path.display()
        );
        let result = self.enroll(&token).await;
        if matches!(result, Err(PairError::Est(EstError::Refused(_)))) {
            self.refuse(&found);
        }
        result?;
        found.discard();
        Ok(())
    }

    async fn enroll(&mut self, token: &PairingToken) -> Result<DeviceId, PairError> {
        let spent = sha256(token.to_string().as_bytes());
        let key = if let Some(key) = self.store.begun(&spent)? {
            key
        } else {
            let key = Key::generate()?;
            self.store.begin(&key, Some(&spent))?;
            key
        };
        let (tls, contact) = tls::first_contact(token.ca_fingerprint)?;
        let issued = est::enroll(Arc::new(tls), token, &key, &hints()).await?;
        let ca = contact.ca().ok_or(EstError::Answer("no CA was seen"))?;
        self.store.fill(&issued, &ca, &token.authority)?;
        self.prove_pending().await
    }

    /// Asks for a new certificate after two thirds of the present one's life.
    async fn renew_if_due(&mut self, identity: &Identity) -> Result<(), PairError> {
        let life = identity.not_after.saturating_sub(identity.not_before);
        let due = identity.not_before + life * 2 / 3;
        if clock::is_unset() || clock::not_before_build() < due {
            return Ok(());
        }
        info!("renewing this device's certificate");
        let key = Key::generate()?;
        self.store.begin(&key, None)?;
        let issued = est::reenroll(identity.tls.clone(), &identity.authority, &key, &hints()).await?;
        if issued.device != identity.device {
            return Err(EstError::Answer("it names another device").into());
        }
        self.store.fill(&issued, &identity.ca, &identity.authority)?;
        self.prove_pending().await.map(|_| ())
    }

    async fn prove_pending(&mut self) -> Result<DeviceId, PairError> {
        let pending = self.store.load_pending()?.ok_or(PairError::Config)?;
        self.prove(&pending).await
    }

    /// Uses the new certificate before the old one is given up.
    async fn prove(&mut self, pending: &Identity) -> Result<DeviceId, PairError> {
        let request = Request::get(DEVICE_CONFIG)
            .body(Full::new(Bytes::new()))
            .map_err(|_| PairError::Config)?;
        let answer = https::request(pending.tls.clone(), &pending.authority, request).await?;
        if answer.status() != StatusCode::OK {
            return Err(PairError::Unproven(answer.status()));
        }
        let config: DeviceConfig = serde_json::from_slice(answer.body()).map_err(|_| PairError::Config)?;
        let identity = self.store.promote(pending, config.mqtt_authority)?;
        info!("paired with {} as {}", identity.authority, identity.device);
        let device = identity.device.clone();
        self.membership.send_replace(Membership {
            identity: Some(Arc::new(identity)),
            error: None,
        });
        Ok(device)
    }

    fn identity(&self) -> Option<Arc<Identity>> {
        self.membership.borrow().identity.clone()
    }

    /// Shown until the device is paired, however long that takes.
    fn note(&self, error: &PairError) {
        let error = Some(error.to_string());
        self.membership.send_if_modified(|membership| {
            let changed = membership.error != error;
            membership.error = error;
            changed
        });
    }

    fn is_refused(&self, found: &FoundToken) -> bool {
        fs::read(self.state_dir.join(REFUSED)).is_ok_and(|refused| refused == found.hash())
    }

    /// Without this, an agent that was restarted could not say why it does not pair.
    fn tell_about_refused(&self, found: &FoundToken) {
        self.membership.send_if_modified(|membership| {
            let is_first = membership.error.is_none();
            membership.error.get_or_insert_with(|| {
                let path = found.path.display();
                format!("the server has refused the token in {path} before; put a new one there")
            });
            is_first
        });
    }

    fn refuse(&self, found: &FoundToken) {
        if let Err(error) = file::write_atomic(&self.state_dir.join(REFUSED), &found.hash()) {
            warn!("cannot note that the token was refused: {error}");
        }
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_owned()
}

fn hints() -> Hints {
    Hints {
        hostname: inventory::hostname(),
        serial: inventory::serial(),
    }
}

// === impl FoundToken ===

impl FoundToken {
    /// A file that is empty is none; one that holds something else than a token is refused by whoever reads the text.
    fn find(token_file: &Path) -> Result<Option<Self>, PairError> {
        let credential =
            env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(CREDENTIAL));
        for path in credential.into_iter().chain([token_file.to_owned()]) {
            let content = match file::absent_is_none(file::read_limited(&path, MAX_TOKEN_FILE)) {
                Ok(content) => token_text::decode(&content.unwrap_or_default()),
                Err(source) => return Err(PairError::TokenFile { path, source }),
            };
            let text = content.trim();
            if !text.is_empty() {
                let text = text.to_owned();
                return Ok(Some(Self { text, path }));
            }
        }
        Ok(None)
    }

    fn hash(&self) -> Vec<u8> {
        sha256(self.text.as_bytes())
    }

    /// It has done its work; where the file cannot be removed, it is harmless: the server takes it only once.
    fn discard(&self) {
        let removed = fs::remove_file(&self.path).or_else(|_| fs::write(&self.path, ""));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                info!("the used token stays in {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
