//! Enrolment with nothing but `curl` and `openssl`, as somebody without our agent would do it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use std::{
    collections::HashMap,
    ffi::OsStr,
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use homeport_protocol::{DeviceId, PairingToken};
use homeport_server::{
    ca::{Authority, DeviceCertificate, Fingerprint},
    est::{self, Enrolment, Hints, IssueError, Sign},
    https,
    limits::Limits,
    tls::{self, ServerCertificate},
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const SECRET: [u8; PairingToken::SECRET_LEN] = *b"a secret of 20 bytes";

/// A fleet with one token.
#[derive(Clone, Default)]
struct Fleet(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    used: bool,
    full: bool,
    hints: Option<Hints>,
    active: HashMap<Fingerprint, DeviceId>,
    replaced: Vec<Option<Fingerprint>>,
    wait: Option<Duration>,
}

impl Enrolment for Fleet {
    async fn enrol(
        &self,
        secret: &[u8],
        _: &[u8; 32],
        hints: &Hints,
        sign: impl Sign,
    ) -> Result<(DeviceId, DeviceCertificate), IssueError> {
        let mut state = self.0.lock();
        if secret != SECRET {
            return Err(IssueError::Unknown);
        }
        if state.full {
            return Err(IssueError::Unavailable("the disk is full".into()));
        }
        if std::mem::replace(&mut state.used, true) {
            return Err(IssueError::Used);
        }
        state.hints = Some(hints.clone());
        Ok(state.issue(sign, None))
    }

    async fn renew(
        &self,
        certificate: &Fingerprint,
        sign: impl Sign,
    ) -> Result<(DeviceId, DeviceCertificate), IssueError> {
        let mut state = self.0.lock();
        if let Some(wait) = state.wait {
            return Err(IssueError::Limited(wait));
        }
        Ok(state.issue(sign, Some(*certificate)))
    }

    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId> {
        self.0.lock().active.get(certificate).cloned()
    }
}

// === impl State ===

impl State {
    fn issue(&mut self, sign: impl Sign, replaces: Option<Fingerprint>) -> (DeviceId, DeviceCertificate) {
        let certificate = sign(&device()).unwrap();
        self.active.insert(certificate.fingerprint, device());
        self.replaced.push(replaces);
        (device(), certificate)
    }
}

struct Server {
    address: SocketAddr,
    fleet: Fleet,
    directory: TempDir,
    shutdown: CancellationToken,
}

// === impl Server ===

impl Server {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open(directory.path()).unwrap());
        let path = directory.path().join("server.pem");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = ServerCertificate::open(path, Arc::clone(&authority), names).unwrap();
        let fleet = Fleet::default();
        let active = fleet.clone();
        let is_active = move |fingerprint: &Fingerprint| active.identify(fingerprint).is_some();
        let config = tls::https_config(&authority, Arc::new(certificate), is_active).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let router = est::router(authority, fleet.clone());
        tokio::spawn(https::serve(
            listener,
            config,
            router,
            Limits::default(),
            shutdown.clone(),
        ));
        Self {
            address,
            fleet,
            directory,
            shutdown,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The key `<name>.key` and the body of a request for it, `<name>.b64`, by `openssl req`.
    fn request(&self, name: &str, algorithm: &[&str]) {
        let (key, der) = (self.path(&format!("{name}.key")), self.path("request.der"));
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-new",
            "-nodes",
            "-subj",
            "/CN=board-7/serialNumber=SN0042",
            "-newkey",
        ]);
        command.args(algorithm).arg("-keyout").arg(key);
        run(command.args(["-outform", "DER", "-out"]).arg(&der));
        let mut command = Command::new("openssl");
        let body = run(command.args(["base64", "-in"]).arg(&der)).stdout;
        std::fs::write(self.path(&format!("{name}.b64")), body).unwrap();
    }

    /// `curl`: status, then headers and body.
    async fn curl<A: AsRef<OsStr>>(&self, path: &str, arguments: &[A]) -> (u16, String) {
        let url = format!("https://localhost:{}/.well-known/est/{path}", self.address.port());
        let output = tokio::process::Command::new("curl")
            .args(["-sS", "-i", "--max-time", "60", "--cacert"])
            .arg(self.path("ca-certificate.pem"))
            .args(arguments)
            .arg(url)
            .output()
            .await
            .expect("curl runs");
        let text = String::from_utf8(output.stdout).unwrap();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (
            status.unwrap_or(0),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    }

    async fn enrol(&self, name: &str, password: &str) -> (u16, String) {
        let credentials = format!("{}:{password}", PairingToken::EST_USER);
        let body = format!("@{}", self.path(&format!("{name}.b64")).display());
        let arguments = [
            "-H",
            "Content-Type: application/pkcs10",
            "-u",
            &credentials,
            "--data-binary",
            &body,
        ];
        self.curl("simpleenroll", &arguments).await
    }

    /// The certificate of an answer, as `<name>.pem`.
    fn keep(&self, name: &str, answer: &str) {
        std::fs::write(self.path(&format!("{name}.pem")), certificate(answer)).unwrap();
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        let output = run(command.args(arguments).current_dir(self.directory.path()));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn device() -> DeviceId {
    "abcdefgh23456723".parse().unwrap()
}

fn password() -> String {
    URL_SAFE_NO_PAD.encode(SECRET)
}

fn run(command: &mut Command) -> Output {
    let output = command.stderr(Stdio::piped()).output().expect("openssl runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The certificate in a PKCS#7 answer, by `openssl base64 -d | openssl pkcs7 -print_certs`.
fn certificate(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut decode = Command::new("openssl")
        .args(["base64", "-d"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let print = Command::new("openssl")
        .args(["pkcs7", "-inform", "DER", "-print_certs"])
        .stdin(decode.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    decode.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = print.wait_with_output().unwrap();
    assert!(
        decode.wait().unwrap().success() && output.status.success(),
        "{answer}"
    );
    String::from_utf8(output.stdout).unwrap()
}

const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[tokio::test]
async fn curl_and_openssl_enrol_and_renew() {
    let server = Server::start().await;
    let (status, answer) = server.curl::<&str>("cacerts", &[]).await;
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer
            .to_lowercase()
            .contains("content-type: application/pkcs7-mime")
    );
    let der = |pem: &str| {
        use rustls_pki_types::pem::PemObject as _;
        rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    };
    let ca = std::fs::read_to_string(server.path("ca-certificate.pem")).unwrap();
    assert_eq!(der(&certificate(&answer)), der(&ca));

    server.request("first", P256);
    let (status, answer) = server.enrol("first", &password()).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("application/pkcs7-mime; smime-type=certs-only"));
    server.keep("first", &answer);
    server.openssl(&[
        "verify",
        "-purpose",
        "sslclient",
        "-CAfile",
        "ca-certificate.pem",
        "first.pem",
    ]);
    let text = server.openssl(&["x509", "-in", "first.pem", "-noout", "-subject", "-pubkey"]);
    assert!(
        text.starts_with(&format!("subject=CN = {}\n", device())),
        "{text}"
    );
    assert!(text.contains(&server.openssl(&["pkey", "-in", "first.key", "-pubout"])));
    let hints = server.fleet.0.lock().hints.clone().unwrap();
    assert_eq!(hints.hostname.as_deref(), Some("board-7"));
    assert_eq!(hints.serial.as_deref(), Some("SN0042"));

    server.request("second", P256);
    let body = format!("@{}", server.path("second.b64").display());
    let (status, _) = server.curl("simplereenroll", &["--data-binary", &body]).await;
    assert_eq!(status, 401);
    let (certificate, key) = (server.path("first.pem"), server.path("first.key"));
    let arguments = [
        OsStr::new("--cert"),
        certificate.as_os_str(),
        OsStr::new("--key"),
        key.as_os_str(),
        OsStr::new("--data-binary"),
        OsStr::new(&body),
    ];
    let (status, answer) = server.curl("simplereenroll", &arguments).await;
    assert_eq!(status, 200, "{answer}");
    server.keep("second", &answer);
    let text = server.openssl(&["x509", "-in", "second.pem", "-noout", "-subject"]);
    assert_eq!(text, format!("subject=CN = {}\n", device()));
    let first = homeport_server::ca::fingerprint(&der(&std::fs::read_to_string(&certificate).unwrap()));
    assert_eq!(server.fleet.0.lock().replaced, [None, Some(first)]);

    server.fleet.0.lock().wait = Some(Duration::from_secs(90));
    let (status, answer) = server.curl("simplereenroll", &arguments).await;
    assert_eq!(status, 429, "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 90\r\n"), "{answer}");

    // Without an active certificate, the handshake fails already.
    server.fleet.0.lock().active.clear();
    let (status, answer) = server.curl("simplereenroll", &arguments).await;
    assert_eq!(status, 0, "{answer}");
}

#[tokio::test]
async fn a_token_works_once_however_many_try() {
    let server = Server::start().await;
    server.request("key", P256);
    let password = password();
    let attempts = (0..8).map(|_| server.enrol("key", &password));
    let answers = futures_util::future::join_all(attempts).await;
    let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 200);
    assert_eq!(granted.len(), 1);
    for (status, answer) in refused {
        assert_eq!(status, 401);
        assert!(answer.ends_with("\r\n\r\nused\n"), "{answer}");
        assert!(answer.to_lowercase().contains("www-authenticate: basic"));
    }
    assert_eq!(server.fleet.0.lock().active.len(), 1);
}

#[tokio::test]
async fn every_kind_of_key_that_is_strong_enough_is_certified() {
    for (algorithm, accepted) in [
        (P256, true),
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], true),
        (&["ed25519"], true),
        (&["rsa:2048"], true),
        (&["rsa:1024"], false),
        (&["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], false),
    ] {
        let server = Server::start().await;
        server.request("key", algorithm);
        let (status, answer) = server.enrol("key", &password()).await;
        assert_eq!(
            status,
            if accepted { 200 } else { 400 },
            "{algorithm:?}: {answer}"
        );
        if accepted {
            server.keep("key", &answer);
            server.openssl(&[
                "verify",
                "-purpose",
                "sslclient",
                "-CAfile",
                "ca-certificate.pem",
                "key.pem",
            ]);
        } else {
            assert!(answer.contains("the key must be"), "{answer}");
        }
        // What is refused for its request does not cost the token.
        assert_eq!(server.fleet.0.lock().used, accepted);
    }
}

#[tokio::test]
async fn bad_requests_say_what_is_wrong() {
    let server = Server::start().await;
    let write = |name: &str, body: &[u8]| std::fs::write(server.path(name), body).unwrap();
    server.request("good", P256);
    let good = std::fs::read_to_string(server.path("good.b64")).unwrap();
    let mut forged = server
        .openssl(&["base64", "-d", "-in", "good.b64", "-out", "good.der"])
        .into_bytes();
    forged.extend(std::fs::read(server.path("good.der")).unwrap());
    *forged.last_mut().unwrap() ^= 1;
    write("forged.der", &forged);
    write(
        "forged.b64",
        server.openssl(&["base64", "-in", "forged.der"]).as_bytes(),
    );
    write("cut.b64", &good.as_bytes()[..64]);
    write("noise.b64", b"?");
    write("huge.b64", "A".repeat(20_000).as_bytes());
    for (name, status, text) in [
        ("forged", 400, "not signed with its own key"),
        ("cut", 400, "not a PKCS#10"),
        ("noise", 400, "not a PKCS#10"),
        ("huge", 413, "length limit"),
    ] {
        let (found, answer) = server.enrol(name, &password()).await;
        assert_eq!(found, status, "{name}: {answer}");
        assert!(answer.contains(text), "{name}: {answer}");
    }
    assert!(!server.fleet.0.lock().used);
    let body = format!("@{}", server.path("good.b64").display());
    let (status, answer) = server.curl("simpleenroll", &["--data-binary", &body]).await;
    assert_eq!(status, 401, "{answer}");
    let (status, _) = server.curl::<&str>("simpleenroll", &[]).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let server = Server::start().await;
    server.request("key", P256);
    let guess = URL_SAFE_NO_PAD.encode([0; PairingToken::SECRET_LEN]);
    let mut refused = 0;
    loop {
        let (status, answer) = server
            .enrol("key", if refused % 2 == 0 { &guess } else { "short" })
            .await;
        if status == 503 {
            assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
            break;
        }
        assert_eq!(status, 401, "{answer}");
        assert!(answer.ends_with("\r\n\r\nunknown\n"), "{answer}");
        refused += 1;
    }
    assert_eq!(refused, 20);
    for _ in 0..5 {
        assert_eq!(server.enrol("key", &guess).await.0, 503);
    }
    // The right one, from the same address: a factory is behind one.
    assert_eq!(server.enrol("key", &password()).await.0, 200);
}

#[tokio::test]
async fn what_cannot_be_stored_is_asked_for_again() {
    let server = Server::start().await;
    server.request("key", P256);
    server.fleet.0.lock().full = true;
    let (status, answer) = server.enrol("key", &password()).await;
    assert_eq!(status, 503);
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    server.fleet.0.lock().full = false;
    assert_eq!(server.enrol("key", &password()).await.0, 200);
}
