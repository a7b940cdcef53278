//! Authentication of requests, and security headers for browsers.

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};

use super::{App, COOKIE, Refusal};
use homeport_api::Permission;

use crate::{
    access::{Access, Actor},
    error::{FleetError, Where},
    https::Connection,
};

/// The user who is logged in, or whose access token came. Only for routes behind [`authenticate`].
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Actor);

const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

// No HSTS: the server's own CA signs its certificate, and browsers do not let people pass a certificate warning of a host with HSTS.

/// Lets only requests of logged-in users through.
pub(crate) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    let token = if let Some(token) = bearer(headers) {
        token
    } else {
        check_origin(request.method(), request.uri(), headers)?;
        cookie(headers).ok_or_else(not_logged_in)?
    };
    let (actor, access) = app.fleet.authenticate(token).await?.ok_or_else(not_logged_in)?;
    if let Some(connection) = request.extensions().get::<Connection>() {
        connection.belongs_to(&actor.user);
    }
    request.extensions_mut().insert(Caller(actor));
    request.extensions_mut().insert(access);
    Ok(next.run(request).await)
}

/// Lets only requests of users through who have the permission somewhere. The route itself asks for the place.
pub(crate) async fn require(
    State(permission): State<Permission>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let access: Option<&Access> = request.extensions().get();
    if access.is_some_and(|access| access.allows_somewhere(permission)) {
        return Ok(next.run(request).await);
    }
    Err(FleetError::Forbidden {
        permission,
        place: Where::Anywhere,
    }
    .into())
}

/// Refuses requests that another site's page makes a browser send with our cookie.
pub(crate) fn check_origin(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    if method.is_safe() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").or_else(|| uri.authority().map(http::uri::Authority::as_str));
    let own = match (text("sec-fetch-site"), text("origin"), host) {
        (Some(site), _, _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin), Some(host)) => origin.strip_prefix("https://") == Some(host),
        (None, Some(_), None) => false,
        // Not a browser: browsers send one of the two headers. Without a cookie there is nothing to misuse.
        (None, None, _) => cookie(headers).is_none(),
    };
    if own {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "cross-site",
        "this request does not come from Homeport's own page; programs authenticate with `Authorization: Bearer`",
    ))
}

/// Adds the headers that protect browsers from misuse.
pub(crate) async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

fn not_logged_in() -> Refusal {
    FleetError::NotLoggedIn.into()
}

// === impl Caller ===

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get().cloned().ok_or_else(not_logged_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: &Method, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        check_origin(method, &Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn other_sites_cannot_use_the_cookie() {
        let cookie = ("cookie", "homeport_session=x");
        let host = ("host", "fleet:8443");
        assert!(allowed(&Method::GET, &[cookie, ("sec-fetch-site", "cross-site")]));
        assert!(allowed(
            &Method::POST,
            &[cookie, ("sec-fetch-site", "same-origin")]
        ));
        assert!(allowed(
            &Method::POST,
            &[cookie, host, ("origin", "https://fleet:8443")]
        ));
        assert!(allowed(&Method::POST, &[host]));
        for refused in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://fleet"),
            ("origin", "http://fleet:8443"),
            ("origin", "null"),
            ("accept", "*/*"),
        ] {
            assert!(!allowed(&Method::POST, &[cookie, host, refused]), "{refused:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let headers = HeaderMap::from_iter([(
            header::COOKIE,
            HeaderValue::from_static("a=b; homeport_session=x; c=d"),
        )]);
        assert_eq!(cookie(&headers), Some("x"));
    }
}
