//! One MQTT connection.

use std::{collections::VecDeque, io, pin::Pin, time::Duration};

use homeport_protocol::{
    DeviceId, Topic,
    command::Envelope,
    limits::{MAX_PACKET, RECEIVE_MAXIMUM},
    topic::Channel,
};
use rumqttc::{
    AsyncClient, Broker, ConnectProperties, ConnectionError, Event, EventLoop, Incoming, MqttOptions,
    PubAckReason, Publish, PublishNoticeError, QoS,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use super::{LinkError, Outbox, queue::Lane};
use crate::{config, https, identity::Identity};

/// Port of MQTT over TLS (IANA: secure-mqtt).
const MQTT_PORT: u16 = 8883;

/// Messages that are sent before the first of them is acknowledged.
pub(super) const WINDOW: usize = 8;

/// Requests that the client takes without being asked to wait: the window, acknowledgements, progress, and the end.
const REQUESTS: usize = 64;

/// Time for the server to commit a message and to say so. MQTT 5 (section 4.4) forbids to send it again on the same
/// connection, so after this time the connection is given up.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for a clean end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Connection {
    client: AsyncClient,
    events: mpsc::Receiver<Result<Incoming, ConnectionError>>,
    driver: JoinHandle<()>,
    device: DeviceId,
    window: VecDeque<InFlight>,
    /// Highest sequence of each lane that was sent.
    sent: [u64; Lane::ALL.len()],
    /// Until then no telemetry is sent: the server has no room for it.
    telemetry_waits: Option<Instant>,
    quota_pause: Duration,
}

struct InFlight {
    lane: Lane,
    sequence: u64,
    deadline: Instant,
    acknowledged: Pin<Box<dyn Future<Output = Result<(), PublishNoticeError>> + Send>>,
}

// === impl Connection ===

impl Connection {
    /// Connects and subscribes.
    pub(super) async fn open(
        identity: &Identity,
        address: &str,
        config: &config::Link,
    ) -> Result<Self, LinkError> {
        let opened = timeout(config.connect_timeout, Self::connect(identity, address, config));
        opened
            .await
            .unwrap_or(Err(LinkError::ConnectTimeout(config.connect_timeout)))
    }

    async fn connect(identity: &Identity, address: &str, config: &config::Link) -> Result<Self, LinkError> {
        let options = options(identity, address, config);
        let (client, event_loop) = AsyncClient::new(options, REQUESTS);
        let (sender, events) = mpsc::channel(REQUESTS);
        let mut connection = Self {
            client,
            events,
            // A task of its own: the client's event loop loses what it was about to write when it is cancelled.
            driver: tokio::spawn(drive(event_loop, sender)),
            device: identity.device.clone(),
            window: VecDeque::with_capacity(WINDOW),
            sent: [0; Lane::ALL.len()],
            telemetry_waits: None,
            quota_pause: config.backoff_max,
        };
        let topic = connection.topic(Channel::Command);
        let subscribed = connection.client.try_subscribe_tracked(topic, QoS::AtLeastOnce)?;
        let mut subscribed = Box::pin(subscribed.wait_async());
        loop {
            tokio::select! {
                result = &mut subscribed => {
                    result?;
                    return Ok(connection);
                }
                // Commands come after the inventory, so what comes here is CONNACK, SUBACK, or the end.
                incoming = connection.events.recv() => {
                    incoming.ok_or(LinkError::Stopped)??;
                }
            }
        }
    }

    /// Sends what the queue holds, as far as the window allows, the most important lane first.
    pub(super) fn send(&mut self, outbox: &Outbox) -> Result<(), LinkError> {
        if let Some(progress) = outbox.take_progress() {
            let topic = self.topic(Channel::Progress);
            self.client
                .try_publish(topic, QoS::AtMostOnce, false, progress.encode())?;
        }
        for lane in Lane::ALL {
            while self.has_room(lane) {
                let Some((sequence, payload)) = outbox.peek(lane, self.sent[lane as usize]) else {
                    break;
                };
                self.publish(lane, sequence, payload)?;
            }
        }
        Ok(())
    }

    fn has_room(&self, lane: Lane) -> bool {
        // The next report or telemetry, or the watchdog, comes by here again.
        let waits =
            lane == Lane::Telemetry && self.telemetry_waits.is_some_and(|until| Instant::now() < until);
        let of_lane = self.window.iter().filter(|one| one.lane == lane).count();
        !waits && self.window.len() < WINDOW && of_lane < lane.window()
    }

