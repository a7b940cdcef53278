//! A stand-in for the server: real TLS and HTTP on loopback, and just enough of the API for the command line to be tested alone.

pub(crate) mod access;

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, SystemTime},
};

use homeport_api::{
    AccessToken, Bundle, Deployment, Device, DeviceProgress, Event, Page, Problem, StateChange, Target,
    UpdateHistory, User, UserInfo,
};
use homeport_testkit::{
    Authority, Identity, PATIENCE, YEAR,
    tls::{self, Clients},
};
use rustls::{ServerConnection, StreamOwned};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const TOKEN: &str = "session-token-of-the-double";
const PAGE: usize = 2;
const TICK: Duration = Duration::from_millis(20);

/// A running stand-in.
pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) ca_fingerprint: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    down: AtomicBool,
}

/// What the stand-in knows and saw.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) devices: Vec<Device>,
    pub(crate) bundles: Vec<Bundle>,
    pub(crate) users: Vec<UserInfo>,
    /// Of every user.
    pub(crate) access_tokens: Vec<AccessToken>,
    /// Devices of deployment 7, and what they went through.
    pub(crate) deployment: Option<Vec<Progressed>>,
    /// `METHOD /path?query` of every request.
    pub(crate) requests: Vec<String>,
    /// Bodies of uploads.
    pub(crate) uploads: Vec<Vec<u8>>,
    /// Bodies of other requests, with their path.
    pub(crate) bodies: Vec<(String, String)>,
    /// `METHOD path` below `/api/v1/`, with `*` for any one element, and the query if that counts, and what is answered instead: status
    /// and body. The first counts.
    pub(crate) answers: Vec<(&'static str, u16, String)>,
    /// Its disk is full.
    pub(crate) full: bool,
    /// Connections that came while it was down.
    pub(crate) refused: usize,
    subscribers: Vec<Sender<String>>,
}

/// A device of a deployment, and the states that its update entered.
#[derive(Clone)]
pub(crate) struct Progressed {
    pub(crate) progress: DeviceProgress,
    pub(crate) history: Vec<StateChange>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

const NO_CONTENT: Answer = Answer {
    status: 204,
    body: Vec::new(),
};

type Connection = StreamOwned<ServerConnection, TcpStream>;

// === impl Double ===

impl Double {
    /// Starts with a certificate for 127.0.0.1.
    pub(crate) fn start() -> Self {
        Self::start_as("127.0.0.1")
    }

    /// Starts with a certificate for another name.
    pub(crate) fn start_as(name: &str) -> Self {
        let authority = Authority::new("Double CA");
        Self::start_with(&authority, &authority.server(name))
    }

    /// Starts with a certificate that was valid until 2001.
    pub(crate) fn start_expired() -> Self {
        let authority = Authority::new("Double CA");
        let identity = authority.server_from("127.0.0.1", SystemTime::UNIX_EPOCH + 30 * YEAR);
        Self::start_with(&authority, &identity)
    }

    fn start_with(authority: &Authority, identity: &Identity) -> Self {
        let tls = tls::server(&authority.der(), identity, Clients::Anonymous);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let tls = Arc::new(tls);
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if accepting.down.load(Ordering::SeqCst) {
                    accepting.state.lock().unwrap().refused += 1;
                    accepting.changed.notify_all();
                    continue;
                }
                let shared = Arc::clone(&accepting);
                let tls = ServerConnection::new(Arc::clone(&tls)).unwrap();
                thread::spawn(move || shared.serve(StreamOwned::new(tls, socket)));
            }
        });
        Self {
            address,
            ca_pem: authority.pem(),
            ca_fingerprint: format!("{:x}", Sha256::digest(authority.der())),
            shared,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Drops every connection and takes no new one, or is back again.
    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
        if down {
            self.state().subscribers.clear();
        }
    }

    /// Sends an event to everybody who listens.
    pub(crate) fn publish(&self, event: &Event) {
        let text = serde_json::to_string(event).unwrap();
        self.state()
            .subscribers
            .retain(|subscriber| subscriber.send(text.clone()).is_ok());
    }

    /// Waits until something is so.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let (_guard, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.state(), PATIENCE, |state| !condition(state))
            .unwrap();
        assert!(!timeout.timed_out(), "it never came to: {what}");
    }
}

// === impl State ===

impl State {
    pub(crate) fn has_subscriber(&self) -> bool {
        !self.subscribers.is_empty()
    }

    pub(crate) fn count(&self, request: &str) -> usize {
        self.requests
            .iter()
            .filter(|seen| seen.starts_with(request))
            .count()
    }
}

