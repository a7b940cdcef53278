//! Fetches ranges of a bundle from the server over one kept connection.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use homeport_protocol::{BundleOffer, FailureCode, Reason};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::TlsConnector;

use super::writer::BlockWriter;
use crate::Upstream;

/// For name resolution, TCP and TLS together. A slow key store may need seconds for the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Without a byte for so long, the connection is dead.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest pause that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

#[derive(Debug)]
pub(super) struct Fetcher {
    upstream: watch::Receiver<Option<Upstream>>,
    bundle: BundleOffer,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

/// Why nothing came.
#[derive(Debug)]
pub(super) enum FetchError {
    /// It may work later.
    Transient {
        detail: String,
        /// The server asked to be left alone for so long.
        pause: Option<Duration>,
    },
    /// It never will.
    Fatal(Reason),
}

// === impl Fetcher ===

impl Fetcher {
    pub(super) fn new(upstream: watch::Receiver<Option<Upstream>>, bundle: BundleOffer) -> Self {
        Self {
            upstream,
            bundle,
            connection: None,
        }
    }

    /// Fetches `range` of the bundle into `writer`.
    ///
    /// If this future is dropped half-way its connection is dropped too, for it is not clean any more.
    pub(super) async fn fetch(
        &mut self,
        range: Range<u64>,
        writer: &mut BlockWriter,
    ) -> Result<(), FetchError> {
        let mut connection = self.connected().await?;
        let request = self.request(&range)?;
        let response = timeout(STALL_TIMEOUT, connection.send_request(request))
            .await
            .map_err(|_| FetchError::transient("the server does not answer"))?
            .map_err(|error| FetchError::transient(format!("the request failed: {}", chain(&error))))?;
        self.check(&response, &range)?;
        let mut body = response.into_body();
        let mut left = range.end - range.start;
        while left > 0 {
            let frame = timeout(STALL_TIMEOUT, body.frame())
                .await
                .map_err(|_| FetchError::transient("the server stopped sending"))?
                .ok_or_else(|| FetchError::transient("the connection ended early"))?
                .map_err(|error| FetchError::transient(format!("the connection broke: {}", chain(&error))))?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| FetchError::transient("the server sent more than it was asked for"))?;
            writer.push(&piece).await.map_err(FetchError::Fatal)?;
        }
        // The end of the body is read as well, or the connection could not be used again.
        if matches!(timeout(STALL_TIMEOUT, body.frame()).await, Ok(None)) {
            self.connection = Some(connection);
        }
        Ok(())
    }

    /// The identity or address has changed: the next request uses the new one.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    async fn connected(&mut self) -> Result<SendRequest<Empty<Bytes>>, FetchError> {
        if self.upstream.has_changed().unwrap_or(false) {
            self.disconnect();
        }
        if let Some(mut connection) = self.connection.take() {
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let upstream = self.upstream.borrow_and_update().clone();
        let Some(upstream) = upstream else {
            return Err(FetchError::transient("the device is not paired with a server"));
        };
        timeout(CONNECT_TIMEOUT, connect(&upstream))
            .await
            .map_err(|_| FetchError::transient(format!("{} does not answer", upstream.authority)))?
            .map_err(|detail| {
                FetchError::transient(format!("cannot connect to {}: {detail}", upstream.authority))
            })
    }

    fn request(&self, range: &Range<u64>) -> Result<Request<Empty<Bytes>>, FetchError> {
        let host = self
            .upstream
            .borrow()
            .as_ref()
            .map(|upstream| upstream.authority.clone())
            .unwrap_or_default();
        Request::get(&self.bundle.path)
            .header(header::HOST, host)
            .header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            .header(header::IF_RANGE, self.etag())
            .header(
                header::USER_AGENT,
                concat!("homeport/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::new())
            .map_err(|error| {
                FetchError::Fatal(Reason::new(
                    FailureCode::BundleGone,
                    format!("the offered path {:?} is not one: {error}", self.bundle.path),
                ))
            })
    }

    fn etag(&self) -> String {
        format!("\"{}\"", self.bundle.id)
    }

    fn check(&self, response: &Response<Incoming>, range: &Range<u64>) -> Result<(), FetchError> {
        let fatal = |code, detail: String| Err(FetchError::Fatal(Reason::new(code, detail)));
        let headers = response.headers();
        let (size, status) = (self.bundle.size, response.status());
        let other = text(headers, &header::ETAG).filter(|etag| *etag != self.etag());
        if let Some(other) = other.filter(|_| status.is_success()) {
            let detail = format!("the server has another bundle ({other}) than the offered one");
            return fatal(FailureCode::Corrupt, detail);
        }
        match status {
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                None => Err(FetchError::transient(
                    "the server did not tell which range it sent",
                )),
                Some((_, total)) if total != size => fatal(
                    FailureCode::Truncated,
                    format!("the bundle has {total} bytes, offered were {size}"),
                ),
                Some((part, _)) if part != *range => Err(FetchError::transient(
                    "the server sent another range than the one asked for",
                )),
                Some(_) => Ok(()),
            },
            StatusCode::OK => fatal(
                FailureCode::Corrupt,
                "the server ignored the range: the bundle was replaced, or a proxy strips ranges".to_owned(),
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => fatal(
                FailureCode::BundleGone,
                format!("the server no longer has {}", self.bundle.path),
            ),
            StatusCode::RANGE_NOT_SATISFIABLE => fatal(
                FailureCode::Truncated,
                format!("the bundle is shorter than the {size} bytes offered"),
            ),
            status => Err(FetchError::Transient {
                detail: format!("the server answered {status}"),
                pause: retry_after(headers),
            }),
        }
    }
}

// === impl FetchError ===

impl FetchError {
    fn transient(detail: impl Into<String>) -> Self {
        Self::Transient {
            detail: detail.into(),
            pause: None,
        }
    }
}

async fn connect(upstream: &Upstream) -> Result<SendRequest<Empty<Bytes>>, String> {
    let host = host(&upstream.authority);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let tcp = TcpStream::connect(&upstream.authority)
        .await
        .map_err(|error| error.to_string())?;
    let tls = TlsConnector::from(upstream.tls.clone())
        .connect(name, tcp)
        .await
        .map_err(|error| error.to_string())?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .map_err(|error| error.to_string())?;
    // It ends by itself when the sender is dropped or the server closes.
    tokio::spawn(connection);
    Ok(sender)
}

/// The host of `host:port` or `[v6]:port`.
fn host(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// `bytes 0-3/100` as `(0..4, 100)`.
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let (part, total) = text(headers, &header::CONTENT_RANGE)?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (first, last) = part.split_once('-')?;
    Some((
        first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?,
        total.parse().ok()?,
    ))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = text(headers, &header::RETRY_AFTER)?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An error with its causes: hyper keeps what happened in the source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_host() {
        assert_eq!(host("example.com:8443"), "example.com");
        assert_eq!(host("10.0.2.2:8443"), "10.0.2.2");
        assert_eq!(host("[::1]:8443"), "::1");
    }

    #[test]
    fn reads_content_range() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, "bytes 10-19/100".parse().unwrap());
        assert_eq!(content_range(&headers), Some((10..20, 100)));
        headers.insert(header::CONTENT_RANGE, "bytes 10-19/*".parse().unwrap());
        assert_eq!(content_range(&headers), None);
    }
}
