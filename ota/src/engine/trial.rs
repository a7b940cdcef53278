//! From `installed` to `verified` or `rolled_back`.

use std::time::Duration;

use homeport_protocol::{DeploymentState, FailureCode, Reason};
use homeport_system::file::blocking;
use tokio::time::{Instant, sleep};

use super::core::{BACKEND_MAX_PAUSE, Core};
use crate::{
    Backend, ReportSink,
    backend::{Mark, SlotStatus, patiently},
    run_files,
    state::{Attempt, Current, Subject, Verdict, booted},
};

/// A reboot that has not happened by then is asked for again.
const REBOOT_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// How often the verdict is looked for during a trial.
const VERDICT_INTERVAL: Duration = Duration::from_secs(1);
/// What the boot check may be late before the daemon judges in its place.
const VERDICT_GRACE: Duration = Duration::from_secs(2 * 60);

// === impl Core ===

impl<B: Backend, S: ReportSink> Core<B, S> {
    /// In the boot that installed the update: reboots. In the next one: finds out where it landed.
    pub(super) async fn reboot(&self, current: &Current) {
        let Some(attempt) = &current.attempt else {
            let reason = Reason::new(FailureCode::Backend, "the update's state is incomplete");
            self.enter(DeploymentState::Failed, Some(reason), |_| {}).await;
            return;
        };
        if attempt.boot_id != self.boot_id {
            self.land(current, attempt).await;
            return;
        }
        if current.state == DeploymentState::Installed {
            self.enter(DeploymentState::Rebooting, None, |_| {}).await;
        }
        loop {
            if let Err(error) = run_files::request_reboot(&self.config.run_dir) {
                tracing::error!(%error, "the reboot cannot be asked for");
            }
            sleep(REBOOT_INTERVAL).await;
            tracing::warn!("the reboot has not happened, asking again: is homeport-reboot.path enabled?");
        }
    }

    /// Waits for the verdict on the new system.
    pub(super) async fn trial(&self, current: &Current) {
        let start = Instant::now();
        let deadline = self.config.trial_deadline + VERDICT_GRACE;
        let subject = Subject::Deployment(current.deploy.deployment);
        // A trial that a reset interrupted may have ended in another slot.
        let slots = self.slots().await.unwrap_or_default();
        let Some(attempt) = &current.attempt else {
            return self
                .roll_back(FailureCode::UnexpectedSlot, "the update's state is incomplete")
                .await;
        };
        if booted(&slots).is_some_and(|slot| !attempt.wrote(slot)) {
            return self.fall_back(&slots, attempt, &subject).await;
        }
        let mut asked: Option<Instant> = None;
        loop {
            match self.verdict(&subject).await {
                Some(verdict) if verdict.good => {
                    self.refresh().await;
                    return self.enter(DeploymentState::Verified, None, |_| {}).await;
                }
                Some(_) if asked.is_none_or(|asked| asked.elapsed() >= REBOOT_INTERVAL) => {
                    // The boot check has asked as well; this is for when that got lost.
                    asked = Some(Instant::now());
                    if let Err(error) = run_files::request_reboot(&self.config.run_dir) {
                        tracing::error!(%error, "the reboot cannot be asked for");
                    }
                }
                None if start.elapsed() >= deadline => self.condemn(&subject).await,
                _ => sleep(VERDICT_INTERVAL).await,
            }
        }
    }

    /// After the reboot.
    async fn land(&self, current: &Current, attempt: &Attempt) {
        let slots = match self.slots().await {
            Ok(slots) => slots,
            Err(error) => {
                // Where it landed cannot be known, so nothing is claimed; the worker asks again.
                tracing::error!(%error, "the backend does not tell which slot runs");
                return sleep(VERDICT_INTERVAL).await;
            }
        };
        if current.state == DeploymentState::Installed {
            // The power failed before the reboot was reported, or somebody else rebooted.
            self.enter(DeploymentState::Rebooting, None, |_| {}).await;
        }
        if booted(&slots).is_some_and(|slot| attempt.wrote(slot)) {
            return self.enter(DeploymentState::Trial, None, |_| {}).await;
        }
        let subject = Subject::Deployment(current.deploy.deployment);
        self.fall_back(&slots, attempt, &subject).await;
    }

