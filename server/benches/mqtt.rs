//! What an idle device costs, and how fast telemetry gets into the database: the real server binary on loopback, mutual TLS, a
//! process of its own. `cargo bench -p homeport-server --bench mqtt`; needs `ulimit -n 5000`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on fails"
)]

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all, stream};
use homeport_protocol::{DeviceId, Record, Sequenced, senml::Pack};
use homeport_server::{
    ca::{Authority, CertificateRequest},
    store::Store,
};
use mqtt_proto::{Pid, QoS, QosPid, TopicFilter, TopicName, v5};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const DEVICES: usize = 2000;

/// Devices that connect at a time.
const AT_A_TIME: usize = 64;

/// Devices that send telemetry.
const SENDERS: usize = 100;

/// How long they do, for each number of messages in flight.
const SENDING: Duration = Duration::from_secs(5);

/// How long the server is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(3);

struct Device {
    id: DeviceId,
    config: Arc<ClientConfig>,
}

struct Connected {
    id: DeviceId,
    stream: TlsStream<TcpStream>,
    sequence: u64,
}

struct Server(Child);

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` starts this without the flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let devices = pair(directory.path()).await;
    let (server, address) = Server::start(directory.path());

    let first: Vec<_> = connect(&devices[..AT_A_TIME], address).await;
    tokio::time::sleep(REST).await;
    let before = server.resident();
    let started = Instant::now();
    let mut connected = connect(&devices[AT_A_TIME..], address).await;
    let seconds = started.elapsed().as_secs_f64();
    tokio::time::sleep(REST).await;
    let more = connected.len();
    let each = server.resident().saturating_sub(before) / more;
    println!(
        "{more} connections in {seconds:.1} s, then {each} bytes of RSS each (server: {before} bytes before)"
    );

    for in_flight in [1, 10] {
        let senders: Vec<_> = connected.drain(..SENDERS).collect();
        let until = Instant::now() + SENDING;
        let tasks = senders
            .into_iter()
            .map(|sender| tokio::spawn(sender.send_until(until, in_flight)));
        let (mut total, mut back) = (0, Vec::new());
        for done in join_all(tasks).await {
            let (sender, count) = done.unwrap();
            total += count;
            back.push(sender);
        }
        connected.extend(back);
        let rate = total / SENDING.as_secs();
        println!("{SENDERS} devices, {in_flight} in flight: {rate} telemetry messages a second committed");
    }
    drop(first);
}

/// Devices in the database of a server that has never run.
async fn pair(directory: &Path) -> Vec<Device> {
    let authority = Authority::open(directory).unwrap();
    let store = Store::open(directory).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let request = CertificateRequest::parse(request.der()).unwrap();
    let paired = (0..DEVICES).map(|number| {
        let id: DeviceId = format!("bench-{number}").parse().unwrap();
        let now = time::OffsetDateTime::now_utc();
        let certificate = authority.issue_device(&request, &id, now).unwrap();
        let config = client_config(&authority, certificate.der.clone(), key.serialize_der());
        let store = &store;
        async move {
            let name = id.clone();
            let inserted = store.write(move |tx| {
                tx.insert_device(0, name.as_str(), name.as_str(), None, "")?;
                tx.insert_certificate(0, name.as_str(), &certificate, None)
            });
            inserted.await.unwrap();
            Device { id, config }
        }
    });
    join_all(paired).await
}

fn client_config(
    authority: &Authority,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    Arc::new(config)
}

async fn connect(devices: &[Device], address: SocketAddr) -> Vec<Connected> {
    stream::iter(devices)
        .map(|device| Connected::new(device, address))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await
}

// === impl Server ===

impl Server {
    fn start(directory: &Path) -> (Self, SocketAddr) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_homeport-server"))
            .args(["--https-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"])
            .args(["--host-name", "localhost", "--data-dir"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = listening["mqtt"].as_str().unwrap().parse().unwrap();
        (Self(child), address)
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        kilobytes.parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === impl Connected ===

impl Connected {
    /// Connected and subscribed, as an agent is.
    async fn new(device: &Device, address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::clone(&device.config));
        let mut stream = connector.connect(name, tcp).await.unwrap();
        let connect: v5::Packet = v5::Connect::new(device.id.as_str().into(), 900).into();
        write(&mut stream, connect).await;
        expect(&mut stream, 0x20).await;
        let filter = TopicFilter::try_from(format!("hp1/{}/command", device.id).as_str()).unwrap();
        let options = v5::SubscriptionOptions::new(QoS::Level1);
        let subscribe: v5::Packet = v5::Subscribe::new(Pid::default(), vec![(filter, options)]).into();
        write(&mut stream, subscribe).await;
        expect(&mut stream, 0x90).await;
        Self {
            id: device.id.clone(),
            stream,
            sequence: 0,
        }
    }

    /// Sends telemetry with so many messages in flight, and counts what is acknowledged in time.
    async fn send_until(mut self, until: Instant, in_flight: u16) -> (Self, u64) {
        for _ in 0..in_flight {
            self.send().await;
        }
        let mut acknowledged = 0;
        for _ in 0.. {
            expect(&mut self.stream, 0x40).await;
            if Instant::now() >= until {
                break;
            }
            acknowledged += 1;
            self.send().await;
        }
        for _ in 1..in_flight {
            expect(&mut self.stream, 0x40).await;
        }
        (self, acknowledged)
    }

    /// What an agent sends in a minute, about 200 bytes.
    async fn send(&mut self) {
        self.sequence += 1;
        let names = [
            "cpu.busy",
            "cpu.load1",
            "memory.available",
            "disk.root.available",
            "temperature.cpu",
        ];
        let message = Pack(names.map(|name| Record::number(name, "", 21.5)).to_vec());
        let batch = Sequenced {
            queue: 1,
            sequence: self.sequence,
            message,
        };
        let id = Pid::try_from(u16::try_from(self.sequence % 60_000 + 1).unwrap()).unwrap();
        let topic = TopicName::try_from(format!("hp1/{}/telemetry", self.id).as_str()).unwrap();
        let publish: v5::Packet = v5::Publish::new(QosPid::Level1(id), topic, batch.encode().into()).into();
        write(&mut self.stream, publish).await;
    }
}

async fn write(stream: &mut TlsStream<TcpStream>, packet: v5::Packet) {
    stream.write_all(packet.encode().unwrap().as_ref()).await.unwrap();
    // TLS may hold bytes back until then.
    stream.flush().await.unwrap();
}

/// Reads one short packet whose first byte is `head`.
async fn expect(stream: &mut TlsStream<TcpStream>, head: u8) {
    let mut packet = [0; 2 + 0x7f];
    stream.read_exact(&mut packet[..2]).await.unwrap();
    assert_eq!(packet[0], head, "an unexpected packet");
    let length = usize::from(packet[1]);
    stream.read_exact(&mut packet[2..2 + length]).await.unwrap();
}
