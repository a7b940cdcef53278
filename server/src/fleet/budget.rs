//! How much telemetry one device may have stored: a bucket of samples that fills up over a day.

use std::collections::HashMap;

use homeport_protocol::DeviceId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A bucket is as large as what flows into it in this time, in seconds: what a device collected while it was away.
const DAY: f64 = 24.0 * 60.0 * 60.0;

/// Buckets above which full ones are forgotten: they say no more than none.
const REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub(super) struct Budget {
    samples_per_day: f64,
    buckets: Mutex<HashMap<DeviceId, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(samples_per_day: u32) -> Self {
        Self {
            samples_per_day: f64::from(samples_per_day),
            buckets: Mutex::default(),
        }
    }

    /// Takes `samples` from what the device may have stored; whether there were as many.
    pub(super) fn take(&self, device: &DeviceId, samples: usize) -> bool {
        let (now, wanted) = (
            Instant::now(),
            f64::from(u32::try_from(samples).unwrap_or(u32::MAX)),
        );
        let mut buckets = self.buckets.lock();
        if buckets.len() >= REMEMBERED && !buckets.contains_key(device) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.samples_per_day);
        }
        let bucket = buckets.entry(device.clone()).or_insert(Bucket {
            left: self.samples_per_day,
            at: now,
        });
        *bucket = Bucket {
            left: self.filled(*bucket, now),
            at: now,
        };
        // What is more than a day's amount passes when nothing was taken: it would never pass otherwise.
        let enough = bucket.left >= wanted.min(self.samples_per_day);
        if enough {
            bucket.left -= wanted;
        }
        enough
    }

    /// Gives back what was taken for samples that were not stored.
    pub(super) fn give_back(&self, device: &DeviceId, samples: usize) {
        if let Some(bucket) = self.buckets.lock().get_mut(device) {
            let given = f64::from(u32::try_from(samples).unwrap_or(u32::MAX));
            bucket.left = (bucket.left + given).min(self.samples_per_day);
        }
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + seconds * self.samples_per_day / DAY).min(self.samples_per_day)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_fills_up_over_a_day() {
        let budget = Budget::new(1000);
        let (one, other) = (
            "aaaaaaaaaaaaaaaa".parse().unwrap(),
            "bbbbbbbbbbbbbbbb".parse().unwrap(),
        );
        assert!(budget.take(&one, 600));
        assert!(!budget.take(&one, 600));
        assert!(budget.take(&one, 400), "what is refused costs nothing");
        assert!(!budget.take(&one, 1));
        assert!(budget.take(&other, 1000), "others are not touched");
        tokio::time::advance(Duration::from_secs(12 * 60 * 60)).await;
        assert!(budget.take(&one, 499));
        assert!(!budget.take(&one, 499));
        tokio::time::advance(Duration::from_secs(48 * 60 * 60)).await;
        assert!(budget.take(&one, 1000), "a day's");
        assert!(!budget.take(&one, 1), "and never more");
        budget.give_back(&one, 10);
        assert!(budget.take(&one, 10));
        assert!(!budget.take(&one, 1));
        tokio::time::advance(Duration::from_secs(48 * 60 * 60)).await;
        assert!(
            budget.take(&one, 1500),
            "one message may be larger than a day's amount"
        );
        tokio::time::advance(Duration::from_secs(6 * 60 * 60)).await;
        assert!(!budget.take(&one, 1), "which is paid off first");
    }
}
