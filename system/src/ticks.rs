//! Ticks that wake the CPU once each. tokio's timers wake it three times for one of a minute, as their wheel hands them
//! down from level to level. Ticks fall on multiples of their period since the boot, so those of a minute and of five
//! come together.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

/// A tick at the end of each period, for ever. Missed ticks collapse into one.
#[derive(Debug)]
pub struct Ticks {
    period: Duration,
    /// A timerfd; none if the kernel has no such timers.
    timer: Option<AsyncFd<OwnedFd>>,
}

// === impl Ticks ===

impl Ticks {
    /// `period` must not be zero.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        let timer = start(period).inspect_err(|error| tracing::info!("no timerfd: {error}"));
        Self {
            period,
            timer: timer.ok(),
        }
    }

    /// Waits for the next tick. Cancel-safe.
    pub async fn next(&mut self) {
        let ticked = match &self.timer {
            Some(timer) => expired(timer).await.is_ok(),
            None => false,
        };
        if !ticked {
            sleep(self.period).await;
        }
    }
}

/// Waits until the timer expires, and reads how often it did: a timer that was read waits again.
async fn expired(timer: &AsyncFd<OwnedFd>) -> io::Result<()> {
    timer
        .async_io(Interest::READABLE, |timer| {
            let mut count = [0; size_of::<u64>()];
            Ok(rustix::io::read(timer, &mut count)?)
        })
        .await?;
    Ok(())
}

fn start(period: Duration) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).map_err(too_long)?;
    let setting = Itimerspec {
        it_interval: Timespec::try_from(period).map_err(too_long)?,
        it_value: Timespec::try_from(next_multiple(now, period)).map_err(too_long)?,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &setting)?;
    #[expect(
        deprecated,
        reason = "an OwnedFd keeps its file, so this is sound; its successor is unsafe to call"
    )]
    AsyncFd::with_interest(timer, Interest::READABLE)
}

/// The first multiple of `period` after `now`.
fn next_multiple(now: Duration, period: Duration) -> Duration {
    let into_period = now.as_nanos() % period.as_nanos().max(1);
    now + period.saturating_sub(Duration::from_nanos(u64::try_from(into_period).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn ticks_of_different_periods_share_their_moments() {
        let (now, minute) = (Duration::from_millis(91_234), Duration::from_secs(60));
        assert_eq!(next_multiple(now, minute), 2 * minute);
        assert_eq!(next_multiple(now, 5 * minute), 5 * minute);
        assert_eq!(next_multiple(2 * minute, minute), 3 * minute);
    }

    #[tokio::test]
    async fn a_tick_comes_each_period() {
        let period = Duration::from_millis(300);
        let start = Instant::now();
        let mut ticks = Ticks::every(period);
        assert!(ticks.timer.is_some());
        for _ in 0..3 {
            ticks.next().await;
        }
        // The first may come at once.
        assert!(start.elapsed() >= 2 * period);
    }
}
