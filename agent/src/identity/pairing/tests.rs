use tokio::task::JoinHandle;

use super::*;
use crate::testing::{Seen, Server, run};

const ENROLL: &str = "/.well-known/est/simpleenroll";

struct Bench {
    server: Server,
    folder: tempfile::TempDir,
    config: Config,
}

struct Running {
    membership: watch::Receiver<Membership>,
    requests: mpsc::Sender<PairRequest>,
    task: JoinHandle<()>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            state_dir: folder.path().join("state"),
            token_file: folder.path().join("token"),
            ..Config::default()
        };
        config.link.backoff_min = Duration::from_millis(1);
        config.link.backoff_max = Duration::from_millis(10);
        Self {
            server: Server::start().await,
            folder,
            config,
        }
    }

    fn write_token(&self, token: &PairingToken) {
        fs::write(&self.config.token_file, format!("{token}\n")).unwrap();
    }

    fn start(&self) -> Running {
        let (requests, receiver) = mpsc::channel(1);
        let (pairing, membership) = Pairing::open(&self.config, receiver).unwrap();
        Running {
            membership,
            requests,
            task: tokio::spawn(pairing.run()),
        }
    }
}

impl Running {
    async fn paired(&mut self) -> Arc<Identity> {
        let membership = self
            .membership
            .wait_for(|membership| membership.identity.is_some());
        membership.await.unwrap().identity.clone().unwrap()
    }

    async fn failed(&mut self, text: &str) {
        let has_failed = |membership: &Membership| {
            membership
                .error
                .as_ref()
                .is_some_and(|error| error.contains(text))
        };
        self.membership.wait_for(has_failed).await.unwrap();
    }

    async fn pair(&self, token: &str, anew: bool) -> Result<DeviceId, PairError> {
        let (reply, answer) = oneshot::channel();
        let request = PairRequest {
            token: token.to_owned(),
            anew,
            reply,
        };
        self.requests.send(request).await.unwrap();
        answer.await.unwrap()
    }
}

#[test]
fn a_token_in_a_file_pairs_the_device_for_good() {
    run(async {
        let bench = Bench::new().await;
        bench.write_token(&bench.server.token());
        let mut running = bench.start();
        let identity = running.paired().await;
        assert_eq!(identity.mqtt, Some(bench.server.mqtt.clone()));
        while bench.config.token_file.exists() {
            tokio::task::yield_now().await;
        }
        running.task.abort();
        assert!(bench.start().membership.borrow().identity.is_some());
    });
}

#[test]
fn a_token_from_any_computer_pairs_the_device() {
    run(async {
        for is_utf16 in [true, false] {
            let bench = Bench::new().await;
            let text = format!("\u{feff}{}\r\n", bench.server.token());
            let content = if is_utf16 {
                text.encode_utf16().flat_map(u16::to_le_bytes).collect()
            } else {
                text.into_bytes()
            };
            fs::write(&bench.config.token_file, content).unwrap();
            bench.start().paired().await;
        }
    });
}

#[test]
fn a_file_without_a_token_is_refused_aloud() {
    run(async {
        let bench = Bench::new().await;
        // UTF-16 without a byte order mark; not text at all; longer than any token.
        let bare: Vec<u8> = "homeport://a".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (content, words) in [
            (bare, "starts with homeport://"),
            (vec![0x80; 100], "starts with homeport://"),
            (vec![b'x'; 5000], "longer than 4096 bytes"),
        ] {
            fs::write(&bench.config.token_file, content).unwrap();
            let mut running = bench.start();
            running.failed(words).await;
            running.task.abort();
        }
    });
}

#[test]
fn a_refused_token_is_offered_once_and_a_new_one_again() {
    run(async {
        let mut bench = Bench::new().await;
        let mut token = bench.server.token();
        token.secret = [0; 20];
        bench.write_token(&token);
        let mut running = bench.start();
        running.failed("used").await;
        running.task.abort();
        // The next start leaves it alone.
        let running = bench.start();
        running.requests.send(dead_request()).await.unwrap();
        running.requests.send(dead_request()).await.unwrap();
        assert_eq!(bench.server.next().await, Seen::Request(ENROLL.to_owned()));
        assert!(bench.server.seen.try_recv().is_err());
        running.task.abort();

        bench.write_token(&bench.server.token());
        bench.start().paired().await;
    });
}

