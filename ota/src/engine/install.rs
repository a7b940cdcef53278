//! From `offered` to `installed`.

use std::{cmp::Ordering, convert::Infallible, sync::Arc, time::Duration};

use homeport_protocol::{BundleOffer, DeploymentState, FailureCode, Reason};
use homeport_system::{Backoff, file::blocking};
use tokio::time::Instant;

use super::core::{Core, lock, uuid};
use crate::{
    Backend, BackendError, ReportSink,
    backend::{InstallRequest, Mark, PATIENCE, SlotStatus},
    relay::{Relay, RelayConfig},
    state::{Attempt, Current, Installation, Verdict, booted},
    systemd, version,
};

/// The kernel gives up a read of RAUC's streaming device after so long (RAUC sets 300 s). A link that is slow, but not dead,
/// can make an installation fail for that alone. RAUC 1.13 does not survive it.
const READ_TIMEOUT: Duration = Duration::from_secs(290);
/// How often an installation is started again after the backend's service went away.
const MAX_INTERRUPTIONS: u32 = 3;
/// How long an installation waits for the boot to complete. After a power cut it goes on by itself as soon as the agent
/// runs; the backend, busy with it, would then refuse to mark the running slot good. A job of the boot may hang for ever.
const BOOT_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How the way to `installed` ended early.
#[derive(Debug)]
enum Stop {
    Failed(Reason),
    Cancelled,
}

// === impl Core ===

impl<B: Backend, S: ReportSink> Core<B, S> {
    /// Goes from any state before `installed` to it, or to `failed` or `cancelled`.
    pub(super) async fn install(&self, current: Current) {
        let result = self.try_install(&current).await;
        let bytes_fetched = self
            .relay()
            .map_or(current.bytes_fetched, |relay| relay.bytes_fetched());
        *lock(&self.relay) = None;
        // While it is known that the new installation is ours.
        self.find_local_installs().await;
        let running = self.running().slot;
        match result {
            Ok(target) => {
                self.enter(DeploymentState::Installed, None, |current| {
                    current.bytes_fetched = bytes_fetched;
                    if let Some(attempt) = &mut current.attempt {
                        if target != running {
                            // It is the next boot that tries it, even if the installation ended before this one.
                            attempt.boot_id.clone_from(&self.boot_id);
                        }
                        attempt.target = Some(target);
                    }
                })
                .await;
            }
            Err(stop) => {
                let (state, reason) = match stop {
                    Stop::Failed(reason) => (DeploymentState::Failed, reason),
                    Stop::Cancelled => (
                        DeploymentState::Cancelled,
                        Reason::new(FailureCode::Cancelled, "cancelled by an operator"),
                    ),
                };
                self.enter(state, Some(reason), |current| {
                    current.bytes_fetched = bytes_fetched;
                })
                .await;
            }
        }
    }

    /// Returns the name of the slot that was written.
    async fn try_install(&self, current: &Current) -> Result<String, Stop> {
        if current.state == DeploymentState::Installing {
            if let Some(target) = self.settle(current).await? {
                return Ok(target);
            }
        } else if current.state != DeploymentState::Downloading {
            self.enter(DeploymentState::Downloading, None, |_| {}).await;
        }
        let prepared = tokio::select! {
            prepared = self.prepare(current) => prepared?,
            () = self.until_cancelled() => return Err(Stop::Cancelled),
        };
        let attempt = match &current.attempt {
            Some(attempt) => self.resume(attempt).await,
            None => self.begin().await?,
        };
        self.write(current, &prepared, &attempt).await
    }

