//! What all parts of the engine share: state on disk, reports, slots.

use std::{
    io,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use homeport_protocol::{DeploymentState, Reason, deployment::Progress, report::DeploymentReport};
use homeport_system::{Backoff, clock::now_ms, file::blocking};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, sleep},
};

use super::{DeploymentStatus, EngineStatus};
use crate::{
    Backend, BackendError, EngineConfig, ReportSink, Upstream,
    backend::{PATIENCE, SlotStatus},
    relay::Relay,
    state::{Current, Persisted, booted},
};

/// Longest pause between two tries to write or queue something that must not be lost.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Where the running version comes from while no slot has one.
const OS_RELEASE: &str = "os-release";
/// Longest pause before the backend is asked again.
pub(super) const BACKEND_MAX_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Core<B, S> {
    pub(super) config: EngineConfig,
    pub(super) backend: B,
    pub(super) sink: S,
    pub(super) upstream: watch::Receiver<Option<Upstream>>,
    pub(super) boot_id: String,
    /// Wakes the worker: there may be something to do.
    pub(super) work: Notify,
    /// Wakes whoever can stop: the current deployment was cancelled.
    pub(super) cancelled: Notify,
    /// The relay while it serves.
    pub(super) relay: StdMutex<Option<Arc<Relay>>>,
    /// Our own installation: when it began or ended, and whether it still runs. Its end is not somebody else's.
    pub(super) own_install: StdMutex<Option<(Instant, bool)>>,
    pub(super) status: watch::Sender<EngineStatus>,
    persisted: Mutex<Persisted>,
    /// Held while reports are handed over, so that they keep their order.
    reporting: Mutex<()>,
    running: StdMutex<Running>,
}

/// The system that runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    pub(super) slot: String,
    pub(super) bootname: String,
    pub(super) version: String,
    /// Where the version comes from, for people.
    pub(super) version_source: String,
}

// === impl Core ===

impl<B: Backend, S: ReportSink> Core<B, S> {
    pub(super) fn new(
        config: EngineConfig,
        backend: B,
        sink: S,
        upstream: watch::Receiver<Option<Upstream>>,
        boot_id: String,
        persisted: Persisted,
    ) -> Self {
        let running = Running {
            version: config.os_version.clone(),
            version_source: OS_RELEASE.to_owned(),
            ..Running::default()
        };
        let core = Self {
            config,
            backend,
            sink,
            upstream,
            boot_id,
            work: Notify::new(),
            cancelled: Notify::new(),
            relay: StdMutex::new(None),
            own_install: StdMutex::new(None),
            status: watch::Sender::new(EngineStatus::default()),
            persisted: Mutex::new(Persisted::default()),
            reporting: Mutex::new(()),
            running: StdMutex::new(running),
        };
        core.show(&persisted);
        Self {
            persisted: Mutex::new(persisted),
            ..core
        }
    }

    pub(super) async fn current(&self) -> Option<Current> {
        self.persisted.lock().await.current.clone()
    }

    pub(super) async fn read<R>(&self, look: impl FnOnce(&Persisted) -> R) -> R {
        look(&*self.persisted.lock().await)
    }

