//! The real server on loopback, people who use its API, and devices.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use homeport_protocol::{DeviceId, PairingToken};
use mqtt_proto::{Pid, QoS, QosPid, TopicFilter, TopicName, v5};
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::{
    Agent, Body,
    http::{Request, Response},
    tls::{ClientCert, RootCerts, TlsConfig},
};

/// Longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Server {
    child: Child,
    // Kept open: a server that cannot write to its standard output ends.
    _stdout: BufReader<ChildStdout>,
    pub(crate) directory: Arc<TempDir>,
    pub(crate) https: SocketAddr,
    pub(crate) mqtt: SocketAddr,
}

/// Somebody who is logged in.
pub(crate) struct Person {
    pub(crate) agent: Agent,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// A device with its certificate.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) agent: Agent,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    ca: CertificateDer<'static>,
}

/// A device's MQTT connection.
pub(crate) struct Link {
    device: DeviceId,
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

/// A file that ends as a RAUC bundle of the format `verity` does. Its signature is signed by nobody.
pub(crate) fn bundle(version: &str, size: usize) -> Vec<u8> {
    let manifest = format!(
        "[update]\ncompatible=test\nversion={version}\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nsize={size}\nfilename=rootfs.img\n"
    );
    let id_data = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    let id_signed_data = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    let content = der(0xa0, &[&der(0x04, &[manifest.as_bytes()])]);
    let content = der(0x30, &[id_data, &content]);
    let signed = der(
        0x30,
        &[b"\x02\x01\x01", &der(0x31, &[]), &content, &der(0x31, &[])],
    );
    let cms = der(0x30, &[id_signed_data, &der(0xa0, &[&signed])]);
    let mut file: Vec<u8> = (0..size)
        .map(|index| u8::try_from(index % 251).unwrap())
        .collect();
    file.extend_from_slice(&cms);
    file.extend_from_slice(&(cms.len() as u64).to_be_bytes());
    file
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut element = vec![tag];
    match content.len() {
        0..128 => element.push(length[1]),
        128..256 => element.extend([0x81, length[1]]),
        _ => element.extend([0x82, length[0], length[1]]),
    }
    element.extend(content);
    element
}

pub(crate) fn json(response: &mut Response<Body>) -> Value {
    response.body_mut().read_json().unwrap()
}

/// What a problem says, after checking that it is one.
pub(crate) fn problem(response: &mut Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem = json(response);
    assert_eq!(problem["status"], status);
    assert!(!problem["title"].as_str().unwrap().is_empty());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    (status, problem["type"].as_str().unwrap().to_owned())
}

/// Waits for something that comes by itself.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for too long");
        std::thread::yield_now();
    }
}

/// The server's program, with this data directory and the database that belongs to it.
pub(crate) fn program(data_dir: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_homeport-server"));
    give_data(&mut program, data_dir);
    program
}

/// Tells a command of the server where its data is.
pub(crate) fn give_data(command: &mut Command, data_dir: &Path) {
    command.env("HOMEPORT_DATA_DIR", data_dir);
    if let Some(address) = homeport_testkit::postgres::database(data_dir) {
        command.env("HOMEPORT_DATABASE", address);
    }
}

/// Changes the database of a running server by hand.
pub(crate) fn sql(data_dir: &Path, statement: &str) {
    if let Some(address) = homeport_testkit::postgres::database(data_dir) {
        let statement = statement.to_owned();
        homeport_testkit::postgres::with(&address, move |client| client.batch_execute(&statement)).unwrap();
        return;
    }
    let database = rusqlite::Connection::open(data_dir.join("homeport.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database.execute_batch(statement).unwrap();
}

/// Whether the tests run beside a PostgreSQL.
pub(crate) fn is_on_postgres() -> bool {
    std::env::var_os(homeport_testkit::postgres::CLUSTER).is_some()
}

fn agent(ca: &CertificateDer<'_>, client: Option<ClientCert>) -> Agent {
    let ca = ureq::tls::Certificate::from_der(ca).to_owned();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[ca]))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into()
}

