//! Pairing tokens.

use axum::{
    Json,
    extract::{Path, State},
};
use homeport_api::{CreatedPairingToken, NewPairingToken, Page, PairingTokenInfo, Problem};
use http::StatusCode;

use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

/// Tokens that were not revoked, newest first
#[utoipa::path(get, path = "/api/v1/pairing-tokens", tag = "pairing", params(PageParameters), responses((status = 200, body = Page<PairingTokenInfo>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<PairingTokenInfo>>, Refusal> {
    Ok(Json(fleet.tokens(&actor, paging).await?))
}

/// Make a one-time token
#[utoipa::path(
    post, path = "/api/v1/pairing-tokens", tag = "pairing", request_body = NewPairingToken,
    responses(
        (status = 201, body = CreatedPairingToken),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Json(new): Json<NewPairingToken>,
) -> Result<(StatusCode, Json<CreatedPairingToken>), Refusal> {
    let token = fleet.create_token(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Revoke a token
#[utoipa::path(
    delete, path = "/api/v1/pairing-tokens/{id}", tag = "pairing", params(("id" = u64, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn revoke(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<u32>,
) -> Result<StatusCode, Refusal> {
    fleet.revoke_token(&actor, id.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
