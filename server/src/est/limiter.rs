//! A brake on guessing.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures that a source may have in one [`WINDOW`].
const MAX_FAILURES: u32 = 20;

/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);

/// Sources that are remembered at a time. While there are more, new ones wait.
const MAX_SOURCES: usize = 4096;

/// Counts failures by where they come from: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer has.
#[derive(Debug, Default)]
pub(super) struct Limiter(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

// === impl Limiter ===

impl Limiter {
    /// How long a source has to wait before it may try again, if it has to.
    pub(super) fn wait(&self, source: IpAddr) -> Option<Duration> {
        let mut sources = self.0.lock();
        match sources.get(&network(source)) {
            Some(failures) if failures.count >= MAX_FAILURES => failures.remaining(),
            Some(_) => None,
            None if sources.len() < MAX_SOURCES => None,
            None => {
                sources.retain(|_, failures| failures.remaining().is_some());
                (sources.len() >= MAX_SOURCES).then_some(WINDOW)
            }
        }
    }

    /// Notes a failure.
    pub(super) fn failed(&self, source: IpAddr) {
        let mut sources = self.0.lock();
        let failures = sources.entry(network(source)).or_insert_with(Failures::none);
        if failures.remaining().is_none() {
            *failures = Failures::none();
        }
        failures.count += 1;
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

fn network(address: IpAddr) -> IpAddr {
    let canonical = address.to_canonical();
    match canonical {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        IpAddr::V4(_) => canonical,
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
            assert_eq!(limiter.wait(source), None);
            limiter.failed(source);
        }
        assert_eq!(limiter.wait(source), Some(WINDOW));
        assert_eq!(limiter.wait("192.0.2.2".parse().unwrap()), None);
        tokio::time::advance(WINDOW).await;
        assert_eq!(limiter.wait(source), None);
        limiter.failed(source);
        assert_eq!(limiter.wait(source), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_64_bits_is_one_source() {
        let limiter = Limiter::default();
        for host in 0..MAX_FAILURES {
            limiter.failed(format!("2001:db8::{host:x}").parse().unwrap());
        }
        assert!(limiter.wait("2001:db8::ffff".parse().unwrap()).is_some());
        assert!(limiter.wait("2001:db8:0:1::1".parse().unwrap()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let limiter = Limiter::default();
        for host in 0..u32::try_from(MAX_SOURCES).unwrap() {
            limiter.failed(IpAddr::from(host.to_be_bytes()));
        }
        let newcomer = "192.0.2.1".parse().unwrap();
        assert!(limiter.wait(newcomer).is_some());
        tokio::time::advance(WINDOW).await;
        assert_eq!(limiter.wait(newcomer), None);
    }
}
