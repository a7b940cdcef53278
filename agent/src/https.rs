//! One HTTPS request to the server, with a limit on everything.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::clock;

/// Longest answer that is read, in bytes. A certificate chain is a few thousand.
const MAX_ANSWER: usize = 64 * 1024;

/// Time for a whole request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Port of `https://` (RFC 9110 section 4.2.2).
pub(crate) const HTTPS_PORT: u16 = 443;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpsError {
    #[error("'{0}' is not a host name with an optional port")]
    Authority(String),
    #[error("cannot connect to {authority}: {source}")]
    Connect { authority: String, source: io::Error },
    #[error(
        "cannot connect to {authority}: {source}. This device's clock says {now}: if that is far off, set the clock first"
    )]
    Clock {
        authority: String,
        source: io::Error,
        now: String,
    },
    #[error("{0} did not answer in time")]
    Timeout(String),
    #[error("{authority} broke off: {source}")]
    Http { authority: String, source: hyper::Error },
    #[error("the answer of {0} is longer than {MAX_ANSWER} bytes, or broke off")]
    Answer(String),
}

/// Sends `request` (its URI is the path) to `authority`, `<host>[:port]`.
pub(crate) async fn request(
    tls: Arc<ClientConfig>,
    authority: &str,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, HttpsError> {
    match timeout(REQUEST_TIMEOUT, exchange(tls, authority, request)).await {
        Ok(result) => result,
        Err(_) => Err(HttpsError::Timeout(authority.to_owned())),
    }
}

/// A TLS connection to `<host>[:port]`.
pub(crate) async fn connect(
    tls: Arc<ClientConfig>,
    authority: &str,
    default_port: u16,
) -> Result<TlsStream<TcpStream>, HttpsError> {
    let invalid = || HttpsError::Authority(authority.to_owned());
    let (host, port) = split(authority, default_port).ok_or_else(invalid)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| invalid())?;
    let handshake = async {
        // An address is used as it is; only a name goes through the resolver, and so through a helper thread.
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(tls).connect(name, stream).await
    };
    handshake.await.map_err(|source| {
        let authority = authority.to_owned();
        if is_about_time(&source) {
            let now = clock::now_utc();
            return HttpsError::Clock {
                authority,
                source,
                now,
            };
        }
        HttpsError::Connect { authority, source }
    })
}

/// Whether a handshake failed because a certificate is not valid yet, or no more.
fn is_about_time(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        inner,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        ))
    )
}

async fn exchange(
    tls: Arc<ClientConfig>,
    authority: &str,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, HttpsError> {
    let stream = connect(tls, authority, HTTPS_PORT).await?;
    let broken = |source| HttpsError::Http {
        authority: authority.to_owned(),
        source,
    };
    let host =
        header::HeaderValue::from_str(authority).map_err(|_| HttpsError::Authority(authority.to_owned()))?;
    request.headers_mut().insert(header::HOST, host);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends with `sender`; what its end means for the answer, the answer itself says.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, MAX_ANSWER)
        .collect()
        .await
        .map_err(|_| HttpsError::Answer(authority.to_owned()))?
        .to_bytes();
    Ok(Response::from_parts(head, body))
}

/// Splits `<host>[:port]`, where the host may be an IPv6 address in brackets.
pub(crate) fn split(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let port = match port? {
        "" => default_port,
        port => port.parse().ok()?,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn authorities_split() {
        assert_eq!(split("a.example", 443), Some(("a.example", 443)));
        assert_eq!(split("a.example:8443", 443), Some(("a.example", 8443)));
        assert_eq!(split("[::1]:8443", 443), Some(("::1", 8443)));
        assert_eq!(split("[::1]", 443), Some(("::1", 443)));
        for bad in ["", ":1", "a:b", "a:1:2", "[::1", "[::1]x", "a:70000"] {
            assert_eq!(split(bad, 443), None, "{bad}");
        }
    }
}
