//! One device's connection from CONNECT on, without its socket: packets in, packets out.

use std::{
    collections::VecDeque,
    fmt::Display,
    future::Future,
    mem,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use homeport_protocol::{
    DeviceId, Sequenced, Topic,
    command::Envelope,
    deployment::Progress,
    limits::{MAX_KEEP_ALIVE, MAX_PACKET, RECEIVE_MAXIMUM},
    topic::Channel,
};
use mqtt_proto::{Pid, QoS, QosPid, TopicName, v3, v5};

use super::{
    Fingerprint, Handler, HandlerError,
    close::Close,
    codec::{self, Connect, Packet, Publish, Version},
    registry::{Link, Registry},
};

/// Messages that may wait for the handler before the server stops reading. Larger than Receive Maximum, for clients of 3.1.1 and messages
/// of QoS 0, which have no such limit.
const MAX_QUEUED: usize = 2 * RECEIVE_MAXIMUM as usize;

/// Payload that may wait for the handler before the server stops reading, in bytes.
const MAX_QUEUED_BYTES: usize = 2 * MAX_PACKET;

/// Filters in one SUBSCRIBE or UNSUBSCRIBE. A device needs one.
const MAX_FILTERS: usize = 8;

/// See the module.
pub(super) struct Session<H> {
    handler: H,
    registry: Registry,
    device: DeviceId,
    certificate: Fingerprint,
    peer: SocketAddr,
    link: Arc<Link>,
    connect: Connect,
    /// CONNACK was sent.
    open: bool,
    /// Bytes of a packet that is not complete, or whose turn has not come.
    unread: Vec<u8>,
    /// There may be whole packets in `unread`.
    stalled: bool,
    /// The handler's work for this device. At most one piece at a time, which keeps the order of messages.
    work: Option<Work>,
    queue: VecDeque<Publish>,
    queued_bytes: usize,
    /// The queue and sequence number of telemetry that was refused for lack of room. Later telemetry must wait too: with its higher number,
    /// the refused message would seem a repeat when it comes again.
    postponed: Option<(u64, u64)>,
    /// Messages for which the device waits for PUBACK.
    unacknowledged: u16,
    /// QoS of the subscription to the device's command topic.
    subscription: Option<QoS>,
    /// Commands without PUBACK, and when they were sent.
    in_flight: VecDeque<(Pid, u32)>,
    last_id: Pid,
    /// A refused message was logged.
    complained: bool,
}

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

enum Outcome {
    Connected,
    Removed,
    Stored {
        id: QosPid,
        commands: Vec<Envelope>,
    },
    Refused {
        id: QosPid,
        error: String,
    },
    /// Telemetry at this place of its queue has to wait.
    Postponed {
        id: QosPid,
        position: (u64, u64),
    },
    Unavailable,
}

/// How long a device may be silent (MQTT 5 section 3.1.2.10: one and a half times its keep-alive), and the keep-alive that the server
/// grants.
fn keep_alive(connect: &Connect) -> (Duration, u16) {
    let longest = u16::try_from(MAX_KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX);
    let granted = match (connect.version, connect.keep_alive) {
        (_, 0) => longest,
        // In 3.1.1 the server cannot tell the client.
        (Version::V3, asked) => asked,
        (Version::V5, asked) => asked.min(longest),
    };
    // The sweep sees whole seconds.
    (Duration::from_secs(u64::from(granted) * 3 / 2 + 1), granted)
}

// === impl Session ===

impl<H: Handler> Session<H> {
    /// A session of the `device` that has sent `connect` and then `unread`. Takes over from an older one.
    pub(super) fn new(
        handler: H,
        registry: Registry,
        device: DeviceId,
        certificate: Fingerprint,
        peer: SocketAddr,
        connect: Connect,
        unread: Vec<u8>,
    ) -> Self {
        let link = registry.join(&device, keep_alive(&connect).0);
        if handler.identify(&certificate).as_ref() != Some(&device) {
            // The certificate was revoked between the handshake and now; a revocation from now on finds the link.
            link.close(Close::Removed);
        }
        let mut session = Self {
            handler,
            registry,
            device,
            certificate,
            peer,
            link,
            connect,
            open: false,
            stalled: !unread.is_empty(),
            unread,
            work: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            postponed: None,
            unacknowledged: 0,
            subscription: None,
            in_flight: VecDeque::new(),
            last_id: Pid::default(),
            complained: false,
        };
        session.work = Some(session.announce());
        session
    }

    /// The link between the session and the rest of the server.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The device that it belongs to.
    pub(super) fn device(&self) -> &DeviceId {
        &self.device
    }

    /// Whether the connection should not read now: the handler has enough to do.
    pub(super) fn is_paused(&self) -> bool {
        !self.open || self.queue.len() >= MAX_QUEUED || self.queued_bytes >= MAX_QUEUED_BYTES
    }

    /// Takes bytes from the device. Answers are appended to `out`.
    pub(super) fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Close> {
        self.link.touch(self.registry.now());
        if self.unread.is_empty() {
            let read = self.read_packets(bytes, out)?;
            self.unread = bytes[read..].to_vec();
            return Ok(());
        }
        self.unread.extend_from_slice(bytes);
        self.read_unread(out)
    }

    /// Does the work that needs no bytes from the device: polls the handler, sends commands. Call this whenever the task wakes.
    pub(super) fn advance(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Close> {
        self.link.register(context.waker());
        if let Some(close) = self.link.asked_to_close() {
            return Err(close);
        }
        loop {
            if self.stalled && !self.is_paused() {
                self.read_unread(out)?;
            }
            if self.work.is_none() {
                self.begin_next(out);
            }
            let Some(work) = &mut self.work else {
                if self.stalled {
                    continue;
                }
                break;
            };
            let Poll::Ready(outcome) = work.as_mut().poll(context) else {
                break;
            };
            self.work = None;
            // The handler's time does not count as the device's silence.
            self.link.touch(self.registry.now());
            self.complete(outcome, out)?;
        }
        self.deliver(out);
        Ok(())
    }

    /// Notes what the device has to do next: send the rest of a packet, if `reads`; read what the server sends, if `blocked`. Time in which
    /// the server itself does not read does not count.
    pub(super) fn wait(&self, reads: bool, blocked: bool) {
        let now = self.registry.now();
        // Whole packets wait for the handler.
        let begun = if reads && !self.stalled {
            self.unread.len()
        } else {
            0
        };
        self.link.packet(begun, now);
        self.link.blocked(blocked, now);
    }

    /// Appends the packet that tells the device why the connection ends, if the version has one.
    pub(super) fn say_goodbye(&self, close: &Close, out: &mut Vec<u8>) {
        if let Some(code) = close
            .code()
            .filter(|_| self.open && self.connect.version == Version::V5)
        {
            codec::encode_v5(&v5::Disconnect::new(code).into(), out);
        }
    }

    /// Tells the handler that the device is gone, unless it has connected again.
    pub(super) async fn leave(mut self) {
        self.link.shut();
        // The server does not wait for the handler's work: the device sends the message again.
        self.work = None;
        let _order = self.link.presence().lock().await;
        if self.registry.is_current(&self.device, &self.link) {
            self.handler.disconnected(&self.device).await;
            self.registry.leave(&self.device, &self.link);
        }
    }

    fn announce(&self) -> Work {
        let (handler, registry, link) = (
            self.handler.clone(),
            self.registry.clone(),
            Arc::clone(&self.link),
        );
        let (device, certificate, peer) = (self.device.clone(), self.certificate, self.peer);
        Box::pin(async move {
            let _order = link.presence().lock().await;
            if registry.is_current(&device, &link) && !handler.connected(&device, &certificate, peer).await {
                return Outcome::Removed;
            }
            Outcome::Connected
        })
    }

    fn read_unread(&mut self, out: &mut Vec<u8>) -> Result<(), Close> {
        let bytes = mem::take(&mut self.unread);
        let read = self.read_packets(&bytes, out)?;
        self.unread = bytes[read..].to_vec();
        Ok(())
    }

    /// Handles the complete packets at the start of `bytes`; returns how many bytes they were.
    fn read_packets(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Close> {
        let mut read = 0;
        self.stalled = false;
        loop {
            let rest = &bytes[read..];
            match codec::frame(rest, MAX_PACKET)? {
                Some(frame) if frame.len <= rest.len() => {
                    if self.is_paused() {
                        self.stalled = true;
                        return Ok(read);
                    }
                    let packet = codec::decode(frame, rest, self.connect.version)?;
                    read += frame.len;
                    self.link.packet(0, 0);
                    self.handle(packet, out)?;
                }
                _ => return Ok(read),
            }
        }
    }

    fn handle(&mut self, packet: Packet, out: &mut Vec<u8>) -> Result<(), Close> {
        match packet {
            Packet::Publish(publish) => self.enqueue(publish, out)?,
            Packet::Puback(id) => {
                self.in_flight.retain(|(sent, _)| *sent != id);
                if self.in_flight.is_empty() {
                    self.in_flight = VecDeque::new();
                }
                self.link.waiting_since(self.in_flight.front().map(|(_, at)| *at));
            }
            Packet::Subscribe { id, filters } => self.subscribe(id, &filters, out)?,
            Packet::Unsubscribe { id, filters } => self.unsubscribe(id, &filters, out)?,
            Packet::Ping => self.send(&v3::Packet::Pingresp, &v5::Packet::Pingresp, out),
            Packet::Disconnect => return Err(Close::Gone),
        }
        Ok(())
    }

    fn enqueue(&mut self, publish: Publish, out: &mut Vec<u8>) -> Result<(), Close> {
        if publish.id.qos() == QoS::Level2 {
            return Err(Close::QosNotSupported);
        }
        if publish.retain {
            return Err(Close::RetainNotSupported);
        }
        if publish.alias {
            return Err(Close::TopicAliasInvalid);
        }
        let own = publish.topic.parse::<Topic>();
        if !own.is_ok_and(|topic| topic.device == self.device && topic.channel.is_up()) {
            if self.connect.version == Version::V5 {
                self.acknowledge(publish.id, v5::PubackReasonCode::NotAuthorized, out);
            }
            return Err(Close::NotAuthorized);
        }
        if publish.id.qos() == QoS::Level1 {
            if self.connect.version == Version::V5 && self.unacknowledged >= RECEIVE_MAXIMUM {
                return Err(Close::ReceiveMaximumExceeded);
            }
            self.unacknowledged += 1;
        }
        self.queued_bytes += publish.payload.len();
        self.queue.push_back(publish);
        Ok(())
    }

    /// Gives messages to the handler until one leaves it with work.
    fn begin_next(&mut self, out: &mut Vec<u8>) {
        while let Some(publish) = self.queue.pop_front() {
            self.queued_bytes -= publish.payload.len();
            if self.queue.is_empty() {
                self.queue = VecDeque::new();
            }
            let id = publish.id;
            match self.begin(&publish) {
                Ok(Some(work)) => {
                    self.work = Some(work);
                    return;
                }
                Ok(None) => self.acknowledge(id, v5::PubackReasonCode::Success, out),
                Err(error) => self.refuse(id, &error, out),
            }
        }
    }

    fn begin(&mut self, publish: &Publish) -> Result<Option<Work>, homeport_protocol::DecodeError> {
        let (handler, device, id) = (self.handler.clone(), self.device.clone(), publish.id);
        let channel = publish.topic.parse::<Topic>().map(|topic| topic.channel);
        Ok(match channel {
            Ok(Channel::Telemetry) => {
                let batch = Sequenced::decode(&publish.payload)?;
                let position = (batch.queue, batch.sequence);
                let behind = self
                    .postponed
                    .is_some_and(|(queue, sequence)| queue == position.0 && sequence < position.1);
                if self.postponed == Some(position) {
                    self.postponed = None;
                }
                Some(Box::pin(async move {
                    if behind {
                        return Outcome::Postponed { id, position };
                    }
                    match handler.telemetry(&device, batch).await {
                        Err(HandlerError::Quota(why)) => {
                            tracing::debug!(%device, why, "telemetry has to wait");
                            Outcome::Postponed { id, position }
                        }
                        stored => Outcome::new(id, &device, stored.map(|()| Vec::new())),
                    }
                }))
            }
            Ok(Channel::Report) => {
                let report = Sequenced::decode(&publish.payload)?;
                Some(Box::pin(async move {
                    let stored = handler.report(&device, report).await;
                    Outcome::new(id, &device, stored)
                }))
            }
            Ok(Channel::Progress) => {
                handler.progress(&device, Progress::decode(&publish.payload)?);
                None
            }
            // `enqueue` let nothing else in.
            Ok(Channel::Command) | Err(_) => None,
        })
    }

    fn complete(&mut self, outcome: Outcome, out: &mut Vec<u8>) -> Result<(), Close> {
        match outcome {
            Outcome::Connected => {
                self.welcome(out);
                self.open = true;
            }
            Outcome::Removed => return Err(Close::Removed),
            Outcome::Stored { id, commands } => {
                self.acknowledge(id, v5::PubackReasonCode::Success, out);
                for command in &commands {
                    if !self.link.push(command) {
                        tracing::warn!(device = %self.device, "too many commands wait for the device");
                        break;
                    }
                }
            }
            Outcome::Refused { id, error } => self.refuse(id, &error, out),
            // In 3.1.1 the server cannot refuse a single message.
            Outcome::Postponed { id, .. }
                if self.connect.version == Version::V3 && id.qos() == QoS::Level1 =>
            {
                return Err(Close::Unavailable);
            }
            Outcome::Postponed { id, position } => {
                let first = self
                    .postponed
                    .filter(|first| first.0 == position.0 && first.1 < position.1);
                self.postponed = Some(first.unwrap_or(position));
                self.acknowledge(id, v5::PubackReasonCode::QuotaExceeded, out);
            }
            Outcome::Unavailable => return Err(Close::Unavailable),
        }
        Ok(())
    }

    /// Tells the device that a message can never be accepted. Only the first is logged: a device must not fill the log.
    fn refuse(&mut self, id: QosPid, error: &dyn Display, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.complained, true) {
            tracing::warn!(device = %self.device, %error, "refused a message; further refusals on this connection are not logged");
        }
        self.acknowledge(id, v5::PubackReasonCode::PayloadFormatInvalid, out);
    }

    fn welcome(&self, out: &mut Vec<u8>) {
        let old = v3::Connack::new(false, v3::ConnectReturnCode::Accepted);
        let mut new = v5::Connack::new(false, v5::ConnectReasonCode::Success);
        let (_, granted) = keep_alive(&self.connect);
        let properties = &mut new.properties;
        properties.session_expiry_interval = self.connect.wants_session.then_some(0);
        properties.receive_max = Some(RECEIVE_MAXIMUM);
        properties.max_qos = Some(QoS::Level1);
        properties.retain_available = Some(false);
        properties.max_packet_size = u32::try_from(MAX_PACKET).ok();
        properties.assigned_client_id = self
            .connect
            .client_id
            .is_empty()
            .then(|| self.device.as_str().into());
        properties.wildcard_subscription_available = Some(false);
        properties.subscription_id_available = Some(false);
        properties.shared_subscription_available = Some(false);
        properties.server_keep_alive = (granted != self.connect.keep_alive).then_some(granted);
        self.send(&old.into(), &new.into(), out);
    }

    fn subscribe(
        &mut self,
        id: Pid,
        filters: &[(mqtt_proto::TopicFilter, QoS)],
        out: &mut Vec<u8>,
    ) -> Result<(), Close> {
        use v5::SubscribeReasonCode as Code;

        if filters.len() > MAX_FILTERS {
            return Err(Close::NotAuthorized);
        }
        let mut codes = Vec::with_capacity(filters.len());
        let mut foreign = false;
        for (filter, qos) in filters {
            let topic = filter
                .parse::<Topic>()
                .ok()
                .filter(|topic| topic.device == self.device);
            let own = topic.is_some() || self.is_own_prefix(filter);
            foreign |= !own;
            codes.push(if topic.is_some_and(|topic| topic.channel == Channel::Command) {
                let granted = (*qos).min(QoS::Level1);
                self.subscription = Some(granted);
                match granted {
                    QoS::Level0 => Code::GrantedQoS0,
                    QoS::Level1 | QoS::Level2 => Code::GrantedQoS1,
                }
            } else if own && filter.contains(['+', '#']) {
                Code::WildcardSubscriptionsNotSupported
            } else {
                Code::NotAuthorized
            });
        }
        match self.connect.version {
            Version::V3 => {
                let granted = codes.iter().map(|code| match code {
                    Code::GrantedQoS0 => Some(QoS::Level0),
                    Code::GrantedQoS1 => Some(QoS::Level1),
                    _ => None,
                });
                codec::encode_suback_v3(id, granted, out);
            }
            Version::V5 => {
                codec::encode_v5(&v5::Suback::new(id, codes).into(), out);
                if foreign {
                    return Err(Close::NotAuthorized);
                }
            }
        }
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        id: Pid,
        filters: &[mqtt_proto::TopicFilter],
        out: &mut Vec<u8>,
    ) -> Result<(), Close> {
        if filters.len() > MAX_FILTERS {
            return Err(Close::NotAuthorized);
        }
        let command = Topic::new(self.device.clone(), Channel::Command);
        let codes = filters.iter().map(|filter| {
            if filter.parse().is_ok_and(|topic: Topic| topic == command) && self.subscription.take().is_some()
            {
                v5::UnsubscribeReasonCode::Success
            } else {
                v5::UnsubscribeReasonCode::NoSubscriptionExisted
            }
        });
        let new = v5::Unsuback::new(id, codes.collect());
        self.send(&v3::Packet::Unsuback(id), &new.into(), out);
        Ok(())
    }

    fn is_own_prefix(&self, filter: &str) -> bool {
        let mut parts = filter.splitn(3, '/');
        parts.next() == Some(homeport_protocol::topic::PREFIX) && parts.next() == Some(self.device.as_str())
    }

    /// Sends waiting commands, as far as the device accepts them.
    fn deliver(&mut self, out: &mut Vec<u8>) {
        let Some(qos) = self.subscription else {
            return;
        };
        let most = usize::from(self.connect.receive_maximum.min(RECEIVE_MAXIMUM));
        let room = most.saturating_sub(self.in_flight.len());
        if room == 0 {
            return;
        }
        for payload in self.link.take(room) {
            let topic = Topic::new(self.device.clone(), Channel::Command).to_string();
            let Ok(topic) = TopicName::try_from(topic.as_str()) else {
                return;
            };
            let id = match qos {
                QoS::Level0 => QosPid::Level0,
                QoS::Level1 | QoS::Level2 => QosPid::Level1(self.next_id()),
            };
            let before = out.len();
            let old = v3::Publish::new(id, topic.clone(), payload.clone());
            let new = v5::Publish::new(id, topic, payload);
            self.send(&old.into(), &new.into(), out);
            if out.len() - before > self.connect.max_packet {
                tracing::warn!(device = %self.device, "a command is larger than the device accepts");
                out.truncate(before);
                continue;
            }
            if let Some(id) = id.pid() {
                self.in_flight.push_back((id, self.registry.now()));
            }
        }
        self.link.waiting_since(self.in_flight.front().map(|(_, at)| *at));
    }

    fn next_id(&mut self) -> Pid {
        loop {
            self.last_id += 1;
            if !self.in_flight.iter().any(|(id, _)| *id == self.last_id) {
                return self.last_id;
            }
        }
    }

    fn acknowledge(&mut self, id: QosPid, code: v5::PubackReasonCode, out: &mut Vec<u8>) {
        if let QosPid::Level1(id) = id {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            self.send(&v3::Packet::Puback(id), &v5::Puback::new(id, code).into(), out);
        }
    }

    fn send(&self, old: &v3::Packet, new: &v5::Packet, out: &mut Vec<u8>) {
        match self.connect.version {
            Version::V3 => codec::encode_v3(old, out),
            Version::V5 => codec::encode_v5(new, out),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn new(id: QosPid, device: &DeviceId, stored: Result<Vec<Envelope>, HandlerError>) -> Self {
        match stored {
            Ok(commands) => Self::Stored { id, commands },
            Err(HandlerError::Refused(error)) => Self::Refused { id, error },
            Err(HandlerError::Quota(why)) => {
                tracing::debug!(%device, why, "a message has to wait");
                Self::Unavailable
            }
            Err(HandlerError::Unavailable(error)) => {
                tracing::error!(%device, %error, "cannot store a message");
                Self::Unavailable
            }
        }
    }
}
