//! Deployments.

use axum::{
    Json,
    extract::{Path, State},
};
use homeport_api::{Deployment, NewDeployment, Problem};
use http::StatusCode;

use super::{Refusal, guard::Operator};
use crate::fleet::Fleet;

/// The newest 200, newest first
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployments", responses((status = 200, body = Vec<Deployment>)))]
pub(super) async fn list(State(fleet): State<Fleet>) -> Result<Json<Vec<Deployment>>, Refusal> {
    Ok(Json(fleet.deployments().await?))
}

/// Have devices install a bundle
#[utoipa::path(
    post, path = "/api/v1/deployments", tag = "deployments", request_body = NewDeployment,
    responses(
        (status = 201, body = Deployment),
        (status = 404, description = "no such bundle, device or group", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "a device is being updated already", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(fleet): State<Fleet>,
    Operator(credential): Operator,
    Json(new): Json<NewDeployment>,
) -> Result<(StatusCode, Json<Deployment>), Refusal> {
    let deployment = fleet.deploy(credential.user, new).await?;
    Ok((StatusCode::CREATED, Json(deployment)))
}

/// One deployment
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}", tag = "deployments", params(("id" = u64, Path)),
    responses((status = 200, body = Deployment), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn show(
    State(fleet): State<Fleet>,
    Path(id): Path<u64>,
) -> Result<Json<Deployment>, Refusal> {
    Ok(Json(fleet.deployment(id).await?))
}

/// Cancel a deployment where that still leaves the device as it is
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/cancel", tag = "deployments", params(("id" = u64, Path)),
    responses(
        (status = 200, body = Deployment),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "finished, or too late", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(fleet): State<Fleet>,
    Operator(credential): Operator,
    Path(id): Path<u64>,
) -> Result<Json<Deployment>, Refusal> {
    Ok(Json(fleet.cancel(credential.user, id).await?))
}
