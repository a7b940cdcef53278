//! Decides after a boot whether a new system may stay. A process of its own, so that a daemon that hangs or crashes in the
//! new system fails the trial instead of skipping it.

mod health;

use std::{io, time::Duration};

use homeport_protocol::{FailureCode, Reason};
use homeport_system::file::blocking;
use tokio::time::{Instant, sleep};

use self::health::Health;
use crate::{
    Backend, BackendError, BootCheckConfig,
    backend::{Mark, SlotStatus, patiently},
    run_files,
    state::{Persisted, Subject, Verdict, boot_id, booted},
    systemd,
};

/// Pause between two rounds of checks.
const ROUND_INTERVAL: Duration = Duration::from_secs(2);
/// Longest pause before the backend is asked again: it may still be starting.
const BACKEND_MAX_PAUSE: Duration = Duration::from_secs(5);

/// What the boot check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing new was booted. The boot goes on at once and never waits for the network.
    NotOnTrial,
    /// The new system passed and its slot is marked good.
    Good,
    /// The new system failed: its slot is marked bad and a reboot was asked for.
    Bad(Reason),
}

/// Why the boot check could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum BootCheckError {
    /// A file could not be read or written.
    #[error("{what}: {error}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// The slot could not be looked at or marked.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Runs the boot check to its end. The process should exit with 0 for [`Outcome::NotOnTrial`] and [`Outcome::Good`] and
/// with anything else otherwise, so that `boot-complete.target` is reached only by a healthy system.
///
/// An error leaves the slot neither good nor bad: the bootloader's own counter decides.
pub async fn run<B: Backend>(config: &BootCheckConfig, backend: &B) -> Result<Outcome, BootCheckError> {
    let start = Instant::now();
    let (state_dir, boot_id_path) = (config.state_dir.clone(), config.boot_id_path.clone());
    let (persisted, boot_id) = blocking(move || Ok((Persisted::peek(&state_dir)?, boot_id(&boot_id_path)?)))
        .await
        .map_err(failed("reading the update state"))?;
    if persisted.current.is_none() && persisted.local.is_none() {
        return Ok(Outcome::NotOnTrial);
    }
    let slots = patiently(BACKEND_MAX_PAUSE, || backend.slots()).await?;
    let Some(slot) = booted(&slots) else {
        return Ok(Outcome::NotOnTrial);
    };
    let Some(subject) = persisted.on_trial(slot, &boot_id) else {
        return Ok(Outcome::NotOnTrial);
    };
    let (state_dir, about) = (config.state_dir.clone(), subject.clone());
    let verdict = blocking(move || Verdict::on(&state_dir, &about))
        .await
        .map_err(failed("reading the verdict"))?;
    if verdict.is_some_and(|verdict| verdict.good) {
        return Ok(Outcome::NotOnTrial);
    }
    tracing::info!(slot = slot.slot.name, "a new system is on trial");
    let result = examine(config, &subject, start).await;
    conclude(config, backend, slot, subject, boot_id, result).await
}

/// Runs rounds of checks until one passes as a whole, something is bad for good, or the time is up.
async fn examine(config: &BootCheckConfig, subject: &Subject, start: Instant) -> Result<(), Reason> {
    let mut told = String::new();
    loop {
        let Err((reason, worth_waiting)) = round(config, subject).await else {
            return Ok(());
        };
        if !worth_waiting {
            return Err(reason);
        }
        if start.elapsed() + ROUND_INTERVAL >= config.deadline {
            let detail = format!("after {} s: {}", config.deadline.as_secs(), reason.detail);
            return Err(Reason::new(reason.code, detail));
        }
        if told != reason.detail {
            tracing::info!(detail = reason.detail, "the new system is not healthy yet");
            told = reason.detail;
        }
        sleep(ROUND_INTERVAL).await;
    }
}

/// The first thing that is wrong, and whether it may get better.
async fn round(config: &BootCheckConfig, subject: &Subject) -> Result<(), (Reason, bool)> {
    let units = systemd::failed_units(&config.ignored_units)
        .await
        .map_err(|detail| (Reason::new(FailureCode::FailedUnit, detail), true))?;
    if !units.is_empty() {
        // A unit that systemd restarts leaves the failed state by itself.
        let detail = format!("failed units: {}", units.join(", "));
        return Err((Reason::new(FailureCode::FailedUnit, detail), true));
    }
    let dirs = config.health_dirs.clone();
    let checks = blocking(move || health::checks(&dirs)).await.map_err(|error| {
        (
            Reason::new(
                FailureCode::HealthCheck,
                format!("health.d cannot be read: {error}"),
            ),
            false,
        )
    })?;
    for check in checks {
        match health::run(&check, config.check_timeout).await {
            Health::Good => {}
            Health::NotYet(detail) => return Err((Reason::new(FailureCode::HealthCheck, detail), true)),
            Health::Bad(detail) => return Err((Reason::new(FailureCode::HealthCheck, detail), false)),
        }
    }
    // A system that somebody installed on the spot need not reach the server: there may be none any more.
    let reached =
        matches!(subject, Subject::Local(_)) || config.run_dir.join(run_files::SERVER_REACHED).exists();
    if !reached {
        let detail = "the server was not reached from the new system";
        return Err((Reason::new(FailureCode::ServerUnreachable, detail), true));
    }
    Ok(())
}

/// Marks the slot, then writes the verdict: a good verdict is never about a slot that the bootloader would leave. A bad one
/// is written first, so that its reason is known even if the power fails next.
async fn conclude<B: Backend>(
    config: &BootCheckConfig,
    backend: &B,
    slot: &SlotStatus,
    subject: Subject,
    boot_id: String,
    result: Result<(), Reason>,
) -> Result<Outcome, BootCheckError> {
    let store = async |verdict: Verdict| {
        let dir = config.state_dir.clone();
        blocking(move || verdict.store(&dir))
            .await
            .map_err(failed("writing the verdict"))
    };
    let name = slot.slot.name.as_str();
    match result {
        Ok(()) => {
            patiently(BACKEND_MAX_PAUSE, || backend.mark(name, Mark::Good)).await?;
            store(Verdict {
                subject,
                boot_id,
                good: true,
                reason: None,
            })
            .await?;
            Ok(Outcome::Good)
        }
        Err(reason) => {
            tracing::error!(code = ?reason.code, detail = reason.detail, "the new system failed its trial");
            store(Verdict {
                subject,
                boot_id,
                good: false,
                reason: Some(reason.clone()),
            })
            .await?;
            let marked = patiently(BACKEND_MAX_PAUSE, || backend.mark(name, Mark::Bad)).await;
            // Even if the mark failed: every reboot counts down the bootloader's tries.
            run_files::request_reboot(&config.run_dir).map_err(failed("asking for the reboot"))?;
            marked?;
            Ok(Outcome::Bad(reason))
        }
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> BootCheckError {
    move |error| BootCheckError::File { what, error }
}
