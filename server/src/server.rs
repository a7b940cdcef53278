//! All parts together.

use std::{
    collections::HashSet,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api, audit,
    backup::{self, BackupError},
    blob::Bundles,
    ca::{Authority, CaError},
    commands,
    config::Config,
    disk::Disk,
    est, files,
    fleet::{Addresses, Fleet, FleetError},
    http::App,
    https,
    limits::{self, Limits},
    mqtt::{self, Registry},
    now_ms, pairing, people,
    store::{Store, StoreError, Tx},
    tls::{self, ServerCertificate, TlsError},
};

/// How often the server removes old telemetry.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// Pause between two steps of that removal: devices come first.
const PRUNE_PAUSE: Duration = Duration::from_millis(50);

/// How long the server remembers an expired pairing token, in milliseconds, so that a device that uses it learns the reason.
const TOKEN_MEMORY: i64 = 30 * DAY;

/// How long the audit record keeps entries that strangers and devices caused, in milliseconds.
const STRANGERS_MEMORY: i64 = 90 * DAY;

/// How long it keeps entries that people caused with no permission, in milliseconds.
const LOGINS_MEMORY: i64 = 366 * DAY;

/// How many entries of a kind one step removes from it.
const FORGOTTEN_AT_ONCE: u32 = 1000;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Why the server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory cannot be used.
    #[error("cannot use {}: {source}", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A port cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A restore that was cut short cannot be finished.
    #[error(transparent)]
    Restore(#[from] BackupError),
    /// The first user cannot be made.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The certificate authority cannot be used.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The addresses that a program which starts the server reads from its standard output, and from `listening.json`.
#[derive(Debug, Serialize)]
struct Listening {
    event: &'static str,
    https: SocketAddr,
    mqtt: SocketAddr,
}

/// Runs the server until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), ServerError> {
    let limits = Limits::default();
    limits::files::raise_limit(&limits);
    let data_dir = config.data_dir.clone();
    let at = |path: PathBuf| move |source| ServerError::File { path, source };
    files::create_private_dir(&data_dir).map_err(at(data_dir.clone()))?;
    backup::finish_restore(&data_dir)?;
    let disk = Disk::open(&data_dir, config.disk_reserve).map_err(at(data_dir.clone()))?;
    let store = Store::open(&config.database, &data_dir)?;
    let bundles = Bundles::open(&data_dir, config.max_bundle_size).map_err(at(data_dir.clone()))?;
    let known: HashSet<String> = store.read(Tx::bundle_ids).await?;
    bundles.sweep(&known).map_err(at(data_dir.clone()))?;
    people::create_first_admin(&store, &data_dir).await?;

    let authority = Arc::new(match &config.authority {
        Some((certificate, key)) => Authority::load(certificate, key)?,
        None => Authority::open(&data_dir)?,
    });
    let identity = data_dir.join(files::SERVER_IDENTITY);
    let certificate = ServerCertificate::open(identity, Arc::clone(&authority), config.host_names.clone())?;
    let certificate = Arc::new(certificate);

    let (https_listener, https) = listen(config.https_listen).await?;
    let (mqtt_listener, mqtt) = listen(config.mqtt_listen).await?;
    let registry = Registry::new();
    let addresses = Addresses {
        https_authority: config.https_authority(https.port()),
        mqtt_authority: config.mqtt_authority(mqtt.port()),
        ca_fingerprint: authority.fingerprint(),
    };
    let (fleet, refused) = Fleet::load(
        store.clone(),
        bundles,
        registry.clone(),
        addresses,
        disk.clone(),
        config.samples_per_day,
    )
    .await?;
    tokio::spawn(pairing::readmission::follow(Arc::downgrade(&fleet.0), refused));
    let https_tls = tls::https_config(&authority, Arc::clone(&certificate), fleet.clone())?;
    let mqtt_tls = tls::mqtt_config(&authority, Arc::clone(&certificate), fleet.clone())?;
    let app = App {
        fleet: fleet.clone(),
        shutdown: shutdown.clone(),
    };
    let router = api::router(app).merge(est::router(authority, fleet.clone()));

    let listening = Listening {
        event: "listening",
        https,
        mqtt,
    };
    announce(&listening, &data_dir.join(files::LISTENING))?;
    let tasks = TaskTracker::new();
    tasks.spawn(https::serve(
        https_listener,
        https_tls,
        router,
        limits.clone(),
        shutdown.clone(),
    ));
    tasks.spawn(mqtt::serve(
        mqtt_listener,
        mqtt_tls,
        fleet.clone(),
        registry,
        limits,
        shutdown.clone(),
    ));
    tasks.spawn(disk.watch(store.clone(), shutdown.clone()));
    tasks.spawn(certificate.keep_fresh(shutdown.clone()));
    tasks.spawn(commands::watch(fleet.clone(), shutdown.clone()));
    tasks.spawn(prune(
        store.clone(),
        fleet,
        config.retention_days,
        shutdown.clone(),
    ));
    tasks.close();

    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        // Without the database, the server cannot acknowledge anything.
        () = store.closed() => Err(StoreError::Closed.into()),
    };
    tracing::info!("stopping");
    shutdown.cancel();
    tasks.wait().await;
    ended
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}

fn announce(listening: &Listening, path: &Path) -> Result<(), ServerError> {
    tracing::info!(https = %listening.https, mqtt = %listening.mqtt, "listening");
    let write = || {
        let mut line = serde_json::to_vec(listening)?;
        line.push(b'\n');
        files::write_public(path, &line)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line)?;
        stdout.flush()
    };
    write().map_err(|source| ServerError::File {
        path: path.to_owned(),
        source,
    })
}

/// Removes old data, in steps so small that nobody waits for them.
async fn prune(store: Store, fleet: Fleet, retention_days: u32, shutdown: CancellationToken) {
    let mut next = tokio::time::interval(PRUNE_INTERVAL);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = next.tick() => {}
        }
        if let Err(error) = fleet.prune_certificates().await {
            tracing::warn!(%error, "cannot forget old certificates");
        }
        if let Err(error) = fleet.prune_commands().await {
            tracing::warn!(%error, "cannot forget old commands");
        }
        if let Err(error) = fleet.prune_bundles().await {
            tracing::warn!(%error, "cannot remove bundles that nobody needs");
        }
        if let Err(error) = prune_once(&store, retention_days, &shutdown).await {
            tracing::warn!(%error, "cannot remove old telemetry");
        }
    }
}

async fn prune_once(
    store: &Store,
    retention_days: u32,
    shutdown: &CancellationToken,
) -> Result<(), StoreError> {
    store
        .write(|tx| {
            tx.prune_tokens(now_ms() - TOKEN_MEMORY)?;
            tx.prune_access_tokens(now_ms())
        })
        .await?;
    for (actions, age) in [
        (audit::BY_STRANGERS, STRANGERS_MEMORY),
        (audit::BY_ANYBODY, LOGINS_MEMORY),
    ] {
        let before_ms = now_ms() - age;
        while store
            .write(move |tx| tx.prune_audit(actions, before_ms, FORGOTTEN_AT_ONCE))
            .await?
            > 0
        {
            if shutdown.is_cancelled() {
                return Ok(());
            }
            tokio::time::sleep(PRUNE_PAUSE).await;
        }
    }
    let before_ms = now_ms() - i64::from(retention_days) * DAY;
    let mut after = 0;
    while let Some(next) = store.write(move |tx| tx.prune_samples(after, before_ms)).await? {
        after = next;
        if shutdown.is_cancelled() {
            break;
        }
        tokio::time::sleep(PRUNE_PAUSE).await;
    }
    Ok(())
}
