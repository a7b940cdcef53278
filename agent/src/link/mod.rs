//! The connection to the server: MQTT 5 over mutual TLS, kept up for as long as the device belongs to the server.
//!
//! Every connection has a client of its own, which is thrown away with it: what has to go out again is in the queue, and
//! nowhere else.

mod connection;
mod outbox;
mod queue;

use std::{path::PathBuf, sync::Arc, time::Duration};

use homeport_ota::run_files::mark_server_reached;
use homeport_protocol::{Inventory, command::Envelope};
use homeport_system::{Backoff, clock::now_ms, service::Heartbeat};
use rustls::AlertDescription;
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use self::connection::Connection;
#[cfg(test)]
pub(crate) use self::queue::Lane;
pub(crate) use self::{
    outbox::{EngineSink, Outbox},
    queue::{Limits, QueueStatus},
};
use crate::{
    clock,
    config::{self, Config},
    identity::{Identity, Membership},
};

/// A connection that lived this long was a good one: the next wait is short again.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);

/// The rest of the agent, as the link needs it.
pub(crate) trait Host: Send + Sync + 'static {
    /// Takes a command, and does not wait until it has been run. When this returns, the command is acknowledged.
    fn command(&self, envelope: Envelope);

    /// The device as it is now.
    fn inventory(&self) -> Inventory;

    /// The connection has just come up.
    fn connected(&self);
}

/// How the connection stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LinkStatus {
    pub(crate) connected: bool,
    /// When this state began, milliseconds since 1970.
    pub(crate) since_ms: i64,
    /// Why there is no connection, or why the last one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Mqtt(rumqttc::ConnectionError),
    #[error(
        "the server has revoked this device's certificate; pair it again with `homeport-agent pair --force <token>`"
    )]
    Revoked,
    #[error(
        "the server says that this device's certificate has expired; this device's clock says {0}. If that is far off, set \
         the clock first; otherwise pair the device again with `homeport-agent pair --force <token>`"
    )]
    Expired(String),
    #[error("the server did not answer within {} seconds", .0.as_secs())]
    ConnectTimeout(Duration),
    #[error("the server did not acknowledge a message within {} seconds", .0.as_secs())]
    AcknowledgeTimeout(Duration),
    #[error("the server refused the subscription: {0}")]
    Subscription(#[from] rumqttc::RequestNoticeError),
    #[error("the server refused a message: {0}")]
    Publish(#[from] rumqttc::PublishNoticeError),
    #[error("the MQTT client does not take requests: {0}")]
    Client(#[from] rumqttc::ClientError),
    #[error("the MQTT client has stopped")]
    Stopped,
    #[error("the server has not said where its MQTT is; pair this device again")]
    NoAddress,
}

/// Keeps the device connected.
#[derive(Debug)]
pub(crate) struct Link<H> {
    config: config::Link,
    server: config::Server,
    run_dir: PathBuf,
    outbox: Arc<Outbox>,
    membership: watch::Receiver<Membership>,
    host: H,
    status: watch::Sender<LinkStatus>,
    heartbeat: Arc<Heartbeat>,
    stop: watch::Receiver<bool>,
}

// === impl LinkError ===

impl From<rumqttc::ConnectionError> for LinkError {
    fn from(error: rumqttc::ConnectionError) -> Self {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(one) = cause {
            let inner = one
                .downcast_ref::<std::io::Error>()
                .and_then(|error| error.get_ref());
            match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::AlertReceived(AlertDescription::CertificateRevoked)) => {
                    return Self::Revoked;
                }
                Some(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)) => {
                    return Self::Expired(clock::now_utc());
                }
                _ => {}
            }
            cause = one.source();
        }
        Self::Mqtt(error)
    }
}

// === impl Link ===

impl<H: Host> Link<H> {
    /// A link that connects once [`Link::run`] runs and there is an identity, and ends when `stop` becomes true.
    pub(crate) fn new(
        config: &Config,
        outbox: Arc<Outbox>,
        membership: watch::Receiver<Membership>,
        host: H,
        heartbeat: Arc<Heartbeat>,
        stop: watch::Receiver<bool>,
    ) -> (Self, watch::Receiver<LinkStatus>) {
        let (status, receiver) = watch::channel(LinkStatus {
            since_ms: now_ms(),
            ..LinkStatus::default()
        });
        let link = Self {
            config: config.link.clone(),
            server: config.server.clone(),
            run_dir: config.run_dir.clone(),
            outbox,
            membership,
            host,
            status,
            heartbeat,
            stop,
        };
        (link, receiver)
    }

