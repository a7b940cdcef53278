//! The MQTT port: from TCP to a session.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, time::Duration};

use homeport_protocol::limits::MAX_CONNECT_PACKET;
use mqtt_proto::{v3, v5};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Handler,
    close::Close,
    codec::{self, Connect, PacketError, Version},
    connection::Connection,
    registry::Registry,
    session::Session,
};
use crate::{
    ca::fingerprint,
    limits::{
        Limits, give_up_after,
        places::{Owner, Place, Places, Stage},
    },
    tls::ACCEPT_RETRY,
};

/// Time in which a refusal has to be sent.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the server looks for silent connections.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Time in which the handler has to note at shutdown that devices are gone.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves devices until `shutdown`, then says goodbye to them.
///
/// `tls` requires client certificates ([`crate::tls::mqtt_config`]).
pub async fn serve<H: Handler>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    handler: H,
    registry: Registry,
    limits: Limits,
    shutdown: CancellationToken,
) {
    // Places count only until CONNECT. After it there is no limit: each connection is a device of its own.
    let places = Places::new(limits.clone());
    let port = Arc::new(Port {
        acceptor: TlsAcceptor::from(tls),
        handler,
        registry: registry.clone(),
        limits,
        shutdown: shutdown.clone(),
        tasks: TaskTracker::new(),
    });
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = sweep.tick() => {
                registry.sweep(&port.limits);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let (handshake, place) = (Arc::clone(&port), places.enter(peer.ip()));
                port.tasks.spawn(async move {
                    tokio::select! {
                        () = handshake.welcome(tcp, peer, &place) => {}
                        () = place.evicted() => tracing::debug!(%peer, "closed an MQTT connection to make room"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept MQTT connections");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    registry.close_all();
    port.tasks.close();
    if timeout(DRAIN_TIMEOUT, port.tasks.wait()).await.is_err() {
        tracing::warn!("gave up waiting for devices' connections to end");
    }
}

struct Port<H> {
    acceptor: TlsAcceptor,
    handler: H,
    registry: Registry,
    limits: Limits,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

// === impl Port ===

impl<H: Handler> Port<H> {
    /// Brings a connection to CONNECT, then hands it to a task of its own: this task is larger than an idle connection should be.
    async fn welcome(&self, tcp: TcpStream, peer: SocketAddr, place: &Place) {
        let admitted = self
            .shutdown
            .run_until_cancelled(self.admit(tcp, peer, place))
            .await;
        let Some(Some(connection)) = admitted else {
            return;
        };
        if self.shutdown.is_cancelled() {
            connection.link().close(Close::ShuttingDown);
        }
        self.tasks.spawn(serve_connection(connection));
    }

    async fn admit(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        place: &Place,
    ) -> Option<Connection<TlsStream<TcpStream>, H>> {
        let _ = tcp.set_nodelay(true);
        give_up_after(&tcp, self.limits.stall);
        let handshake = async {
            tcp.readable().await?;
            place.reach(Stage::Handshake);
            self.acceptor.accept(tcp).await
        };
        let mut stream = match timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "MQTT handshake failed");
                return None;
            }
            Err(_) => {
                tracing::debug!(%peer, "MQTT handshake took too long");
                return None;
            }
        };
        let certificate = fingerprint(stream.get_ref().1.peer_certificates()?.first()?);
        let device = self.handler.identify(&certificate)?;
        place.reach(Stage::Secured);
        place.belongs_to(Owner::Device(certificate));
        let (connect, unread) = match timeout(self.limits.connect, read_connect(&mut stream)).await {
            Ok(Ok(connect)) => connect,
            Ok(Err(refusal)) => {
                tracing::debug!(%peer, %device, ?refusal, "refused CONNECT");
                refuse(&mut stream, &refusal).await;
                return None;
            }
            Err(_) => {
                tracing::debug!(%peer, %device, "CONNECT took too long");
                return None;
            }
        };
        if let Some(refusal) = Refusal::of(&connect, device.as_str()) {
            tracing::info!(%peer, %device, ?refusal, "refused CONNECT");
            refuse(&mut stream, &refusal).await;
            return None;
        }
        let session = Session::new(
            self.handler.clone(),
            self.registry.clone(),
            device,
            certificate,
            peer,
            connect,
            unread,
        );
        Some(Connection::new(stream, session))
    }
}

async fn serve_connection<S, H>(mut connection: Connection<S, H>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let close = poll_fn(|context| connection.poll(context)).await;
    let session = connection.into_session();
    tracing::debug!(device = %session.device(), %close, "connection ended");
    // Boxed, so that the idle task does not have the size of the handler's future.
    Box::pin(session.leave()).await;
}

/// Why CONNECT is refused.
#[derive(Debug)]
enum Refusal {
    Gone,
    Packet(PacketError),
    ClientId(Version),
    AuthMethod,
}

async fn read_connect<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Connect, Vec<u8>), Refusal> {
    let mut buffer = vec![0; MAX_CONNECT_PACKET];
    let mut filled = 0;
    loop {
        let bytes = &buffer[..filled];
        if let Some(frame) = codec::frame(bytes, MAX_CONNECT_PACKET).map_err(Refusal::Packet)? {
            if frame.len <= filled {
                let connect = codec::decode_connect(frame, bytes).map_err(Refusal::Packet)?;
                return Ok((connect, bytes[frame.len..].to_vec()));
            }
        }
        match stream.read(&mut buffer[filled..]).await {
            Ok(count) if count > 0 => filled += count,
            _ => return Err(Refusal::Gone),
        }
    }
}

async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, refusal: &Refusal) {
    use v3::ConnectReturnCode as Old;
    use v5::ConnectReasonCode as New;

    let old = |code| v3::Connack::new(false, code).into();
    let new = |code| v5::Connack::new(false, code).into();
    let mut answer = Vec::new();
    match refusal {
        // Before the server knows the version, it cannot encode an answer (MQTT 5 section 4.13.1 allows to close).
        Refusal::Gone
        | Refusal::Packet(
            PacketError::Malformed(_) | PacketError::TooLarge { .. } | PacketError::Protocol(_),
        ) => {}
        Refusal::Packet(PacketError::Version) => {
            codec::encode_v3(&old(Old::UnacceptableProtocolVersion), &mut answer);
        }
        Refusal::ClientId(Version::V3) => codec::encode_v3(&old(Old::IdentifierRejected), &mut answer),
        Refusal::ClientId(Version::V5) => codec::encode_v5(&new(New::ClientIdentifierNotValid), &mut answer),
        Refusal::AuthMethod => codec::encode_v5(&new(New::BadAuthMethod), &mut answer),
    }
    let send = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    };
    let _ = timeout(REFUSE_TIMEOUT, send).await;
}

// === impl Refusal ===

impl Refusal {
    /// The client id does not identify a device. But a client id that contradicts the certificate is a mistake that should show.
    fn of(connect: &Connect, device: &str) -> Option<Self> {
        if !connect.client_id.is_empty() && connect.client_id != device {
            Some(Self::ClientId(connect.version))
        } else if connect.wants_auth {
            Some(Self::AuthMethod)
        } else {
            None
        }
    }
}
