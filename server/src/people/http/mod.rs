//! Logging in and out.

pub(crate) mod tokens;
pub(crate) mod users;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use homeport_api::{Login, PasswordChange, Problem, Session, User};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::LoginError;
use crate::{
    fleet::Fleet,
    http::{
        COOKIE, Refusal,
        guard::{self, Caller},
    },
    https::Peer,
    now_ms,
};

/// Log in
#[utoipa::path(
    post, path = "/api/v1/session", tag = "session", security(()), request_body = Login,
    responses(
        (status = 200, body = Session),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn log_in(
    State(fleet): State<Fleet>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Response, Refusal> {
    guard::check_origin(&method, &uri, &headers)?;
    let session = fleet
        .log_in(peer.address.ip(), login.user, login.password)
        .await?;
    let seconds = (session.expires_ms - now_ms()) / 1000;
    let cookie = set_cookie(&session.token, seconds);
    Ok(([(header::SET_COOKIE, cookie)], Json(session)).into_response())
}

/// The user who is logged in
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = User)))]
pub(crate) async fn who(State(fleet): State<Fleet>, Caller(actor): Caller) -> Result<Json<User>, Refusal> {
    Ok(Json(fleet.who(&actor).await?))
}

/// Log out
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204)))]
pub(crate) async fn log_out(State(fleet): State<Fleet>, Caller(actor): Caller) -> Result<Response, Refusal> {
    fleet.log_out(&actor).await?;
    let headers = [(header::SET_COOKIE, set_cookie("", 0))];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Change one's own password
#[utoipa::path(
    put, path = "/api/v1/session/password", tag = "session", request_body = PasswordChange,
    responses(
        (status = 204),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change_password(
    State(fleet): State<Fleet>,
    Extension(peer): Extension<Peer>,
    Caller(actor): Caller,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode, Refusal> {
    fleet
        .change_password(peer.address.ip(), &actor, change.current, change.new)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn set_cookie(token: &str, seconds: i64) -> HeaderValue {
    let cookie = format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    // A token is base64url.
    let mut cookie = HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""));
    cookie.set_sensitive(true);
    cookie
}

// === impl Refusal ===

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::new(StatusCode::UNAUTHORIZED, "wrong-credentials", error),
            LoginError::Throttled(wait) => Self::new(StatusCode::TOO_MANY_REQUESTS, "throttled", error)
                .retry_after(wait.as_secs().max(1)),
            LoginError::Fleet(error) => error.into(),
        }
    }
}
