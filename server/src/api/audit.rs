//! The record of who did what.

use axum::{
    Json,
    extract::{Query, State},
};
use homeport_api::AuditEntry;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Refusal;
use crate::fleet::Fleet;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only entries before the one with this number: the last one of the page before.
    before: Option<u64>,
}

/// Who did what, 200 entries, newest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Page), responses((status = 200, body = Vec<AuditEntry>)))]
pub(super) async fn list(
    State(fleet): State<Fleet>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<AuditEntry>>, Refusal> {
    Ok(Json(fleet.audit_entries(page.before).await?))
}
