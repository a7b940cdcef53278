//! A server with a fleet that tests can look into, and devices that speak MQTT packet by packet.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

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
use homeport_testkit::{Device, DeviceKey, patiently};
use mqtt_proto::{Pid, QosPid};
use parking_lot::Mutex;
use rustls::{ClientConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

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

/// Who a device is, and its certificate and key.
pub(crate) struct Identity {
    pub(crate) id: DeviceId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) shown: homeport_testkit::Identity,
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
    ) -> Result<Vec<Envelope>, HandlerError> {
        self.store(Event::Report(device.clone(), report.sequence)).await?;
        let missed = std::mem::take(&mut self.state.lock().missed);
        Ok(missed.into_iter().map(Envelope::from).collect())
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
        let key = DeviceKey::generate();
        let request = CertificateRequest::parse(&key.request()).unwrap();
        let now = time::OffsetDateTime::now_utc();
        let certificate = self.authority.issue_device(&request, &id, now).unwrap();
        Identity {
            id,
            fingerprint: certificate.fingerprint,
            shown: key.certified(certificate.der),
        }
    }

    pub(crate) fn tls(
        &self,
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let ca = self.authority.certificate();
        Arc::new(homeport_testkit::tls::client(ca, Some(&identity.shown), versions))
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
            write("certificate.pem", "CERTIFICATE", identity.shown.certificate()),
            write("key.pem", "PRIVATE KEY", &identity.shown.key),
        ]
    }

    /// TLS, but no CONNECT yet.
    pub(crate) async fn reach(&self, identity: &Identity) -> std::io::Result<Device> {
        self.reach_with(identity, rustls::DEFAULT_VERSIONS).await
    }

    pub(crate) async fn reach_with(
        &self,
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Device> {
        Device::reach(self.address, self.tls(identity, versions), identity.id.clone()).await
    }

    /// A device that is connected with MQTT 5.
    pub(crate) async fn connect(&mut self, identity: &Identity) -> Device {
        let mut device = self.reach(identity).await.unwrap();
        device.connect(60).await;
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
