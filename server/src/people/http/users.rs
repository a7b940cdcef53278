//! Users and their roles.

use axum::{
    Json,
    extract::{Path, State},
};
use homeport_api::{CreatedUser, Grant, NewGrant, NewUser, Page, Problem, UserInfo, UserPatch};
use http::StatusCode;

use crate::fleet::Fleet;
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

/// Users, by name
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(PageParameters), responses((status = 200, body = Page<UserInfo>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<String>,
) -> Result<Json<Page<UserInfo>>, Refusal> {
    Ok(Json(fleet.users(&actor, paging).await?))
}

/// Make a user, who can do nothing until a role is granted
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", request_body = NewUser,
    responses((status = 201, body = CreatedUser), (status = 409, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn create(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Json(new): Json<NewUser>,
) -> Result<(StatusCode, Json<CreatedUser>), Refusal> {
    let user = fleet.create_user(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// One user
#[utoipa::path(
    get, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)),
    responses((status = 200, body = UserInfo), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn show(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
) -> Result<Json<UserInfo>, Refusal> {
    Ok(Json(fleet.user(&actor, name).await?))
}

/// Shut a user out, or let the user in again
#[utoipa::path(
    patch, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)), request_body = UserPatch,
    responses(
        (status = 200, body = UserInfo),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "the last administrator", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    Json(patch): Json<UserPatch>,
) -> Result<Json<UserInfo>, Refusal> {
    Ok(Json(fleet.change_user(&actor, name, patch).await?))
}

/// Delete a user with all roles, logins and access tokens
#[utoipa::path(
    delete, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "the last administrator", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    fleet.delete_user(&actor, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a person a new random password, and end the person's logins
#[utoipa::path(
    post, path = "/api/v1/users/{name}/password", tag = "users", params(("name" = String, Path)),
    responses((status = 200, body = CreatedUser), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn reset_password(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
) -> Result<Json<CreatedUser>, Refusal> {
    Ok(Json(fleet.reset_user(&actor, name).await?))
}

/// Give a user a role on everything, on a project or on a group, instead of the role that the user has there
#[utoipa::path(
    post, path = "/api/v1/users/{name}/grants", tag = "users", params(("name" = String, Path)), request_body = NewGrant,
    responses((status = 201, body = Grant), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn grant(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    Json(new): Json<NewGrant>,
) -> Result<(StatusCode, Json<Grant>), Refusal> {
    let grant = fleet.grant(&actor, name, new).await?;
    Ok((StatusCode::CREATED, Json(grant)))
}

/// Take a role away
#[utoipa::path(
    delete, path = "/api/v1/users/{name}/grants/{id}", tag = "users", params(("name" = String, Path), ("id" = u64, Path)),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "the last administrator", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path((name, id)): Path<(String, u32)>,
) -> Result<StatusCode, Refusal> {
    fleet.revoke_grant(&actor, name, id.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
