//! Errors as problem details (RFC 9457).

use std::{fmt::Display, time::Duration};

use axum::{
    Json,
    body::{Body, to_bytes},
    response::{IntoResponse, Response},
};
use homeport_api::Problem;
use http::{HeaderValue, StatusCode, header};

use crate::{error::FleetError, limits::STREAMS_BY_PERSON, store::StoreError};

const PROBLEM: &str = "application/problem+json";

/// Longest text of the framework's refusals that the server passes on, in bytes.
const MAX_DETAIL: usize = 4096;

/// Seconds after which a client should try again what the server cannot do for the moment.
const RETRY_AFTER: u64 = 5;

/// The refusal of a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    retry_after: Option<u64>,
}

/// The answer for a path that does not support the method.
pub(crate) async fn wrong_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this path does not support this method: see /api/v1/openapi.json",
    )
}

/// Turns refusals of the framework (bad JSON, a body that is too long, ...) into problems.
pub(crate) async fn as_problem(response: Response) -> Response {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_text = content_type.is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    // Answers without a body, e.g. to HEAD or to a range that cannot be satisfied, say everything in their headers.
    if !is_error || !is_text || response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_DETAIL).await.unwrap_or_default();
    let kind = match parts.status {
        StatusCode::PAYLOAD_TOO_LARGE => "too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "wrong-media-type",
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => "malformed",
        status if status.is_server_error() => "internal",
        _ => "refused",
    };
    Refusal::new(parts.status, kind, String::from_utf8_lossy(&text)).into_response()
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Display) -> Self {
        Self {
            status,
            kind,
            detail: detail.to_string(),
            retry_after: None,
        }
    }

    pub(crate) fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "there is nothing at this path",
        )
    }

    /// A failure whose details are for the log.
    fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed to do this; its log says why",
        )
    }

    /// Somebody has as many streams open as one may have. One may be free after `wait`.
    pub(crate) fn too_many_streams(wait: Duration) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            format_args!(
                "you have {STREAMS_BY_PERSON} streams open already: close a tab or a program that follows events or output"
            ),
        )
        .retry_after(wait.as_secs())
    }

    pub(crate) fn malformed(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let mut title = self.kind.replace('-', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let problem = Problem {
            kind: self.kind.to_owned(),
            title,
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<FleetError> for Refusal {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not-found", error),
            FleetError::Conflict { kind, detail } => Self::new(StatusCode::CONFLICT, kind, detail),
            FleetError::NotLoggedIn => Self::new(StatusCode::UNAUTHORIZED, "not-logged-in", error),
            FleetError::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "forbidden", error),
            FleetError::TooOften(wait) | FleetError::TooManyCommands(wait) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", error)
                    .retry_after(wait.as_secs().max(1))
            }
            FleetError::Invalid(detail) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            FleetError::File(error) => {
                tracing::error!(%error, "request failed");
                Self::internal()
            }
            FleetError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "request failed");
        match error {
            StoreError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", error),
            StoreError::TooSlow => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", error).retry_after(RETRY_AFTER)
            }
            StoreError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", error).retry_after(RETRY_AFTER)
            }
            StoreError::Away(_) | StoreError::Busy => {
                let detail = "the database does not answer, or is too busy: try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "database", detail).retry_after(RETRY_AFTER)
            }
            // Details are for the log.
            _ => Self::internal(),
        }
    }
}
