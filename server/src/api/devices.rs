//! Devices.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use homeport_api::{Device, DevicePatch, DeviceUpdate, Page, Problem, Series, UpdateHistory};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Refusal,
    guard::Operator,
    paging::{PageParameters, Wanted},
};
use crate::{fleet::Fleet, now_ms, store::Range};

/// Telemetry that is given when no range is asked for, in milliseconds.
const DEFAULT_SPAN: i64 = 60 * 60 * 1000;

/// Points of a series when no number is asked for.
const DEFAULT_POINTS: u32 = 300;

/// Most points of a series.
const MAX_POINTS: u32 = 5_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// Only devices of this group.
    group: Option<String>,
    /// Only those that people mean with this: the device with this id, else those with this name, else those whose id begins with it.
    find: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// Only this series.
    name: Option<String>,
    /// From then on. Without it, one hour before `to_ms`.
    from_ms: Option<i64>,
    /// Until before then. Without it, until now.
    to_ms: Option<i64>,
    /// Points in a series, about: 1 to 5000. Without it, 300.
    points: Option<u32>,
}

/// Devices, by name
#[utoipa::path(
    get, path = "/api/v1/devices", tag = "devices", params(Selection, PageParameters),
    responses((status = 200, body = Page<Device>), (status = 404, description = "no such group", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn list(
    State(fleet): State<Fleet>,
    Query(selection): Query<Selection>,
    Wanted(paging): Wanted<(String, String)>,
) -> Result<Json<Page<Device>>, Refusal> {
    let devices = match (selection.find, selection.group) {
        (Some(_), Some(_)) => return Err(Refusal::malformed("say either `find` or `group`")),
        (Some(text), None) => fleet.find_devices(text, paging).await?,
        (None, group) => fleet.devices(group, paging).await?,
    };
    Ok(Json(devices))
}

/// One device
#[utoipa::path(
    get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn show(
    State(fleet): State<Fleet>,
    Path(id): Path<String>,
) -> Result<Json<Device>, Refusal> {
    Ok(Json(fleet.device(id).await?))
}

/// Change a device
#[utoipa::path(
    patch, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)), request_body = DevicePatch,
    responses((status = 200, body = Device), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn change(
    State(fleet): State<Fleet>,
    Operator(credential): Operator,
    Path(id): Path<String>,
    Json(patch): Json<DevicePatch>,
) -> Result<Json<Device>, Refusal> {
    let device = match patch.name {
        Some(name) => fleet.rename_device(credential.user, id, name).await?,
        None => fleet.device(id).await?,
    };
    Ok(Json(device))
}

/// Remove a device and all that is known about it
#[utoipa::path(
    delete, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn delete(
    State(fleet): State<Fleet>,
    Operator(credential): Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    fleet.delete_device(credential.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke a device's certificate: it cannot connect until it is paired again
#[utoipa::path(
    post, path = "/api/v1/devices/{id}/revoke", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn revoke(
    State(fleet): State<Fleet>,
    Operator(credential): Operator,
    Path(id): Path<String>,
) -> Result<Json<Device>, Refusal> {
    Ok(Json(fleet.revoke_device(credential.user, id).await?))
}

/// Telemetry of a device
#[utoipa::path(
    get, path = "/api/v1/devices/{id}/telemetry", tag = "devices", params(("id" = String, Path), Window),
    responses((status = 200, body = Vec<Series>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn telemetry(
    State(fleet): State<Fleet>,
    Path(id): Path<String>,
    Query(window): Query<Window>,
) -> Result<Json<Vec<Series>>, Refusal> {
    let points = window.points.unwrap_or(DEFAULT_POINTS);
    if !(1..=MAX_POINTS).contains(&points) {
        return Err(Refusal::malformed(format!("`points` is from 1 to {MAX_POINTS}")));
    }
    let to_ms = window.to_ms.unwrap_or_else(|| now_ms() + 1);
    let range = Range {
        name: window.name,
        from_ms: window.from_ms.unwrap_or(to_ms.saturating_sub(DEFAULT_SPAN)),
        to_ms,
        points,
    };
    Ok(Json(fleet.series(id, range).await?))
}

/// The updates that a device went through, newest first
#[utoipa::path(
    get, path = "/api/v1/devices/{id}/updates", tag = "devices", params(("id" = String, Path), PageParameters),
    responses((status = 200, body = Page<DeviceUpdate>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn updates(
    State(fleet): State<Fleet>,
    Path(id): Path<String>,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<DeviceUpdate>>, Refusal> {
    Ok(Json(fleet.updates(id, paging).await?))
}

/// One update of a device, with every state that it went through
#[utoipa::path(
    get, path = "/api/v1/devices/{id}/updates/{update}", tag = "devices", params(("id" = String, Path), ("update" = u64, Path)),
    responses((status = 200, body = UpdateHistory), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn update(
    State(fleet): State<Fleet>,
    Path((id, update)): Path<(String, u64)>,
) -> Result<Json<UpdateHistory>, Refusal> {
    Ok(Json(fleet.update_history(id, update).await?))
}
