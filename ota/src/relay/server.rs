//! The relay's HTTP/1.1 side.

use std::{convert::Infallible, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use homeport_protocol::Reason;
use http::{Method, Request, Response, StatusCode, header, response};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use super::{Shared, cache::BLOCK, range::Wanted};

/// Last element of the path. Ends as RAUC wants it.
pub(super) const FILE_NAME: &str = "bundle.raucb";

/// RAUC's streaming helper opens one connection for each read that the kernel has outstanding.
const MAX_CONNECTIONS: usize = 64;
/// A client that sends no whole request for so long is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest request that a client may send: path, ranges, and what RAUC tells about the system.
const MAX_HEADER: usize = 16 * 1024;
/// After an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = Response<UnsyncBoxBody<Bytes, Refused>>;

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.detail)]
struct Refused(Reason);

/// Serves until it is aborted, and its connections with it.
pub(super) async fn serve(listener: TcpListener, secret: String, shared: Arc<Shared>) {
    let path: Arc<str> = format!("/{secret}/{FILE_NAME}").into();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(place) = places.clone().acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the bundle relay cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (path, shared) = (path.clone(), shared.clone());
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let (path, shared) = (path.clone(), shared.clone());
                async move { Ok::<_, Infallible>(answer(&request, &path, shared).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEADER)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to the bundle relay ended");
            }
        });
    }
}

async fn answer(request: &Request<Incoming>, path: &str, shared: Arc<Shared>) -> Answer {
    if request.uri().path() != path {
        return empty(Response::builder().status(StatusCode::NOT_FOUND));
    }
    let size = shared.bundle.size;
    let base = Response::builder()
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, "application/octet-stream");
    // 404 is the one answer after which RAUC does not try again, and nothing will get better here.
    if shared.fatal.borrow().is_some() {
        return empty(base.status(StatusCode::NOT_FOUND));
    }
    if request.method() == Method::HEAD {
        return empty(base.header(header::CONTENT_LENGTH, size));
    }
    if request.method() != Method::GET {
        return empty(base.status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let ranges = request
        .headers()
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let (base, range) = match Wanted::parse(ranges, size) {
        Wanted::Everything => (base, 0..size),
        Wanted::Part(range) => {
            let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            (
                base.status(StatusCode::PARTIAL_CONTENT)
                    .header(header::CONTENT_RANGE, content_range),
                range,
            )
        }
        Wanted::Unsatisfiable => {
            let base = base.status(StatusCode::RANGE_NOT_SATISFIABLE);
            return empty(base.header(header::CONTENT_RANGE, format!("bytes */{size}")));
        }
    };
    tracing::trace!(start = range.start, end = range.end, "the backend reads");
    let base = base.header(header::CONTENT_LENGTH, range.end - range.start);
    // The status is sent only when it is true: with the first bytes at hand.
    match piece(&shared, &range).await {
        Ok(first) => finish(base, body(shared, range, first)),
        Err(_) => empty(Response::builder().status(StatusCode::NOT_FOUND)),
    }
}

fn body(shared: Arc<Shared>, range: Range<u64>, first: Bytes) -> UnsyncBoxBody<Bytes, Refused> {
    let pieces = stream::try_unfold(
        (shared, range, Some(first)),
        |(shared, mut range, first)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = match first {
                Some(piece) => piece,
                None => piece(&shared, &range).await.map_err(Refused)?,
            };
            range.start += piece.len() as u64;
            Ok(Some((Frame::data(piece), (shared, range, None))))
        },
    );
    StreamBody::new(pieces).boxed_unsync()
}

/// What the first block of `range` has of it.
async fn piece(shared: &Arc<Shared>, range: &Range<u64>) -> Result<Bytes, Reason> {
    let block = range.start / BLOCK;
    let content = Bytes::from(shared.block(block, (range.end - 1) / BLOCK).await?);
    let start = usize::try_from(range.start - block * BLOCK)
        .unwrap_or(usize::MAX)
        .min(content.len());
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    Ok(content.slice(start..content.len().min(start.saturating_add(length))))
}

fn empty(builder: response::Builder) -> Answer {
    finish(
        builder,
        Empty::new().map_err(|never| match never {}).boxed_unsync(),
    )
}

fn finish(builder: response::Builder, body: UnsyncBoxBody<Bytes, Refused>) -> Answer {
    // Fails only for invalid header values, and all of ours are numbers and constants.
    builder.body(body).unwrap_or_default()
}
