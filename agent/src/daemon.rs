//! The agent's process: puts the parts together and ends them in order.

use std::{future::pending, io, sync::Arc};

use homeport_ota::{Engine, EngineConfig, EngineHandle, Upstream, backend::rauc::Rauc};
use homeport_protocol::{
    Command, DeploymentState, FailureCode, Inventory, Reason, Report, limits, report::DeploymentReport,
};
use homeport_system::{
    clock::now_ms,
    file,
    service::{self, Heartbeat},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{error, info, warn};
use zbus::object_server::InterfaceRef;

use crate::{
    bus,
    config::Config,
    inventory,
    link::{Device, Link, LinkStatus},
    outbox::{EngineSink, Outbox},
    pairing::{Membership, PairError, PairRequest, Pairing},
    queue::Limits,
    status::{PairingStatus, Status},
    telemetry::Telemetry,
};

/// Requests to pair that may wait: one user, perhaps impatient.
const PAIR_REQUESTS: usize = 4;

/// Time for the link to say goodbye before the process ends anyway; `TimeoutStopSec` is longer.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("cannot use the state directory: {0}; is it writable for this user?")]
    State(io::Error),
    #[error(transparent)]
    Pairing(#[from] PairError),
    #[error("cannot wait for signals: {0}")]
    Signal(io::Error),
}

/// What the parts tell each other about.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) link: watch::Receiver<LinkStatus>,
    pub(crate) membership: watch::Receiver<Membership>,
    outbox: Arc<Outbox>,
    engine: Option<EngineHandle>,
}

/// Takes the server's commands.
struct Commands {
    outbox: Arc<Outbox>,
    engine: Option<EngineHandle>,
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(config: Config) -> Result<(), DaemonError> {
    let (requests, pair_requests) = mpsc::channel(PAIR_REQUESTS);
    let (pairing, membership) = Pairing::open(&config, pair_requests)?;
    file::create_private_directory(&config.run_dir).map_err(DaemonError::State)?;
    let limits = Limits {
        size: config.queue.size_limit,
        age: config.queue.age_limit,
    };
    let outbox = Outbox::open(&config.state_dir.join("queue"), limits).map_err(DaemonError::State)?;
    let bus = zbus::Connection::system()
        .await
        .inspect_err(|error| warn!("no system bus, and so neither updates nor local commands: {error}"))
        .ok();
    let (upstream, upstream_receiver) = watch::channel(upstream(&config, &membership.borrow()));
    let engine = match &bus {
        Some(bus) => start_engine(&config, bus.clone(), upstream_receiver, outbox.clone()).await,
        None => None,
    };
    let heartbeat = Arc::new(Heartbeat::start());
    let (stop, stopped) = watch::channel(false);
    let commands = Commands {
        outbox: outbox.clone(),
        engine: engine.clone(),
    };
    let (link, link_status) = Link::new(
        &config,
        outbox.clone(),
        membership.clone(),
        commands,
        heartbeat.clone(),
        stopped,
    );
    let shared = Arc::new(Shared::new(
        link_status,
        membership.clone(),
        outbox.clone(),
        engine,
    ));
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signal)?;
    let mut link = tokio::spawn(link.run());
    // The other sender stays here: without a bus, pairing still waits for requests instead of ending.
    let offered = match &bus {
        Some(bus) => offer(bus, shared.clone(), requests.clone()).await,
        None => None,
    };
    service::ready();
    info!("homeport-agent {} is running", env!("CARGO_PKG_VERSION"));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // None of these ends by itself.
        () = pairing.run() => {}
        () = Telemetry::new(config.telemetry.clone()).run(&outbox) => {}
        () = outbox.flush_every(config.queue.flush_interval) => {}
        () = service::watch(&heartbeat, config.link.connect_timeout) => {}
        () = pass_on_upstream(&config, membership, upstream) => {}
        () = tell_systemd(shared.clone()) => {}
        () = tell_bus(offered, &shared) => {}
        result = &mut link => error!("the link has ended: {result:?}"),
    }
    service::stopping();
    stop.send_replace(true);
    if !link.is_finished() && timeout(STOP_TIMEOUT, &mut link).await.is_err() {
        link.abort();
    }
    outbox.close().map_err(DaemonError::State)
}

async fn start_engine(
    config: &Config,
    bus: zbus::Connection,
    upstream: watch::Receiver<Option<Upstream>>,
    outbox: Arc<Outbox>,
) -> Option<EngineHandle> {
    let mut settings = EngineConfig::new(config.state_dir.join("ota"), config.run_dir.clone());
    // What runs before RAUC ever wrote a slot.
    settings.os_version = inventory::os_version();
    settings.trial_deadline = config.ota.trial_deadline;
    settings.allow_downgrade = config.ota.allow_downgrade;
    settings.cache_limit_bytes = config.ota.cache_limit;
    Engine::start(settings, Rauc::connect(bus).await, upstream, EngineSink(outbox))
        .await
        .inspect_err(|error| error!("the update engine does not start: {error}"))
        .ok()
}

