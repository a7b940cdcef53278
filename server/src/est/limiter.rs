//! A rate limit for wrong tokens. Right ones always pass: nobody guesses 160 bits, so the limit only protects the log and the database.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::network;

/// Failures that a source may have in one [`WINDOW`].
const MAX_FAILURES: u32 = 20;

/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);

/// Sources that are remembered at a time. While the table is full, a failure of any other source counts as too many.
const MAX_SOURCES: usize = 4096;

/// Counts failures by source: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer has.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

// === impl Limiter ===

impl Limiter {
    /// Notes a failure. If its source has had too many, returns how long it should wait.
    pub(super) fn failed(&self, source: IpAddr) -> Option<Duration> {
        let mut sources = self.0.lock();
        let source = network(source);
        if sources.len() >= MAX_SOURCES && !sources.contains_key(&source) {
            sources.retain(|_, failures| failures.remaining().is_some());
            if sources.len() >= MAX_SOURCES {
                return Some(WINDOW);
            }
        }
        let failures = sources.entry(source).or_insert_with(Failures::none);
        if failures.remaining().is_none() {
            *failures = Failures::none();
        }
        failures.count = failures.count.saturating_add(1);
        (failures.count > MAX_FAILURES)
            .then(|| failures.remaining())
            .flatten()
    }
}

// === impl Failures ===

impl Failures {
    fn none() -> Self {
        Self {
            since: Instant::now(),
            count: 0,
        }
    }

    fn remaining(&self) -> Option<Duration> {
        WINDOW
            .checked_sub(self.since.elapsed())
            .filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_after_a_while() {
        let limiter = Limiter::default();
        let source = "192.0.2.1".parse().unwrap();
        for _ in 0..MAX_FAILURES {
            assert_eq!(limiter.failed(source), None);
        }
        assert_eq!(limiter.failed(source), Some(WINDOW));
        assert_eq!(limiter.failed("192.0.2.2".parse().unwrap()), None);
        tokio::time::advance(WINDOW).await;
        assert_eq!(limiter.failed(source), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_64_bits_is_one_source() {
        let limiter = Limiter::default();
        for host in 0..MAX_FAILURES {
            limiter.failed(format!("2001:db8::{host:x}").parse().unwrap());
        }
        assert!(limiter.failed("2001:db8::ffff".parse().unwrap()).is_some());
        assert!(limiter.failed("2001:db8:0:1::1".parse().unwrap()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_has_an_end() {
        let limiter = Limiter::default();
        for host in 0..u32::try_from(MAX_SOURCES).unwrap() {
            assert_eq!(limiter.failed(IpAddr::from(host.to_be_bytes())), None);
        }
        let newcomer = "2001:db8::1".parse().unwrap();
        assert!(limiter.failed(newcomer).is_some());
        assert_eq!(limiter.0.lock().len(), MAX_SOURCES);
        tokio::time::advance(WINDOW).await;
        assert_eq!(limiter.failed(newcomer), None);
    }
}
