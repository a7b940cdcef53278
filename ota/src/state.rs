//! What the engine remembers over restarts and power cuts, in `state.json`.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};

use homeport_protocol::{
    DeploymentState, Reason, Report,
    command::Deploy,
    report::{DeploymentReport, LocalInstall},
};
use homeport_system::file;
use serde::{Deserialize, Serialize};

use crate::{backend::SlotStatus, durable, relay::Address};

/// How many final reports are kept, to answer a command that comes again.
pub(crate) const KEPT_REPORTS: usize = 16;
/// Most reports that wait for the sink. The sink is durable itself, so there are seldom two.
const MAX_OUTBOX: usize = 64;

/// Everything that is persisted. Written as a whole after each change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Persisted {
    pub(crate) current: Option<Current>,
    pub(crate) finished: VecDeque<DeploymentReport>,
    /// Reports that the sink has not confirmed.
    pub(crate) outbox: VecDeque<Outgoing>,
    /// The last installation known of each slot; `None` before the slots were seen for the first time.
    pub(crate) installs: Option<Installs>,
    pub(crate) local: Option<LocalTrial>,
}

/// The installation that each slot holds, by the slot's name.
pub(crate) type Installs = BTreeMap<String, Installation>;

/// Names the installation that a slot holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Installation {
    pub(crate) transaction: String,
    pub(crate) count: u32,
}

/// The deployment being worked on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Current {
    pub(crate) deploy: Deploy,
    pub(crate) state: DeploymentState,
    pub(crate) cancel: bool,
    /// The report on `state`; none before the first one.
    pub(crate) report: Option<DeploymentReport>,
    /// Known from `installing` on.
    pub(crate) attempt: Option<Attempt>,
    /// Where the relay listens.
    pub(crate) relay: Option<Address>,
    pub(crate) bytes_fetched: u64,
}

/// One installation of the current deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// Our id for it.
    pub(crate) transaction: String,
    /// The slots before it.
    pub(crate) before: Installs,
    /// Name of the slot that ran.
    pub(crate) origin: String,
    /// The boot in which it was installed: another one tries it.
    pub(crate) boot_id: String,
    /// Name of the slot that was written, once that is certain.
    pub(crate) target: Option<String>,
}

/// An installation by somebody else whose slot has not been booted yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LocalTrial {
    pub(crate) slot: String,
    pub(crate) installation: Installation,
    pub(crate) boot_id: String,
}

/// A report on its way to the sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outgoing {
    Deployment(DeploymentReport),
    LocalInstall(LocalInstall),
}

/// What the boot check found about a new system, in `verdict.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) subject: Subject,
    pub(crate) boot_id: String,
    pub(crate) good: bool,
    pub(crate) reason: Option<Reason>,
}

/// What is on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// A deployment, by its number.
    Deployment(u64),
    /// An installation by somebody else.
    Local(LocalTrial),
}

// === impl Persisted ===

