//! Pauses between tries.

use std::time::Duration;

/// First upper bound of a pause.
const FIRST: Duration = Duration::from_secs(1);

/// Exponential backoff with full jitter: each pause is random between nothing and a bound that doubles. A fleet that lost
/// its server thus does not come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
    max: Duration,
}

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new(max: Duration) -> Self {
        Self {
            bound: FIRST.min(max),
            max,
        }
    }

    pub(crate) fn next_pause(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(self.max);
        bound.mul_f64(random_fraction())
    }

    pub(crate) fn reset(&mut self) {
        self.bound = FIRST.min(self.max);
    }
}

/// Between 0 and 1. Without randomness (very early in a boot) half: only the spread suffers.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_doubles_up_to_the_maximum() {
        let max = Duration::from_secs(5);
        let mut backoff = Backoff::new(max);
        for bound in [1, 2, 4, 5, 5] {
            assert_eq!(backoff.bound, Duration::from_secs(bound));
            assert!(backoff.next_pause() <= Duration::from_secs(bound));
        }
        backoff.reset();
        assert_eq!(backoff.bound, FIRST);
    }
}