    /// After a restart in `installing`: lets a running installation end, and tells whether it succeeded.
    async fn settle(&self, current: &Current) -> Result<Option<String>, Stop> {
        let Some(attempt) = &current.attempt else {
            return Ok(None);
        };
        // The running installation reads from our address of before: serve it there.
        let relay = if current.cancel {
            None
        } else {
            self.open_relay(&current.deploy.bundle).await.ok()
        };
        let deployment = current.deploy.deployment;
        let report = |percent: u8, message: &str| {
            self.progress(deployment, DeploymentState::Installing, percent, message);
        };
        self.own_install_runs(true);
        let ended = tokio::select! {
            ended = self.backend.reattach(&report) => ended,
            never = self.refuse_when_cancelled(relay.as_deref()) => match never {},
        };
        self.own_install_runs(false);
        if let Some(Err(error)) = ended {
            tracing::info!(%error, "the installation that ran before the restart has failed");
        }
        match self.finished(attempt).await? {
            None if current.cancel => Err(Stop::Cancelled),
            target => Ok(target),
        }
    }

    /// Everything that can be known before anything is written.
    async fn prepare(&self, current: &Current) -> Result<Prepared, Stop> {
        let bundle = &current.deploy.bundle;
        systemd::boot_complete(BOOT_PATIENCE).await;
        let compatible = self.compatible().await?;
        self.check_manifest(&bundle.compatible, &bundle.version, &compatible)?;
        let relay = self.open_relay(bundle).await.map_err(Stop::Failed)?;
        self.progress(current.deploy.deployment, DeploymentState::Downloading, 0, "");
        relay.prefetch().await.map_err(Stop::Failed)?;
        let inspected = self.backend.inspect(&relay.url()).await;
        let info = match inspected {
            Ok(info) => info,
            Err(error) => return Err(Stop::Failed(relay.fatal().unwrap_or_else(|| blame_bundle(error)))),
        };
        let mut manifest_hash = bundle.manifest_hash.clone();
        if let Some(info) = info {
            self.check_manifest(&info.compatible, &info.version, &compatible)?;
            if let (Some(offered), Some(found)) = (&manifest_hash, &info.manifest_hash) {
                if offered != found {
                    let detail = format!("the bundle's manifest has the hash {found}, offered was {offered}");
                    return Err(Stop::Failed(Reason::new(FailureCode::Corrupt, detail)));
                }
            }
            manifest_hash = info.manifest_hash.or(manifest_hash);
            if info.reads_everything == Some(true) {
                relay.check_space_for_all().map_err(Stop::Failed)?;
            }
        }
        Ok(Prepared { relay, manifest_hash })
    }

    /// Notes the slots as they are and enters `installing`.
    async fn begin(&self) -> Result<Attempt, Stop> {
        let failed = |detail: String| Stop::Failed(Reason::new(FailureCode::Backend, detail));
        let slots = self.slots().await.map_err(|error| Stop::Failed(error.reason()))?;
        let origin = booted(&slots)
            .ok_or_else(|| failed("the running system is not in one of the backend's slots".to_owned()))?;
        let dir = self.config.state_dir.clone();
        // One of an earlier installation of this deployment would be about something else.
        blocking(move || Verdict::remove(&dir))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let attempt = Attempt {
            transaction: uuid().map_err(|error| failed(error.to_string()))?,
            before: Installation::of_all(&slots),
            origin: origin.slot.name.clone(),
            boot_id: self.boot_id.clone(),
            target: None,
        };
        self.enter(DeploymentState::Installing, None, |current| {
            current.attempt = Some(attempt.clone());
        })
        .await;
        Ok(attempt)
    }

    /// Starts an attempt again in this boot.
    async fn resume(&self, attempt: &Attempt) -> Attempt {
        let attempt = Attempt {
            boot_id: self.boot_id.clone(),
            ..attempt.clone()
        };
        self.update(|persisted| {
            if let Some(current) = &mut persisted.current {
                current.attempt = Some(attempt.clone());
            }
        })
        .await;
        attempt
    }