    /// Waits for a command. Meanwhile it frees in the outbox what the server has acknowledged, and wakes whoever waits for
    /// [`Outbox::changed`], because there is room in the window. Cancel-safe.
    pub(super) async fn receive(&mut self, outbox: &Outbox) -> Result<(Envelope, Publish), LinkError> {
        loop {
            let incoming = match self.window.front_mut() {
                None => self.events.recv().await,
                Some(oldest) => tokio::select! {
                    incoming = self.events.recv() => incoming,
                    result = &mut oldest.acknowledged => {
                        let (lane, sequence) = (oldest.lane, oldest.sequence);
                        self.window.pop_front();
                        self.settle(outbox, lane, sequence, result)?;
                        outbox.wake();
                        continue;
                    }
                    () = sleep_until(oldest.deadline) => {
                        return Err(LinkError::AcknowledgeTimeout(ACKNOWLEDGE_TIMEOUT));
                    }
                },
            };
            let Incoming::Publish(publish) = incoming.ok_or(LinkError::Stopped)?? else {
                continue;
            };
            match Envelope::decode(&publish.payload) {
                Ok(envelope) => return Ok((envelope, publish)),
                Err(error) => {
                    warn!("a command that cannot be understood is dropped: {error}");
                    self.acknowledge(&publish)?;
                }
            }
        }
    }

    /// Tells the server that its command was accepted.
    pub(super) fn acknowledge(&mut self, publish: &Publish) -> Result<(), LinkError> {
        Ok(self.client.try_ack(publish)?)
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        if self.client.try_disconnect().is_ok() {
            // A server that does not care is left all the same.
            let _ = timeout(CLOSE_TIMEOUT, &mut self.driver).await;
        }
    }

    fn publish(&mut self, lane: Lane, sequence: u64, payload: Vec<u8>) -> Result<(), LinkError> {
        let topic = self.topic(lane.channel());
        let notice = self
            .client
            .try_publish_tracked(topic, QoS::AtLeastOnce, false, payload)?;
        self.sent[lane as usize] = sequence;
        self.window.push_back(InFlight {
            lane,
            sequence,
            deadline: Instant::now() + ACKNOWLEDGE_TIMEOUT,
            acknowledged: Box::pin(notice.wait_async()),
        });
        Ok(())
    }

    /// Frees a message that the server has, or will never want.
    fn settle(
        &mut self,
        outbox: &Outbox,
        lane: Lane,
        sequence: u64,
        result: Result<(), PublishNoticeError>,
    ) -> Result<(), LinkError> {
        match (result, lane) {
            (Ok(()), _) => outbox.acknowledge(lane, sequence),
            // Sent again it would be refused again, and stand in the way of all that follow.
            (Err(PublishNoticeError::V5PubAck(PubAckReason::PayloadFormatInvalid)), _) => {
                warn!("the server does not understand message {sequence} of {lane:?}; it is dropped");
                outbox.refuse(lane, sequence);
            }
            // It stays in the queue, and all after it, for as long as the queue has room for them.
            (Err(PublishNoticeError::V5PubAck(PubAckReason::QuotaExceeded)), Lane::Telemetry) => {
                warn!("the server takes no more telemetry for now");
                let sent = &mut self.sent[lane as usize];
                *sent = (*sent).min(sequence.saturating_sub(1));
                self.telemetry_waits = Some(Instant::now() + self.quota_pause);
            }
            (Err(error), _) => return Err(error.into()),
        }
        Ok(())
    }

    fn topic(&self, channel: Channel) -> String {
        Topic::new(self.device.clone(), channel).to_string()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn options(identity: &Identity, address: &str, config: &config::Link) -> MqttOptions {
    // The connector does the connecting: the broker's address is for show.
    let mut options = MqttOptions::new(identity.device.as_str(), Broker::tcp(address, MQTT_PORT));
    let seconds = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(0);
    properties.receive_maximum = Some(RECEIVE_MAXIMUM);
    properties.max_packet_size = u32::try_from(MAX_PACKET).ok();
    let (tls, authority) = (identity.tls.clone(), address.to_owned());
    options
        .set_keep_alive(seconds)
        .set_clean_start(true)
        .set_connect_properties(properties)
        .set_connect_timeout(config.connect_timeout)
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(RECEIVE_MAXIMUM)
        .set_socket_connector(move |_, _| {
            let (tls, authority) = (tls.clone(), authority.clone());
            async move {
                https::connect(tls, &authority, MQTT_PORT)
                    .await
                    .map_err(io::Error::other)
            }
        });
    options
}

/// Runs the client until it fails, and passes on what concerns us.
async fn drive(mut event_loop: EventLoop, events: mpsc::Sender<Result<Incoming, ConnectionError>>) {
    loop {
        let event = event_loop.poll().await;
        let is_end = matches!(event, Err(_) | Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)));
        let passed_on = match event {
            Ok(Event::Incoming(incoming @ Incoming::Publish(_))) => events.send(Ok(incoming)).await,
            Ok(_) => Ok(()),
            Err(error) => events.send(Err(error)).await,
        };
        if is_end || passed_on.is_err() {
            return;
        }
    }
}
