//! Live events, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{Sse, sse},
};
use futures_util::{Stream, stream};
use homeport_api::{Event, Problem};
use http::StatusCode;
use tokio::time::{self, Interval};
use tokio_util::sync::CancellationToken;

use crate::{
    fleet::{Fleet, Watcher},
    http::{App, Refusal, guard::Operator},
    limits::STREAMS_BY_PERSON,
    people::Credential,
};

/// How often the server sends a comment on a silent stream, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often the server checks again that a stream's user is still logged in.
const RECHECK: Duration = Duration::from_secs(30);

struct Feed {
    watcher: Watcher,
    fleet: Fleet,
    credential: Credential,
    recheck: Interval,
    shutdown: CancellationToken,
}

/// Events from now on
///
/// Each `data:` is the JSON of an event. After `resync`, fetch everything again: events were lost.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    responses(
        (status = 200, body = Event, content_type = "text/event-stream"),
        (status = 429, description = "this person has too many streams open", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn follow(
    State(app): State<App>,
    Operator(credential): Operator,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let watcher = app.fleet.watch(&credential.user).ok_or_else(too_many)?;
    let feed = Feed {
        watcher,
        fleet: app.fleet,
        credential,
        recheck: time::interval(RECHECK),
        shutdown: app.shutdown,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok(sse::Event::default().data(event)), feed))
    });
    Ok(Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)))
}

fn too_many() -> Refusal {
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-streams",
        format_args!(
            "you have {STREAMS_BY_PERSON} event streams open already: close a tab or a program that follows events"
        ),
    )
    .retry_after(RECHECK.as_secs())
}

// === impl Feed ===

impl Feed {
    async fn next(&mut self) -> Option<std::sync::Arc<str>> {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                event = self.watcher.next() => return event,
                _ = self.recheck.tick() => {
                    if !self.fleet.is_logged_in(&self.credential).await.unwrap_or(false) {
                        return None;
                    }
                }
            }
        }
    }
}
