//! Devices.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use homeport_api::{Device, DevicePatch, Page, Problem};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Part;
use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Selection {
    /// Only devices of this group.
    group: Option<String>,
    /// Only devices of this project, and of those below it.
    project: Option<String>,
    /// Only devices that match this text: the device with this id, else those with this name, else those whose id begins with it.
    find: Option<String>,
}

/// Devices, by name
#[utoipa::path(
    get, path = "/api/v1/devices", tag = "devices", params(Selection, PageParameters),
    responses((status = 200, body = Page<Device>), (status = 404, description = "no such group", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Query(selection): Query<Selection>,
    Wanted(paging): Wanted<(String, String)>,
) -> Result<Json<Page<Device>>, Refusal> {
    let part = Part {
        group: selection.group,
        project: selection.project,
    };
    let devices = match selection.find {
        Some(_) if part.group.is_some() || part.project.is_some() => {
            return Err(Refusal::malformed("say either `find`, or `group` and `project`"));
        }
        Some(text) => fleet.find_devices(&actor, text, paging).await?,
        None => fleet.devices(&actor, part, paging).await?,
    };
    Ok(Json(devices))
}

/// One device
#[utoipa::path(
    get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn show(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Device>, Refusal> {
    Ok(Json(fleet.device(&actor, id).await?))
}

/// Change a device
#[utoipa::path(
    patch, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), request_body = DevicePatch,
    responses((status = 200, body = Device), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn change(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Json(patch): Json<DevicePatch>,
) -> Result<Json<Device>, Refusal> {
    Ok(Json(fleet.change_device(&actor, id, patch).await?))
}

/// Remove a device and all data about it
#[utoipa::path(
    delete, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn delete(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    fleet.delete_device(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke a device's certificate: it cannot connect until it is paired again
#[utoipa::path(
    post, path = "/api/v1/devices/{id}/revoke", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn revoke(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Device>, Refusal> {
    Ok(Json(fleet.revoke_device(&actor, id).await?))
}