// === impl Request ===

impl Request {
    /// Whether it is what `wanted` says, as in [`State::answers`].
    fn is(&self, wanted: &str) -> bool {
        let mut seen = format!("{} {}", self.method, self.path.trim_start_matches("/api/v1/"));
        if wanted.contains('?') {
            seen = format!("{seen}?{}", self.query);
        }
        let elements = wanted.split('/').zip(seen.split('/'));
        wanted.split('/').count() == seen.split('/').count()
            && elements
                .into_iter()
                .all(|(wanted, seen)| wanted == "*" || wanted == seen)
    }

    fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.query.split('&').filter_map(|pair| pair.split_once('='));
        parameters
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

// === impl Shared ===

impl Shared {
    fn serve(&self, connection: Connection) {
        let mut connection = BufReader::new(connection);
        // A client that only looks at the certificate sends nothing.
        let Some(request) = read_request(&mut connection) else {
            return;
        };
        let events = request.path == "/api/v1/events" && authorised(&request);
        let answer = self.answer(&request);
        if self.down.load(Ordering::SeqCst) {
            return;
        }
        if events {
            self.stream(connection.get_mut());
        } else {
            let head = format!(
                "HTTP/1.1 {} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.status,
                answer.body.len()
            );
            let stream = connection.get_mut();
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&answer.body);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }

    fn stream(&self, connection: &mut Connection) {
        let (sender, events) = mpsc::channel();
        let head =
            "HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: hello\n\n";
        if connection.write_all(head.as_bytes()).is_err() || connection.flush().is_err() {
            return;
        }
        self.state.lock().unwrap().subscribers.push(sender);
        self.changed.notify_all();
        loop {
            let text = match events.recv_timeout(TICK) {
                Ok(event) => format!("data: {event}\n\n"),
                Err(RecvTimeoutError::Timeout) if !self.down.load(Ordering::SeqCst) => continue,
                Err(_) => return,
            };
            if connection.write_all(text.as_bytes()).is_err() || connection.flush().is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state.lock().unwrap();
        let query = match request.query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        state
            .requests
            .push(format!("{} {}{query}", request.method, request.path));
        let text = String::from_utf8_lossy(&request.body).into_owned();
        if !text.is_empty() && request.path != "/api/v1/bundles" {
            state.bodies.push((request.path.clone(), text));
        }
        self.changed.notify_all();
        let path: Vec<&str> = request.path.trim_start_matches("/api/v1/").split('/').collect();
        let instead = state.answers.iter().find(|(wanted, ..)| request.is(wanted));
        if let Some((_, status, body)) = instead {
            return Answer {
                status: *status,
                body: body.clone().into_bytes(),
            };
        }
        if authorised(request)
            && let Some(answer) = access::answer(&mut state, request, &path)
        {
            return answer;
        }
        let admin = User {
            name: "admin".to_owned(),
            grants: Vec::new(),
            permissions: Vec::new(),
        };
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["health"]) if state.full => Answer {
                status: 503,
                ..ok(&json!({ "status": "disk-full", "version": "9.9" }))
            },
            ("GET", ["health"]) => ok(&json!({ "status": "ok", "version": "9.9" })),
            ("POST", ["session"]) => {
                let login: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                if login["password"] == PASSWORD {
                    ok(&json!({ "token": TOKEN, "user": admin, "expires_ms": 4_000_000_000_000_i64 }))
                } else {
                    problem(401, "wrong-credentials", "User or password is wrong.")
                }
            }
            _ if !authorised(request) => problem(401, "not-logged-in", "There is no such session."),
            ("GET", ["session"]) => ok(&admin),
            ("DELETE", _) | ("PUT", ["groups", ..]) => NO_CONTENT,
            ("GET", ["devices"]) => match request.parameter("find") {
                Some(text) => page(request, &find(&state.devices, text)),
                None => page(request, &state.devices),
            },
            ("GET", ["bundles"]) => page(request, &state.bundles),
            ("GET", ["bundles", id]) => match state.bundles.iter().find(|bundle| bundle.id == *id) {
                Some(bundle) => ok(bundle),
                None => problem(404, "not-found", "There is no such bundle."),
            },
            ("POST", ["bundles"]) => {
                let id = format!("{:x}", Sha256::digest(&request.body));
                if request.parameter("sha256") != Some(&id) {
                    return problem(400, "corrupt", "The upload is damaged.");
                }
                let bundle = Bundle {
                    project: request.parameter("project").map(decode),
                    ..bundle(&id, "1.4.0", request.body.len() as u64)
                };
                state.uploads.push(request.body.clone());
                state.bundles.push(bundle.clone());
                ok(&bundle)
            }
            ("POST", ["deployments"]) | ("GET", ["deployments", "7"]) => match &state.deployment {
                Some(devices) => ok(&deployment(devices)),
                None => problem(404, "not-found", "There is no such deployment."),
            },
            ("GET", ["deployments", "7", "devices"]) => {
                let devices = state.deployment.iter().flatten();
                let devices: Vec<_> = devices.map(|device| device.progress.clone()).collect();
                page(request, &devices)
            }
            ("GET", ["devices", id, "updates", "1"]) => {
                let mut devices = state.deployment.iter().flatten();
                match devices.find(|device| device.progress.device == *id) {
                    Some(device) => ok(&UpdateHistory {
                        update: device.progress.update.clone(),
                        history: device.history.clone(),
                    }),
                    None => problem(404, "not-found", "There is no such update."),
                }
            }
            ("GET", ["events"]) => ok(&()),
            _ => problem(404, "not-found", "There is no such thing."),
        }
    }
}

