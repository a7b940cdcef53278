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
    ca::{Authority, CaError, CertificateRequest, DeviceCertificate, Fingerprint, MAX_REQUEST, RequestError},
    https::Peer,
};

/// Largest body, in bytes: base64 turns three bytes into four, and adds line breaks.
const MAX_BODY: usize = 2 * MAX_REQUEST;

/// When a client should try again after the server could not store something.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Unproven facts about the sender of a certificate request: for people, never for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// Common name of the request: the device's host name.
    pub hostname: Option<String>,
    /// `serialNumber` of the request: the hardware's serial number.
    pub serial: Option<String>,
    /// Address that the request came from.
    pub peer: IpAddr,
}

/// Why a device gets no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No token has this secret.
    #[error("unknown")]
    Unknown,
    /// The token was redeemed before.
    #[error("used")]
    Used,
    /// The token's time is over, or it was revoked.
    #[error("expired")]
    Expired,
    /// The certificate of a client that asked for a renewal is revoked, expired or unknown.
    #[error("the certificate is not active")]
    NotActive,
    /// The device got too many certificates; it may ask again after this time.
    #[error("too many certificates")]
    Limited(Duration),
    /// The authority could not sign the certificate; nothing has changed.
    #[error("{0}")]
    Sign(String),
    /// The database could not be read or written; nothing has changed.
    #[error("{0}")]
    Unavailable(String),
}

/// Signs a certificate for a device.
pub trait Sign: Fn(&DeviceId) -> Result<DeviceCertificate, CaError> + Send + 'static {}

impl<F: Fn(&DeviceId) -> Result<DeviceCertificate, CaError> + Send + 'static> Sign for F {}

/// The requests of EST to the fleet. Each of `enrol` and `renew` is one transaction: it decides whether the device may have a certificate,
/// has it signed, and activates it. Both resolve after the commit.
pub trait Enrolment: Clone + Send + Sync + 'static {
    /// Uses up the token with this secret, and issues a certificate for the token's device. Only one of several concurrent calls with
    /// different keys returns `Ok`. All other certificates of the device are revoked.
    ///
    /// `key` is the SHA-256 of the device's public key. A device may ask again with the same key until it has connected: the answer may
    /// have been lost.
    fn enrol(
        &self,
        secret: &[u8],
        key: &[u8; 32],
        hints: &Hints,
        sign: impl Sign,
    ) -> impl Future<Output = Result<(DeviceId, DeviceCertificate), IssueError>> + Send;

    /// Gives the holder of `certificate` a new one. The old one stays active until the device first uses the new one, so that a lost answer
    /// does not lock the device out.
    fn renew(
        &self,
        certificate: &Fingerprint,
        sign: impl Sign,
    ) -> impl Future<Output = Result<(DeviceId, DeviceCertificate), IssueError>> + Send;

    /// The device that holds this certificate, if it is active; from memory.
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
    let Some(secret) = pairing_secret(&headers)? else {
        return Err(est.wrong_token(source, IssueError::Unknown));
    };
    // Checked before the token is used up: a bad request should not cost the token.
    let request = certificate_request(&body)?;
    let hints = Hints {
        hostname: request.hostname.clone(),
        serial: request.serial.clone(),
        peer: source,
    };
    let (key, sign) = (request.key_hash, est.signer(request));
    let issued = match est.enrolment.enrol(&secret, &key, &hints, sign).await {
        Ok(issued) => issued,
        Err(refusal) if refusal.is_a_bad_token() => return Err(est.wrong_token(source, refusal)),
        Err(refusal) => return Err(refusal.into()),
    };
    tracing::info!(%source, device = %issued.0, "paired");
    answer(&issued)
}

/// RFC 7030 section 4.2.2, over mutual TLS.
async fn renew<E: Enrolment>(
    State(est): State<Arc<Est<E>>>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Failure> {
    let certificate = peer.certificate.ok_or(Failure::NoCertificate)?;
    // This check spares the database; the transaction checks again.
    est.enrolment
        .identify(&certificate)
        .ok_or(Failure::NoCertificate)?;
    let sign = est.signer(certificate_request(&body)?);
    answer(&est.enrolment.renew(&certificate, sign).await?)
}

fn answer((device, certificate): &(DeviceId, DeviceCertificate)) -> Result<Response, Failure> {
    let body = message::certs_only(&certificate.der).map_err(|error| Failure::Internal(error.to_string()))?;
    tracing::info!(%device, serial = %certificate.serial, "signed a device certificate");
    Ok(pkcs7("application/pkcs7-mime; smime-type=certs-only", body))
}

/// The secret of HTTP Basic authentication (RFC 7617); `None` if it cannot be the secret of a token.
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

/// Reads `bytes` as the body of a request, and as what is inside one.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = certificate_request(bytes);
    let _ = CertificateRequest::parse(bytes);
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
    Token(IssueError),
    NoCertificate,
    Request(RequestError),
    Limited(Duration),
    TooMany(Duration),
    Unavailable(String),
    Internal(String),
}

// === impl Est ===

impl<E: Enrolment> Est<E> {
    fn signer(&self, request: CertificateRequest) -> impl Sign + use<E> {
        let authority = Arc::clone(&self.authority);
        move |device: &DeviceId| authority.issue_device(&request, device, OffsetDateTime::now_utc())
    }

    fn wrong_token(&self, source: IpAddr, refusal: IssueError) -> Failure {
        if let Some(wait) = self.limiter.failed(source) {
            return Failure::Limited(wait);
        }
        tracing::info!(%source, %refusal, "refused a pairing token");
        Failure::Token(refusal)
    }
}

// === impl IssueError ===

impl IssueError {
    fn is_a_bad_token(&self) -> bool {
        matches!(self, Self::Unknown | Self::Used | Self::Expired)
    }
}

// === impl Failure ===

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Unknown | IssueError::Used | IssueError::Expired => Self::Token(error),
            IssueError::NotActive => Self::NoCertificate,
            IssueError::Limited(wait) => Self::TooMany(wait),
            IssueError::Sign(error) => Self::Internal(error),
            IssueError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

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
            Self::TooMany(wait) => (
                StatusCode::TOO_MANY_REQUESTS,
                retry(wait),
                "this device was given too many certificates lately; use the newest one, or try again later\n",
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
