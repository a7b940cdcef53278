//! The least that is a server: EST, the device's configuration and MQTT 5, each over TLS, all on loopback.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use homeport_protocol::PairingToken;
use homeport_testkit::{
    Authority, YEAR,
    tls::{self, Clients},
};
use rcgen::PublicKeyData as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::identity::{Hints, Identity, IdentityStore, Issued, Key};

pub(crate) const DEVICE: &str = "k2abcdefgh234567";

/// What the server saw, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Request(String),
    Connect,
    Subscribe,
    Publish {
        topic: String,
        payload: Vec<u8>,
    },
    PubAck,
    Disconnect,
    /// A connection ended without goodbye.
    Lost,
}

/// See the module.
pub(crate) struct Server {
    pub(crate) authority: Arc<Authority>,
    pub(crate) https: String,
    pub(crate) mqtt: String,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    shared: Arc<Shared>,
}

struct Shared {
    authority: Arc<Authority>,
    mqtt: String,
    seen: mpsc::UnboundedSender<Seen>,
    /// Passwords of tokens, and the key that used them.
    passwords: Mutex<HashMap<String, Option<Vec<u8>>>>,
    loses_answers: AtomicBool,
    refuses_config: AtomicBool,
    acknowledges: AtomicBool,
    /// The reason code of acknowledgements of telemetry (MQTT 5 section 3.4.2.1); 0 for success.
    telemetry_reason: AtomicU8,
    /// Counts the orders to drop all connections.
    kicks: watch::Sender<u32>,
    /// Payload for the command topic of all connections.
    command: watch::Sender<Vec<u8>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self::start_with(now.saturating_sub(YEAR)).await
    }

    /// A server whose certificate is valid from `start` (since 1970) for two years.
    pub(crate) async fn start_with(start: Duration) -> Self {
        let authority = Arc::new(Authority::new("fleet"));
        let https = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mqtt = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (https_address, mqtt_address) = (https.local_addr().unwrap(), mqtt.local_addr().unwrap());
        let (sender, seen) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            authority: authority.clone(),
            mqtt: mqtt_address.to_string(),
            seen: sender,
            passwords: Mutex::default(),
            loses_answers: AtomicBool::new(false),
            refuses_config: AtomicBool::new(false),
            acknowledges: AtomicBool::new(true),
            telemetry_reason: AtomicU8::new(0),
            kicks: watch::Sender::new(0),
            command: watch::Sender::new(Vec::new()),
        });
        let acceptor = acceptor(&authority, start);
        tokio::spawn(accept(https, acceptor.clone(), shared.clone(), false));
        tokio::spawn(accept(mqtt, acceptor, shared.clone(), true));
        Self {
            authority,
            https: https_address.to_string(),
            mqtt: mqtt_address.to_string(),
            seen,
            shared,
        }
    }

    /// A token that the server takes of one key.
    pub(crate) fn token(&self) -> PairingToken {
        let mut secret = [0; PairingToken::SECRET_LEN];
        getrandom::fill(&mut secret).unwrap();
        let token = PairingToken {
            authority: self.https.clone(),
            ca_fingerprint: self.authority.fingerprint(),
            secret,
        };
        self.shared
            .passwords
            .lock()
            .unwrap()
            .insert(token.password(), None);
        token
    }

    /// The identity of a device that is paired with this server, stored in `state_dir`.
    pub(crate) fn identity(&self, state_dir: &Path) -> Identity {
        let store = IdentityStore::open(state_dir).unwrap();
        let key = Key::generate().unwrap();
        store.begin(&key, None).unwrap();
        let issued = Issued {
            certificate: self
                .authority
                .issue(&key.request(&Hints::default()).unwrap(), DEVICE)
                .to_vec(),
            device: DEVICE.parse().unwrap(),
        };
        store.fill(&issued, &self.authority.der(), &self.https).unwrap();
        let pending = store.load_pending().unwrap().unwrap();
        store.promote(&pending, self.mqtt.clone()).unwrap()
    }

    /// Whether the connection breaks when the certificate has been signed.
    pub(crate) fn lose_answers(&self, lose: bool) {
        self.shared.loses_answers.store(lose, Ordering::SeqCst);
    }

    /// Whether requests for the device's configuration fail, as if the connection broke then.
    pub(crate) fn refuse_config(&self, refuse: bool) {
        self.shared.refuses_config.store(refuse, Ordering::SeqCst);
    }

    /// Whether messages are acknowledged.
    pub(crate) fn acknowledge(&self, acknowledge: bool) {
        self.shared.acknowledges.store(acknowledge, Ordering::SeqCst);
    }

    /// With which reason code telemetry is acknowledged.
    pub(crate) fn answer_telemetry(&self, reason: u8) {
        self.shared.telemetry_reason.store(reason, Ordering::SeqCst);
    }

    /// Drops every MQTT connection.
    pub(crate) fn kick(&self) {
        self.shared.kicks.send_modify(|kicks| *kicks += 1);
    }

    /// Sends a command.
    pub(crate) fn command(&self, payload: Vec<u8>) {
        self.shared.command.send_replace(payload);
    }

    pub(crate) async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Waits for the next message on the channel `name`.
    pub(crate) async fn published(&mut self, name: &str) -> Vec<u8> {
        loop {
            if let Seen::Publish { topic, payload } = self.next().await {
                assert!(topic.starts_with(&format!("hp1/{DEVICE}/")), "{topic}");
                if topic.ends_with(name) {
                    return payload;
                }
            }
        }
    }

    /// Waits until `what` was seen.
    pub(crate) async fn until(&mut self, what: &Seen) {
        while self.next().await != *what {}
    }
}

