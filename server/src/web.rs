//! The web page, which is part of the program.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::http::Refusal;

/// A file of `web/dist`, packed by `build.rs`.
struct File {
    name: &'static str,
    hash: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web.rs"));

const INDEX: &str = "index.html";

/// `Cache-Control` of files whose names change with their content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// `Cache-Control` of other files: the browser asks every time whether they have changed.
const REVALIDATE: &str = "no-cache";

/// Shortest hash in a file name: `main-4F5XKQ2A.js`.
const NAME_HASH: usize = 8;

/// Answers with a file of the page. A path that is not a file is a place inside the page, which the page itself shows.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().trim_start_matches('/');
    // A program that asks for a missing path gets a problem as JSON, not the page.
    if ["api/", "device/", ".well-known/"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return Refusal::no_route().into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this path only supports GET and HEAD",
        )
        .into_response();
    }
    let found = find(name).or_else(|| {
        // A missing script is not a place: the page in its stead would hide the error.
        let is_place = !name.rsplit('/').next().unwrap_or_default().contains('.');
        is_place.then(|| find(INDEX)).flatten()
    });
    match found {
        Some(file) => answer(file, &headers),
        None => Refusal::no_route().into_response(),
    }
}

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

fn answer(file: &'static File, headers: &HeaderMap) -> Response {
    let gzip = file.gzip.filter(|_| accepts_gzip(headers));
    let etag = format!("\"{}{}\"", file.hash, if gzip.is_some() { "-gzip" } else { "" });
    let unchanged = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag));
    let mut response = Response::new(Body::empty());
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Bytes::from_static(gzip.unwrap_or(file.plain)).into();
    }
    let out = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, etag);
    }
    out.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    out.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(if has_hashed_name(file.name) {
            IMMUTABLE
        } else {
            REVALIDATE
        }),
    );
    out.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(file.name)),
    );
    if gzip.is_some() && !unchanged {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| {
        accepted.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("gzip") && parts.all(|weight| weight != "q=0" && weight != "q=0.0")
        })
    })
}

/// As esbuild names them: `name-HASH.ext`.
fn has_hashed_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    stem.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() >= NAME_HASH && hash.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fetch(path: &str, name: header::HeaderName, value: &str) -> Response {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        serve(Method::GET, path.parse().unwrap(), headers).await
    }

    #[tokio::test]
    async fn places_are_the_page_and_missing_files_are_missing() {
        for (path, status) in [
            ("/", 200),
            ("/devices/abc", 200),
            ("/missing.js", 404),
            ("/api/v1/missing", 404),
            ("/device/v1/missing", 404),
        ] {
            let response = fetch(path, header::ACCEPT, "*/*").await;
            assert_eq!(response.status(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn who_has_it_is_told_so() {
        let first = fetch("/", header::ACCEPT, "*/*").await;
        let etag = first.headers()[header::ETAG].to_str().unwrap();
        let second = fetch("/", header::IF_NONE_MATCH, etag).await;
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn only_hashed_names_are_kept_for_ever() {
        assert!(has_hashed_name("assets/main-4F5XKQ2A.js"));
        assert!(!has_hashed_name("index.html") && !has_hashed_name("site-settings.js"));
    }
}