    /// Another slot runs than the new one.
    async fn fall_back(&self, slots: &[SlotStatus], attempt: &Attempt, subject: &Subject) {
        let left = slots
            .iter()
            .filter(|slot| slot.slot.state != "booted" && !slot.slot.bootname.is_empty());
        for slot in left.filter(|slot| attempt.wrote(slot)) {
            self.reject(&slot.slot.name).await;
        }
        let target = attempt.target.as_deref().unwrap_or("the new slot");
        match booted(slots) {
            Some(slot) if slot.slot.name == attempt.origin => {
                if let Some(reason) = self.verdict(subject).await.and_then(|verdict| verdict.reason) {
                    return self
                        .enter(DeploymentState::RolledBack, Some(reason), |_| {})
                        .await;
                }
                let detail = format!(
                    "the bootloader went back to {}: the system in {target} did not start, or was reset before its checks ended",
                    attempt.origin
                );
                self.roll_back(FailureCode::BootFailed, &detail).await;
            }
            Some(slot) if slot.slot.name == target => {
                let detail = format!("{target} was overwritten by another installation before it was tried");
                self.roll_back(FailureCode::UnexpectedSlot, &detail).await;
            }
            Some(slot) => {
                let detail = format!(
                    "{} runs, expected was {target} or {}",
                    slot.slot.name, attempt.origin
                );
                self.roll_back(FailureCode::UnexpectedSlot, &detail).await;
            }
            None => {
                let detail = "the running system is not in one of the backend's slots";
                self.roll_back(FailureCode::UnexpectedSlot, detail).await;
            }
        }
    }

    /// Marks a slot bad that the bootloader has left: one that forgets its counters, or starts over with all slots that
    /// are not bad, would try it again, and nobody would expect that system any more.
    pub(super) async fn reject(&self, slot: &str) {
        match patiently(BACKEND_MAX_PAUSE, || self.backend.mark(slot, Mark::Bad)).await {
            Ok(()) => tracing::warn!(slot, "did not start, it is marked bad"),
            Err(error) => tracing::error!(slot, %error, "did not start, but cannot be marked bad"),
        }
    }

    async fn roll_back(&self, code: FailureCode, detail: &str) {
        self.enter(
            DeploymentState::RolledBack,
            Some(Reason::new(code, detail)),
            |_| {},
        )
        .await;
    }

    /// There is no verdict although there should be one long since: nobody checks this system, so it cannot stay.
    async fn condemn(&self, subject: &Subject) {
        let reason = Reason::new(
            FailureCode::Deadline,
            "the boot check gave no verdict: is homeport-boot-check.service enabled in the new system?",
        );
        let verdict = Verdict {
            subject: subject.clone(),
            boot_id: self.boot_id.clone(),
            good: false,
            reason: Some(reason),
        };
        let slots = self.slots().await.unwrap_or_default();
        let dir = self.config.state_dir.clone();
        if let Err(error) = blocking(move || verdict.store(&dir)).await {
            tracing::error!(%error, "the verdict cannot be written");
            return sleep(VERDICT_INTERVAL).await;
        }
        if let Some(slot) = booted(&slots) {
            if let Err(error) = self.backend.mark(&slot.slot.name, Mark::Bad).await {
                tracing::error!(%error, "the new slot cannot be marked bad");
            }
        }
    }

    async fn verdict(&self, subject: &Subject) -> Option<Verdict> {
        let (dir, subject) = (self.config.state_dir.clone(), subject.clone());
        match blocking(move || Verdict::on(&dir, &subject)).await {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::error!(%error, "the verdict cannot be read");
                None
            }
        }
    }

    /// The slots were marked by another process.
    async fn refresh(&self) {
        if let Err(error) = self.slots().await {
            tracing::warn!(%error, "the slots cannot be read");
        }
    }
}
