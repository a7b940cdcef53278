//! The record of who did what.

use axum::{Json, extract::State};
use homeport_api::{AuditEntry, Page};

use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

/// Entries of the audit record, newest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(PageParameters), responses((status = 200, body = Page<AuditEntry>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<AuditEntry>>, Refusal> {
    Ok(Json(fleet.audit_entries(&actor, paging).await?))
}