    /// Lets the backend write, again and again if it is only the link that fails.
    async fn write(&self, current: &Current, prepared: &Prepared, attempt: &Attempt) -> Result<String, Stop> {
        let deployment = current.deploy.deployment;
        let relay = &prepared.relay;
        let request = InstallRequest {
            source: relay.url(),
            transaction: attempt.transaction.clone(),
            manifest_hash: prepared.manifest_hash.clone(),
        };
        let report = |percent: u8, message: &str| {
            self.progress(deployment, DeploymentState::Installing, percent, message);
        };
        let mut interruptions = 0;
        loop {
            let started = Instant::now();
            let (troubles, fetched) = (relay.troubles(), relay.bytes_fetched());
            self.own_install_runs(true);
            let result = tokio::select! {
                result = self.backend.install(&request, &report) => result,
                never = self.refuse_when_cancelled(Some(relay)) => match never {},
            };
            self.own_install_runs(false);
            let Err(error) = result else {
                return self.written(attempt).await;
            };
            if matches!(error, BackendError::Interrupted(_)) {
                if let Some(target) = self.finished(attempt).await? {
                    return Ok(target);
                }
            }
            if self.is_cancelled().await {
                return Err(Stop::Cancelled);
            }
            if let Some(reason) = relay.fatal() {
                return Err(Stop::Failed(reason));
            }
            let slow = started.elapsed() >= READ_TIMEOUT && relay.bytes_fetched() > fetched;
            let link = relay.troubles() > troubles || relay.trouble().is_some() || slow;
            match error {
                BackendError::Interrupted(detail) if link || interruptions < MAX_INTERRUPTIONS => {
                    // RAUC 1.13 crashes when the kernel gives up a read, so this may well be the link.
                    interruptions += u32::from(!link);
                    tracing::warn!(detail, link, "starting the installation again");
                }
                BackendError::Source(detail) if link => {
                    tracing::info!(
                        detail,
                        "the link broke the installation off, it starts again from the cache"
                    );
                }
                BackendError::Failed(reason)
                    if link && matches!(reason.code, FailureCode::Backend | FailureCode::Corrupt) =>
                {
                    tracing::info!(
                        detail = reason.detail,
                        "the link may have broken the installation off, it starts again"
                    );
                }
                error => return Err(Stop::Failed(blame_bundle(error))),
            }
            tokio::select! {
                up = relay.wait_for_server() => up.map_err(Stop::Failed)?,
                () = self.until_cancelled() => return Err(Stop::Cancelled),
            }
        }
    }

    /// The slot that this attempt wrote, if it ended without anybody hearing of it.
    async fn finished(&self, attempt: &Attempt) -> Result<Option<String>, Stop> {
        let slots = self.slots().await.map_err(|error| Stop::Failed(error.reason()))?;
        let primary = self.backend.primary().await.unwrap_or_default();
        // The backend activates a slot last: before that, other parts of the bundle may be missing.
        let ready = |slot: &&SlotStatus| slot.slot.state == "booted" || slot.slot.name == primary;
        let finished = slots.iter().filter(ready).find(|slot| attempt.wrote(slot));
        Ok(finished.map(|slot| slot.slot.name.clone()))
    }

    /// The backend says it is done: finds the slot and makes sure that it boots next.
    async fn written(&self, attempt: &Attempt) -> Result<String, Stop> {
        let failed = |error: BackendError| Stop::Failed(error.reason());
        let slots = self.slots().await.map_err(failed)?;
        let written = slots
            .iter()
            .find(|slot| attempt.wrote(slot) && !slot.slot.bootname.is_empty());
        if let Some(slot) = written {
            return self.activate(slot).await;
        }
        // A backend without slot status (RAUC without a status file): the one that boots next is the one.
        let primary = self.backend.primary().await.map_err(failed)?;
        let keeps_status = slots.iter().any(|slot| slot.installed_count > 0);
        if keeps_status || primary == attempt.origin {
            let detail = "the backend reports success, but the new system is in none of its slots";
            return Err(Stop::Failed(Reason::new(FailureCode::Backend, detail)));
        }
        Ok(primary)
    }