// === impl Server ===

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// A server with the data of another one, which has ended.
    pub(crate) fn start_in(directory: Arc<TempDir>) -> Self {
        Self::start_as(program(directory.path()), directory)
    }

    /// A server whose command line begins like this, with its data in `directory`.
    pub(crate) fn start_as(mut program: Command, directory: Arc<TempDir>) -> Self {
        let mut child = program
            .env("HOMEPORT_LOG", "warn")
            .args(["--https-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"])
            .args(["--host-name", "localhost", "--host-name", "127.0.0.1"])
            .args(["--max-bundle-size", "10000000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(listening["event"], "listening");
        let address = |port: &str| listening[port].as_str().unwrap().parse().unwrap();
        Self {
            https: address("https"),
            mqtt: address("mqtt"),
            child,
            _stdout: stdout,
            directory,
        }
    }

    /// As a power cut does, but for what the kernel still holds.
    pub(crate) fn kill(mut self) -> Arc<TempDir> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.directory)
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn ca(&self) -> CertificateDer<'static> {
        let path = self.data_dir().join("ca-certificate.pem");
        CertificateDer::from_pem_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.https.port())
    }

    pub(crate) fn agent(&self) -> Agent {
        agent(&self.ca(), None)
    }

    pub(crate) fn password(&self) -> String {
        let path = self.data_dir().join("first-admin-password");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    pub(crate) fn log_in(&self) -> Person {
        let (agent, url) = (self.agent(), self.url());
        let mut response = agent
            .post(format!("{url}/api/v1/session"))
            .send_json(json!({"user": "admin", "password": self.password()}))
            .unwrap();
        assert_eq!(response.status(), 200);
        let token = json(&mut response)["token"].as_str().unwrap().to_owned();
        Person { agent, url, token }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Person ===

impl Person {
    pub(crate) fn send(&self, method: &str, path: &str, body: impl ureq::AsSendBody) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        self.agent.run(request).unwrap()
    }

    /// Somebody whose session began at another server.
    pub(crate) fn of(server: &Server, other: &Self) -> Self {
        Self {
            agent: server.agent(),
            url: server.url(),
            token: other.token.clone(),
        }
    }

    /// Somebody else, who shows this token.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self {
            agent: self.agent.clone(),
            url: self.url.clone(),
            token: token.to_owned(),
        }
    }

    /// Somebody else, who logs in.
    pub(crate) fn log_in_as(&self, user: &str, password: &str) -> Self {
        let mut response = self
            .agent
            .post(format!("{}/api/v1/session", self.url))
            .send_json(json!({"user": user, "password": password}))
            .unwrap();
        assert_eq!(response.status(), 200);
        self.with(json(&mut response)["token"].as_str().unwrap())
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let mut response = self.send("GET", path, ());
        assert_eq!(response.status(), 200, "{path}");
        json(&mut response)
    }

    /// The items of a list's first page.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        match self.get(path)["items"].take() {
            Value::Array(items) => items,
            other => panic!("{path} is no list: {other}"),
        }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Response<Body> {
        self.send("POST", path, body.to_string())
    }

    /// A pairing token, as `body` describes it.
    pub(crate) fn token(&self, body: &Value) -> (u64, PairingToken) {
        let mut created = self.post("/api/v1/pairing-tokens", body);
        assert_eq!(created.status(), 201);
        let created = json(&mut created);
        let token = created["token"].as_str().unwrap().parse().unwrap();
        (created["id"].as_u64().unwrap(), token)
    }

    /// A new device.
    pub(crate) fn pair(&self, server: &Server) -> Device {
        let (_, token) = self.token(&json!({}));
        enrol(server, &server.agent(), &token).unwrap()
    }

    pub(crate) fn revoke(&self, device: &Device) -> Value {
        let mut revoked = self.post(&format!("/api/v1/devices/{}/revoke", device.id), &json!({}));
        assert_eq!(revoked.status(), 200);
        json(&mut revoked)
    }
}

/// A device that shows a token; the status when it is refused.
pub(crate) fn enrol(server: &Server, agent: &Agent, token: &PairingToken) -> Result<Device, u16> {
    let key = rcgen::KeyPair::generate().unwrap();
    let answer = agent
        .post(format!("{}/.well-known/est/simpleenroll", server.url()))
        .header("authorization", basic(&token.password()))
        .header("content-type", "application/pkcs10")
        .send(request(&key))
        .unwrap();
    Device::certified(server.ca(), &key, answer)
}

fn request(key: &rcgen::KeyPair) -> String {
    let request = rcgen::CertificateParams::default()
        .serialize_request(key)
        .unwrap();
    base64(request.der())
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

fn basic(password: &str) -> String {
    format!("Basic {}", base64(format!("pairing:{password}").as_bytes()))
}

/// The first certificate of a certs-only PKCS#7.
fn leaf(body: &str) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use cms::{cert::CertificateChoices, content_info::ContentInfo, signed_data::SignedData};
    use der::{Decode as _, Encode as _};
    let body: String = body.split_whitespace().collect();
    let info = ContentInfo::from_der(&STANDARD.decode(body).unwrap()).unwrap();
    let signed: SignedData = info.content.decode_as().unwrap();
    let certificates = signed.certificates.unwrap();
    match certificates.0.iter().next().unwrap() {
        CertificateChoices::Certificate(certificate) => certificate.to_der().unwrap(),
        CertificateChoices::Other(_) => panic!("no certificate"),
    }
}

// === impl Device ===

