//! What clients of HTTPS may not do: be silent, be slow, and be many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use homeport_server::{
    ca::{Authority, CertificateRequest},
    https,
    limits::Limits,
    tls::{self, ServerCertificate},
};
use homeport_testkit::{DeviceKey, Identity, patiently};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_millis(100);

/// A time that no test lasts.
const NEVER: Duration = Duration::from_secs(3600);

struct Server {
    address: SocketAddr,
    authority: Arc<Authority>,
    /// Something comes when an endless answer has ended.
    ended: mpsc::UnboundedReceiver<()>,
    shutdown: CancellationToken,
    _directory: TempDir,
}

type Client = TlsStream<TcpStream>;

/// Says so when it is dropped.
struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// No deadline but those that a test sets.
fn patient() -> Limits {
    Limits {
        handshake: NEVER,
        connect: NEVER,
        first_request: NEVER,
        idle: NEVER,
        body_grace: NEVER,
        stall: NEVER,
        check: Duration::from_millis(10),
        ..Limits::default()
    }
}

fn router(ended: mpsc::UnboundedSender<()>) -> Router {
    let endless = move || {
        let told = Told(ended.clone());
        async move {
            let chunk = Bytes::from(vec![0; 64 * 1024]);
            Body::from_stream(futures_util::stream::repeat_with(move || {
                let _ = &told;
                Ok::<_, Infallible>(chunk.clone())
            }))
        }
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/endless", get(endless))
        .route("/", post(|body: Bytes| async move { body.len().to_string() }))
}

// === impl Server ===

impl Server {
    async fn start(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open(directory.path()).unwrap());
        let path = directory.path().join("server.pem");
        let certificate =
            ServerCertificate::open(path, Arc::clone(&authority), vec!["localhost".into()]).unwrap();
        let tls = tls::https_config(&authority, Arc::new(certificate), |_: &[u8; 32]| true).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, ended) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        tokio::spawn(https::serve(
            listener,
            tls,
            router(sender),
            limits,
            shutdown.clone(),
        ));
        Self {
            address,
            authority,
            ended,
            shutdown,
            _directory: directory,
        }
    }

    async fn tcp(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    fn tls(&self, identity: Option<&Identity>, alpn: &[u8]) -> TlsConnector {
        let ca = self.authority.certificate();
        let mut config = homeport_testkit::tls::client(ca, identity, rustls::DEFAULT_VERSIONS);
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    async fn secure(&self, tls: &TlsConnector, from: [u8; 4]) -> Client {
        let tcp = self.tcp(from).await;
        let name = ServerName::try_from("localhost").unwrap();
        patiently(tls.connect(name, tcp)).await.unwrap()
    }

    async fn client(&self, from: [u8; 4]) -> Client {
        self.secure(&self.tls(None, b"http/1.1"), from).await
    }

    fn device(&self) -> Identity {
        let key = DeviceKey::generate();
        let request = CertificateRequest::parse(&key.request()).unwrap();
        let now = time::OffsetDateTime::now_utc();
        let issued = self
            .authority
            .issue_device(&request, &"a".parse().unwrap(), now)
            .unwrap();
        key.certified(issued.der)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Waits until the server has closed the connection.
async fn closed(client: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = patiently(client.read_to_end(&mut rest)).await;
}

/// One request on a connection that stays open.
async fn get_one(client: &mut Client) {
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let count = patiently(client.read_buf(&mut answer)).await.unwrap();
        assert!(count > 0, "closed before it answered");
    }
}

#[tokio::test]
async fn a_handshake_that_never_begins() {
    let server = Server::start(Limits {
        handshake: SOON,
        ..patient()
    })
    .await;
    closed(&mut server.tcp([127, 0, 0, 1]).await).await;
}

#[tokio::test]
async fn a_first_request_that_never_comes() {
    let server = Server::start(Limits {
        first_request: SOON,
        ..patient()
    })
    .await;
    closed(&mut server.client([127, 0, 0, 1]).await).await;
    let mut half = server.client([127, 0, 0, 1]).await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: lo").await.unwrap();
    closed(&mut half).await;
    let mut preface = server.secure(&server.tls(None, b"h2"), [127, 0, 0, 1]).await;
    preface
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    closed(&mut preface).await;
}

#[tokio::test]
async fn no_further_request() {
    let server = Server::start(Limits {
        idle: SOON,
        ..patient()
    })
    .await;
    let mut client = server.client([127, 0, 0, 1]).await;
    get_one(&mut client).await;
    closed(&mut client).await;
}

#[tokio::test]
async fn a_body_that_never_comes() {
    let server = Server::start(Limits {
        body_grace: SOON,
        ..patient()
    })
    .await;
    let mut client = server.client([127, 0, 0, 1]).await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        .await
        .unwrap();
    closed(&mut client).await;
}

/// A request that is refused before its body was read ends the connection: the client must not send the next one into it.
#[tokio::test]
async fn a_body_that_is_not_read() {
    let server = Server::start(patient()).await;
    let mut client = server.client([127, 0, 0, 1]).await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"3") {
        assert!(patiently(client.read_buf(&mut answer)).await.unwrap() > 0);
    }
    let close = |answer: &[u8]| String::from_utf8_lossy(answer).contains("connection: close");
    assert!(!close(&answer), "it was read");
    client
        .write_all(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = patiently(client.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 404") && close(&answer));
}

#[tokio::test]
async fn an_answer_that_is_not_read() {
    let mut server = Server::start(Limits {
        stall: SOON,
        ..patient()
    })
    .await;
    let mut client = server.client([127, 0, 0, 1]).await;
    client
        .write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    patiently(server.ended.recv()).await.unwrap();
}

#[tokio::test]
async fn many_silent_ones_keep_nobody_out() {
    let server = Server::start(Limits {
        strangers: 16,
        strangers_by_network: 8,
        ..patient()
    })
    .await;
    let tls = server.tls(Some(&server.device()), b"http/1.1");
    let mut device = server.secure(&tls, [127, 0, 0, 1]).await;
    get_one(&mut device).await;
    let mut early = server.client([127, 0, 0, 2]).await;
    get_one(&mut early).await;

    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(server.client([127, 0, 0, 1]).await);
    }
    let mut bare = Vec::new();
    for _ in 0..40 {
        bare.push(server.tcp([127, 0, 0, 1]).await);
    }
    // Those who were there, from the same address and from another one.
    get_one(&mut device).await;
    get_one(&mut early).await;
    // New ones.
    get_one(&mut server.secure(&tls, [127, 0, 0, 1]).await).await;
    get_one(&mut server.client([127, 0, 0, 2]).await).await;
    // The oldest went first.
    closed(&mut silent[0]).await;
    closed(&mut bare[0]).await;
}
