//! Token buckets: how much of something each of many may do.

use std::{collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// Number of buckets above which full ones are forgotten: a full bucket equals a new one.
const REMEMBERED: usize = 10_000;

/// A bucket for each device, or person.
#[derive(Debug)]
pub(crate) struct Budget<K> {
    size: f64,
    /// The time in which an empty bucket fills up, in seconds.
    period: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

// === impl Budget ===

impl<K: Hash + Eq + Clone> Budget<K> {
    pub(crate) fn new(size: u32, period: Duration) -> Self {
        Self {
            size: f64::from(size),
            period: period.as_secs_f64(),
            buckets: Mutex::default(),
        }
    }

    /// Takes `amount` from the budget of `key`.
    ///
    /// # Errors
    ///
    /// The time until the bucket holds enough. Nothing is taken then.
    pub(crate) fn take(&self, key: &K, amount: usize) -> Result<(), Duration> {
        let amount = number(amount);
        self.with_bucket(key, |left| {
            // An amount larger than the bucket passes when the bucket is full: it would never pass otherwise.
            let missing = amount.min(self.size) - *left;
            if missing > 0.0 {
                let wait = Duration::try_from_secs_f64(missing * self.period / self.size);
                return Err(wait.unwrap_or(Duration::MAX));
            }
            *left -= amount;
            Ok(())
        })
    }

    /// Takes `amount` in any case. What the bucket does not hold is missing later.
    pub(crate) fn charge(&self, key: &K, amount: usize) {
        self.with_bucket(key, |left| *left -= number(amount));
    }

    /// Lets `use_it` change what the bucket of `key` holds now.
    fn with_bucket<T>(&self, key: &K, use_it: impl FnOnce(&mut f64) -> T) -> T {
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        if buckets.len() >= REMEMBERED && !buckets.contains_key(key) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.size);
        }
        let bucket = buckets.entry(key.clone()).or_insert(Bucket {
            left: self.size,
            at: now,
        });
        *bucket = Bucket {
            left: self.filled(*bucket, now),
            at: now,
        };
        use_it(&mut bucket.left)
    }

    /// Takes `amount` as soon as the bucket holds it. A future that is dropped earlier takes nothing.
    pub(crate) async fn wait(&self, key: &K, amount: usize) {
        while let Err(wait) = self.take(key, amount) {
            sleep(wait).await;
        }
    }

    /// Gives back an amount that was taken and not used.
    pub(crate) fn give_back(&self, key: &K, amount: usize) {
        if let Some(bucket) = self.buckets.lock().get_mut(key) {
            bucket.left = (bucket.left + number(amount)).min(self.size);
        }
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + seconds * self.size / self.period).min(self.size)
    }
}

fn number(amount: usize) -> f64 {
    f64::from(u32::try_from(amount).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_fills_up_over_a_day() {
        let budget = Budget::new(1000, Duration::from_secs(24 * 60 * 60));
        let (one, other) = (1, 2);
        assert!(budget.take(&one, 600).is_ok());
        assert!(budget.take(&one, 600).is_err());
        assert!(budget.take(&one, 400).is_ok(), "what is refused costs nothing");
        assert!(budget.take(&one, 1).is_err());
        assert!(budget.take(&other, 1000).is_ok(), "others are not touched");
        tokio::time::advance(Duration::from_secs(12 * 60 * 60)).await;
        assert!(budget.take(&one, 499).is_ok());
        assert!(budget.take(&one, 499).is_err());
        tokio::time::advance(Duration::from_secs(48 * 60 * 60)).await;
        assert!(budget.take(&one, 1000).is_ok(), "a day's");
        assert!(budget.take(&one, 1).is_err(), "and never more");
        budget.give_back(&one, 10);
        assert!(budget.take(&one, 10).is_ok());
        assert!(budget.take(&one, 1).is_err());
        tokio::time::advance(Duration::from_secs(48 * 60 * 60)).await;
        assert!(
            budget.take(&one, 1500).is_ok(),
            "one message may be larger than a day's amount"
        );
        tokio::time::advance(Duration::from_secs(6 * 60 * 60)).await;
        assert!(budget.take(&one, 1).is_err(), "which is paid off first");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_charged_is_missing_later() {
        let budget = Budget::new(10, Duration::from_secs(10));
        budget.charge(&1, 25);
        assert_eq!(budget.take(&1, 1), Err(Duration::from_secs(16)));
        tokio::time::advance(Duration::from_secs(16)).await;
        assert!(budget.take(&1, 1).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_one_at_its_time() {
        let budget = Budget::new(3, Duration::from_secs(3));
        let start = Instant::now();
        for _ in 0..10 {
            budget.wait(&1, 1).await;
        }
        assert_eq!(start.elapsed().as_secs(), 7);
    }
}
