//! The routes of the HTTPS port: the REST API for people and programs with its description, downloads for devices, the web page.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware,
};
use homeport_api::{Health, Permission, Problem};
use http::StatusCode;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        PathItem,
        extensions::Extensions,
        path::Operation,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

mod device;
mod events;

use crate::{
    audit, bundles, commands, deployments, devices,
    fleet::{Fleet, Trouble},
    groups,
    http::{App, COOKIE, guard, problem},
    pairing, people, projects, telemetry, web,
};

/// Largest JSON body, in bytes.
const MAX_JSON: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Homeport",
        description = "The REST API of Homeport's server. Times are milliseconds since 1970-01-01T00:00:00Z in fields that end in `_ms`; \
                       sizes are bytes; lists come in pages; every error is an `application/problem+json` (RFC 9457). Log in with `POST /api/v1/session` and \
                       send the token as `Authorization: Bearer <token>`, or send an access token in the same way. `x-permission` names what a route \
                       needs; `own` stands for what is the user's own."
    ),
    components(schemas(Problem)),
    modifiers(&Authentication)
)]
struct Description;

struct Authentication;

/// All routes of the HTTPS port, except EST.
pub fn router(app: App) -> Router {
    let (protected, _) = protected().split_for_parts();
    let (public, _) = public().split_for_parts();
    let guard = middleware::from_fn_with_state(app.clone(), guard::authenticate);
    Router::new()
        .merge(protected.route_layer(guard))
        .merge(public)
        .merge(device::router())
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .method_not_allowed_fallback(problem::wrong_method)
        .fallback(web::serve)
        .layer(middleware::map_response(problem::as_problem))
        .layer(middleware::map_response(guard::secure))
        .with_state(app)
}

/// The OpenAPI 3.1 description, as JSON.
#[must_use]
pub fn openapi_json() -> String {
    // The description consists of text and numbers, which always encode.
    description().to_pretty_json().unwrap_or_default()
}

fn description() -> utoipa::openapi::OpenApi {
    let (_, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(public())
        .merge(protected())
        .split_for_parts();
    // utoipa names operations after functions, and several modules have functions of the same name: `list` becomes `devices_list`.
    for operation in description.paths.paths.values_mut().flat_map(operations) {
        if let (Some([tag, ..]), Some(name)) = (operation.tags.as_deref(), &mut operation.operation_id) {
            *name = format!("{tag}_{name}");
        }
    }
    description
}

fn public() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(openapi))
        .routes(routes!(people::http::log_in))
}

fn protected() -> OpenApiRouter<App> {
    use Permission::{
        AuditRead, BundleChange, BundleRead, CommandRead, CommandRun, DeploymentCancel, DeploymentCreate,
        DeploymentRead, DeviceChange, DeviceDelete, DeviceRead, DeviceRevoke, GroupChange, GroupRead,
        PairingChange, PairingRead, ProjectChange, ProjectRead, TelemetryRead, UserChange, UserRead,
    };
    Protected::default()
        .own(routes!(people::http::who, people::http::log_out))
        .own(routes!(people::http::change_password))
        .route(PairingRead, routes!(pairing::http::list))
        .route(PairingChange, routes!(pairing::http::create))
        .route(PairingChange, routes!(pairing::http::revoke))
        .route(DeviceRead, routes!(devices::http::list))
        .route(DeviceRead, routes!(devices::http::show))
        .route(DeviceChange, routes!(devices::http::change))
        .route(DeviceDelete, routes!(devices::http::delete))
        .route(DeviceRevoke, routes!(devices::http::revoke))
        .route(TelemetryRead, routes!(telemetry::http::telemetry))
        .route(DeviceRead, routes!(deployments::http::updates))
        .route(DeviceRead, routes!(deployments::http::update))
        .route(GroupRead, routes!(groups::http::list))
        .route(GroupChange, routes!(groups::http::create))
        .route(GroupRead, routes!(groups::http::show))
        .route(GroupChange, routes!(groups::http::delete))
        .route(GroupChange, routes!(groups::http::join, groups::http::leave))
        .route(BundleRead, routes!(bundles::http::list))
        .route(BundleChange, routes!(bundles::http::upload))
        .route(BundleRead, routes!(bundles::http::show))
        .route(BundleChange, routes!(bundles::http::delete))
        .route(DeploymentRead, routes!(deployments::http::list))
        .route(DeploymentCreate, routes!(deployments::http::create))
        .route(DeploymentRead, routes!(deployments::http::show))
        .route(DeploymentRead, routes!(deployments::http::devices))
        .route(DeploymentCancel, routes!(deployments::http::cancel))
        .route(CommandRead, routes!(commands::http::kinds))
        .route(CommandRead, routes!(commands::http::list))
        .route(CommandRun, routes!(commands::http::create))
        .route(CommandRead, routes!(commands::http::show))
        .route(CommandRead, routes!(commands::http::runs))
        .route(CommandRead, routes!(commands::http::run))
        .route(CommandRead, routes!(commands::http::output))
        .route(CommandRun, routes!(commands::http::cancel))
        .route(CommandRead, routes!(commands::http::of_device))
        .route(ProjectRead, routes!(projects::http::list))
        .route(ProjectChange, routes!(projects::http::create))
        .route(ProjectChange, routes!(projects::http::delete))
        .route(UserRead, routes!(people::http::users::list))
        .route(UserChange, routes!(people::http::users::create))
        .route(UserRead, routes!(people::http::users::show))
        .route(
            UserChange,
            routes!(people::http::users::change, people::http::users::delete),
        )
        .route(UserChange, routes!(people::http::users::reset_password))
        .route(UserChange, routes!(people::http::users::grant))
        .route(UserChange, routes!(people::http::users::revoke))
        .own(routes!(people::http::tokens::list, people::http::tokens::create))
        .own(routes!(people::http::tokens::revoke))
        // Each event names the permission that it needs: see `homeport_api::Event::permission`.
        .own(routes!(events::follow))
        .route(AuditRead, routes!(audit::http::list))
        .0
}

