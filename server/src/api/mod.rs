//! The routes of the HTTPS port: the REST API for people and programs with its description, downloads for devices, the web page.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware,
};
use homeport_api::{Health, Problem};
use http::StatusCode;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

mod device;
mod events;

use crate::{
    audit, bundles, deployments, devices,
    fleet::{Fleet, Trouble},
    groups,
    http::{App, COOKIE, guard, problem},
    pairing, people, telemetry, web,
};

/// Largest JSON body, in bytes.
const MAX_JSON: usize = 64 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Homeport",
        description = "The REST API of Homeport's server. Times are milliseconds since 1970-01-01T00:00:00Z in fields that end in `_ms`; \
                       sizes are bytes; lists come in pages; every error is an `application/problem+json` (RFC 9457). Log in with `POST /api/v1/session` and \
                       send the token as `Authorization: Bearer <token>`."
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
    let items = description.paths.paths.values_mut();
    let operations = items.flat_map(|item| {
        let methods = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        methods.into_iter().flatten()
    });
    for operation in operations {
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
    OpenApiRouter::new()
        .routes(routes!(people::http::who, people::http::log_out))
        .routes(routes!(people::http::change_password))
        .routes(routes!(pairing::http::list, pairing::http::create))
        .routes(routes!(pairing::http::revoke))
        .routes(routes!(devices::http::list))
        .routes(routes!(
            devices::http::show,
            devices::http::change,
            devices::http::delete
        ))
        .routes(routes!(devices::http::revoke))
        .routes(routes!(telemetry::http::telemetry))
        .routes(routes!(deployments::http::updates))
        .routes(routes!(deployments::http::update))
        .routes(routes!(groups::http::list, groups::http::create))
        .routes(routes!(groups::http::show, groups::http::delete))
        .routes(routes!(groups::http::join, groups::http::leave))
        .routes(routes!(bundles::http::list, bundles::http::upload))
        .routes(routes!(bundles::http::show, bundles::http::delete))
        .routes(routes!(deployments::http::list, deployments::http::create))
        .routes(routes!(deployments::http::show))
        .routes(routes!(deployments::http::devices))
        .routes(routes!(deployments::http::cancel))
        .routes(routes!(events::follow))
        .routes(routes!(audit::http::list))
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
        assert_eq!(names.len(), 34);
    }
}
