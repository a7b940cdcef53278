//! A server with a fleet that tests can look into, and devices that speak MQTT packet by packet.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use homeport_protocol::{
    Command, DeviceId, Inventory, Report, Sequenced, command::Envelope, deployment::Progress, senml::Pack,
};
use homeport_server::{
    ca::{Authority, CertificateRequest, Fingerprint},
    limits::Limits,
    mqtt::{self, Handler, HandlerError, Registry},
    tls::{self, ServerCertificate},
};
use mqtt_proto::{Pid, QoS, QosPid, TopicFilter, TopicName, v3, v5};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

/// Longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The pause between two bytes of a device that trickles.
const TRICKLE: Duration = Duration::from_millis(50);

/// What the fleet was told.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Connected(DeviceId),
    Disconnected(DeviceId),
    Telemetry(DeviceId, u64),
    Report(DeviceId, u64),
    Progress(DeviceId, u8),
}

/// A fleet in memory.
#[derive(Clone)]
pub(crate) struct Fleet {
    state: Arc<Mutex<State>>,
    events: mpsc::UnboundedSender<Event>,
    /// One permit for each commit.
    commits: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    active: HashMap<Fingerprint, DeviceId>,
    missed: Vec<Command>,
    crowded: bool,
    broken: bool,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) registry: Registry,
    pub(crate) fleet: Fleet,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    authority: Arc<Authority>,
    directory: TempDir,
}

/// A device's certificate and key.
pub(crate) struct Identity {
    pub(crate) id: DeviceId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
}

/// A connection of a device.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

// === impl Fleet ===

impl Fleet {
    /// Makes the next commits wait until [`Fleet::commit`].
    pub(crate) fn hold_commits(&self) {
        self.commits.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn commit(&self, count: usize) {
        self.commits.add_permits(count);
    }

    pub(crate) fn miss(&self, command: Command) {
        self.state.lock().missed.push(command);
    }

    pub(crate) fn break_store(&self) {
        self.state.lock().broken = true;
    }

    /// There is room for telemetry, or none.
    pub(crate) fn crowd(&self, crowded: bool) {
        self.state.lock().crowded = crowded;
    }

    pub(crate) fn revoke(&self, identity: &Identity) {
        self.state.lock().active.remove(&identity.fingerprint);
    }

    async fn store(&self, event: Event) -> Result<(), HandlerError> {
        self.commits.acquire().await.unwrap().forget();
        if self.state.lock().broken {
            return Err(HandlerError::Unavailable("the disk is full".into()));
        }
        self.events.send(event).unwrap();
        Ok(())
    }
}

impl Handler for Fleet {
    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId> {
        self.state.lock().active.get(certificate).cloned()
    }

    async fn connected(&self, device: &DeviceId, certificate: &Fingerprint, _: SocketAddr) -> bool {
        assert_eq!(self.identify(certificate).as_ref(), Some(device));
        let _ = self.events.send(Event::Connected(device.clone()));
        true
    }

    async fn disconnected(&self, device: &DeviceId) {
        let _ = self.events.send(Event::Disconnected(device.clone()));
    }

    async fn telemetry(&self, device: &DeviceId, batch: Sequenced<Pack>) -> Result<(), HandlerError> {
        if batch.message.0.is_empty() {
            return Err(HandlerError::Refused("an empty batch".into()));
        }
        if self.state.lock().crowded {
            return Err(HandlerError::Quota("no room"));
        }
        self.store(Event::Telemetry(device.clone(), batch.sequence)).await
    }

    async fn report(
        &self,
        device: &DeviceId,
        report: Sequenced<Report>,
    ) -> Result<Vec<Command>, HandlerError> {
        self.store(Event::Report(device.clone(), report.sequence)).await?;
        Ok(std::mem::take(&mut self.state.lock().missed))
    }

