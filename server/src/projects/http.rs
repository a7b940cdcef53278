//! Projects.

use axum::{
    Json,
    extract::{Path, State},
};
use homeport_api::{NewProject, Page, Problem, Project};
use http::StatusCode;

use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

/// Projects, by path
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", params(PageParameters), responses((status = 200, body = Page<Project>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<String>,
) -> Result<Json<Page<Project>>, Refusal> {
    Ok(Json(fleet.projects(&actor, paging).await?))
}

/// Make a project
#[utoipa::path(
    post, path = "/api/v1/projects", tag = "projects", request_body = NewProject,
    responses((status = 201, body = Project), (status = 409, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn create(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Json(new): Json<NewProject>,
) -> Result<(StatusCode, Json<Project>), Refusal> {
    let project = fleet.create_project(&actor, new.path).await?;
    Ok((StatusCode::CREATED, Json(project)))
}

/// Delete a project that holds nothing
#[utoipa::path(
    delete, path = "/api/v1/projects/{path}", tag = "projects", params(("path" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "something is still in it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(path): Path<String>,
) -> Result<StatusCode, Refusal> {
    fleet.delete_project(&actor, path).await?;
    Ok(StatusCode::NO_CONTENT)
}
