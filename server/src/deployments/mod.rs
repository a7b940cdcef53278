//! Deployments: rows first, messages second.

use std::sync::Arc;

use homeport_api::{
    Deployment, DeviceProgress, DeviceUpdate, Event, NewDeployment, Page, Target, UpdateHistory, Why,
};
use homeport_protocol::{
    Command, DeploymentState, FailureCode,
    command::{Cancel, Deploy},
    report::DeploymentReport,
};

pub(crate) mod http;
mod rows;
mod transition;
mod update_rows;

pub(crate) use self::update_rows::Transition;
use crate::{
    fleet::{
        Fleet, FleetError,
        effects::{Effect, Effects, MANY},
    },
    now_ms,
    store::{Paging, StoreError, Tx},
    text::told,
};

/// Busy devices that an error names.
const NAMED: usize = 5;

// === impl Fleet ===

impl Fleet {
    /// Newest first.
    pub async fn deployments(&self, paging: Paging<u64>) -> Result<Page<Deployment>, FleetError> {
        Ok(self.0.store.read_long(move |tx| tx.deployments(&paging)).await?)
    }

    /// The deployment with this number.
    pub async fn deployment(&self, id: u64) -> Result<Deployment, FleetError> {
        self.0.store.read(move |tx| find(tx, id)).await
    }

    /// Devices of a deployment, or those of them that are in `state`.
    pub async fn deployment_devices(
        &self,
        id: u64,
        state: Option<DeploymentState>,
        paging: Paging<u64>,
    ) -> Result<Page<DeviceProgress>, FleetError> {
        let mut devices = self
            .0
            .store
            .read(move |tx| {
                if !tx.has_deployment(id)? {
                    return Err(FleetError::no_deployment(id));
                }
                Ok(tx.updates_of_deployment(id, state, &paging)?)
            })
            .await?;
        for device in &mut devices.items {
            self.0.live.complete_update(&device.device, &mut device.update);
        }
        Ok(devices)
    }

    /// The updates that a device went through, newest first.
    pub async fn updates(&self, id: String, paging: Paging<u64>) -> Result<Page<DeviceUpdate>, FleetError> {
        let device = id.clone();
        let mut updates = self
            .0
            .store
            .read(move |tx| {
                if !tx.has_device(&id)? {
                    return Err(FleetError::no_device(&id));
                }
                Ok(tx.updates_of_device(&id, &paging)?)
            })
            .await?;
        for update in &mut updates.items {
            self.0.live.complete_update(&device, update);
        }
        Ok(updates)
    }

    /// An update of a device, with every state that it went through.
    pub async fn update_history(&self, device: String, update: u64) -> Result<UpdateHistory, FleetError> {
        let id = device.clone();
        let found = self
            .0
            .store
            .read(move |tx| tx.update_history(&id, update))
            .await?;
        let mut found = found.ok_or_else(|| FleetError::NotFound {
            what: "update",
            id: update.to_string(),
        })?;
        self.0.live.complete_update(&device, &mut found.update);
        Ok(found)
    }

    /// Deploys a bundle to devices. A device that is not connected gets the offer when it reconnects.
    pub async fn deploy(&self, actor: String, new: NewDeployment) -> Result<Deployment, FleetError> {
        let inner = Arc::clone(&self.0);
        self.change(move |tx, effects| {
            let now_ms = now_ms();
            let bundle = tx
                .bundle(&new.bundle)?
                .ok_or_else(|| FleetError::no_bundle(&new.bundle))?;
            let devices = resolve(tx, &new.target)?;
            refuse_busy(tx, &devices)?;
            let id = tx.insert_deployment(now_ms, &actor, &bundle, &new.target, &devices)?;
            let detail = format!("{} on {} device(s)", bundle.version, devices.len());
            tx.audit(now_ms, &actor, "deployment.create", &id.to_string(), &detail)?;
            let mut commands = Vec::new();
            for device in &devices {
                // Marked before it is sent: the server can cancel an unmarked one without asking the device.
                if inner.live.is_online(device) {
                    commands.extend(pending(tx, device)?.map(|command| (device.clone(), command)));
                }
            }
            announce(tx, effects, id, commands)
        })
        .await
    }

    /// Cancels a deployment on every device whose running system is still untouched.
    ///
    /// The server asks a device that may know of it, and the device's answer settles it. On a device that was never told, it is cancelled
    /// at once.
    pub async fn cancel(&self, actor: String, id: u64) -> Result<Deployment, FleetError> {
        self.change(move |tx, effects| {
            if find(tx, id)?.finished {
                return Err(FleetError::Conflict {
                    kind: "deployment-finished",
                    detail: format!("deployment {id} is finished on every device"),
                });
            }
            let devices = tx.cancellable_devices(id)?;
            if devices.is_empty() {
                return Err(FleetError::Conflict {
                    kind: "too-late",
                    detail: format!(
                        "deployment {id} is past the point where it can be cancelled: the new version is installed and is tried at the next boot"
                    ),
                });
            }
            let mut commands = Vec::new();
            for device in devices {
                let command = cancel_on(tx, id, &device, &actor)?;
                commands.extend(command.map(|command| (device, command)));
            }
            tx.audit(now_ms(), &actor, "deployment.cancel", &id.to_string(), "")?;
            announce(tx, effects, id, commands)
        })
        .await
    }
}

