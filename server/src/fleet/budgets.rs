//! Budgets of devices and of people.

use std::time::Duration;

use homeport_protocol::DeviceId;

use crate::limits::budget::Budget;

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

/// Entries in the audit record that one person causes with no permission, at once: logins, own passwords and access tokens.
const OWN: u32 = 200;

/// Time in which that bucket fills up: one a minute.
const OWN_PERIOD: Duration = Duration::from_secs(200 * 60);

/// The budgets of all devices and people.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// Samples that are stored. A message without any counts as one.
    pub(crate) samples: Budget<DeviceId>,
    /// Messages that cost a transaction: reports and connections.
    pub(crate) reports: Budget<DeviceId>,
    /// Messages that cost a query and wake all watchers.
    pub(crate) progress: Budget<DeviceId>,
    /// What a person does to the own account, by the user's row. It is in the audit record for long.
    pub(crate) own: Budget<i64>,
}

// === impl Budgets ===

impl Budgets {
    pub(crate) fn new(samples_per_day: u32) -> Self {
        Self {
            samples: Budget::new(samples_per_day, DAY),
            reports: Budget::new(REPORTS, REPORTS_PERIOD),
            progress: Budget::new(PROGRESS, PROGRESS_PERIOD),
            own: Budget::new(OWN, OWN_PERIOD),
        }
    }
}
