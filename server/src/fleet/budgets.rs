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

/// Reports on calls of one device at once. There are two for each call, which an operator asked for.
const CALLS: u32 = 300;

/// Time in which that bucket fills up: five a second.
const CALLS_PERIOD: Duration = Duration::from_secs(60);

/// Bytes of output of one device's calls at once.
const OUTPUT: u32 = 4 * 1024 * 1024;

/// Time in which that bucket fills up: 64 KiB a second.
const OUTPUT_PERIOD: Duration = Duration::from_secs(64);

/// Commands that one person requests at once.
const COMMANDS: u32 = 120;

/// Time in which that bucket fills up: one a second.
const COMMANDS_PERIOD: Duration = Duration::from_secs(120);

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
    /// Reports that calls have begun and ended.
    pub(crate) calls: Budget<DeviceId>,
    /// Bytes that calls write. A message counts as a kilobyte at least.
    pub(crate) output: Budget<DeviceId>,
    /// Commands that a person requests, by the user's row.
    pub(crate) commands: Budget<i64>,
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
            calls: Budget::new(CALLS, CALLS_PERIOD),
            output: Budget::new(OUTPUT, OUTPUT_PERIOD),
            commands: Budget::new(COMMANDS, COMMANDS_PERIOD),
            progress: Budget::new(PROGRESS, PROGRESS_PERIOD),
            own: Budget::new(OWN, OWN_PERIOD),
        }
    }
}