/// A bundle as the API shows it.
pub(crate) fn bundle(id: &str, version: &str, size: u64) -> Bundle {
    Bundle {
        id: id.to_owned(),
        project: None,
        size,
        created_ms: 0,
        created_by: "admin".to_owned(),
        compatible: "board".to_owned(),
        version: version.to_owned(),
        description: String::new(),
        build: String::new(),
        format: "verity".to_owned(),
        manifest_hash: String::new(),
        images: Vec::new(),
    }
}

/// Deployment 7 as the API shows it, from its devices.
fn deployment(devices: &[Progressed]) -> Deployment {
    let mut states = BTreeMap::new();
    for device in devices {
        let state = device.progress.update.state.as_str().to_owned();
        *states.entry(state).or_insert(0) += 1;
    }
    Deployment {
        id: 7,
        bundle: "b".repeat(64),
        version: "1.4.0".to_owned(),
        target: Target::Group("canary".to_owned()),
        project: None,
        device_name: None,
        created_ms: 0,
        created_by: "admin".to_owned(),
        finished: devices
            .iter()
            .all(|device| device.progress.update.state.is_final()),
        states,
        updated_ms: 0,
    }
}

/// Those that the server means with `text`.
fn find(devices: &[Device], text: &str) -> Vec<Device> {
    let ways: [&dyn Fn(&Device) -> bool; 3] = [
        &|device| device.id == text,
        &|device| device.name == text,
        &|device| device.id.starts_with(text),
    ];
    let found = ways
        .into_iter()
        .map(|way| devices.iter().filter(|device| way(device)));
    let found = found.map(|found| found.cloned().collect::<Vec<_>>());
    found
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// An element or a value as it was before it was encoded, as far as the tests go.
fn decode(text: &str) -> String {
    text.replace("%2F", "/").replace("%40", "@")
}

/// What is asked for of a list, at most two items at a time. Its cursor is the number of items before.
fn page<T: Serialize + Clone>(request: &Request, all: &[T]) -> Answer {
    let number = |name| request.parameter(name).map(|text| text.parse::<usize>().unwrap());
    let first = number("after").unwrap_or(0);
    let last = all.len().min(first + number("limit").unwrap_or(50).min(PAGE));
    ok(&Page {
        items: all[first..last].to_vec(),
        next: (last < all.len()).then(|| last.to_string()),
    })
}

fn read_request(connection: &mut BufReader<Connection>) -> Option<Request> {
    let mut first = String::new();
    connection.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    if headers.get("expect").is_some_and(|value| value == "100-continue") {
        let stream = connection.get_mut();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        stream.flush().ok()?;
    }
    if headers.contains_key("transfer-encoding") {
        // Only what is empty comes in chunks. Left unread, it would make the system reset the connection, with the answer in it.
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            connection
                .read_line(&mut line)
                .ok()
                .filter(|length| *length > 0)?;
        }
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    Some(Request {
        path: path.to_owned(),
        query: query.to_owned(),
        method,
        headers,
        body,
    })
}

fn authorised(request: &Request) -> bool {
    request
        .headers
        .get("authorization")
        .is_some_and(|value| *value == format!("Bearer {TOKEN}"))
}

fn ok(value: &impl Serialize) -> Answer {
    Answer {
        status: 200,
        body: serde_json::to_vec(value).unwrap(),
    }
}

fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let problem = Problem {
        kind: kind.to_owned(),
        title: kind.to_owned(),
        status,
        detail: detail.to_owned(),
    };
    Answer {
        status,
        body: serde_json::to_vec(&problem).unwrap(),
    }
}
