//! Access tokens.

use axum::{
    Json,
    extract::{Path, State},
};
use homeport_api::{AccessToken, CreatedAccessToken, NewAccessToken, Page, Problem};
use http::StatusCode;

use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

/// A user's access tokens, newest first
///
/// Everybody sees one's own. Those of others need `user.read`.
#[utoipa::path(
    get, path = "/api/v1/users/{name}/tokens", tag = "users", params(("name" = String, Path), PageParameters),
    responses((status = 200, body = Page<AccessToken>), (status = 404, body = Problem, content_type = "application/problem+json")),
    operation_id = "list_tokens"
)]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<AccessToken>>, Refusal> {
    Ok(Json(fleet.access_tokens(&actor, name, paging).await?))
}

/// Make an access token
///
/// Everybody makes one's own. Those of a service need `user.change`.
#[utoipa::path(
    post, path = "/api/v1/users/{name}/tokens", tag = "users", params(("name" = String, Path)), request_body = NewAccessToken,
    responses(
        (status = 201, body = CreatedAccessToken),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    ),
    operation_id = "create_token"
)]
pub(crate) async fn create(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    Json(new): Json<NewAccessToken>,
) -> Result<(StatusCode, Json<CreatedAccessToken>), Refusal> {
    let token = fleet.create_access_token(&actor, name, new).await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Revoke an access token
///
/// Everybody revokes one's own. Those of others need `user.change`.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}/tokens/{id}", tag = "users", params(("name" = String, Path), ("id" = u64, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json")),
    operation_id = "revoke_token"
)]
pub(crate) async fn revoke(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path((name, id)): Path<(String, u32)>,
) -> Result<StatusCode, Refusal> {
    fleet.revoke_access_token(&actor, name, id.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