    fn progress(&self, device: &DeviceId, progress: Progress) {
        let _ = self
            .events
            .send(Event::Progress(device.clone(), progress.percent));
    }
}

// === impl Server ===

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_within(Limits::default()).await
    }

    pub(crate) async fn start_within(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open(directory.path()).unwrap());
        let path = directory.path().join("server.pem");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = ServerCertificate::open(path, Arc::clone(&authority), names).unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let fleet = Fleet {
            state: Arc::default(),
            events: sender,
            commits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS >> 1)),
        };
        let active = fleet.clone();
        let is_active = move |fingerprint: &Fingerprint| active.identify(fingerprint).is_some();
        let config = tls::mqtt_config(&authority, Arc::new(certificate), is_active).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (registry, shutdown) = (Registry::new(), CancellationToken::new());
        let served = mqtt::serve(
            listener,
            config,
            fleet.clone(),
            registry.clone(),
            limits,
            shutdown.clone(),
        );
        Self {
            address,
            registry,
            fleet,
            events,
            shutdown,
            task: tokio::spawn(served),
            authority,
            directory,
        }
    }

    /// A device that may connect.
    pub(crate) fn pair(&self, id: &str) -> Identity {
        let identity = self.certify(id);
        let mut state = self.fleet.state.lock();
        state.active.insert(identity.fingerprint, identity.id.clone());
        identity
    }

    /// A certificate of the right authority that was never made active.
    pub(crate) fn certify(&self, id: &str) -> Identity {
        let id: DeviceId = id.parse().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let request = CertificateRequest::parse(request.der()).unwrap();
        let now = time::OffsetDateTime::now_utc();
        let certificate = self.authority.issue_device(&request, &id, now).unwrap();
        Identity {
            id,
            fingerprint: certificate.fingerprint,
            certificate: certificate.der,
            key: key.serialize_der(),
        }
    }

    pub(crate) fn tls(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivatePkcs8KeyDer::from(identity.key.clone()).into();
                builder
                    .with_client_auth_cert(vec![identity.certificate.clone()], key)
                    .unwrap()
            }
        }
    }

    /// Writes the files that other clients want, and returns their paths: CA, certificate, key.
    pub(crate) fn files(&self, identity: &Identity) -> [String; 3] {
        let write = |name: &str, label: &str, der: &[u8]| {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            let path = self.directory.path().join(format!("{}-{name}", identity.id));
            let text = format!(
                "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
                STANDARD.encode(der)
            );
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        [
            self.directory
                .path()
                .join("ca-certificate.pem")
                .to_str()
                .unwrap()
                .to_owned(),
            write("certificate.pem", "CERTIFICATE", &identity.certificate),
            write("key.pem", "PRIVATE KEY", &identity.key),
        ]
    }

    /// TLS, but no CONNECT yet.
    pub(crate) async fn reach(&self, identity: &Identity) -> std::io::Result<Device> {
        Device::reach(self, identity, rustls::DEFAULT_VERSIONS).await
    }

    /// A device that is connected with MQTT 5.
    pub(crate) async fn connect(&mut self, identity: &Identity) -> Device {
        let mut device = self.reach(identity).await.unwrap();
        device
            .send(v5::Connect::new(identity.id.as_str().into(), 60))
            .await;
        let connack = device.connack().await;
        assert_eq!(connack.reason_code, v5::ConnectReasonCode::Success);
        self.expect(&Event::Connected(identity.id.clone())).await;
        device
    }

    pub(crate) async fn event(&mut self) -> Event {
        patiently(self.events.recv()).await.unwrap()
    }

    pub(crate) async fn expect(&mut self, event: &Event) {
        assert_eq!(self.event().await, *event);
    }
}

// === impl Device ===