/// Routes for users. Each names the permission that it needs, which the description shows as `x-permission`.
#[derive(Default)]
struct Protected(OpenApiRouter<App>);

impl Protected {
    /// Only for users who have the permission somewhere.
    fn route(self, permission: Permission, (schemas, mut paths, methods): UtoipaMethodRouter<App>) -> Self {
        for operation in paths.paths.values_mut().flat_map(operations) {
            name_permission(operation, permission.as_str());
        }
        let methods = methods.route_layer(middleware::from_fn_with_state(permission, guard::require));
        Self(self.0.routes((schemas, paths, methods)))
    }

    /// For every user: the route gives what is the user's own, and asks for the permission for the rest.
    fn own(self, (schemas, mut paths, methods): UtoipaMethodRouter<App>) -> Self {
        for operation in paths.paths.values_mut().flat_map(operations) {
            name_permission(operation, OWN);
        }
        Self(self.0.routes((schemas, paths, methods)))
    }
}

/// Stands for a permission where everybody gets what is their own.
const OWN: &str = "own";

fn name_permission(operation: &mut Operation, name: &str) {
    let extension = Extensions::builder().add("x-permission", name).build();
    operation.extensions.get_or_insert_default().merge(extension);
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let methods = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ];
    methods.into_iter().flatten()
}

/// Whether the server is up, and accepts everything that it should
#[utoipa::path(
    get, path = "/api/v1/health", tag = "server", security(()),
    responses((status = 200, body = Health), (status = 503, description = "The disk is full, or the server cannot write", body = Health))
)]
async fn health(State(fleet): State<Fleet>) -> (StatusCode, Json<Health>) {
    let (code, status) = match fleet.trouble() {
        None => (StatusCode::OK, "ok"),
        Some(Trouble::DiskLow) => (StatusCode::OK, "disk-low"),
        Some(Trouble::DiskFull) => (StatusCode::SERVICE_UNAVAILABLE, "disk-full"),
        Some(Trouble::Failing) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    let health = Health {
        status: status.into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    (code, Json(health))
}

/// This description
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "server", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"))
)]
async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}

// === impl Authentication ===

impl Modify for Authentication {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new(COOKIE));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
        let either = ["bearer", "cookie"]
            .map(|name| utoipa::openapi::SecurityRequirement::new::<_, [&str; 0], &str>(name, []));
        openapi.security = Some(either.into());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_description_is_checked_in() {
        assert!(
            format!("{}\n", openapi_json()) == include_str!("../../openapi.json"),
            "run `homeport-server openapi > server/openapi.json`"
        );
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let description = serde_json::to_value(description()).unwrap();
        let mut names = HashSet::new();
        for item in description["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()));
            }
        }
    }

    #[test]
    fn every_operation_names_its_permission() {
        let description = serde_json::to_value(description()).unwrap();
        let known: HashSet<_> = Permission::ALL
            .iter()
            .map(|permission| permission.as_str())
            .collect();
        let (mut used, mut public, mut own) = (HashSet::new(), Vec::new(), Vec::new());
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let route = format!("{method} {path}");
                match operation["x-permission"].as_str() {
                    Some(OWN) => own.push(route),
                    Some(name) => {
                        assert!(known.contains(name), "{route}: {name}");
                        used.insert(name.to_owned());
                    }
                    // Without a login: the operation says so.
                    None => {
                        assert_eq!(
                            operation["security"],
                            serde_json::json!([{}]),
                            "{route} names no permission"
                        );
                        public.push(route);
                    }
                }
            }
        }
        public.sort_unstable();
        own.sort_unstable();
        assert_eq!(
            public,
            [
                "get /api/v1/health",
                "get /api/v1/openapi.json",
                "post /api/v1/session"
            ]
        );
        assert_eq!(
            own,
            [
                "delete /api/v1/session",
                "delete /api/v1/users/{name}/tokens/{id}",
                "get /api/v1/events",
                "get /api/v1/session",
                "get /api/v1/users/{name}/tokens",
                "post /api/v1/users/{name}/tokens",
                "put /api/v1/session/password",
            ]
        );
        // `device.move` guards a part of `PATCH /api/v1/devices/{id}`.
        let unused: Vec<_> = known.iter().filter(|name| !used.contains(**name)).collect();
        assert_eq!(unused, [&"device.move"]);
    }
}
