//! The parts that all routes share: authentication, pages, problems (RFC 9457), byte ranges.

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

pub(crate) mod guard;
pub(crate) mod paging;
pub(crate) mod problem;
pub(crate) mod range;

pub(crate) use self::problem::Refusal;
use crate::fleet::Fleet;

/// Name of the session's cookie.
pub(crate) const COOKIE: &str = "homeport_session";

/// The state that handlers of requests use.
#[derive(Debug, Clone)]
pub struct App {
    /// The fleet.
    pub fleet: Fleet,
    /// Ends requests that would never end.
    pub shutdown: CancellationToken,
}

// === impl App ===

impl FromRef<App> for Fleet {
    fn from_ref(app: &App) -> Self {
        app.fleet.clone()
    }
}
