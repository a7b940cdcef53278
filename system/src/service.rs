//! This process as systemd sees it: ready, alive, and in what state (sd_notify(3)). Without systemd all this does nothing.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{sync::Notify, time::Instant};
use tracing::error;

use crate::Ticks;

/// Times that systemd is told in one `WatchdogSec`: what sd_watchdog_enabled(3) recommends. Each wakes the CPU.
const NOTIFICATIONS: u32 = 2;

/// Longest time without a beat before the watchdog is left to bark, beyond the time between two questions and the longest
/// step of the work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Signs of life of the loop that all work passes through. It is asked for them, so that it needs no timer.
#[derive(Debug)]
pub struct Heartbeat {
    start: Instant,
    /// Seconds from `start` to the last beat.
    last: AtomicU32,
    asked: Notify,
}

/// Tells systemd that this process is up.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that this process is going down.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// The line that `systemctl status` shows.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Keeps systemd's watchdog quiet for as long as the heart beats; `longest_step` is the longest that one step of the
/// work may take.
pub async fn watch(heartbeat: &Heartbeat, longest_step: Duration) {
    let mut microseconds = 0;
    if !sd_notify::watchdog_enabled(false, &mut microseconds) {
        return std::future::pending().await;
    }
    let period = Duration::from_micros(microseconds) / NOTIFICATIONS;
    let mut ticks = Ticks::every(period);
    loop {
        if heartbeat.age() < period + longest_step + PATIENCE {
            notify(&[NotifyState::Watchdog]);
        } else {
            error!("no work is done any more; the watchdog will restart this process");
        }
        heartbeat.ask();
        ticks.next().await;
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // Without a listener there is nobody to tell that there is nobody to tell.
    let _ = sd_notify::notify(false, state);
}

// === impl Heartbeat ===

impl Heartbeat {
    /// It beats for the first time now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU32::new(0),
            asked: Notify::new(),
        }
    }

    /// Asks whether work goes on.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Returns when somebody wants to know whether work goes on.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Work goes on.
    pub fn beat(&self) {
        let now = u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Time since the last beat, to a second.
    #[must_use]
    pub fn age(&self) -> Duration {
        let last = Duration::from_secs(self.last.load(Ordering::Relaxed).into());
        self.start.elapsed().saturating_sub(last)
    }
}