fn acceptor(authority: &Authority, start: Duration) -> TlsAcceptor {
    let identity = authority.server_from("127.0.0.1", SystemTime::UNIX_EPOCH + start);
    let config = tls::server(&authority.der(), &identity, Clients::Invited);
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, is_mqtt: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            if is_mqtt {
                let mut kicks = shared.kicks.subscribe();
                tokio::select! {
                    _ = shared.mqtt(stream) => {}
                    _ = kicks.changed() => {
                        let _ = shared.seen.send(Seen::Lost);
                    }
                }
            } else {
                let _ = shared.http(stream).await;
            }
        });
    }
}

impl Shared {
    async fn http(&self, mut stream: TlsStream<TcpStream>) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let length = field("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let _ = self.seen.send(Seen::Request(path.clone()));
        let is_known = stream.get_ref().1.peer_certificates().is_some();
        let (status, answer) = match path.as_str() {
            "/.well-known/est/simpleenroll" => {
                let password = field("authorization").and_then(|value| {
                    let credentials = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
                    let credentials = String::from_utf8(credentials).ok()?;
                    Some(credentials.strip_prefix("pairing:")?.to_owned())
                });
                let request = STANDARD.decode(body).unwrap();
                if password.is_some_and(|password| self.takes(&password, &request)) {
                    let answer = self.authority.enroll(&request, DEVICE);
                    if self.loses_answers.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    ("200 OK", answer)
                } else {
                    ("401 Unauthorized", "used".to_owned())
                }
            }
            "/.well-known/est/simplereenroll" if is_known => (
                "200 OK",
                self.authority.enroll(&STANDARD.decode(body).unwrap(), DEVICE),
            ),
            "/device/v1/config" if is_known && !self.refuses_config.load(Ordering::SeqCst) => {
                let answer = format!(r#"{{"device_id":"{DEVICE}","mqtt_authority":"{}"}}"#, self.mqtt);
                ("200 OK", answer)
            }
            _ => ("503 Service Unavailable", String::new()),
        };
        let length = answer.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{answer}");
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }

    /// Whether the password is good for the key of this certificate request.
    fn takes(&self, password: &str, request: &[u8]) -> bool {
        let request = rcgen::CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        let key = request.public_key.der_bytes().to_vec();
        let mut passwords = self.passwords.lock().unwrap();
        let Some(user) = passwords.get_mut(password) else {
            return false;
        };
        *user.get_or_insert_with(|| key.clone()) == key
    }

    async fn mqtt(&self, mut stream: TlsStream<TcpStream>) -> io::Result<()> {
        assert!(stream.get_ref().1.peer_certificates().is_some());
        let mut command = self.command.subscribe();
        loop {
            let kind = tokio::select! {
                kind = stream.read_u8() => kind,
                _ = command.changed() => {
                    let payload = command.borrow_and_update().clone();
                    stream.write_all(&publish(&payload)).await?;
                    stream.flush().await?;
                    continue;
                }
            };
            let Ok(kind) = kind else {
                let _ = self.seen.send(Seen::Lost);
                return Ok(());
            };
            let mut body = vec![0; read_length(&mut stream).await?];
            stream.read_exact(&mut body).await?;
            match kind >> 4 {
                1 => {
                    assert_eq!(body[..7], *b"\0\x04MQTT\x05");
                    let _ = self.seen.send(Seen::Connect);
                    stream.write_all(&[0x20, 3, 0, 0, 0]).await?;
                }
                3 => {
                    let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let topic = String::from_utf8(body[2..topic_end].to_vec()).unwrap();
                    let is_sure = kind & 6 != 0;
                    // Packet id, if any, and the length of no properties.
                    let payload = body[topic_end + if is_sure { 3 } else { 1 }..].to_vec();
                    let reason = if topic.ends_with("/telemetry") {
                        self.telemetry_reason.load(Ordering::SeqCst)
                    } else {
                        0
                    };
                    let _ = self.seen.send(Seen::Publish { topic, payload });
                    if is_sure && self.acknowledges.load(Ordering::SeqCst) {
                        stream
                            .write_all(&[0x40, 3, body[topic_end], body[topic_end + 1], reason])
                            .await?;
                    }
                }
                4 => {
                    let _ = self.seen.send(Seen::PubAck);
                }
                8 => {
                    let _ = self.seen.send(Seen::Subscribe);
                    stream.write_all(&[0x90, 4, body[0], body[1], 0, 1]).await?;
                }
                12 => stream.write_all(&[0xd0, 0]).await?,
                14 => {
                    let _ = self.seen.send(Seen::Disconnect);
                    return Ok(());
                }
                other => panic!("packet of type {other}"),
            }
            stream.flush().await?;
        }
    }
}

/// A command with packet id 1, QoS 1.
fn publish(payload: &[u8]) -> Vec<u8> {
    let topic = format!("hp1/{DEVICE}/command");
    let mut packet = vec![0x32];
    let mut length = 2 + topic.len() + 3 + payload.len();
    while length >= 128 {
        packet.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    packet.extend(topic.as_bytes());
    packet.extend([0, 1, 0]);
    packet.extend(payload);
    packet
}

async fn read_length(stream: &mut TlsStream<TcpStream>) -> io::Result<usize> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Ok(length);
        }
        shift += 7;
    }
}