/// Makes the pairing go once through its loop.
fn dead_request() -> PairRequest {
    PairRequest {
        token: String::new(),
        anew: false,
        reply: oneshot::channel().0,
    }
}

#[test]
fn an_interrupted_pairing_goes_on_without_the_token() {
    run(async {
        let bench = Bench::new().await;
        bench.server.refuse_config(true);
        bench.write_token(&bench.server.token());
        let mut running = bench.start();
        running.failed("503").await;
        running.task.abort();
        let _ = fs::remove_file(&bench.config.token_file);
        bench.server.refuse_config(false);
        bench.start().paired().await;
    });
}

#[test]
fn a_lost_answer_costs_no_token() {
    run(async {
        let bench = Bench::new().await;
        bench.server.lose_answers(true);
        let token = bench.server.token().to_string();
        let running = bench.start();
        let lost = running.pair(&token, false).await;
        assert!(
            matches!(lost, Err(PairError::Est(EstError::Https(_)))),
            "{lost:?}"
        );
        // The power is cut before anybody tries again.
        running.task.abort();
        bench.server.lose_answers(false);
        let running = bench.start();
        running.pair(&token, false).await.unwrap();

        // Whoever found the token later has another key.
        let thief = Bench {
            server: bench.server,
            ..Bench::new().await
        };
        let refused = thief.start().pair(&token, false).await;
        assert!(
            matches!(refused, Err(PairError::Est(EstError::Refused(_)))),
            "{refused:?}"
        );
    });
}

#[test]
fn a_paired_device_keeps_its_server_unless_told_otherwise() {
    run(async {
        let bench = Bench::new().await;
        let mut running = bench.start();
        let token = bench.server.token().to_string();
        running.pair(&token, false).await.unwrap();
        let first = running.paired().await;
        let token = bench.server.token().to_string();
        assert!(matches!(
            running.pair(&token, false).await,
            Err(PairError::AlreadyPaired(_))
        ));
        // A token that is refused costs nothing.
        running.pair(&first.authority, true).await.unwrap_err();
        let mut used = bench.server.token();
        used.secret = [0; 20];
        running.pair(&used.to_string(), true).await.unwrap_err();
        assert!(running.membership.borrow().identity.is_some());
        running.pair(&token, true).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &running.paired().await));
    });
}

#[test]
fn a_clock_that_is_far_off_is_named_when_a_certificate_seems_expired() {
    run(async {
        let bench = Bench {
            server: Server::start_with(Duration::ZERO).await,
            ..Bench::new().await
        };
        let running = bench.start();
        let token = bench.server.token().to_string();
        let error = running.pair(&token, false).await.unwrap_err().to_string();
        assert!(
            error.contains("expired") && error.contains("set the clock first"),
            "{error}"
        );
    });
}

#[test]
fn a_server_with_another_ca_never_sees_the_secret() {
    run(async {
        let mut bench = Bench::new().await;
        let running = bench.start();
        let mut token = bench.server.token();
        token.ca_fingerprint = [0; 32];
        let error = running.pair(&token.to_string(), false).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(bench.server.seen.try_recv().is_err());
    });
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
    run(async {
        let mut bench = Bench::new().await;
        let identity = bench.server.identity(&bench.config.state_dir);
        let (_requests, receiver) = mpsc::channel(1);
        let (mut pairing, mut membership) = Pairing::open(&bench.config, receiver).unwrap();
        pairing.renew_if_due(&identity).await.unwrap();
        assert!(bench.server.seen.try_recv().is_err(), "too early");

        let due = Identity {
            not_before: Duration::ZERO,
            ..identity.clone()
        };
        membership.borrow_and_update();
        pairing.renew_if_due(&due).await.unwrap();
        assert!(membership.has_changed().unwrap());
        let renewed = pairing.identity().unwrap();
        assert_eq!(renewed.device, identity.device);
        assert!(!Arc::ptr_eq(&renewed.tls, &identity.tls));
        let stored = IdentityStore::open(&bench.config.state_dir)
            .unwrap()
            .load()
            .unwrap();
        assert_eq!(stored.unwrap().not_before, renewed.not_before);
        drop(bench.folder);
    });
}
