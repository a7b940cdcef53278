//! Update bundles.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
};
use futures_util::StreamExt as _;
use homeport_api::{Bundle, Page, Problem};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tokio::{sync::mpsc, task, time::timeout};
use utoipa::IntoParams;

use super::AddError;
use crate::blob::{Upload, UploadError, is_id};
use crate::http::{
    Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};
use crate::{
    access::{Actor, named},
    fleet::Fleet,
    store::StoreError,
};

/// How many bytes of a refused upload the server reads, and for how long.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);

/// Longest pause within an upload.
const PAUSE: Duration = Duration::from_secs(60);

/// Pieces of an upload that may wait for the disk.
const WAITING: usize = 16;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Expected {
    /// Lower-case hex SHA-256 that the file should have. The server refuses a file that was damaged on the way.
    sha256: Option<String>,
    /// Path of the project whose devices, with those below, can get the bundle. Without it, every project's can, if the user may say so; else
    /// those of the only project to which the user may upload.
    project: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Force {
    /// Delete the bundle even if a deployment still needs it.
    #[serde(default)]
    force: bool,
    /// Path of the project; empty for none. Without it, the first one from which the user may delete the bundle.
    project: Option<String>,
}

/// Bundles, newest first
#[utoipa::path(get, path = "/api/v1/bundles", tag = "bundles", params(PageParameters), responses((status = 200, body = Page<Bundle>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<(i64, String, String)>,
) -> Result<Json<Page<Bundle>>, Refusal> {
    Ok(Json(fleet.list_bundles(&actor, paging).await?))
}

/// Upload a bundle
///
/// The body is the file. The server does not check its signature: each device does, with its own keyring.
#[utoipa::path(
    post, path = "/api/v1/bundles", tag = "bundles", params(Expected),
    request_body(content_type = "application/octet-stream", description = "the file"),
    responses(
        (status = 200, description = "it was there already", body = Bundle),
        (status = 201, description = "it is new", body = Bundle),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not a bundle that devices can stream", body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn upload(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Query(mut expected): Query<Expected>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Bundle>), Refusal> {
    let upload = match begin(&fleet, &actor, &headers, &mut expected).await {
        Ok(upload) => receive(upload, body).await?,
        Err(refusal) => {
            // A client that sent `Expect` has not sent the body yet.
            if !headers.contains_key(header::EXPECT) {
                linger(body).await;
            }
            return Err(refusal);
        }
    };
    let (bundle, is_new) = fleet
        .add_bundle(
            &actor,
            upload,
            expected.project.unwrap_or_default(),
            expected.sha256,
        )
        .await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(bundle)))
}

/// One bundle
#[utoipa::path(
    get, path = "/api/v1/bundles/{id}", tag = "bundles", params(("id" = String, Path)),
    responses((status = 200, body = Bundle), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn show(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Json<Bundle>, Refusal> {
    Ok(Json(fleet.bundle(&actor, id).await?))
}

/// Delete a bundle
#[utoipa::path(
    delete, path = "/api/v1/bundles/{id}", tag = "bundles", params(("id" = String, Path), Force),
    responses(
        (status = 204),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "a deployment still needs it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Query(force): Query<Force>,
) -> Result<StatusCode, Refusal> {
    fleet
        .delete_bundle(&actor, id, force.project, force.force)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn begin(
    fleet: &Fleet,
    actor: &Actor,
    headers: &HeaderMap,
    expected: &mut Expected,
) -> Result<Upload, Refusal> {
    let project = named(expected.project.take())?;
    expected.project = Some(fleet.check_upload(actor, project).await?);
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .ok_or_else(|| {
            Refusal::new(
                StatusCode::LENGTH_REQUIRED,
                "length-required",
                "send the file's length as `Content-Length`",
            )
        })?;
    if expected.sha256.as_deref().is_some_and(|hash| !is_id(hash)) {
        return Err(Refusal::malformed("`sha256` is 64 lower-case hex digits"));
    }
    let bundles = fleet.bundles().clone();
    let begun = task::spawn_blocking(move || bundles.begin(announced)).await;
    Ok(begun.map_err(broken_off)??)
}

/// Reads the part of a refused body that is on its way. A client that is still sending when the connection closes sees a broken pipe
/// instead of the reason.
async fn linger(body: Body) {
    let mut body = body.into_data_stream();
    let mut left = LINGER_BYTES;
    let read = async {
        while let Some(Ok(piece)) = body.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    };
    // A client that sends slower than this reads the answer while it sends.
    let _: Result<(), _> = timeout(LINGER, read).await;
}

/// Writes the body to disk, on a thread that may block.
async fn receive(mut upload: Upload, body: Body) -> Result<Upload, Refusal> {
    let (pieces, mut waiting) = mpsc::channel(WAITING);
    let writer = task::spawn_blocking(move || {
        while let Some(piece) = waiting.blocking_recv() {
            upload.write(&piece)?;
        }
        Ok::<_, UploadError>(upload)
    });
    let mut body = body.into_data_stream();
    // After the end, a pause or a broken connection, the length shows whether bytes are missing.
    while let Ok(Some(Ok(piece))) = timeout(PAUSE, body.next()).await {
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    Ok(writer.await.map_err(broken_off)??)
}

fn broken_off(_: task::JoinError) -> Refusal {
    StoreError::Closed.into()
}

// === impl Refusal ===

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        let (status, kind) = match &error {
            UploadError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            UploadError::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
            UploadError::Incomplete { .. } => (StatusCode::BAD_REQUEST, "incomplete"),
            UploadError::Damaged { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "damaged"),
            UploadError::Manifest(_) => (StatusCode::UNPROCESSABLE_ENTITY, "not-a-usable-bundle"),
            UploadError::Io(error) => {
                tracing::error!(%error, "cannot store a bundle");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, kind, error)
    }
}

impl From<AddError> for Refusal {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Upload(error) => error.into(),
            AddError::Fleet(error) => error.into(),
        }
    }
}