impl Device {
    pub(crate) async fn reach(
        server: &Server,
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Self> {
        let connector = TlsConnector::from(Arc::new(server.tls(Some(identity), versions)));
        let tcp = TcpStream::connect(server.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = patiently(connector.connect(name, tcp)).await?;
        Ok(Self {
            id: identity.id.clone(),
            stream,
            received: Vec::new(),
        })
    }

    pub(crate) fn topic(&self, channel: &str) -> TopicName {
        TopicName::try_from(format!("hp1/{}/{channel}", self.id).as_str()).unwrap()
    }

    pub(crate) async fn send(&mut self, packet: impl Into<v5::Packet>) {
        let bytes = packet.into().encode().unwrap();
        self.send_bytes(bytes.as_ref()).await;
    }

    pub(crate) async fn send_v3(&mut self, packet: impl Into<v3::Packet>) {
        let bytes = packet.into().encode().unwrap();
        self.send_bytes(bytes.as_ref()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn publish(&mut self, channel: &str, id: u16, payload: Vec<u8>) {
        let topic = self.topic(channel);
        self.send(v5::Publish::new(level_1(id), topic, payload.into()))
            .await;
    }

    pub(crate) async fn subscribe(&mut self) {
        let filter = TopicFilter::try_from(&*self.topic("command")).unwrap();
        let options = v5::SubscriptionOptions::new(QoS::Level1);
        self.send(v5::Subscribe::new(pid(99), vec![(filter, options)]))
            .await;
        match self.receive().await {
            Some(v5::Packet::Suback(suback)) => {
                assert_eq!(suback.topics, [v5::SubscribeReasonCode::GrantedQoS1]);
            }
            other => panic!("not SUBACK: {other:?}"),
        }
    }

    /// The next packet; `None` when the server has closed.
    pub(crate) async fn receive(&mut self) -> Option<v5::Packet> {
        loop {
            if let Some(packet) = v5::Packet::decode(&self.received).unwrap() {
                let length = packet.encode_len().unwrap();
                self.received.drain(..length);
                return Some(packet);
            }
            if !self.receive_bytes().await {
                return None;
            }
        }
    }

    pub(crate) async fn receive_v3(&mut self) -> Option<v3::Packet> {
        loop {
            if let Some(packet) = v3::Packet::decode(&self.received).unwrap() {
                let length = packet.encode_len().unwrap();
                self.received.drain(..length);
                return Some(packet);
            }
            if !self.receive_bytes().await {
                return None;
            }
        }
    }

    pub(crate) async fn connack(&mut self) -> v5::Connack {
        match self.receive().await {
            Some(v5::Packet::Connack(connack)) => connack,
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    pub(crate) async fn puback(&mut self) -> (u16, v5::PubackReasonCode) {
        match self.receive().await {
            Some(v5::Packet::Puback(puback)) => (puback.pid.value(), puback.reason_code),
            other => panic!("not PUBACK: {other:?}"),
        }
    }

    pub(crate) async fn command(&mut self) -> (QosPid, Command) {
        match self.receive().await {
            Some(v5::Packet::Publish(publish)) => {
                assert_eq!(publish.topic_name, self.topic("command"));
                (
                    publish.qos_pid,
                    Envelope::decode(&publish.payload).unwrap().command,
                )
            }
            other => panic!("not PUBLISH: {other:?}"),
        }
    }

    /// Waits until the server closes, and returns the reason that it gave.
    pub(crate) async fn closed(&mut self) -> Option<v5::DisconnectReasonCode> {
        let reason = match self.receive().await {
            Some(v5::Packet::Disconnect(disconnect)) => Some(disconnect.reason_code),
            Some(other) => panic!("not DISCONNECT: {other:?}"),
            None => return None,
        };
        assert_eq!(self.receive().await, None);
        reason
    }

    /// Sends `bytes` one by one until the server has closed.
    pub(crate) async fn trickle(&mut self, bytes: &[u8]) {
        let end = Instant::now() + PATIENCE;
        for byte in bytes {
            assert!(Instant::now() < end, "waited for too long");
            let sent = self.stream.write_all(&[*byte]).await;
            match timeout(TRICKLE, self.receive()).await {
                Err(_) if sent.is_ok() => {}
                Err(_) | Ok(None | Some(v5::Packet::Disconnect(_))) => return,
                Ok(Some(other)) => panic!("not DISCONNECT: {other:?}"),
            }
        }
        panic!("the server has waited for all of it");
    }

    /// Sends `bytes` again and again and reads nothing, until the server has closed.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) {
        // The kernel keeps little for us.
        setsockopt(self.stream.get_ref().0, RcvBuf, &4096).unwrap();
        while patiently(self.stream.write_all(bytes)).await.is_ok() {}
    }

    async fn receive_bytes(&mut self) -> bool {
        let read = patiently(self.stream.read_buf(&mut self.received)).await;
        matches!(read, Ok(count) if count > 0)
    }
}

pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("waited for too long")
}

pub(crate) fn pid(id: u16) -> Pid {
    Pid::try_from(id).unwrap()
}

pub(crate) fn level_1(id: u16) -> QosPid {
    QosPid::Level1(pid(id))
}

pub(crate) fn inventory(sequence: u64) -> Vec<u8> {
    let message = Report::Inventory(Inventory::default());
    Sequenced {
        queue: 1,
        sequence,
        message,
    }
    .encode()
}

pub(crate) fn telemetry(sequence: u64) -> Bytes {
    let message = Pack(vec![homeport_protocol::Record::number("uptime", "s", 1.0)]);
    let batch = Sequenced {
        queue: 1,
        sequence,
        message,
    };
    batch.encode().into()
}