impl Device {
    fn certified(
        ca: CertificateDer<'static>,
        key: &rcgen::KeyPair,
        mut answer: Response<Body>,
    ) -> Result<Self, u16> {
        if answer.status() != 200 {
            return Err(answer.status().as_u16());
        }
        let body = answer.body_mut().read_to_string().unwrap();
        let certificate = leaf(&body);
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        let id = parsed
            .subject()
            .iter_common_name()
            .next()
            .unwrap()
            .as_str()
            .unwrap();
        let id: DeviceId = id.parse().unwrap();
        let mut device = Self {
            id,
            agent: agent(&ca, None),
            certificate: CertificateDer::from(certificate),
            key: key.serialize_der(),
            ca,
        };
        device.agent = device.new_agent();
        Ok(device)
    }

    /// One that has no connection yet.
    pub(crate) fn new_agent(&self) -> Agent {
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            base64(&self.key)
        );
        let client = ClientCert::new_with_certs(
            &[ureq::tls::Certificate::from_der(&self.certificate).to_owned()],
            ureq::tls::PrivateKey::from_pem(pem.as_bytes()).unwrap(),
        );
        agent(&self.ca, Some(client))
    }

    /// Whether its certificate gets it through a new handshake and to an answer.
    pub(crate) fn works(&self, server: &Server) -> bool {
        let answer = self
            .new_agent()
            .get(format!("{}/device/v1/config", server.url()))
            .call();
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// The same device with a certificate that it asked for with its own, over `agent`; the status when it is refused, and 0 when the
    /// connection is.
    pub(crate) fn renew(&self, server: &Server, agent: &Agent) -> Result<Self, u16> {
        let key = rcgen::KeyPair::generate().unwrap();
        let answer = agent
            .post(format!("{}/.well-known/est/simplereenroll", server.url()))
            .header("content-type", "application/pkcs10")
            .send(request(&key))
            .map_err(|_| 0_u16)?;
        Self::certified(self.ca.clone(), &key, answer)
    }

    pub(crate) fn connect(&self, server: &Server) -> Link {
        self.try_connect(server).expect("the server accepts the device")
    }

    /// `None` if the server ends the connection instead of accepting it.
    pub(crate) fn try_connect(&self, server: &Server) -> Option<Link> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![self.certificate.clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone())),
            )
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(server.mqtt).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut link = Link {
            device: self.id.clone(),
            stream: StreamOwned::new(connection, tcp),
            received: Vec::new(),
        };
        if !link.send(v5::Connect::new(self.id.as_str().into(), 60)) {
            return None;
        }
        match link.receive() {
            Some(v5::Packet::Connack(connack)) => {
                assert_eq!(connack.reason_code, v5::ConnectReasonCode::Success);
                Some(link)
            }
            Some(other) => panic!("not CONNACK: {other:?}"),
            None => None,
        }
    }
}

// === impl Link ===

impl Link {
    /// Whether the server still takes it.
    pub(crate) fn publish(&mut self, channel: &str, id: u16, payload: Vec<u8>) -> bool {
        let topic = TopicName::try_from(format!("hp1/{}/{channel}", self.device).as_str()).unwrap();
        let id = QosPid::Level1(Pid::try_from(id).unwrap());
        self.send(v5::Publish::new(id, topic, payload.into()))
    }

    /// The same with QoS 0: nobody acknowledges it.
    pub(crate) fn publish_once(&mut self, channel: &str, payload: Vec<u8>) -> bool {
        let topic = TopicName::try_from(format!("hp1/{}/{channel}", self.device).as_str()).unwrap();
        self.send(v5::Publish::new(QosPid::Level0, topic, payload.into()))
    }

    pub(crate) fn acknowledge(&mut self, id: Pid) {
        assert!(self.send(v5::Puback::new_success(id)));
    }

    pub(crate) fn subscribe(&mut self) {
        let filter = TopicFilter::try_from(format!("hp1/{}/command", self.device).as_str()).unwrap();
        let options = v5::SubscriptionOptions::new(QoS::Level1);
        let subscribe = v5::Subscribe::new(Pid::try_from(1).unwrap(), vec![(filter, options)]);
        assert!(self.send(subscribe));
        assert!(matches!(self.receive(), Some(v5::Packet::Suback(_))));
    }

    /// The next packet; `None` when the connection has ended.
    pub(crate) fn receive(&mut self) -> Option<v5::Packet> {
        loop {
            if let Some(packet) = v5::Packet::decode(&self.received).unwrap() {
                let length = packet.encode_len().unwrap();
                self.received.drain(..length);
                return Some(packet);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => self.received.extend_from_slice(&buffer[..count]),
                _ => return None,
            }
        }
    }

    fn send(&mut self, packet: impl Into<v5::Packet>) -> bool {
        let bytes = packet.into().encode().unwrap();
        self.stream.write_all(bytes.as_ref()).is_ok() && self.stream.flush().is_ok()
    }
}
