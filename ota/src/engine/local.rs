//! Updates that did not come through us: a USB stick, `rauc install` by hand.

use std::time::Duration;

use homeport_protocol::report::LocalInstall;
use homeport_system::{Backoff, clock::now_ms};
use tokio::time::{Instant, sleep};

use super::core::{Core, lock};
use crate::{
    Backend, ReportSink,
    backend::{InstallEnded, SlotStatus},
    state::{Installation, LocalTrial, Outgoing, Persisted},
};

/// The end of our own installation is told to two listeners; the second one may be so much later.
const OWN_GRACE: Duration = Duration::from_secs(3);
/// Longest pause before a backend that went away is listened to again.
const MAX_PAUSE: Duration = Duration::from_secs(60);

// === impl Core ===

impl<B: Backend, S: ReportSink> Core<B, S> {
    /// Reports installations by others as they end. Runs for ever.
    pub(super) async fn watch_local_installs(&self) {
        let mut backoff = Backoff::up_to(MAX_PAUSE);
        loop {
            match self.backend.changed().await {
                Ok(ended) => {
                    backoff.reset();
                    if !self.is_own_install() {
                        self.local_install_ended(ended).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the backend cannot be listened to");
                    sleep(backoff.next_wait()).await;
                }
            }
        }
    }

    /// Compares the slots with what is known of them, and reports what somebody else installed.
    pub(super) async fn find_local_installs(&self) {
        let slots = match self.slots().await {
            Ok(slots) => slots,
            Err(error) => {
                tracing::warn!(%error, "the slots cannot be read");
                return;
            }
        };
        let now = Installation::of_all(&slots);
        if self
            .read(|persisted| persisted.installs.as_ref() == Some(&now))
            .await
        {
            return;
        }
        let primary = self.backend.primary().await.unwrap_or_default();
        self.update(|persisted| {
            // What was there when the agent was new is not news.
            let Some(known) = persisted.installs.replace(now) else {
                return;
            };
            let new = slots
                .iter()
                .filter(|slot| known.get(&slot.slot.name) != Some(&Installation::of(slot)));
            let foreign: Vec<_> = new.filter(|slot| !is_own(persisted, slot)).collect();
            let mut transactions: Vec<&str> = Vec::new();
            // The slot that is booted stands for the others that the same installation wrote.
            for slot in foreign
                .iter()
                .filter(|slot| !slot.slot.bootname.is_empty())
                .chain(&foreign)
            {
                if slot.installed_count == 0 && slot.transaction.is_empty() {
                    continue;
                }
                if transactions.contains(&slot.transaction.as_str()) {
                    continue;
                }
                transactions.push(&slot.transaction);
                persisted.send(Outgoing::LocalInstall(local_install(slot)));
                if slot.slot.name == primary && slot.slot.state != "booted" {
                    persisted.local = Some(LocalTrial {
                        slot: slot.slot.name.clone(),
                        installation: Installation::of(slot),
                        boot_id: self.boot_id.clone(),
                    });
                }
            }
        })
        .await;
        self.hand_over().await;
    }

    /// In the boot after an installation by somebody else: marks its slot bad if the bootloader has left it again.
    pub(super) async fn leave_local_install(&self) {
        let Some(local) = self.read(|persisted| persisted.local.clone()).await else {
            return;
        };
        let Ok(slots) = self.slots().await else { return };
        let left = slots.iter().find(|slot| {
            slot.slot.name == local.slot
                && slot.slot.state != "booted"
                && Installation::of(slot) == local.installation
        });
        if local.boot_id == self.boot_id || left.is_none() {
            return;
        }
        self.reject(&local.slot).await;
        self.update(|persisted| persisted.local = None).await;
    }

    async fn local_install_ended(&self, ended: InstallEnded) {
        let Some(detail) = ended.error else {
            return self.find_local_installs().await;
        };
        let failed = LocalInstall {
            slot: String::new(),
            version: String::new(),
            succeeded: false,
            detail,
            transaction: String::new(),
            at_ms: now_ms(),
        };
        self.update(|persisted| persisted.send(Outgoing::LocalInstall(failed)))
            .await;
        self.hand_over().await;
    }

    fn is_own_install(&self) -> bool {
        match *lock(&self.own_install) {
            Some((_, true)) => true,
            Some((at, false)) => Instant::now().duration_since(at) < OWN_GRACE,
            None => false,
        }
    }
}

fn is_own(persisted: &Persisted, slot: &SlotStatus) -> bool {
    let attempt = persisted
        .current
        .as_ref()
        .and_then(|current| current.attempt.as_ref());
    attempt.is_some_and(|attempt| attempt.wrote(slot))
}

fn local_install(slot: &SlotStatus) -> LocalInstall {
    LocalInstall {
        slot: slot.slot.name.clone(),
        version: slot.slot.version.clone(),
        succeeded: slot.installed_ok,
        detail: String::new(),
        transaction: slot.transaction.clone(),
        at_ms: parse_utc(&slot.slot.installed_at).unwrap_or_else(now_ms),
    }
}

/// `2026-11-21T20:47:00Z` as milliseconds since the epoch: the form that RAUC writes.
fn parse_utc(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since the epoch, counting years from March so that a leap day is the last.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text
        .split(separator)
        .map(|part| part.parse::<u16>().ok().map(i64::from));
    Some([parts.next()??, parts.next()??, parts.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_of_rauc() {
        assert_eq!(parse_utc("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_utc("2026-11-21T20:47:00Z"), Some(1_795_294_020_000));
        assert_eq!(parse_utc("2024-02-29T23:59:59Z"), Some(1_709_251_199_000));
        assert_eq!(parse_utc("yesterday"), None);
    }
}
