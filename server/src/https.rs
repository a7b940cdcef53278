//! HTTPS connections, and the clients at their other end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    ca::{Fingerprint, fingerprint},
    limits::{
        Limits,
        bodies::Progress,
        give_up_after,
        places::{Owner, Place, Places, Stage},
    },
    sha256,
    tls::ACCEPT_RETRY,
};

/// How often the server pings an HTTP/2 client.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// How long the client may take to answer the ping.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests in one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 64;

/// Largest request head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// How long requests that are under way at shutdown may take to finish.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The other end of a connection. An extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// SHA-256 of the client certificate, if the client showed one. Our authority signed it, and it was active when the connection began.
    pub certificate: Option<Fingerprint>,
}

/// The connection of a request, which learns to whom it belongs. An extension of every request.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Arc<Place>);

/// Serves `router` until `shutdown`, then lets requests that are under way finish.
///
/// Every request carries a [`Peer`] extension.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let places = Places::new(limits.clone());
    let open = GracefulShutdown::new();
    let port = Arc::new(Port {
        acceptor: TlsAcceptor::from(tls),
        router,
        http: http_builder(&limits),
        limits,
    });
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept HTTPS connections");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let place = Arc::new(places.enter(address.ip()));
        let (port, shutdown, watcher) = (Arc::clone(&port), shutdown.clone(), open.watcher());
        tokio::spawn(async move {
            let connected = tokio::select! {
                // A shutdown only breaks off handshakes: requests under way are finished.
                () = shutdown.cancelled() => None,
                () = place.evicted() => None,
                connected = port.connect(tcp, address, &place) => connected,
            };
            let Some((stream, peer)) = connected else {
                return;
            };
            place.reach(Stage::Secured);
            if let Some(certificate) = peer.certificate {
                place.belongs_to(Owner::Device(certificate));
            }
            let progress = Progress::new(port.limits.clone(), Arc::clone(&place));
            let service = service(
                port.router.clone(),
                peer,
                Arc::clone(&place),
                Arc::clone(&progress),
            );
            let connection = port
                .http
                .serve_connection_with_upgrades(stream, service)
                .into_owned();
            tokio::select! {
                served = watcher.watch(connection) => {
                    if let Err(error) = served {
                        tracing::debug!(%address, %error, "HTTPS connection broke");
                    }
                }
                () = place.evicted() => tracing::debug!(%address, "closed an HTTPS connection to make room"),
                phase = progress.late() => tracing::debug!(%address, phase, "closed an HTTPS connection"),
            }
        });
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, open.shutdown()).await.is_err() {
        tracing::warn!("gave up waiting for HTTPS requests to finish");
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

struct Port {
    acceptor: TlsAcceptor,
    router: Router,
    http: auto::Builder<TokioExecutor>,
    limits: Limits,
}

// === impl Connection ===

impl Connection {
    /// Notes that `user` is logged in at its other end.
    pub(crate) fn belongs_to(&self, user: &str) {
        self.0.belongs_to(Owner::Person(sha256(user.as_bytes())));
    }
}

// === impl Port ===

impl Port {
    async fn connect(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        place: &Place,
    ) -> Option<(TokioIo<TlsStream>, Peer)> {
        let _ = tcp.set_nodelay(true);
        give_up_after(&tcp, self.limits.stall);
        let handshake = async {
            tcp.readable().await?;
            place.reach(Stage::Handshake);
            self.acceptor.accept(tcp).await
        };
        let stream = match timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "HTTPS handshake failed");
                return None;
            }
            Err(_) => {
                tracing::debug!(%address, "HTTPS handshake took too long");
                return None;
            }
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate = certificates
            .and_then(|chain| chain.first())
            .map(|leaf| fingerprint(leaf));
        Some((TokioIo::new(stream), Peer { address, certificate }))
    }
}

fn http_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(MAX_HEAD);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    http
}

fn service(
    router: Router,
    peer: Peer,
    place: Arc<Place>,
    progress: Arc<Progress>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Connection(Arc::clone(&place)));
        let under_way = progress.begin();
        let one_at_a_time = request.version() < Version::HTTP_2;
        let request = request.map(|body| under_way.paced(body));
        let unread = request.body().unread();
        let answer = router.clone().call(request.map(Body::new));
        async move {
            let mut answer = answer.await?;
            // Hyper closes the connection then, and a client that does not know sends its next request into it.
            if one_at_a_time && unread.is_left() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(answer.map(|body| Body::new(under_way.answer(body))))
        }
    })
}
