//! Groups of devices.

use axum::{
    Json,
    extract::{Path, State},
};
use homeport_api::{Group, NewGroup, Page, Problem};
use http::StatusCode;

use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

/// Groups, by name
#[utoipa::path(get, path = "/api/v1/groups", tag = "groups", params(PageParameters), responses((status = 200, body = Page<Group>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<String>,
) -> Result<Json<Page<Group>>, Refusal> {
    Ok(Json(fleet.groups(&actor, paging).await?))
}

/// Make a group
#[utoipa::path(
    post, path = "/api/v1/groups", tag = "groups", request_body = NewGroup,
    responses((status = 201, body = Group), (status = 409, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn create(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Json(new): Json<NewGroup>,
) -> Result<(StatusCode, Json<Group>), Refusal> {
    let group = fleet.create_group(&actor, new.name).await?;
    Ok((StatusCode::CREATED, Json(group)))
}

/// One group
#[utoipa::path(
    get, path = "/api/v1/groups/{name}", tag = "groups", params(("name" = String, Path)),
    responses((status = 200, body = Group), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn show(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
) -> Result<Json<Group>, Refusal> {
    Ok(Json(fleet.group(&actor, name).await?))
}

/// Remove a group; its devices stay
#[utoipa::path(
    delete, path = "/api/v1/groups/{name}", tag = "groups", params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn delete(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    fleet.delete_group(&actor, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a device into a group
#[utoipa::path(
    put, path = "/api/v1/groups/{name}/devices/{id}", tag = "groups", params(("name" = String, Path), ("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn join(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    fleet.join_group(&actor, name, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a device out of a group
#[utoipa::path(
    delete, path = "/api/v1/groups/{name}/devices/{id}", tag = "groups", params(("name" = String, Path), ("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn leave(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    fleet.leave_group(&actor, name, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
