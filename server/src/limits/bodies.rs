//! Deadlines for request bodies that come too slowly, and for answers that the client does not read.

use std::{
    collections::HashMap,
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use super::{
    Limits,
    places::{Place, Stage},
};

/// The requests of a connection, and the side that each waits for.
#[derive(Debug)]
pub(crate) struct Progress {
    limits: Limits,
    place: Arc<Place>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    served: bool,
    /// Requests under way, and the time since when each waits for its client to read more of the answer.
    requests: HashMap<u64, Option<Instant>>,
    next: u64,
    idle_since: Instant,
}

/// A request that is under way, until dropped.
#[derive(Debug)]
pub(crate) struct Request {
    progress: Arc<Progress>,
    id: u64,
}

/// A request's body, which has to come at a minimum rate.
pub(crate) struct Paced<B> {
    inner: B,
    rate: u32,
    grace: Duration,
    /// Time for which the client may still keep the server waiting.
    credit: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    unread: Unread,
}

/// Whether something of a request's body was not read.
#[derive(Debug, Clone)]
pub(crate) struct Unread(Arc<AtomicBool>);

/// An answer's body, which keeps its request under way.
pub(crate) struct Answer {
    inner: Body,
    request: Request,
}

// === impl Progress ===

impl Progress {
    pub(crate) fn new(limits: Limits, place: Arc<Place>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            place,
            state: Mutex::new(State {
                served: false,
                requests: HashMap::new(),
                next: 0,
                idle_since: Instant::now(),
            }),
        })
    }

    /// A request's head has come.
    pub(crate) fn begin(self: &Arc<Self>) -> Request {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.served = true;
        state.requests.insert(id, None);
        drop(state);
        self.place.reach(Stage::Busy);
        Request {
            progress: Arc::clone(self),
            id,
        }
    }

    /// Waits until a deadline has passed, and returns the reason to end the connection.
    pub(crate) async fn late(&self) -> &'static str {
        let mut check = tokio::time::interval(self.limits.check);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            check.tick().await;
            if let Some(phase) = self.overdue(Instant::now()) {
                return phase;
            }
        }
    }

    fn overdue(&self, now: Instant) -> Option<&'static str> {
        let state = self.state.lock();
        let since = |start: Instant| now.saturating_duration_since(start);
        if !state.requests.is_empty() {
            let mut stalled = state.requests.values().flatten();
            return stalled
                .any(|start| since(*start) >= self.limits.stall)
                .then_some("the client did not read an answer");
        }
        let (limit, phase) = if state.served {
            (self.limits.idle, "no further request came")
        } else {
            (self.limits.first_request, "no request came")
        };
        (since(state.idle_since) >= limit).then_some(phase)
    }
}

// === impl Request ===

impl Request {
    fn waits_for_client(&self, since: Option<Instant>) {
        self.progress.state.lock().requests.insert(self.id, since);
    }

    pub(crate) fn paced<B: hyper::body::Body>(&self, inner: B) -> Paced<B> {
        Paced::new(inner, &self.progress.limits)
    }

    pub(crate) fn answer(self, inner: Body) -> Answer {
        Answer { inner, request: self }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.progress.state.lock();
        state.requests.remove(&self.id);
        let idle = state.requests.is_empty();
        if idle {
            state.idle_since = Instant::now();
        }
        drop(state);
        if idle {
            self.progress.place.reach(Stage::Idle);
        }
    }
}

// === impl Paced ===

impl<B> Paced<B> {
    pub(crate) fn unread(&self) -> Unread {
        self.unread.clone()
    }
}

impl<B: hyper::body::Body> Paced<B> {
    fn new(inner: B, limits: &Limits) -> Self {
        Self {
            unread: Unread(Arc::new(AtomicBool::new(!inner.is_end_stream()))),
            inner,
            rate: limits.body_rate,
            grace: limits.body_grace,
            credit: limits.body_grace,
            waiting: None,
        }
    }
}

impl<B> hyper::body::Body for Paced<B>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some((since, _)) = this.waiting.take() {
                    this.credit = this.credit.saturating_sub(since.elapsed());
                }
                if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    let earned = Duration::from_secs(1) * length / self.rate.max(1);
                    self.credit = (self.credit + earned).min(self.grace);
                }
                if frame.is_none() || self.inner.is_end_stream() {
                    self.unread.0.store(false, Ordering::Relaxed);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let credit = this.credit;
                let (_, sleep) = this.waiting.get_or_insert_with(|| {
                    let now = Instant::now();
                    (now, Box::pin(tokio::time::sleep_until(now + credit)))
                });
                sleep.as_mut().poll(context).map(|()| {
                    let late = io::Error::new(io::ErrorKind::TimedOut, "the request's body came too slowly");
                    Some(Err(late.into()))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Unread ===

impl Unread {
    pub(crate) fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Answer ===

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        // If hyper asks for more, the client took everything. Once hyper has more, it is the client's turn.
        let turn = polled.is_ready().then(Instant::now);
        self.request.waits_for_client(turn);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// The result of a body of `pieces` chunks of `size` bytes, one each `pause`.
    async fn received(pieces: usize, size: usize, pause: Duration) -> Result<usize, axum::Error> {
        let chunks = Box::pin(stream::unfold(0, move |sent| async move {
            tokio::time::sleep(pause).await;
            (sent < pieces).then(|| (Ok::<_, io::Error>(Bytes::from(vec![0; size])), sent + 1))
        }));
        let body = Paced::new(Body::from_stream(chunks), &Limits::default());
        Ok(axum::body::to_bytes(Body::new(body), usize::MAX).await?.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_passes_at_the_minimum_rate() {
        let chunk = received(600, 10 * 1024, Duration::from_secs(10)).await;
        assert_eq!(chunk.unwrap(), 600 * 10 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_does_not() {
        let started = Instant::now();
        assert!(received(600, 1, Duration::from_secs(1)).await.is_err());
        assert!(started.elapsed() < Duration::from_secs(32));
    }
}
