use std::sync::Mutex;

use homeport_protocol::{
    Command, Record, Report, Sequenced,
    command::{Cancel, Envelope},
    senml::Pack,
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{connection::WINDOW, *};
use crate::{
    command::{Commands, Runner, Update},
    testing::{Seen, Server, run},
};

/// After this time the heart has not beaten by chance.
const STILL: Duration = Duration::from_secs(1);

struct Bench {
    server: Server,
    outbox: Arc<Outbox>,
    stop: watch::Sender<bool>,
    status: watch::Receiver<LinkStatus>,
    /// Updates that were begun.
    updates: mpsc::UnboundedReceiver<Update>,
    /// Updates end only while this is free.
    gate: Arc<tokio::sync::Mutex<()>>,
    heartbeat: Arc<Heartbeat>,
    link: JoinHandle<()>,
    folder: tempfile::TempDir,
    membership: watch::Sender<Membership>,
}

struct FakeHost {
    commands: Arc<Commands<Gated>>,
    connections: Mutex<u32>,
}

struct Gated {
    begun: mpsc::UnboundedSender<Update>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Runner for Gated {
    type Order = Update;

    async fn run(&self, update: Update) {
        self.begun.send(update).unwrap();
        let _open = self.gate.lock().await;
    }
}

impl Host for FakeHost {
    fn command(&self, envelope: Envelope) {
        self.commands.accept(envelope);
    }

    fn inventory(&self) -> Inventory {
        Inventory {
            hostname: format!("connection {}", self.connections.lock().unwrap()),
            ..Inventory::default()
        }
    }

    fn connected(&self) {
        *self.connections.lock().unwrap() += 1;
    }
}

impl Bench {
    async fn start() -> Self {
        Self::start_with(Server::start().await)
    }

    fn start_with(server: Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            run_dir: folder.path().to_owned(),
            ..Config::default()
        };
        config.link.backoff_min = Duration::from_millis(1);
        config.link.backoff_max = Duration::from_millis(10);
        let limits = Limits {
            size: 1 << 20,
            age: Duration::from_secs(3600),
        };
        let outbox = Outbox::open(&folder.path().join("queue"), limits).unwrap();
        let identity = server.identity(&folder.path().join("state"));
        let (membership, receiver) = watch::channel(Membership {
            identity: Some(Arc::new(identity)),
            error: None,
        });
        let (stop, stopped) = watch::channel(false);
        let (begun, updates) = mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Mutex::new(()));
        let gated = Gated {
            begun,
            gate: gate.clone(),
        };
        let commands = Arc::new(Commands::new(gated, outbox.clone()));
        let host = FakeHost {
            commands: commands.clone(),
            connections: Mutex::new(0),
        };
        tokio::spawn(async move { commands.run().await });
        let heartbeat = Arc::new(Heartbeat::start());
        let (link, status) = Link::new(
            &config,
            outbox.clone(),
            receiver,
            host,
            heartbeat.clone(),
            stopped,
        );
        Self {
            server,
            outbox,
            stop,
            status,
            updates,
            gate,
            heartbeat,
            link: tokio::spawn(link.run()),
            folder,
            membership,
        }
    }

    async fn report(&mut self) -> (u64, Report) {
        let message = Sequenced::<Report>::decode(&self.server.published("/report").await).unwrap();
        (message.sequence, message.message)
    }

    async fn until_sent(&self) {
        while self.outbox.status().reports > 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn unsupported(command: &str) -> Report {
    Report::Unsupported {
        command: command.to_owned(),
        id: None,
    }
}

#[test]
fn the_inventory_comes_first_on_every_connection() {
    run(async {
        let mut bench = Bench::start().await;
        assert_eq!(bench.server.next().await, Seen::Connect);
        assert_eq!(bench.server.next().await, Seen::Subscribe);
        for connection in 0..2 {
            let (_, report) = bench.report().await;
            let Report::Inventory(inventory) = report else {
                panic!("{report:?}");
            };
            assert_eq!(inventory.hostname, format!("connection {connection}"));
            bench.until_sent().await;
            bench.server.kick();
        }
        bench.status.wait_for(|status| status.connected).await.unwrap();
        assert!(bench.folder.path().join("server-reached").exists());
    });
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        bench.until_sent().await;
        bench.server.acknowledge(false);
        for text in ["a", "b"] {
            bench.outbox.report(unsupported(text)).await;
        }
        let first = [bench.report().await, bench.report().await];
        bench.server.kick();
        bench.server.acknowledge(true);
        let again = [bench.report().await, bench.report().await];
        assert_eq!(first, again);
        assert_eq!(again[0].1, unsupported("a"));
        assert!(again[0].0 < again[1].0);
        bench.until_sent().await;
    });
}

#[test]
fn more_than_the_window_goes_out_as_acknowledgements_come() {
    run(async {
        let mut bench = Bench::start().await;
        for number in 0..100 {
            bench.outbox.report(unsupported(&number.to_string())).await;
        }
        let mut next = 0;
        while next < 100 {
            if let (_, Report::Unsupported { command, .. }) = bench.report().await {
                assert_eq!(command, next.to_string());
                next += 1;
            }
        }
        bench.until_sent().await;
    });
}

/// A command with an id.
fn command(id: &str, command: Command) -> Vec<u8> {
    let envelope = Envelope {
        id: Some(id.to_owned()),
        ..Envelope::from(command)
    };
    envelope.encode()
}

fn cancel(deployment: u64) -> Cancel {
    Cancel { deployment }
}

