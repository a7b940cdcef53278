//! Enrolment over Secure Transport (RFC 7030): how a device gets its certificate.

mod limiter;
mod message;

use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use homeport_protocol::{DeviceId, PairingToken};
use http::{HeaderMap, StatusCode, header};
use time::OffsetDateTime;

use self::limiter::Limiter;
use crate::{
    ca::{Authority, CertificateRequest, MAX_REQUEST, RequestError},
    https::Peer,
    mqtt::Fingerprint,
};

/// Largest body, in bytes: base64 makes four of three, and there are line breaks.
const MAX_BODY: usize = 2 * MAX_REQUEST;

/// When a client should try again after the server could not store something.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// What a certificate request says about its sender. Unproven: for people, never for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// Common name of the request: the device's host name.
    pub hostname: Option<String>,
    /// `serialNumber` of the request: the hardware's serial number.
    pub serial: Option<String>,
    /// Where the request came from.
    pub peer: IpAddr,
}

/// A certificate that was signed and not handed out yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// SHA-256 of its DER form.
    pub certificate: Fingerprint,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// End of its life, milliseconds since 1970-01-01T00:00:00Z.
    pub expires_ms: i64,
}

/// Why a token buys nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// No token has this secret.
    #[error("unknown")]
    Unknown,
    /// It was redeemed before.
    #[error("used")]
    Used,
    /// Its time is over, or it was revoked.
    #[error("expired")]
    Expired,
    /// It could not be checked; the token is as good as before.
    #[error("{0}")]
    Unavailable(String),
}

/// The fleet could not record a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot record the certificate: {0}")]
pub struct RecordError(pub String);

/// What enrolment asks of the fleet.
pub trait Enrolment: Clone + Send + Sync + 'static {
    /// Uses up the token with this secret and names the device that it is for. Resolves after one transaction that did both is
    /// committed: of any number of concurrent calls with different keys, one is `Ok`. Called before anything is signed.
    ///
    /// `key` is the SHA-256 of the public key whose owner asks. The same key may ask again until its device has connected: the
    /// answer may have been lost on its way.
    fn redeem(
        &self,
        secret: &[u8],
        key: &[u8; 32],
        hints: &Hints,
    ) -> impl Future<Output = Result<DeviceId, RedeemError>> + Send;

    /// Makes a certificate active. Resolves after the commit; called before the device sees the certificate.
    ///
    /// `replaces` is the certificate that a renewal was asked with: it stays active until the new one is first used, so that a device
    /// which loses the answer is not locked out. Without it (first enrolment, pairing again) all others of the device are revoked.
    fn record(
        &self,
        device: &DeviceId,
        issued: &Issued,
        replaces: Option<&Fingerprint>,
    ) -> impl Future<Output = Result<(), RecordError>> + Send;

    /// Whose certificate this is. Active certificates only; from memory.
    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId>;
}

/// The routes of EST, `/.well-known/est/...`, for [`crate::https::serve`].
pub fn router<E: Enrolment>(authority: Arc<Authority>, enrolment: E) -> Router {
    let est = Arc::new(Est {
        authority,
        enrolment,
        limiter: Limiter::default(),
    });
    Router::new()
        .route("/.well-known/est/cacerts", get(ca_certificates::<E>))
        .route("/.well-known/est/simpleenroll", post(enrol::<E>))
        .route("/.well-known/est/simplereenroll", post(renew::<E>))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(est)
}

struct Est<E> {
    authority: Arc<Authority>,
    enrolment: E,
    limiter: Limiter,
}

/// RFC 7030 section 4.1.
async fn ca_certificates<E: Enrolment>(State(est): State<Arc<Est<E>>>) -> Result<Response, Failure> {
    let body = message::certs_only(est.authority.certificate())
        .map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(pkcs7("application/pkcs7-mime", body))
}

/// RFC 7030 section 4.2.1, with a pairing token's secret as password.
async fn enrol<E: Enrolment>(
    State(est): State<Arc<Est<E>>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let source = peer.address.ip();
    if let Some(wait) = est.limiter.wait(source) {
        return Err(Failure::Limited(wait));
    }
    let Some(secret) = pairing_secret(&headers)? else {
        est.limiter.failed(source);
        return Err(Failure::Token(RedeemError::Unknown));
    };
    // Before the token is used up: a request that cannot be granted should not cost it.
    let request = certificate_request(&body)?;
    let hints = Hints {
        hostname: request.hostname.clone(),
        serial: request.serial.clone(),
        peer: source,
    };
    let device = match est.enrolment.redeem(&secret, &request.key_hash, &hints).await {
        Ok(device) => device,
        Err(RedeemError::Unavailable(error)) => return Err(Failure::Unavailable(error)),
        Err(refusal) => {
            est.limiter.failed(source);
            tracing::info!(%source, %refusal, "refused a pairing token");
            return Err(Failure::Token(refusal));
        }
    };
    tracing::info!(%source, %device, "paired");
    est.issue(&request, &device, None).await
}