impl Persisted {
    /// Reads the state in `dir`. A file that makes no sense is put aside: the server knows what is open and will send it
    /// again, which is better than a device that never updates any more.
    pub(crate) fn load(dir: &Path) -> io::Result<Self> {
        match durable::load(&path(dir)) {
            Ok(state) => Ok(state.unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, "the update state is damaged, it is put aside as state.damaged");
                fs::rename(path(dir), dir.join("state.damaged"))?;
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Persisted::load`], for those who must not write: damaged state counts as none.
    pub(crate) fn peek(dir: &Path) -> io::Result<Self> {
        match durable::load(&path(dir)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Self::default()),
            state => Ok(state?.unwrap_or_default()),
        }
    }

    pub(crate) fn store(&self, dir: &Path) -> io::Result<()> {
        durable::store(&path(dir), self)
    }

    /// What is on trial, if `booted` is the slot that runs in the boot `boot_id`.
    pub(crate) fn on_trial(&self, booted: &SlotStatus, boot_id: &str) -> Option<Subject> {
        if let Some(current) = &self.current {
            let attempt = current
                .attempt
                .as_ref()
                .filter(|attempt| attempt.boot_id != boot_id);
            if attempt.is_some_and(|attempt| attempt.wrote(booted)) {
                return Some(Subject::Deployment(current.deploy.deployment));
            }
        }
        let local = self.local.as_ref().filter(|local| local.boot_id != boot_id)?;
        let same = local.slot == booted.slot.name && local.installation == Installation::of(booted);
        same.then(|| Subject::Local(local.clone()))
    }

    pub(crate) fn final_report(&self, deployment: u64) -> Option<&DeploymentReport> {
        self.finished
            .iter()
            .find(|report| report.deployment == deployment)
    }

    /// Takes a report into the outbox, and among the final ones if it is one.
    pub(crate) fn announce(&mut self, report: DeploymentReport) {
        if report.state.is_final() {
            self.finished.retain(|kept| kept.deployment != report.deployment);
            self.finished.push_back(report.clone());
            while self.finished.len() > KEPT_REPORTS {
                self.finished.pop_front();
            }
        }
        self.send(Outgoing::Deployment(report));
    }

    pub(crate) fn send(&mut self, outgoing: Outgoing) {
        if self.outbox.len() >= MAX_OUTBOX {
            tracing::error!("too many reports wait to be queued, the oldest is dropped");
            self.outbox.pop_front();
        }
        self.outbox.push_back(outgoing);
    }
}

// === impl Current ===

impl Current {
    pub(crate) fn new(deploy: Deploy) -> Self {
        Self {
            deploy,
            state: DeploymentState::Offered,
            cancel: false,
            report: None,
            attempt: None,
            relay: None,
            bytes_fetched: 0,
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// Whether `slot` holds what this attempt installed, completely.
    pub(crate) fn wrote(&self, slot: &SlotStatus) -> bool {
        let now = Installation::of(slot);
        if now.transaction == self.transaction {
            return true;
        }
        if !now.transaction.is_empty() {
            return false;
        }
        // RAUC before 1.10: the slot is ours by name, or because it was written since.
        if let Some(target) = &self.target {
            return *target == slot.slot.name;
        }
        let before = self.before.get(&slot.slot.name).map_or(0, |before| before.count);
        slot.slot.name != self.origin && now.count > before
    }
}

// === impl Installation ===

impl Installation {
    pub(crate) fn of(slot: &SlotStatus) -> Self {
        Self {
            transaction: slot.transaction.clone(),
            count: slot.installed_count,
        }
    }

    pub(crate) fn of_all(slots: &[SlotStatus]) -> Installs {
        slots
            .iter()
            .map(|slot| (slot.slot.name.clone(), Self::of(slot)))
            .collect()
    }
}

// === impl Outgoing ===

impl From<Outgoing> for Report {
    fn from(outgoing: Outgoing) -> Self {
        match outgoing {
            Outgoing::Deployment(report) => Self::Deployment(report),
            Outgoing::LocalInstall(install) => Self::LocalInstall(install),
        }
    }
}

// === impl Verdict ===

impl Verdict {
    pub(crate) fn load(dir: &Path) -> io::Result<Option<Self>> {
        match durable::load(&verdict_path(dir)) {
            // A verdict is renamed into its place as a whole; one that makes no sense was not written by us.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            verdict => verdict,
        }
    }

    /// The verdict on `subject`, if there is one.
    pub(crate) fn on(dir: &Path, subject: &Subject) -> io::Result<Option<Self>> {
        Ok(Self::load(dir)?.filter(|verdict| verdict.subject == *subject))
    }

    pub(crate) fn store(&self, dir: &Path) -> io::Result<()> {
        file::create_private_directory(dir)?;
        durable::store(&verdict_path(dir), self)
    }

    pub(crate) fn remove(dir: &Path) -> io::Result<()> {
        file::remove(&verdict_path(dir))
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("state.json")
}

fn verdict_path(dir: &Path) -> PathBuf {
    dir.join("verdict.json")
}

/// The slot that runs.
pub(crate) fn booted(slots: &[SlotStatus]) -> Option<&SlotStatus> {
    slots.iter().find(|slot| slot.slot.state == "booted")
}

/// The id of this boot.
pub(crate) fn boot_id(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}