#[test]
fn a_command_that_cannot_be_understood_is_acknowledged() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        bench.server.command(b"not cbor".to_vec());
        bench.server.until(&Seen::PubAck).await;
        bench.server.command(command("a", Command::Cancel(cancel(7))));
        assert_eq!(bench.updates.recv().await, Some(Update::Cancel(cancel(7))));
    });
}

#[test]
fn a_slow_command_stalls_nothing() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        bench.until_sent().await;
        let closed = bench.gate.clone().lock_owned().await;
        bench.server.command(command("a", Command::Cancel(cancel(7))));
        assert_eq!(bench.updates.recv().await, Some(Update::Cancel(cancel(7))));
        bench.server.until(&Seen::PubAck).await;
        // A second one waits, and is acknowledged too.
        bench.server.command(command("b", Command::Cancel(cancel(8))));
        bench.server.until(&Seen::PubAck).await;

        bench.outbox.report(unsupported("from the device")).await;
        assert_eq!(bench.report().await.1, unsupported("from the device"));
        bench.outbox.telemetry(pack("a")).await;
        bench.server.published("/telemetry").await;
        while bench.outbox.status().telemetry > 0 {
            tokio::task::yield_now().await;
        }
        bench.until_sent().await;
        while bench.heartbeat.age() < STILL {
            tokio::task::yield_now().await;
        }
        while bench.heartbeat.age() >= STILL {
            bench.heartbeat.ask();
            tokio::task::yield_now().await;
        }
        // Other kinds are answered meanwhile.
        bench.server.command(command("c", Command::Inventory));
        assert!(matches!(bench.report().await.1, Report::Inventory(_)));
        bench
            .server
            .command(command("d", Command::Unknown { kind: "fly".into() }));
        let expected = Report::Unsupported {
            command: "fly".to_owned(),
            id: Some("d".to_owned()),
        };
        assert_eq!(bench.report().await.1, expected);

        assert!(bench.updates.try_recv().is_err());
        drop(closed);
        assert_eq!(bench.updates.recv().await, Some(Update::Cancel(cancel(8))));
    });
}

/// Payload format invalid, and quota exceeded (MQTT 5 section 3.4.2.1).
const INVALID: u8 = 0x99;
const QUOTA: u8 = 0x97;

fn pack(name: &str) -> Pack {
    Pack(vec![Record::number(name, "", 1.0)])
}

#[test]
fn telemetry_that_is_refused_is_dropped_and_counted() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        bench.server.answer_telemetry(INVALID);
        bench.outbox.telemetry(pack("a")).await;
        bench.server.published("/telemetry").await;
        while bench.outbox.status().telemetry > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.outbox.status().dropped_telemetry, 1);
    });
}

#[test]
fn telemetry_over_the_quota_waits_on_the_same_connection() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        bench.server.answer_telemetry(QUOTA);
        bench.outbox.telemetry(pack("a")).await;
        let first = bench.server.published("/telemetry").await;
        // Reports go on.
        bench.outbox.report(unsupported("b")).await;
        assert_eq!(bench.report().await.1, unsupported("b"));
        bench.until_sent().await;
        let status = bench.outbox.status();
        assert_eq!((status.telemetry, status.dropped_telemetry), (1, 0));

        bench.server.answer_telemetry(0);
        while bench.outbox.status().telemetry > 0 {
            // As the watchdog does.
            bench.outbox.wake();
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.server.published("/telemetry").await, first);
        assert!(bench.status.borrow().connected);
    });
}

#[test]
fn a_stopped_link_says_goodbye() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        bench.stop.send_replace(true);
        bench.server.until(&Seen::Disconnect).await;
        bench.link.await.unwrap();
        assert!(!bench.status.borrow().connected);
    });
}

#[test]
fn a_new_identity_makes_a_new_connection() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        let identity = bench.server.identity(&bench.folder.path().join("state"));
        bench.membership.send_replace(Membership {
            identity: Some(Arc::new(identity)),
            error: None,
        });
        bench.server.until(&Seen::Disconnect).await;
        bench.server.until(&Seen::Connect).await;
    });
}

#[test]
fn a_clock_that_is_far_off_is_named_when_a_certificate_seems_expired() {
    run(async {
        // By this device's clock, the server's certificate has expired for decades.
        let mut bench = Bench::start_with(Server::start_with(Duration::ZERO).await);
        let tells = |status: &LinkStatus| {
            status
                .error
                .as_ref()
                .is_some_and(|error| error.contains("expired") && error.contains("set the clock first"))
        };
        bench.status.wait_for(tells).await.unwrap();
        bench.link.abort();
    });
}

#[test]
fn what_the_server_says_of_the_certificate_is_understood() {
    let error = |alert| {
        let alert = rustls::Error::AlertReceived(alert);
        LinkError::from(rumqttc::ConnectionError::Io(std::io::Error::other(alert)))
    };
    assert!(matches!(
        error(AlertDescription::CertificateRevoked),
        LinkError::Revoked
    ));
    assert!(matches!(
        error(AlertDescription::CertificateExpired),
        LinkError::Expired(_)
    ));
    assert!(matches!(
        error(AlertDescription::InternalError),
        LinkError::Mqtt(_)
    ));
}

#[test]
fn a_report_goes_past_telemetry_that_is_not_acknowledged() {
    run(async {
        let mut bench = Bench::start().await;
        bench.report().await;
        bench.until_sent().await;
        bench.server.acknowledge(false);
        for _ in 0..2 * WINDOW {
            bench.outbox.telemetry(pack("a")).await;
        }
        let telemetry = Lane::Telemetry.window();
        for _ in 0..telemetry {
            bench.server.published("/telemetry").await;
        }
        bench.outbox.report(unsupported("b")).await;
        assert_eq!(bench.report().await.1, unsupported("b"));
    });
}