/// RFC 7030 section 4.2.2, over mutual TLS.
async fn renew<E: Enrolment>(
    State(est): State<Arc<Est<E>>>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Failure> {
    let certificate = peer.certificate.ok_or(Failure::NoCertificate)?;
    let device = est
        .enrolment
        .identify(&certificate)
        .ok_or(Failure::NoCertificate)?;
    let request = certificate_request(&body)?;
    est.issue(&request, &device, Some(&certificate)).await
}

/// The secret of HTTP Basic authentication (RFC 7617); `None` if what is there cannot be a token's.
fn pairing_secret(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Failure> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Failure::NoToken)?;
    let secret = || {
        let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let credentials = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
        let password = credentials
            .strip_prefix(PairingToken::EST_USER)?
            .strip_prefix(':')?;
        let secret = URL_SAFE_NO_PAD.decode(password).ok()?;
        (secret.len() == PairingToken::SECRET_LEN).then_some(secret)
    };
    Ok(secret())
}

fn certificate_request(body: &[u8]) -> Result<CertificateRequest, Failure> {
    let der = message::decode(body).ok_or(Failure::Request(RequestError::Malformed))?;
    CertificateRequest::parse(&der).map_err(Failure::Request)
}

fn pkcs7(content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (
            header::HeaderName::from_static("content-transfer-encoding"),
            "base64",
        ),
    ];
    (headers, body).into_response()
}

/// Why a request gets no certificate.
enum Failure {
    NoToken,
    Token(RedeemError),
    NoCertificate,
    Request(RequestError),
    Limited(Duration),
    Unavailable(String),
    Internal(String),
}

// === impl Est ===

impl<E: Enrolment> Est<E> {
    async fn issue(
        &self,
        request: &CertificateRequest,
        device: &DeviceId,
        replaces: Option<&Fingerprint>,
    ) -> Result<Response, Failure> {
        let certificate = self
            .authority
            .issue_device(request, device, OffsetDateTime::now_utc())
            .map_err(|error| Failure::Internal(error.to_string()))?;
        let body =
            message::certs_only(&certificate.der).map_err(|error| Failure::Internal(error.to_string()))?;
        let issued = Issued {
            certificate: certificate.fingerprint,
            serial: certificate.serial,
            expires_ms: certificate.expires_ms,
        };
        self.enrolment
            .record(device, &issued, replaces)
            .await
            .map_err(|error| Failure::Unavailable(error.to_string()))?;
        tracing::info!(%device, serial = %issued.serial, "signed a device certificate");
        Ok(pkcs7("application/pkcs7-mime; smime-type=certs-only", body))
    }
}

// === impl Failure ===

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let basic = [(
            header::WWW_AUTHENTICATE,
            "Basic realm=\"homeport pairing\"".to_owned(),
        )];
        let retry = |after: Duration| [(header::RETRY_AFTER, after.as_secs().max(1).to_string())];
        match self {
            Self::NoToken => {
                (StatusCode::UNAUTHORIZED, basic, "a pairing token is required\n").into_response()
            }
            Self::Token(refusal) => (StatusCode::UNAUTHORIZED, basic, format!("{refusal}\n")).into_response(),
            Self::NoCertificate => (
                StatusCode::UNAUTHORIZED,
                "renewal needs the device's current certificate in the TLS handshake\n",
            )
                .into_response(),
            Self::Request(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
            Self::Limited(wait) => (
                StatusCode::SERVICE_UNAVAILABLE,
                retry(wait),
                "too many failed attempts from this address\n",
            )
                .into_response(),
            Self::Unavailable(error) => {
                tracing::error!(%error, "cannot store an enrolment");
                let body = "the server cannot store the enrolment now\n";
                (StatusCode::SERVICE_UNAVAILABLE, retry(RETRY_AFTER), body).into_response()
            }
            Self::Internal(error) => {
                tracing::error!(%error, "cannot sign a certificate");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
