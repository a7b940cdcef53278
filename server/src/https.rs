//! HTTPS connections, and who is at their other end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    ca::fingerprint,
    mqtt::Fingerprint,
    tls::{ACCEPT_RETRY, HANDSHAKE_TIMEOUT},
};

/// Most connections at a time. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;

/// Longest time that a client of HTTP/1 may take to send a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// How often an HTTP/2 client is asked whether it is still there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// How long it may take to answer.
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
    /// SHA-256 of the client certificate, if it showed one: of our authority, and active when the connection began.
    pub certificate: Option<Fingerprint>,
}

/// Serves `router` until `shutdown`, then lets requests that are under way finish.
///
/// Every request carries a [`Peer`] extension.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let open = GracefulShutdown::new();
    let http = Arc::new(http_builder());
    loop {
        let next = async {
            // Never closed, so the error cannot happen; then nothing more is accepted.
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(next) = next => next,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept HTTPS connections");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (acceptor, router, http) = (acceptor.clone(), router.clone(), Arc::clone(&http));
        let (shutdown, watcher) = (shutdown.clone(), open.watcher());
        tokio::spawn(async move {
            tokio::select! {
                // Only the handshake is broken off: requests under way are finished.
                () = shutdown.cancelled() => {}
                connected = connect(&acceptor, tcp, address) => {
                    if let Some((stream, peer)) = connected {
                        let service = service(router, peer);
                        let connection = http.serve_connection_with_upgrades(stream, service).into_owned();
                        if let Err(error) = watcher.watch(connection).await {
                            tracing::debug!(%address, %error, "HTTPS connection broke");
                        }
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, open.shutdown()).await.is_err() {
        tracing::warn!("gave up waiting for HTTPS requests to finish");
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

async fn connect(
    acceptor: &TlsAcceptor,
    tcp: TcpStream,
    address: SocketAddr,
) -> Option<(TokioIo<TlsStream>, Peer)> {
    let _ = tcp.set_nodelay(true);
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
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

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
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
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request.map(Body::new))
    })
}