    /// Connects again and again until it is stopped.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.backoff_min, self.config.backoff_max);
        while let Some(identity) = self.identity().await {
            let start = Instant::now();
            let result = self.connect(&identity).await;
            self.outbox.drop_volatile();
            let error = result.err().map(|error| error.to_string());
            self.set_status(false, error.clone());
            let Some(error) = error else {
                // Stopped, or the identity is a new one: both are seen at the head of the loop.
                continue;
            };
            if start.elapsed() >= GOOD_CONNECTION {
                backoff.reset();
            }
            let wait = backoff.next_wait();
            warn!(
                "not connected: {error}; next attempt in {:.1} s",
                wait.as_secs_f32()
            );
            if !self.rest(wait).await {
                return;
            }
        }
    }

    /// Waits for an identity; `None` when the link is stopped.
    async fn identity(&mut self) -> Option<Arc<Identity>> {
        loop {
            self.heartbeat.beat();
            if *self.stop.borrow() {
                return None;
            }
            if let Some(identity) = self.membership.borrow_and_update().identity.clone() {
                return Some(identity);
            }
            tokio::select! {
                changed = self.membership.changed() => changed.ok()?,
                changed = self.stop.changed() => changed.ok()?,
                () = self.heartbeat.asked() => {}
            }
        }
    }

    /// Waits; false when the link is stopped meanwhile. A new identity ends the wait.
    async fn rest(&mut self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        while Instant::now() < end {
            self.heartbeat.beat();
            tokio::select! {
                changed = self.stop.changed() => return changed.is_ok() && !*self.stop.borrow(),
                changed = self.membership.changed() => return changed.is_ok(),
                () = self.heartbeat.asked() => {}
                () = sleep_until(end) => {}
            }
        }
        true
    }

    /// One connection, from beginning to end. `Ok` when it ended because we wanted it to.
    async fn connect(&mut self, identity: &Identity) -> Result<(), LinkError> {
        let mqtt = self.server.mqtt.as_ref().or(identity.mqtt.as_ref());
        let address = mqtt.ok_or(LinkError::NoAddress)?;
        debug!("connecting to {address}");
        let mut connection = Connection::open(identity, address, &self.config).await?;
        info!("connected to {address} as {}", identity.device);
        self.set_status(true, None);
        // The boot check, another process, waits for it.
        if let Err(error) = mark_server_reached(&self.run_dir) {
            warn!(
                "cannot tell the boot check, in {}: {error}",
                self.run_dir.display()
            );
        }
        self.outbox.take_inventory_request();
        self.outbox.inventory(self.host.inventory());
        self.host.connected();
        loop {
            self.heartbeat.beat();
            if self.outbox.take_inventory_request() {
                self.outbox.inventory(self.host.inventory());
            }
            connection.send(&self.outbox)?;
            tokio::select! {
                command = connection.receive(&self.outbox) => {
                    let (envelope, publish) = command?;
                    self.host.command(envelope);
                    connection.acknowledge(&publish)?;
                }
                () = self.outbox.changed() => {}
                () = self.heartbeat.asked() => {}
                changed = self.membership.changed() => {
                    let is_same = |next: &Membership| {
                        next.identity.as_ref().is_some_and(|next| Arc::ptr_eq(&next.tls, &identity.tls))
                    };
                    if changed.is_err() || !is_same(&self.membership.borrow_and_update()) {
                        connection.close().await;
                        return Ok(());
                    }
                }
                _ = self.stop.changed() => {
                    connection.close().await;
                    return Ok(());
                }
            }
        }
    }

    fn set_status(&self, connected: bool, error: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.connected != connected || status.error != error;
            if status.connected != connected {
                status.since_ms = now_ms();
            }
            status.connected = connected;
            status.error = error;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
