//! Commands.

use std::convert::Infallible;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    response::Response,
};
use futures_util::stream;
use homeport_api::{Command, CommandKind, CommandRun, NewCommand, OutputLine, Page, Problem, RunState};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Told;
use crate::fleet::{Fleet, RECHECK};
use crate::http::{
    App, Refusal,
    guard::Caller,
    paging::{PageParameters, Wanted},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfDevice {
    /// Id of a device: what its policy says comes with each command.
    device: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct InState {
    /// Only runs in this state.
    state: Option<RunState>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// Place of the first byte that is wanted. Without it, 0.
    from: Option<u64>,
    /// Whether to go on until the run has ended.
    follow: Option<bool>,
}

/// Commands that there are, with the JSON Schemas of their arguments and results
#[utoipa::path(
    get, path = "/api/v1/command-kinds", tag = "commands", params(OfDevice),
    responses((status = 200, body = Vec<CommandKind>), (status = 404, description = "no such device", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn kinds(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Query(wanted): Query<OfDevice>,
) -> Result<Json<Vec<CommandKind>>, Refusal> {
    Ok(Json(fleet.command_kinds(&actor, wanted.device).await?))
}

/// Requested commands, newest first
#[utoipa::path(get, path = "/api/v1/commands", tag = "commands", params(PageParameters), responses((status = 200, body = Page<Command>)))]
pub(crate) async fn list(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<Command>>, Refusal> {
    Ok(Json(fleet.commands(&actor, paging).await?))
}

/// Have devices run a command
///
/// A device runs a command at most once, unless it only looks. One that is not connected gets it when it connects, until it expires.
#[utoipa::path(
    post, path = "/api/v1/commands", tag = "commands", request_body = NewCommand,
    responses(
        (status = 201, body = Command),
        (status = 404, description = "no such device or group", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "the device is revoked, or too many commands wait for it", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "no such command, or not its arguments", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "this person requests commands too often", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Json(new): Json<NewCommand>,
) -> Result<(StatusCode, Json<Command>), Refusal> {
    let command = fleet.run_command(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(command)))
}

/// One requested command
#[utoipa::path(
    get, path = "/api/v1/commands/{id}", tag = "commands", params(("id" = u64, Path)),
    responses((status = 200, body = Command), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn show(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<u64>,
) -> Result<Json<Command>, Refusal> {
    Ok(Json(fleet.command(&actor, id).await?))
}

/// Runs of a command, without their results
#[utoipa::path(
    get, path = "/api/v1/commands/{id}/devices", tag = "commands", params(("id" = u64, Path), InState, PageParameters),
    responses((status = 200, body = Page<CommandRun>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn runs(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<u64>,
    Query(wanted): Query<InState>,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<CommandRun>>, Refusal> {
    Ok(Json(fleet.command_runs(&actor, id, wanted.state, paging).await?))
}

/// The run of a command on a device, with its result
#[utoipa::path(
    get, path = "/api/v1/commands/{id}/devices/{device}", tag = "commands", params(("id" = u64, Path), ("device" = String, Path)),
    responses((status = 200, body = CommandRun), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn run(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path((id, device)): Path<(u64, String)>,
) -> Result<Json<CommandRun>, Refusal> {
    Ok(Json(fleet.command_run(&actor, id, device).await?))
}

/// The output of a run, as lines of JSON
///
/// The first line is the run, and so is the last. With `follow`, the answer goes on until the run has ended; empty lines keep it open. It also
/// ends when the user's rights change. A place that lies ahead of the last byte means that the server has forgotten what was between.
#[utoipa::path(
    get, path = "/api/v1/commands/{id}/devices/{device}/output", tag = "commands", params(("id" = u64, Path), ("device" = String, Path), Part),
    responses(
        (status = 200, body = OutputLine, content_type = "application/x-ndjson"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "this person has too many streams open", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn output(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((id, device)): Path<(u64, String)>,
    Query(part): Query<Part>,
) -> Result<Response, Refusal> {
    let (from, follow) = (part.from.unwrap_or(0), part.follow.unwrap_or(false));
    let follower = app.fleet.output(&actor, id, device, from, follow).await?;
    let follower = follower.ok_or_else(|| Refusal::too_many_streams(RECHECK))?;
    let lines = stream::unfold((follower, app.shutdown), |(mut follower, shutdown)| async move {
        let told = shutdown.run_until_cancelled(follower.next()).await??;
        let mut line = match told {
            // Our own types always encode: their maps have text as keys.
            Told::Line(line) => serde_json::to_vec(&line).unwrap_or_default(),
            Told::Nothing => Vec::new(),
        };
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), (follower, shutdown)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}

/// Cancel a command on the devices where it has not ended
#[utoipa::path(
    post, path = "/api/v1/commands/{id}/cancel", tag = "commands", params(("id" = u64, Path)),
    responses(
        (status = 200, body = Command),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "it has ended everywhere", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<u64>,
) -> Result<Json<Command>, Refusal> {
    Ok(Json(fleet.cancel_command(&actor, id).await?))
}

/// Runs of commands on a device, newest first, without their results
#[utoipa::path(
    get, path = "/api/v1/devices/{id}/commands", tag = "commands", params(("id" = String, Path), PageParameters),
    responses((status = 200, body = Page<CommandRun>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn of_device(
    State(fleet): State<Fleet>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    Wanted(paging): Wanted<u64>,
) -> Result<Json<Page<CommandRun>>, Refusal> {
    Ok(Json(fleet.device_commands(&actor, id, paging).await?))
}
