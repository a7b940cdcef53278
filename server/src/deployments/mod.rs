//! Deployments: rows first, messages second.

use std::sync::Arc;

use homeport_api::{
    Bundle, Deployment, DeviceProgress, DeviceUpdate, Event, NewDeployment, Page, Permission, Target,
    UpdateHistory, Why,
};
use homeport_protocol::{
    BundleOffer, Command, DeploymentState, FailureCode,
    command::{Cancel, Deploy, Envelope},
    report::DeploymentReport,
};

pub(crate) mod http;
mod rows;
mod transition;
mod update_rows;

pub(crate) use self::update_rows::Transition;
use crate::{
    access::{Access, Actor, EVERYTHING, Place},
    fleet::{
        Fleet, FleetError,
        effects::{Effect, Effects, MANY},
        targets,
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
    pub async fn deployments(
        &self,
        actor: &Actor,
        paging: Paging<u64>,
    ) -> Result<Page<Deployment>, FleetError> {
        self.ask_long(actor, move |tx, access| {
            let devices = access.scope(Permission::DeviceRead);
            Ok(tx.deployments(&access.scope(Permission::DeploymentRead), &devices, &paging)?)
        })
        .await
    }

    /// The deployment with this number. It counts the devices that the actor may see.
    pub async fn deployment(&self, actor: &Actor, id: u64) -> Result<Deployment, FleetError> {
        self.ask(actor, move |tx, access| {
            access.deployment(tx, id, Permission::DeploymentRead)?;
            find(tx, id, &access.scope(Permission::DeviceRead))
        })
        .await
    }

    /// Devices of a deployment, or those of them that are in `state`.
    pub async fn deployment_devices(
        &self,
        actor: &Actor,
        id: u64,
        state: Option<DeploymentState>,
        paging: Paging<u64>,
    ) -> Result<Page<DeviceProgress>, FleetError> {
        let mut devices = self
            .ask(actor, move |tx, access| {
                access.deployment(tx, id, Permission::DeploymentRead)?;
                let scope = access.scope(Permission::DeviceRead);
                Ok(tx.updates_of_deployment(&scope, id, state, &paging)?)
            })
            .await?;
        for device in &mut devices.items {
            self.0.live.complete_update(&device.device, &mut device.update);
        }
        Ok(devices)
    }

    /// The updates that a device went through, newest first.
    pub async fn updates(
        &self,
        actor: &Actor,
        id: String,
        paging: Paging<u64>,
    ) -> Result<Page<DeviceUpdate>, FleetError> {
        let device = id.clone();
        let mut updates = self
            .ask(actor, move |tx, access| {
                access.device(tx, &id, Permission::DeviceRead)?;
                Ok(tx.updates_of_device(&id, &paging)?)
            })
            .await?;
        for update in &mut updates.items {
            self.0.live.complete_update(&device, update);
        }
        Ok(updates)
    }

    /// An update of a device, with every state that it went through.
    pub async fn update_history(
        &self,
        actor: &Actor,
        device: String,
        update: u64,
    ) -> Result<UpdateHistory, FleetError> {
        let id = device.clone();
        let mut found = self
            .ask(actor, move |tx, access| {
                access.device(tx, &id, Permission::DeviceRead)?;
                tx.update_history(&id, update)?
                    .ok_or_else(|| FleetError::NotFound {
                        what: "update",
                        id: update.to_string(),
                    })
            })
            .await?;
        self.0.live.complete_update(&device, &mut found.update);
        Ok(found)
    }

    /// Deploys a bundle to devices. A device that is not connected gets the offer when it reconnects.
    pub async fn deploy(&self, actor: &Actor, new: NewDeployment) -> Result<Deployment, FleetError> {
        let inner = Arc::clone(&self.0);
        self.act(actor, move |tx, access, effects| {
            let now_ms = now_ms();
            let place = match &new.target {
                Target::Device(id) => access.device(tx, id, Permission::DeploymentCreate)?,
                Target::Group(name) => access.group(tx, name, Permission::DeploymentCreate)?,
            };
            let bundle = usable(tx, access, &new.bundle, &place.project)?;
            let devices = targets::able(tx, &new.target)?;
            refuse_busy(tx, &devices)?;
            let id = tx.insert_deployment(
                now_ms,
                &access.user,
                &bundle,
                &new.target,
                &place.project,
                &devices,
            )?;
            let detail = format!("{} on {} device(s)", bundle.version, devices.len());
            let number = id.to_string();
            tx.audit(
                now_ms,
                &place.project,
                &access.user,
                "deployment.create",
                &number,
                &detail,
            )?;
            let mut commands = Vec::new();
            for device in &devices {
                // Marked before it is sent: the server can cancel an unmarked one without asking the device.
                if inner.live.is_online(device) {
                    commands.extend(pending(tx, device)?.map(|command| (device.clone(), command)));
                }
            }
            announce(tx, effects, id, place, commands)?;
            find(tx, id, &access.scope(Permission::DeviceRead))
        })
        .await
    }

    /// Cancels a deployment on every device whose running system is still untouched, and on which the actor may cancel.
    ///
    /// The server asks a device that may know of it, and the device's answer settles it. On a device that was never told, it is cancelled
    /// at once.
    pub async fn cancel(&self, actor: &Actor, id: u64) -> Result<Deployment, FleetError> {
        self.act(actor, move |tx, access, effects| {
            access.deployment(tx, id, Permission::DeploymentCancel)?;
            let seen = access.scope(Permission::DeviceRead);
            if find(tx, id, &seen)?.finished {
                return Err(FleetError::Conflict {
                    kind: "deployment-finished",
                    detail: format!("deployment {id} is finished on every device"),
                });
            }
            let mut devices = Vec::new();
            for device in tx.cancellable_devices(id)? {
                match access.device(tx, &device, Permission::DeploymentCancel) {
                    Ok(_) => devices.push(device),
                    // It may have moved to another project since.
                    Err(FleetError::NotFound { .. } | FleetError::Forbidden { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
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
                let command = cancel_on(tx, id, &device, &access.user)?;
                commands.extend(command.map(|command| (device, command)));
            }
            let place = tx.deployment_place(id)?.unwrap_or_default();
            tx.audit(now_ms(), &place.project, &access.user, "deployment.cancel", &id.to_string(), "")?;
            announce(tx, effects, id, place, commands)?;
            find(tx, id, &seen)
        })
        .await
    }
}

/// The bundle, if devices of this project may get it.
fn usable(tx: &Tx, access: &Access, id: &str, project: &str) -> Result<Bundle, FleetError> {
    let of_project = tx.usable_bundle(id, project)?;
    let of_project =
        of_project.filter(|bundle| access.sees_bundles_of(bundle.project.as_deref().unwrap_or_default()));
    if let Some(bundle) = of_project {
        return Ok(bundle);
    }
    let seen = tx.bundle(&access.scope(Permission::BundleRead), id, None)?;
    let bundle = seen.ok_or_else(|| FleetError::no_bundle(id))?;
    Err(FleetError::Conflict {
        kind: "other-project",
        detail: format!(
            "the bundle belongs to the project `{}`: upload it to the project of the devices, or to one above",
            bundle.project.unwrap_or_default()
        ),
    })
}

/// Returns the command about its update that the device may have missed, and notes that the device may know of the update from now on.
pub(crate) fn pending(tx: &Tx, device: &str) -> Result<Option<Envelope>, StoreError> {
    let Some(open) = tx.open_update(device)? else {
        return Ok(None);
    };
    if open.cancel && open.state.is_cancellable() {
        return Ok(Some(cancellation(open.deployment)));
    }
    tx.mark_sent(open.deployment, device)?;
    Ok(Some(offer(open.deployment, open.bundle)))
}

/// Its id comes from the update's row, so a repeat has the same one.
fn offer(deployment: u64, bundle: BundleOffer) -> Envelope {
    Envelope {
        id: Some(format!("deploy-{deployment}")),
        ..Envelope::from(Command::Deploy(Deploy { deployment, bundle }))
    }
}

/// Its id differs from that of the offer: the device never mistakes the end of an update for its beginning.
fn cancellation(deployment: u64) -> Envelope {
    Envelope {
        id: Some(format!("cancel-{deployment}")),
        ..Envelope::from(Command::Cancel(Cancel { deployment }))
    }
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

/// The deployment, with the devices of a scope counted.
fn find(tx: &Tx, id: u64, devices: &str) -> Result<Deployment, FleetError> {
    tx.deployment(id, devices)?
        .ok_or_else(|| FleetError::no_deployment(id))
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

fn cancel_on(tx: &Tx, deployment: u64, device: &str, actor: &str) -> Result<Option<Envelope>, FleetError> {
    let Some(open) = tx.open_update(device)? else {
        return Ok(None);
    };
    if open.sent {
        tx.mark_cancel(deployment, device)?;
        return Ok(Some(cancellation(deployment)));
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

/// Lists the effects of a change to a deployment.
fn announce(
    tx: &Tx,
    effects: &mut Effects,
    id: u64,
    place: Place,
    commands: Vec<(String, Envelope)>,
) -> Result<(), FleetError> {
    for (device, command) in commands {
        // The database only holds valid device ids.
        if let Ok(device) = device.parse() {
            effects.push(Effect::Deliver(device, command));
        }
    }
    let deployment = Box::new(find(tx, id, EVERYTHING)?);
    effects.push(Effect::Publish(Event::Deployment { deployment }, place));
    let devices = tx.updates_of_deployment(EVERYTHING, id, None, &Paging::first(MANY))?;
    if devices.next.is_some() {
        effects.push(Effect::Resync);
        return Ok(());
    }
    for update in devices.items {
        effects.update(tx, update)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_command_has_the_same_id() {
        let bundle = || BundleOffer {
            id: String::new(),
            size: 0,
            path: String::new(),
            version: String::new(),
            compatible: String::new(),
            manifest_hash: None,
        };
        assert_eq!(cancellation(7), cancellation(7));
        assert_ne!(cancellation(7).id, cancellation(8).id);
        assert_ne!(cancellation(7).id, offer(7, bundle()).id);
        // No number is too long for an id.
        let longest = offer(u64::MAX, bundle());
        assert_eq!(Envelope::decode(&longest.encode()).unwrap(), longest);
    }
}
