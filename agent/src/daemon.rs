//! The agent's process: puts the parts together and ends them in order.

use std::{io, sync::Arc};

use homeport_ota::{Engine, EngineConfig, EngineHandle, Upstream, backend::rauc::Rauc};
use homeport_protocol::{Inventory, command::Envelope};
use homeport_system::{
    file,
    service::{self, Heartbeat},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{error, info, warn};

use crate::{
    bus,
    command::{CAPABILITIES, Commands, Updates},
    config::Config,
    identity::{PairError, Pairing, Upstreams},
    inventory,
    link::{EngineSink, Host, Limits, Link, Outbox},
    status::Shared,
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

/// The parts that the link needs.
struct Device {
    commands: Arc<Commands<Updates>>,
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
    let (upstreams, upstream) = Upstreams::new(config.server.clone(), membership.clone());
    let engine = match &bus {
        Some(bus) => start_engine(&config, bus.clone(), upstream, outbox.clone()).await,
        None => None,
    };
    let heartbeat = Arc::new(Heartbeat::start());
    let (stop, stopped) = watch::channel(false);
    let updates = Updates::new(engine.clone(), outbox.clone());
    let commands = Arc::new(Commands::new(updates, outbox.clone()));
    let device = Device {
        commands: commands.clone(),
        engine: engine.clone(),
    };
    let (link, link_status) = Link::new(
        &config,
        outbox.clone(),
        membership.clone(),
        device,
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
    let tell_bus = bus::offer(bus.as_ref(), shared.clone(), requests.clone()).await;
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
        () = upstreams.run() => {}
        () = commands.run() => {}
        () = shared.tell_systemd() => {}
        () = tell_bus => {}
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

// === impl Device ===

impl Host for Device {
    fn command(&self, envelope: Envelope) {
        self.commands.accept(envelope);
    }

    fn inventory(&self) -> Inventory {
        let engine = self.engine.as_ref().map(EngineHandle::status);
        inventory::collect(&engine.unwrap_or_default(), &CAPABILITIES)
    }

    fn connected(&self) {
        if let Some(engine) = &self.engine {
            engine.network_up();
        }
    }
}
