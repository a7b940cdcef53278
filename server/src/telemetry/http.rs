//! Telemetry over the REST API.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use homeport_api::{Problem, Series};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Range;
use crate::{
    fleet::Fleet,
    http::{Refusal, guard::Caller},
    now_ms,
};

/// Range of telemetry if the request sets none, in milliseconds.
const DEFAULT_SPAN: i64 = 60 * 60 * 1000;

/// Points of a series if the request sets no number.
const DEFAULT_POINTS: u32 = 300;

/// Most points of a series.
const MAX_POINTS: u32 = 5_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Window {
    /// Only this series.
    name: Option<String>,
    /// Only points from this time on. Without it, one hour before `to_ms`.
    from_ms: Option<i64>,
    /// Only points before this time. Without it, until now.
    to_ms: Option<i64>,
    /// Approximate number of points in a series: 1 to 5000. Without it, 300.
    points: Option<u32>,
}

/// Telemetry of a device
#[utoipa::path(
    get, path = "/api/v1/devices/{id}/telemetry", tag = "devices", params(("id" = String, Path), Window),
    responses((status = 200, body = Vec<Series>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn telemetry(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
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
    Ok(Json(fleet.series(&actor, id, range).await?))
}