    /// Backends may be set up not to activate what they install.
    async fn activate(&self, slot: &SlotStatus) -> Result<String, Stop> {
        let name = slot.slot.name.clone();
        if slot.slot.state == "booted" {
            return Ok(name);
        }
        if self.backend.primary().await.is_ok_and(|primary| primary == name) {
            return Ok(name);
        }
        self.backend
            .mark(&name, Mark::Active)
            .await
            .map_err(|error| Stop::Failed(error.reason()))?;
        Ok(name)
    }

    async fn open_relay(&self, bundle: &BundleOffer) -> Result<Arc<Relay>, Reason> {
        if let Some(relay) = self.relay() {
            return Ok(relay);
        }
        let config = RelayConfig {
            dir: self.config.state_dir.join("cache"),
            cache_limit: self.config.cache_limit_bytes,
            reserve: self.config.reserve_bytes,
            patience: self.config.network_patience,
            max_backoff: self.config.max_backoff,
        };
        let previous = self.current().await.and_then(|current| current.relay);
        let relay = Relay::open(config, bundle.clone(), self.upstream.clone(), previous.clone()).await?;
        let address = Some(relay.address().clone());
        if address != previous {
            self.update(|persisted| {
                if let Some(current) = &mut persisted.current {
                    current.relay = address;
                }
            })
            .await;
        }
        let relay = Arc::new(relay);
        *lock(&self.relay) = Some(relay.clone());
        Ok(relay)
    }

    async fn compatible(&self) -> Result<String, Stop> {
        let start = Instant::now();
        let mut backoff = Backoff::up_to(Duration::from_secs(10));
        loop {
            match self.backend.compatible().await {
                Ok(compatible) => return Ok(compatible),
                Err(error) if start.elapsed() >= PATIENCE => {
                    return Err(Stop::Failed(error.reason()));
                }
                Err(_) => tokio::time::sleep(backoff.next_wait()).await,
            }
        }
    }

    fn check_manifest(&self, compatible: &str, version: &str, device: &str) -> Result<(), Stop> {
        if compatible != device {
            let detail = format!("the bundle is for {compatible:?}, this device is {device:?}");
            return Err(Stop::Failed(Reason::new(FailureCode::Incompatible, detail)));
        }
        let running = self.running();
        let older =
            !running.version.is_empty() && version::compare(version, &running.version) == Ordering::Less;
        if older && !self.config.allow_downgrade {
            let detail = format!(
                "version {version:?} (from the bundle's manifest) is older than the running {:?} (from {}), \
                 and this device does not allow downgrades",
                running.version, running.version_source
            );
            return Err(Stop::Failed(Reason::new(FailureCode::VersionTooOld, detail)));
        }
        Ok(())
    }

    async fn is_cancelled(&self) -> bool {
        self.current().await.is_none_or(|current| current.cancel)
    }

    async fn until_cancelled(&self) {
        loop {
            let notified = self.cancelled.notified();
            if self.is_cancelled().await {
                return;
            }
            notified.await;
        }
    }

    /// The backend cannot be told to stop, but it stops when it cannot read on. Never returns.
    async fn refuse_when_cancelled(&self, relay: Option<&Relay>) -> Infallible {
        self.until_cancelled().await;
        if let Some(relay) = relay {
            relay.refuse(&Reason::new(FailureCode::Cancelled, "cancelled by an operator"));
        }
        std::future::pending().await
    }
}

/// See [`Core::prepare`].
#[derive(Debug)]
struct Prepared {
    relay: Arc<Relay>,
    manifest_hash: Option<String>,
}

/// Bytes that could not be read although the relay delivered all that was asked for do not match the bundle's hashes.
fn blame_bundle(error: BackendError) -> Reason {
    match error {
        BackendError::Source(detail) => Reason::new(FailureCode::Corrupt, detail),
        error => error.reason(),
    }
}
