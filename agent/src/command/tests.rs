use homeport_protocol::{
    BundleOffer, Sequenced,
    command::{Cancel, Deploy},
};
use tokio::sync::mpsc;

use super::*;
use crate::link::{Lane, Limits};

struct Bench {
    commands: Arc<Commands<Gated>>,
    /// Deployments whose cancellation was begun, in order.
    begun: mpsc::UnboundedReceiver<u64>,
    gate: Arc<tokio::sync::Mutex<()>>,
    outbox: Arc<Outbox>,
    _folder: tempfile::TempDir,
}

struct Gated {
    begun: mpsc::UnboundedSender<u64>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Runner for Gated {
    type Order = Update;

    async fn run(&self, update: Update) {
        let (Update::Deploy(Deploy { deployment, .. }) | Update::Cancel(Cancel { deployment })) = update;
        self.begun.send(deployment).unwrap();
        let _open = self.gate.lock().await;
    }
}

impl Bench {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            size: 1 << 20,
            age: Duration::from_secs(3600),
        };
        let outbox = Outbox::open(folder.path(), limits).unwrap();
        let (begun, receiver) = mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Mutex::new(()));
        let gated = Gated {
            begun,
            gate: gate.clone(),
        };
        let commands = Arc::new(Commands::new(gated, outbox.clone()));
        let worker = commands.clone();
        tokio::spawn(async move { worker.run().await });
        Self {
            commands,
            begun: receiver,
            gate,
            outbox,
            _folder: folder,
        }
    }

    fn answers(&self) -> Vec<Report> {
        let mut after = 0;
        let next = || {
            let (sequence, payload) = self.outbox.peek(Lane::Report, after)?;
            after = sequence;
            Some(Sequenced::<Report>::decode(&payload).unwrap().message)
        };
        std::iter::from_fn(next).collect()
    }

    /// The one answer, about a command that was not run.
    fn not_run(&self) -> NotRun {
        match &self.answers()[..] {
            [Report::NotRun(not_run)] => not_run.clone(),
            others => panic!("{others:?}"),
        }
    }
}

/// A cancellation, which names itself after its deployment.
fn cancel(deployment: u64) -> Envelope {
    Envelope {
        id: Some(format!("cancel-{deployment}")),
        ..Envelope::from(Command::Cancel(Cancel { deployment }))
    }
}

#[test]
fn what_the_agent_can_do_is_told_as_the_wire_names_it() {
    let deploy = Deploy {
        deployment: 1,
        bundle: BundleOffer {
            id: String::new(),
            size: 0,
            path: String::new(),
            version: String::new(),
            compatible: String::new(),
            manifest_hash: None,
        },
    };
    let commands = [
        Command::Deploy(deploy),
        Command::Cancel(Cancel { deployment: 1 }),
        Command::Inventory,
    ];
    let kinds: Vec<&str> = commands.iter().map(Command::kind).collect();
    assert_eq!(kinds, CAPABILITIES);
}

#[tokio::test]
async fn no_more_than_a_line_of_commands_waits() {
    let mut bench = Bench::start();
    let closed = bench.gate.clone().lock_owned().await;
    bench.commands.accept(cancel(0));
    assert_eq!(bench.begun.recv().await, Some(0));
    let waiting = 1..=line::MAX_WAITING as u64;
    for deployment in waiting.clone() {
        bench.commands.accept(cancel(deployment));
    }
    // A repeat of what waits takes no place.
    bench.commands.accept(cancel(1));
    assert_eq!(bench.answers(), []);
    bench.commands.accept(cancel(99));
    let not_run = bench.not_run();
    assert_eq!(
        (not_run.cause, not_run.id.as_deref()),
        (Cause::TooMany, Some("cancel-99"))
    );
    assert_eq!(not_run.command, "cancel");
    assert!(not_run.detail.contains("16 commands wait"), "{}", not_run.detail);

    drop(closed);
    for deployment in waiting {
        assert_eq!(bench.begun.recv().await, Some(deployment));
    }
    assert!(bench.begun.try_recv().is_err());
}

#[tokio::test]
async fn a_repeat_without_an_id_is_known_by_what_it_asks_for() {
    let mut bench = Bench::start();
    let closed = bench.gate.clone().lock_owned().await;
    bench.commands.accept(cancel(0));
    assert_eq!(bench.begun.recv().await, Some(0));
    for deployment in [1, 1, 2] {
        bench
            .commands
            .accept(Envelope::from(Command::Cancel(Cancel { deployment })));
    }
    drop(closed);
    assert_eq!(bench.begun.recv().await, Some(1));
    assert_eq!(bench.begun.recv().await, Some(2));
    assert!(bench.begun.try_recv().is_err());
}

#[tokio::test]
async fn an_expired_command_is_not_run_and_that_is_reported() {
    let mut bench = Bench::start();
    bench.commands.accept(Envelope {
        expires_ms: Some(0),
        ..cancel(7)
    });
    bench.commands.accept(Envelope {
        expires_ms: Some(i64::MAX),
        ..cancel(8)
    });
    assert_eq!(bench.begun.recv().await, Some(8));
    let not_run = bench.not_run();
    assert_eq!(
        (not_run.cause, not_run.id.as_deref()),
        (Cause::Expired, Some("cancel-7"))
    );
    assert!(
        not_run.detail.contains("expired at 1970-01-01T00:00:00Z"),
        "{}",
        not_run.detail
    );
    assert!(not_run.at_ms > 0);
}

#[tokio::test]
async fn a_command_that_expires_while_it_waits_is_not_run() {
    let mut bench = Bench::start();
    let closed = bench.gate.clone().lock_owned().await;
    bench.commands.accept(cancel(0));
    assert_eq!(bench.begun.recv().await, Some(0));
    let soon = now_ms() + 200;
    bench.commands.accept(Envelope {
        expires_ms: Some(soon),
        ..cancel(1)
    });
    bench.commands.accept(cancel(2));
    assert_eq!(bench.answers(), []);
    while now_ms() <= soon {
        tokio::task::yield_now().await;
    }
    drop(closed);
    assert_eq!(bench.begun.recv().await, Some(2));
    assert_eq!(bench.not_run().cause, Cause::Expired);
}
