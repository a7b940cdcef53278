//! A server with bundles for the tests: real HTTPS with client certificates, and faults on demand.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use homeport_protocol::BundleOffer;
use homeport_testkit::{
    Authority,
    tls::{self, Clients},
};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::Upstream;

/// The piece size of the server's answers.
const PIECE: usize = 8 * 1024;

/// What the server does wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Every answer breaks off after so many bytes.
    pub(crate) cut_after: Option<usize>,
    /// Answers with this status.
    pub(crate) status: Option<StatusCode>,
    /// Answers with 502 once it has sent so many bytes in all.
    pub(crate) down_after: Option<u64>,
    /// Sends another ETag.
    pub(crate) etag: Option<String>,
    /// Claims another size.
    pub(crate) size: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) bundle: Arc<Vec<u8>>,
    pub(crate) offer: BundleOffer,
    pub(crate) upstream: watch::Sender<Option<Upstream>>,
    pub(crate) seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) faults: Mutex<Faults>,
    pub(crate) requests: AtomicUsize,
    /// Of these, those that were answered with an error.
    pub(crate) refused: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    pub(crate) bytes: AtomicU64,
}

// === impl Server ===

impl Server {
    pub(crate) async fn start(size: usize) -> Self {
        let bundle: Arc<Vec<u8>> = Arc::new((0..size).map(byte_at).collect());
        let (tls, client) = identities();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let authority = format!("localhost:{}", listener.local_addr().unwrap().port());
        let offer = BundleOffer {
            id: "ab".repeat(32),
            size: size as u64,
            path: "/device/v1/bundles/test".to_owned(),
            version: "2.0.0".to_owned(),
            compatible: "board".to_owned(),
            manifest_hash: None,
        };
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(serve(listener, tls, bundle.clone(), offer.clone(), seen.clone()));
        let upstream = watch::Sender::new(Some(Upstream {
            authority,
            tls: client,
        }));
        Self {
            bundle,
            offer,
            upstream,
            seen,
            task,
        }
    }

    pub(crate) fn set(&self, faults: Faults) {
        *self.seen.faults.lock().unwrap() = faults;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Something that differs everywhere.
fn byte_at(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]
}

fn identities() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let authority = Authority::new("fleet");
    let ca = authority.der();
    let server = tls::server(&ca, &authority.server("localhost"), Clients::Certified);
    let client = tls::client(&ca, Some(&authority.device("device")), rustls::DEFAULT_VERSIONS);
    (Arc::new(server), Arc::new(client))
}

async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    bundle: Arc<Vec<u8>>,
    offer: BundleOffer,
    seen: Arc<Seen>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, bundle, offer, seen) = (tls.clone(), bundle.clone(), offer.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else {
                return;
            };
            let service = service_fn(|request| {
                let answer = answer(&request, &bundle, &offer, &seen);
                async move { Ok::<_, Infallible>(answer) }
            });
            let _: Result<(), _> = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    bundle: &Arc<Vec<u8>>,
    offer: &BundleOffer,
    seen: &Arc<Seen>,
) -> Response<UnsyncBoxBody<Bytes, std::io::Error>> {
    seen.requests.fetch_add(1, Ordering::Relaxed);
    let faults = seen.faults.lock().unwrap().clone();
    assert_eq!(request.uri().path(), offer.path);
    let down = faults
        .down_after
        .is_some_and(|limit| seen.bytes.load(Ordering::Relaxed) >= limit);
    if let Some(status) = faults.status.or(down.then_some(StatusCode::BAD_GATEWAY)) {
        seen.refused.fetch_add(1, Ordering::Relaxed);
        let body = Full::default().map_err(|never| match never {}).boxed_unsync();
        return Response::builder().status(status).body(body).unwrap();
    }
    let range = request.headers()[header::RANGE]
        .to_str()
        .unwrap()
        .strip_prefix("bytes=")
        .unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let part = Bytes::copy_from_slice(&bundle[first..=last]);
    let cut = faults.cut_after.unwrap_or(usize::MAX);
    let counter = seen.clone();
    let pieces = stream::unfold((part.clone(), 0), move |(mut rest, sent)| {
        let counter = counter.clone();
        async move {
            if rest.is_empty() {
                return None;
            }
            if sent >= cut {
                let error = std::io::Error::other("cut");
                return Some((Err(error), (Bytes::new(), sent)));
            }
            let piece = rest.split_to(PIECE.min(rest.len()).min(cut - sent));
            counter.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let sent = sent + piece.len();
            Some((Ok(Frame::data(piece)), (rest, sent)))
        }
    });
    let etag = faults.etag.unwrap_or_else(|| format!("\"{}\"", offer.id));
    let size = faults.size.unwrap_or(offer.size);
    Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header(header::CONTENT_LENGTH, part.len())
        .header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}"))
        .header(header::ETAG, etag)
        .body(StreamBody::new(pieces).boxed_unsync())
        .unwrap()
}

/// Reads `range` (a header value) from `url` as a backend does.
pub(crate) async fn get(url: &str, range: Option<&str>) -> Result<(StatusCode, Bytes), String> {
    let rest = url.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let stream = tokio::net::TcpStream::connect(authority)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let mut request = Request::get(path).header(header::HOST, authority);
    if let Some(range) = range {
        request = request.header(header::RANGE, range);
    }
    let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(),
        "{what} did not happen"
    );
}