async fn offer(
    bus: &zbus::Connection,
    shared: Arc<Shared>,
    requests: mpsc::Sender<PairRequest>,
) -> Option<InterfaceRef<bus::Agent>> {
    bus::offer(bus, shared, requests)
        .await
        // The device is still worth keeping in touch with.
        .inspect_err(|error| error!("not on the system bus as {}: {error}", bus::NAME))
        .ok()
}

async fn tell_bus(agent: Option<InterfaceRef<bus::Agent>>, shared: &Shared) {
    if let Some(agent) = agent {
        if let Err(error) = bus::tell_changes(agent, shared).await {
            warn!("the system bus does not hear of changes any more: {error}");
        }
    }
    pending::<()>().await;
}

/// Keeps the update engine's idea of the server that of the identity.
async fn pass_on_upstream(
    config: &Config,
    mut membership: watch::Receiver<Membership>,
    sender: watch::Sender<Option<Upstream>>,
) {
    while membership.changed().await.is_ok() {
        sender.send_replace(upstream(config, &membership.borrow_and_update()));
    }
}

fn upstream(config: &Config, membership: &Membership) -> Option<Upstream> {
    let identity = membership.identity.as_ref()?;
    let configured = config.server.url.as_deref().and_then(crate::config::authority_of);
    Some(Upstream {
        authority: configured.unwrap_or(&identity.authority).to_owned(),
        tls: identity.tls.clone(),
    })
}

async fn tell_systemd(shared: Arc<Shared>) {
    let (mut link, mut membership) = (shared.link.clone(), shared.membership.clone());
    loop {
        service::status(&shared.summary());
        let changed = tokio::select! {
            changed = link.changed() => changed,
            changed = membership.changed() => changed,
        };
        if changed.is_err() {
            return pending().await;
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(
        link: watch::Receiver<LinkStatus>,
        membership: watch::Receiver<Membership>,
        outbox: Arc<Outbox>,
        engine: Option<EngineHandle>,
    ) -> Self {
        Self {
            link,
            membership,
            outbox,
            engine,
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pairing: self.pairing_status(),
            link: self.link.borrow().clone(),
            queue: self.outbox.status(),
            updates: self.engine.as_ref().map(EngineHandle::status),
        }
    }

    pub(crate) fn pairing_status(&self) -> PairingStatus {
        PairingStatus::from(&*self.membership.borrow())
    }

    fn summary(&self) -> String {
        let pairing = self.pairing_status();
        let link = self.link.borrow();
        match (pairing.paired, link.connected, &link.error) {
            (false, _, _) => "Not paired".to_owned(),
            (true, true, _) => format!("Connected to {}", pairing.server_url),
            (true, false, Some(error)) => format!("Not connected: {error}"),
            (true, false, None) => "Connecting".to_owned(),
        }
    }
}

// === impl Commands ===

impl Device for Commands {
    async fn command(&self, command: Command) {
        match (command, &self.engine) {
            (Command::Deploy(deploy), Some(engine)) => engine.deploy(deploy).await,
            (Command::Cancel(cancel), Some(engine)) => engine.cancel(cancel.deployment).await,
            (Command::Deploy(deploy), None) => self.refuse(deploy.deployment).await,
            (Command::Cancel(cancel), None) => self.refuse(cancel.deployment).await,
            (Command::Inventory, _) => self.outbox.request_inventory(),
            (Command::Unknown { kind }, _) => {
                info!("the server's command {kind:?} is not known to this version");
                let command = limits::clip(kind);
                self.outbox.report(Report::Unsupported { command }).await;
            }
        }
    }

    fn inventory(&self) -> Inventory {
        let engine = self.engine.as_ref().map(EngineHandle::status);
        inventory::collect(&engine.unwrap_or_default())
    }

    async fn connected(&self) {
        if let Some(engine) = &self.engine {
            engine.network_up().await;
        }
    }
}

impl Commands {
    async fn refuse(&self, deployment: u64) {
        let reason = Reason::new(
            FailureCode::Backend,
            "this device has no system bus through which an update backend could be reached",
        );
        let report = DeploymentReport {
            deployment,
            state: DeploymentState::Failed,
            reason: Some(reason),
            running_version: self.inventory().os_version,
            running_slot: String::new(),
            bytes_fetched: 0,
            at_ms: now_ms(),
        };
        self.outbox.report(Report::Deployment(report)).await;
    }
}
