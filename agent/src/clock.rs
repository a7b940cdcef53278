//! Time on devices whose clock may not have been set yet.

use std::time::Duration;

use der::DateTime;
use homeport_system::clock::since_epoch;

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

/// The system's clock for people.
pub(crate) fn now_utc() -> String {
    utc(since_epoch())
}

/// A time since 1970 for people: `2026-11-26T23:50:00Z`.
pub(crate) fn utc(since_epoch: Duration) -> String {
    DateTime::from_unix_duration(since_epoch)
        .map_or_else(|_| "a year after 9999".to_owned(), |time| time.to_string())
}

/// When this program was built, milliseconds since 1970.
pub(crate) fn build_time_ms() -> i64 {
    i64::try_from(build_time().as_millis()).unwrap_or(i64::MAX)
}

fn build_time() -> Duration {
    Duration::from_secs(BUILD_TIME.parse().unwrap_or(0))
}
