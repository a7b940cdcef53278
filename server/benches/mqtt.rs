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
    store::{Database, Store, postgres::Address},
};
use homeport_testkit::{Device, DeviceKey, postgres, tls};
use mqtt_proto::v5::PubackReasonCode;
use rustls::ClientConfig;

const DEVICES: usize = 2000;

/// Devices that connect at a time.
const AT_A_TIME: usize = 64;

/// Devices that send telemetry.
const SENDERS: usize = 100;

/// How long they do, for each number of messages in flight.
const SENDING: Duration = Duration::from_secs(5);

/// How long the server is left alone before its memory is looked at.
const REST: Duration = Duration::from_secs(3);

struct Paired {
    id: DeviceId,
    config: Arc<ClientConfig>,
}

struct Connected {
    device: Device,
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
async fn pair(directory: &Path) -> Vec<Paired> {
    let authority = Authority::open(directory).unwrap();
    let database = match postgres::database(directory) {
        Some(address) => Database::Postgres(Address::parse(&address, None, None).unwrap()),
        None => Database::Embedded,
    };
    let store = Store::open(&database, directory).unwrap();
    let key = DeviceKey::generate();
    let request = CertificateRequest::parse(&key.request()).unwrap();
    let paired = (0..DEVICES).map(|number| {
        let id: DeviceId = format!("bench-{number}").parse().unwrap();
        let now = time::OffsetDateTime::now_utc();
        let certificate = authority.issue_device(&request, &id, now).unwrap();
        let identity = key.certified(certificate.der.clone());
        let config = tls::client(authority.certificate(), Some(&identity), rustls::DEFAULT_VERSIONS);
        let store = &store;
        async move {
            let name = id.clone();
            let inserted = store.write(move |tx| {
                tx.insert_device(0, name.as_str(), name.as_str(), None, "")?;
                tx.insert_certificate(0, name.as_str(), &certificate, None)
            });
            inserted.await.unwrap();
            Paired {
                id,
                config: Arc::new(config),
            }
        }
    });
    join_all(paired).await
}

async fn connect(devices: &[Paired], address: SocketAddr) -> Vec<Connected> {
    stream::iter(devices)
        .map(|paired| Connected::new(paired, address))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await
}

// === impl Server ===

impl Server {
    fn start(directory: &Path) -> (Self, SocketAddr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeport-server"));
        command.envs(postgres::database(directory).map(|address| ("HOMEPORT_DATABASE", address)));
        let mut child = command
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
    async fn new(paired: &Paired, address: SocketAddr) -> Self {
        let mut device = Device::reach(address, Arc::clone(&paired.config), paired.id.clone())
            .await
            .unwrap();
        device.connect(900).await;
        device.subscribe().await;
        Self { device, sequence: 0 }
    }

    /// Sends telemetry with so many messages in flight, and counts what is acknowledged in time.
    async fn send_until(mut self, until: Instant, in_flight: u16) -> (Self, u64) {
        for _ in 0..in_flight {
            self.send().await;
        }
        let mut acknowledged = 0;
        for _ in 0.. {
            self.acknowledged().await;
            if Instant::now() >= until {
                break;
            }
            acknowledged += 1;
            self.send().await;
        }
        for _ in 1..in_flight {
            self.acknowledged().await;
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
        let id = u16::try_from(self.sequence % 60_000 + 1).unwrap();
        self.device.publish("telemetry", id, batch.encode()).await;
    }

    async fn acknowledged(&mut self) {
        assert_eq!(self.device.puback().await.1, PubackReasonCode::Success);
    }
}
