//! Budgets of one device: token buckets.

use std::{collections::HashMap, time::Duration};

use homeport_protocol::DeviceId;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// Time in which the bucket of samples fills up. So large a bucket lets a device send at once what it collected while it was away.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reports and connections of one device at once: a device that was away for weeks sends a hundred local installs, and an update.
const REPORTS: u32 = 300;

/// Time in which that bucket fills up: one a second.
const REPORTS_PERIOD: Duration = Duration::from_secs(300);

/// Progress messages of one device's update at once.
const PROGRESS: u32 = 120;

/// Time in which that bucket fills up: two a second. The agent sends one a second.
const PROGRESS_PERIOD: Duration = Duration::from_secs(60);

/// Number of buckets above which full ones are forgotten: a full bucket equals a new one.
const REMEMBERED: usize = 10_000;

/// The budgets of all devices.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// Samples that are stored. A message without any counts as one.
    pub(crate) samples: Budget,
    /// Messages that cost a transaction: reports and connections.
    pub(crate) reports: Budget,
    /// Messages that cost a query and wake all watchers.
    pub(crate) progress: Budget,
}

/// A bucket for each device.
#[derive(Debug)]
pub(crate) struct Budget {
    size: f64,
    /// The time in which an empty bucket fills up, in seconds.
    period: f64,
    buckets: Mutex<HashMap<DeviceId, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

// === impl Budgets ===

impl Budgets {
    pub(crate) fn new(samples_per_day: u32) -> Self {
        Self {
            samples: Budget::new(samples_per_day, DAY),
            reports: Budget::new(REPORTS, REPORTS_PERIOD),
            progress: Budget::new(PROGRESS, PROGRESS_PERIOD),
        }
    }
}

// === impl Budget ===

impl Budget {
    fn new(size: u32, period: Duration) -> Self {
        Self {
            size: f64::from(size),
            period: period.as_secs_f64(),
            buckets: Mutex::default(),
        }
    }

    /// Takes `amount` from the device's budget.
    ///
    /// # Errors
    ///
    /// The time until the bucket holds enough. Nothing is taken then.
    pub(crate) fn take(&self, device: &DeviceId, amount: usize) -> Result<(), Duration> {
        let (now, amount) = (Instant::now(), number(amount));
        let mut buckets = self.buckets.lock();
        if buckets.len() >= REMEMBERED && !buckets.contains_key(device) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.size);
        }
        let bucket = buckets.entry(device.clone()).or_insert(Bucket {
            left: self.size,
            at: now,
        });
        *bucket = Bucket {
            left: self.filled(*bucket, now),
            at: now,
        };
        // An amount larger than the bucket passes when the bucket is full: it would never pass otherwise.
        let missing = amount.min(self.size) - bucket.left;
        if missing > 0.0 {
            let wait = Duration::try_from_secs_f64(missing * self.period / self.size);
            return Err(wait.unwrap_or(Duration::MAX));
        }
        bucket.left -= amount;
        Ok(())
    }

    /// Takes one as soon as the bucket holds one. A future that is dropped earlier takes nothing.
    pub(crate) async fn wait(&self, device: &DeviceId) {
        while let Err(wait) = self.take(device, 1) {
            sleep(wait).await;
        }
    }

    /// Gives back an amount that was taken and not used.
    pub(crate) fn give_back(&self, device: &DeviceId, amount: usize) {
        if let Some(bucket) = self.buckets.lock().get_mut(device) {
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
        let budget = Budget::new(1000, DAY);
        let (one, other) = (
            "aaaaaaaaaaaaaaaa".parse().unwrap(),
            "bbbbbbbbbbbbbbbb".parse().unwrap(),
        );
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
    async fn who_waits_gets_one_at_its_time() {
        let budget = Budget::new(3, Duration::from_secs(3));
        let device = "aaaaaaaaaaaaaaaa".parse().unwrap();
        let start = Instant::now();
        for _ in 0..10 {
            budget.wait(&device).await;
        }
        assert_eq!(start.elapsed().as_secs(), 7);
    }
}
