//! Time on devices whose clock may not have been set yet.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::DateTime;

/// When this program was built, seconds since 1970. No correct clock is behind it.
const BUILD_TIME: &str = env!("HOMEPORT_BUILD_TIME");

/// Seconds since 1970, but never before this program was built.
pub(crate) fn not_before_build() -> Duration {
    since_epoch().max(build_time())
}

/// Whether the system's clock is obviously wrong.
pub(crate) fn is_unset() -> bool {
    since_epoch() < build_time()
}

/// The system's clock, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// The system's clock for people: `2026-11-26T23:50:00Z`.
pub(crate) fn now_utc() -> String {
    DateTime::from_unix_duration(since_epoch())
        .map_or_else(|_| "a year after 9999".to_owned(), |now| now.to_string())
}

/// When this program was built, milliseconds since 1970.
pub(crate) fn build_time_ms() -> i64 {
    i64::try_from(build_time().as_millis()).unwrap_or(i64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn build_time() -> Duration {
    Duration::from_secs(BUILD_TIME.parse().unwrap_or(0))
}
