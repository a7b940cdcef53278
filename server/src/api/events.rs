//! Live events, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{Sse, sse},
};
use futures_util::{Stream, stream};
use homeport_api::{Event, Problem};

use crate::{
    fleet::RECHECK,
    http::{App, Refusal, guard::Caller},
};

/// How often the server sends a comment on a silent stream, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events from now on
///
/// Each `data:` is the JSON of an event that the user may see. After `resync`, fetch everything again: events were lost. The stream ends when
/// the user's rights change: connect again, and fetch everything again.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    responses(
        (status = 200, body = Event, content_type = "text/event-stream"),
        (status = 429, description = "this person has too many streams open", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn follow(
    State(app): State<App>,
    Caller(actor): Caller,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let feed = app.fleet.follow(&actor).await?;
    let feed = feed.ok_or_else(|| Refusal::too_many_streams(RECHECK))?;
    let events = stream::unfold((feed, app.shutdown), |(mut feed, shutdown)| async move {
        let event = shutdown.run_until_cancelled(feed.next()).await??;
        Some((Ok(sse::Event::default().data(event)), (feed, shutdown)))
    });
    Ok(Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)))
}
