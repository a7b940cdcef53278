//! The routes for devices, which show their certificate over HTTPS: bundles, and the address of MQTT.

use std::io::SeekFrom;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::StreamExt as _;
use homeport_protocol::DeviceId;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};
use tokio_util::io::ReaderStream;

use crate::{
    blob::is_id,
    est::Enrolment as _,
    fleet::Fleet,
    http::{
        App, Refusal,
        range::{self, Selected},
    },
    https::Peer,
};

/// Bytes of a file that the server reads at once.
const PIECE: usize = 64 * 1024;

/// The settings that a device needs after it got its certificate.
#[derive(Debug, Serialize)]
struct DeviceConfig {
    device_id: DeviceId,
    mqtt_authority: String,
    server_version: &'static str,
}

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/device/v1/config", get(config))
        .route("/device/v1/bundles/{id}", get(bundle))
}

async fn config(
    State(fleet): State<Fleet>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<DeviceConfig>, Refusal> {
    Ok(Json(DeviceConfig {
        device_id: identify(&fleet, peer)?,
        mqtt_authority: fleet.addresses().mqtt_authority.clone(),
        server_version: env!("CARGO_PKG_VERSION"),
    }))
}

/// A device may fetch the bundles that can be deployed to it, and the one that it was offered. A bundle of another project does not exist
/// for it.
async fn bundle(
    State(fleet): State<Fleet>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let device = identify(&fleet, peer)?;
    let gone = || {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "there is no such bundle; it may have been deleted",
        )
    };
    if !is_id(&id) {
        return Err(gone());
    }
    if !fleet.may_fetch(&device, id.clone()).await? {
        return Err(gone());
    }
    let mut file = match File::open(fleet.bundles().path(&id)).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(gone()),
        Err(error) => return Err(unreadable(&error)),
    };
    let size = file.metadata().await.map_err(|error| unreadable(&error))?.len();
    let etag = format!("\"{id}\"");
    if is_known(&headers, &etag) {
        return Ok(with_headers(StatusCode::NOT_MODIFIED, &etag, Body::empty()));
    }
    let (status, first, length) = match range::select(&headers, &etag, size) {
        Selected::Whole => (StatusCode::OK, 0, size),
        Selected::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Selected::Outside => {
            let mut response = with_headers(StatusCode::RANGE_NOT_SATISFIABLE, &etag, Body::empty());
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    file.seek(SeekFrom::Start(first))
        .await
        .map_err(|error| unreadable(&error))?;
    let pieces = ReaderStream::with_capacity(file.take(length), PIECE);
    // A download may last for hours: it breaks off when the certificate that began it is revoked.
    let body = Body::from_stream(pieces.map(move |piece| match identify(&fleet, peer) {
        Ok(holder) if holder == device => piece,
        _ => Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied)),
    }));
    let mut response = with_headers(status, &etag, body);
    insert(&mut response, header::CONTENT_LENGTH, &length.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + length - 1;
        insert(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes {first}-{last}/{size}"),
        );
    }
    Ok(response)
}

/// The server checks the certificate again with every request and every piece of a download. So a revoked one stops counting on open
/// connections too.
fn identify(fleet: &Fleet, peer: Peer) -> Result<DeviceId, Refusal> {
    let certificate = peer.certificate.as_ref();
    certificate
        .and_then(|certificate| fleet.identify(certificate))
        .ok_or_else(|| {
            Refusal::new(
                StatusCode::UNAUTHORIZED,
                "certificate-required",
                "show the device's certificate; pair the device if it has none",
            )
        })
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"))
}

fn with_headers(status: StatusCode, etag: &str, body: Body) -> Response {
    let mut response = (status, body).into_response();
    insert(&mut response, header::ETAG, etag);
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    insert(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    // The name is a hash of the content; proxies on the way may not keep it.
    insert(&mut response, header::CACHE_CONTROL, "private, immutable");
    response
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    // The value consists of digits, hex and our own text.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn unreadable(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "cannot read a bundle");
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the server cannot read this bundle; its log says why",
    )
}