/// Returns the command about its update that the device may have missed, and notes that the device may know of the update from now on.
pub(crate) fn pending(tx: &Tx, device: &str) -> Result<Option<Command>, StoreError> {
    let Some(open) = tx.open_update(device)? else {
        return Ok(None);
    };
    if open.cancel && open.state.is_cancellable() {
        return Ok(Some(Command::Cancel(Cancel {
            deployment: open.deployment,
        })));
    }
    tx.mark_sent(open.deployment, device)?;
    Ok(Some(Command::Deploy(Deploy {
        deployment: open.deployment,
        bundle: open.bundle,
    })))
}

/// Applies a device's report to its update, and returns the update. `None` for a report that changes nothing: late, repeated, or about
/// another device's update.
pub(crate) fn advance(
    tx: &Tx,
    device: &str,
    report: DeploymentReport,
) -> Result<Option<DeviceProgress>, StoreError> {
    let Some(update) = tx.update(report.deployment, device)? else {
        tracing::warn!(
            device,
            deployment = report.deployment,
            "report on an unknown deployment"
        );
        return Ok(None);
    };
    let (current, deployment) = (update.update.state, report.deployment);
    // The reason why a device waits may change.
    let reason = report.reason.map(|reason| Why {
        code: reason.code,
        detail: told(&reason.detail),
    });
    let waits_for_another = current == DeploymentState::Waiting
        && report.state == DeploymentState::Waiting
        && reason != update.update.reason;
    if !waits_for_another && !transition::enters(current, report.state) {
        return Ok(None);
    }
    let running_version = told(&report.running_version);
    let (state, reason) = if report.state == DeploymentState::Verified
        && !is_honest(&update.update.version, &running_version)
    {
        let detail =
            format!("the device says that the update is done, but it runs version {running_version}");
        let why = Why {
            code: FailureCode::UnexpectedSlot,
            detail,
        };
        (DeploymentState::RolledBack, Some(why))
    } else {
        (report.state, reason)
    };
    let transition = Transition {
        state,
        reason,
        running_version,
        running_slot: told(&report.running_slot),
        bytes_fetched: report.bytes_fetched,
    };
    tx.enter(now_ms(), deployment, device, &transition)?;
    tx.update(deployment, device)
}

/// Whether the new version really runs. The server believes a device that does not report its running version.
fn is_honest(version: &str, running_version: &str) -> bool {
    running_version.is_empty() || running_version == version
}

fn find(tx: &Tx, id: u64) -> Result<Deployment, FleetError> {
    tx.deployment(id)?.ok_or_else(|| FleetError::no_deployment(id))
}

fn resolve(tx: &Tx, target: &Target) -> Result<Vec<String>, FleetError> {
    match target {
        Target::Device(id) => {
            let device = tx.device(id)?.ok_or_else(|| FleetError::no_device(id))?;
            if device.revoked {
                return Err(FleetError::Conflict {
                    kind: "device-revoked",
                    detail: format!(
                        "the certificate of `{}` was revoked: pair it again first",
                        device.name
                    ),
                });
            }
            Ok(vec![device.id])
        }
        Target::Group(name) => {
            tx.group(name)?.ok_or_else(|| FleetError::no_group(name))?;
            let able = tx.able_group_devices(name)?;
            if able.is_empty() {
                return Err(FleetError::Conflict {
                    kind: "group-empty",
                    detail: format!(
                        "no device in the group `{name}` can be updated: put devices into it first"
                    ),
                });
            }
            Ok(able)
        }
    }
}

fn refuse_busy(tx: &Tx, devices: &[String]) -> Result<(), FleetError> {
    let mut busy = Vec::new();
    for device in devices {
        if let Some(deployment) = tx.open_deployment(device)? {
            busy.push(format!("{device} (deployment {deployment})"));
        }
    }
    if busy.is_empty() {
        return Ok(());
    }
    let more = busy.len().saturating_sub(NAMED);
    busy.truncate(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Err(FleetError::Conflict {
        kind: "device-busy",
        detail: format!(
            "already being updated: {}{more}. Wait until that is finished, or cancel it",
            busy.join(", ")
        ),
    })
}

fn cancel_on(tx: &Tx, deployment: u64, device: &str, actor: &str) -> Result<Option<Command>, FleetError> {
    let Some(open) = tx.open_update(device)? else {
        return Ok(None);
    };
    if open.sent {
        tx.mark_cancel(deployment, device)?;
        return Ok(Some(Command::Cancel(Cancel { deployment })));
    }
    let transition = Transition {
        state: DeploymentState::Cancelled,
        reason: Some(Why {
            code: FailureCode::Cancelled,
            detail: format!("cancelled by {actor} before the device was told"),
        }),
        running_version: String::new(),
        running_slot: String::new(),
        bytes_fetched: 0,
    };
    tx.enter(now_ms(), deployment, device, &transition)?;
    Ok(None)
}

/// Lists the effects of a change to a deployment, and returns the deployment as it is now.
fn announce(
    tx: &Tx,
    effects: &mut Effects,
    id: u64,
    commands: Vec<(String, Command)>,
) -> Result<Deployment, FleetError> {
    for (device, command) in commands {
        // The database only holds valid device ids.
        if let Ok(device) = device.parse() {
            effects.push(Effect::Deliver(device, command));
        }
    }
    let deployment = find(tx, id)?;
    effects.push(Effect::Publish(Event::Deployment {
        deployment: Box::new(deployment.clone()),
    }));
    let devices = tx.updates_of_deployment(id, None, &Paging::first(MANY))?;
    if devices.next.is_some() {
        effects.push(Effect::Publish(Event::Resync));
    } else {
        let updates = devices.items.into_iter().map(Box::new);
        updates.for_each(|update| effects.push(Effect::Update(update)));
    }
    Ok(deployment)
}
