//! Deployments.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use homeport_api::{Deployment, DeviceProgress, DeviceUpdate, NewDeployment, Page, Problem, UpdateHistory};
use homeport_protocol::DeploymentState;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct InState {
    /// Only devices in this state.
    #[param(value_type = Option<String>)]
    state: Option<DeploymentState>,
}

/// Deployments, newest first
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployments", params(PageParameters), responses((status = 200, body = Page<Deployment>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<Deployment>>, Refusal> {
    Ok(Json(fleet.deployments(&actor, paging).await?))
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
pub(crate) async fn create(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Json(new): Json<NewDeployment>,
) -> Result<(StatusCode, Json<Deployment>), Refusal> {
    let deployment = fleet.deploy(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(deployment)))
}

/// One deployment
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}", tag = "deployments", params(("id" = u64, Path)),
    responses((status = 200, body = Deployment), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn show(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<u64>,
) -> Result<Json<Deployment>, Refusal> {
    Ok(Json(fleet.deployment(&actor, id).await?))
}

/// Devices of a deployment, and their progress
#[utoipa::path(
    get, path = "/api/v1/deployments/{id}/devices", tag = "deployments", params(("id" = u64, Path), InState, PageParameters),
    responses((status = 200, body = Page<DeviceProgress>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn devices(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<u64>,
    Query(wanted): Query<InState>,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<DeviceProgress>>, Refusal> {
    if wanted.state == Some(DeploymentState::Unknown) {
        return Err(Refusal::malformed(
            "`state` is not a state that a device can be in",
        ));
    }
    Ok(Json(
        fleet.deployment_devices(&actor, id, wanted.state, paging).await?,
    ))
}

/// Cancel a deployment on the devices whose running system is still untouched
#[utoipa::path(
    post, path = "/api/v1/deployments/{id}/cancel", tag = "deployments", params(("id" = u64, Path)),
    responses(
        (status = 200, body = Deployment),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "finished, or too late", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<u64>,
) -> Result<Json<Deployment>, Refusal> {
    Ok(Json(fleet.cancel(&actor, id).await?))
}

/// The updates that a device went through, newest first
#[utoipa::path(
    get, path = "/api/v1/devices/{id}/updates", tag = "devices", params(("id" = String, Path), PageParameters),
    responses((status = 200, body = Page<DeviceUpdate>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn updates(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<DeviceUpdate>>, Refusal> {
    Ok(Json(fleet.updates(&actor, id, paging).await?))
}

/// One update of a device, with every state that it went through
#[utoipa::path(
    get, path = "/api/v1/devices/{id}/updates/{update}", tag = "devices", params(("id" = String, Path), ("update" = u64, Path)),
    responses((status = 200, body = UpdateHistory), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn update(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path((id, update)): Path<(String, u64)>,
) -> Result<Json<UpdateHistory>, Refusal> {
    Ok(Json(fleet.update_history(&actor, id, update).await?))
}
