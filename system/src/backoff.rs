//! Waits between attempts: exponential, with full jitter, so that a fleet does not come back all at once.

use std::time::Duration;

/// Doubling beyond this changes nothing: 2^16 of any sensible shortest wait is above any sensible longest one.
const MAX_DOUBLINGS: u32 = 16;

/// Longest first wait of [`Backoff::up_to`].
const FIRST: Duration = Duration::from_secs(1);

/// A growing wait. Each is a random part of a limit that doubles from attempt to attempt.
#[derive(Debug)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    attempt: u32,
}

// === impl Backoff ===

impl Backoff {
    /// The first wait is at most `shortest`; none is longer than `longest`, unless `shortest` is.
    #[must_use]
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            attempt: 0,
        }
    }

    /// Begins with at most a second; no wait is longer than `longest`.
    #[must_use]
    pub fn up_to(longest: Duration) -> Self {
        Self::new(FIRST.min(longest), longest)
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let limit = self.limit();
        self.attempt = (self.attempt + 1).min(MAX_DOUBLINGS);
        // Without random numbers the whole limit is waited: late, but never a stampede in step with the others.
        let share = getrandom::u32().unwrap_or(u32::MAX);
        limit.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// Starts again from the shortest wait.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    fn limit(&self) -> Duration {
        self.shortest
            .saturating_mul(1 << self.attempt)
            .min(self.longest.max(self.shortest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let mut limits = Vec::new();
        for _ in 0..40 {
            let limit = backoff.limit();
            assert!(backoff.next_wait() <= limit);
            limits.push(limit.as_secs());
        }
        assert_eq!(limits[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(limits[39], 300);
        backoff.reset();
        assert_eq!(backoff.limit(), Duration::from_secs(1));
    }

    #[test]
    fn a_longest_wait_below_the_first_one_counts() {
        let mut backoff = Backoff::up_to(Duration::from_millis(20));
        for _ in 0..3 {
            assert_eq!(backoff.limit(), Duration::from_millis(20));
            backoff.next_wait();
        }
        assert_eq!(Backoff::up_to(Duration::from_secs(5)).limit(), FIRST);
    }

    #[test]
    fn waits_differ() {
        let waits = || Backoff::new(Duration::from_secs(300), Duration::from_secs(300)).next_wait();
        assert!((0..8).map(|_| waits()).any(|wait| wait != waits()));
    }
}