    /// Changes the state, and returns when the change is safely on disk. What cannot be written is tried again for ever:
    /// going on without it could install twice or lose a report.
    pub(super) async fn update<R>(&self, change: impl FnOnce(&mut Persisted) -> R) -> R {
        let mut persisted = self.persisted.lock().await;
        let mut changed = persisted.clone();
        let result = change(&mut changed);
        let mut backoff = Backoff::up_to(MAX_PAUSE);
        loop {
            match self.store(&changed).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(%error, dir = %self.config.state_dir.display(), "the update state cannot be written");
                    sleep(backoff.next_wait()).await;
                }
            }
        }
        self.show(&changed);
        *persisted = changed;
        result
    }

    /// Writes the state as it is: whether a change could be written now.
    pub(super) async fn try_store(&self) -> io::Result<()> {
        let persisted = self.persisted.lock().await;
        self.store(&persisted).await
    }

    async fn store(&self, persisted: &Persisted) -> io::Result<()> {
        let (dir, content) = (self.config.state_dir.clone(), persisted.clone());
        blocking(move || content.store(&dir)).await
    }

    /// Enters a state: persisted first, then reported. Returns when the report is safely queued.
    pub(super) async fn enter(
        &self,
        state: DeploymentState,
        reason: Option<Reason>,
        change: impl FnOnce(&mut Current),
    ) {
        let bytes = self.relay().map(|relay| relay.bytes_fetched());
        let entered = self
            .update(|persisted| {
                let mut current = persisted.current.take()?;
                change(&mut current);
                current.state = state;
                current.bytes_fetched = bytes.unwrap_or(current.bytes_fetched);
                let report = self.compose(current.deploy.deployment, current.bytes_fetched, state, reason);
                current.report = Some(report.clone());
                if !state.is_final() {
                    persisted.current = Some(current);
                }
                persisted.announce(report.clone());
                Some(report)
            })
            .await;
        if let Some(report) = entered {
            tracing::info!(
                deployment = report.deployment,
                state = state.as_str(),
                reason = report.reason.as_ref().map(|reason| reason.detail.as_str()),
                "update"
            );
        }
        self.hand_over().await;
    }

    /// A report on `state`, as of now.
    pub(super) fn compose(
        &self,
        deployment: u64,
        bytes_fetched: u64,
        state: DeploymentState,
        reason: Option<Reason>,
    ) -> DeploymentReport {
        let running = self.running();
        DeploymentReport {
            deployment,
            state,
            reason,
            running_version: running.version,
            running_slot: running.bootname,
            bytes_fetched,
            at_ms: now_ms(),
        }
    }

    /// Gives the sink everything that waits for it.
    pub(super) async fn hand_over(&self) {
        let _turn = self.reporting.lock().await;
        let mut backoff = Backoff::up_to(MAX_PAUSE);
        while let Some(outgoing) = self.read(|persisted| persisted.outbox.front().cloned()).await {
            match self.sink.report(outgoing.clone().into()).await {
                Ok(()) => {
                    self.update(|persisted| {
                        if persisted.outbox.front() == Some(&outgoing) {
                            persisted.outbox.pop_front();
                        }
                    })
                    .await;
                    backoff.reset();
                }
                Err(error) => {
                    tracing::error!(%error, "a report cannot be queued, trying again");
                    sleep(backoff.next_wait()).await;
                }
            }
        }
    }

    /// The slots, once the backend is not busy and can be reached; an error after [`PATIENCE`].
    pub(super) async fn slots(&self) -> Result<Vec<SlotStatus>, BackendError> {
        let start = Instant::now();
        let mut backoff = Backoff::up_to(BACKEND_MAX_PAUSE);
        loop {
            match self.backend.slots().await {
                Ok(slots) => {
                    self.see(&slots).await;
                    return Ok(slots);
                }
                Err(BackendError::Failed(reason)) => return Err(BackendError::Failed(reason)),
                Err(error) if start.elapsed() >= PATIENCE => return Err(error),
                Err(_) => sleep(backoff.next_wait()).await,
            }
        }
    }

    pub(super) fn running(&self) -> Running {
        lock(&self.running).clone()
    }

    pub(super) fn own_install_runs(&self, runs: bool) {
        *lock(&self.own_install) = Some((Instant::now(), runs));
    }

    pub(super) fn relay(&self) -> Option<Arc<Relay>> {
        lock(&self.relay).clone()
    }

    /// Tells whoever watches how far it is.
    pub(super) fn progress(&self, deployment: u64, state: DeploymentState, percent: u8, message: &str) {
        let relay = self.relay();
        let trouble = relay.as_deref().and_then(Relay::trouble);
        let bytes_fetched = relay.map_or(0, |relay| relay.bytes_fetched());
        self.status.send_modify(|status| {
            if let Some(deployment) = &mut status.deployment {
                deployment.bytes_fetched = bytes_fetched;
                deployment.trouble.clone_from(&trouble);
            }
        });
        let message = trouble.map_or_else(
            || message.to_owned(),
            |trouble| format!("waiting for the server: {trouble}"),
        );
        let message = homeport_protocol::limits::clip(message);
        self.sink.progress(Progress {
            deployment,
            state,
            percent,
            bytes_fetched,
            message,
        });
    }

    /// Notes what the slots tell about the running system, and that they have changed.
    async fn see(&self, slots: &[SlotStatus]) {
        if let Some(booted) = booted(slots) {
            let version = &booted.slot.version;
            let (version, version_source) = if version.is_empty() {
                (&self.config.os_version, OS_RELEASE.to_owned())
            } else {
                let source = format!("{}'s status of slot {}", self.backend.name(), booted.slot.name);
                (version, source)
            };
            *lock(&self.running) = Running {
                slot: booted.slot.name.clone(),
                bootname: booted.slot.bootname.clone(),
                version: version.clone(),
                version_source,
            };
        }
        let slots: Vec<_> = slots.iter().map(|slot| slot.slot.clone()).collect();
        let described = !self.status.borrow().compatible.is_empty();
        let compatible = if described {
            None
        } else {
            self.backend.compatible().await.ok()
        };
        let changed = self.status.send_if_modified(|status| {
            let changed = status.slots != slots || compatible.is_some();
            status.updater = self.backend.name();
            status.slots = slots;
            if let Some(compatible) = compatible {
                status.compatible = compatible;
            }
            changed
        });
        if changed {
            self.sink.slots_changed();
        }
    }

    fn show(&self, persisted: &Persisted) {
        self.status.send_modify(|status| {
            status.deployment = persisted.current.as_ref().map(|current| DeploymentStatus {
                deployment: current.deploy.deployment,
                state: current.state,
                version: current.deploy.bundle.version.clone(),
                bytes_fetched: current.bytes_fetched,
                trouble: None,
            });
        });
    }
}

pub(super) fn lock<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A random UUID (version 4) in its usual form.
pub(super) fn uuid() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let bits = u128::from_be_bytes(random) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}
