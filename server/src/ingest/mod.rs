//! Takes in the messages of devices.

mod queue_rows;

use std::net::SocketAddr;

use homeport_api::{Device, DeviceProgress, Event, Why};
use homeport_protocol::{
    DeploymentState, DeviceId, FailureCode, Inventory, Report, Sequenced,
    command::Envelope,
    deployment::Progress,
    report::{LocalInstall, NotRun},
    senml::Pack,
    topic::Channel,
};

use crate::{
    ca::Fingerprint,
    commands,
    deployments::{self, Transition},
    disk::Room,
    fleet::{
        Fleet,
        effects::{Effect, Effects},
    },
    mqtt::{Handler, HandlerError},
    now_ms,
    store::{StoreError, Tx},
    telemetry,
    text::told,
};

/// The result of a report.
#[derive(Debug, Default)]
struct Outcome {
    commands: Vec<Envelope>,
    device: Option<Device>,
    update: Option<DeviceProgress>,
}

// === impl Fleet ===

impl Handler for Fleet {
    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId> {
        self.0.certificates.identify(certificate)
    }

    async fn connected(&self, device: &DeviceId, certificate: &Fingerprint, peer: SocketAddr) -> bool {
        // Before CONNACK: a device that keeps reconnecting is slowed down like one that keeps reporting.
        self.0.budgets.reports.wait(device, 1).await;
        let now_ms = now_ms();
        let (id, certificate) = (device.clone(), *certificate);
        let noted = self
            .change(move |tx, effects| {
                // The certificate was revoked between the handshake and now: the revocation may not have seen this connection.
                if tx.certificate_holder(now_ms, &certificate)?.as_ref() != Some(&id) {
                    return Ok::<_, StoreError>(false);
                }
                let superfluous = tx.certificate_used(now_ms, id.as_str(), &certificate)?;
                tx.device_seen(now_ms, id.as_str(), Some(&peer.ip().to_string()))?;
                effects.push(Effect::Deactivate(superfluous));
                let row = tx.device(id.as_str())?;
                effects.push(Effect::Online(id.clone(), true, now_ms));
                effects.device(row);
                Ok(true)
            })
            .await;
        noted.unwrap_or_else(|error| {
            tracing::warn!(%device, %error, "cannot note that a device connected");
            // While nothing can be written, nothing can be revoked either, so memory is right.
            let active = self.0.certificates.identify(&certificate).as_ref() == Some(device);
            if active {
                self.0.live.set_online(device, true, now_ms);
            }
            active
        })
    }

    async fn disconnected(&self, device: &DeviceId) {
        let now_ms = now_ms();
        let id = device.clone();
        let noted = self
            .change(move |tx, effects| {
                tx.device_seen(now_ms, id.as_str(), None)?;
                match tx.device(id.as_str())? {
                    Some(row) => {
                        effects.push(Effect::Online(id.clone(), false, now_ms));
                        effects.device(Some(row));
                    }
                    // The device was deleted, and its connection dropped for that reason.
                    None => effects.push(Effect::Forget(id.clone())),
                }
                Ok::<_, StoreError>(())
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(%device, %error, "cannot note that a device disconnected");
            self.0.live.set_online(device, false, now_ms);
        }
    }

    async fn telemetry(&self, device: &DeviceId, batch: Sequenced<Pack>) -> Result<(), HandlerError> {
        if self.0.room_for_rows() != Room::Enough {
            return Err(HandlerError::Quota("the server's disk is nearly full"));
        }
        // A message costs a turn of the writer, even if it is empty or a repeat.
        let count = batch.message.0.len().max(1);
        if self.0.budgets.samples.take(device, count).is_err() {
            return Err(HandlerError::Quota(
                "the device has used up its samples of the day",
            ));
        }
        let now_ms = now_ms();
        let (samples, refused) = telemetry::samples(&batch.message, now_ms)?;
        let watched = self.0.events.is_watched().then(|| telemetry::series_of(&samples));
        let position = check_position(&batch)?;
        let id = device.clone();
        let is_watched = watched.is_some();
        let written = self
            .0
            .store
            .write(move |tx| {
                let id = id.as_str();
                if !is_new(tx, now_ms, id, Channel::Telemetry, position)? {
                    return Ok::<_, HandlerError>(None);
                }
                let dropped = tx.insert_samples(now_ms, id, &samples, refused)?;
                // Only watchers need it, and each message is a turn of the one writer.
                let place = is_watched.then(|| tx.device_place(id)).transpose()?.flatten();
                Ok(Some((dropped, place)))
            })
            .await;
        let unused = match written {
            Ok(Some(_)) => 0,
            // A repeat.
            Ok(None) => count - 1,
            Err(_) => count,
        };
        self.0.budgets.samples.give_back(device, unused);
        let written = written?;
        self.0.live.seen(device, now_ms);
        let Some((dropped, place)) = written else {
            return Ok(());
        };
        if dropped > 0 {
            tracing::debug!(%device, dropped, "the device has too many telemetry series");
        }
        if let Some((series, place)) = watched.zip(place) {
            let device = device.as_str().to_owned();
            self.0.events.publish(Event::Telemetry { device, series }, place);
        }
        Ok(())
    }

    async fn report(
        &self,
        device: &DeviceId,
        report: Sequenced<Report>,
    ) -> Result<Vec<Envelope>, HandlerError> {
        if self.0.room_for_rows() == Room::None {
            return Err(HandlerError::Quota("the server's disk is full"));
        }
        // PUBACK waits as well, without loss: the agent keeps a report until PUBACK comes. The agent sends 8 at a time, so each waits for
        // at most 8 seconds; the agent would give the connection up after 60. *Quota exceeded* would make it connect again and send its
        // inventory, which costs more than the report.
        let budgets = &self.0.budgets;
        match &report.message {
            Report::CallOutput(output) => budgets.output.wait(device, output.data.len().max(1024)).await,
            Report::CallBegun(_) | Report::CallEnded(_) => budgets.calls.wait(device, 1).await,
            _ => budgets.reports.wait(device, 1).await,
        }
        let room = self.0.room_for_rows();
        let now_ms = now_ms();
        let position = check_position(&report)?;
        let id = device.clone();
        let commands = self
            .change(move |tx, effects| {
                let new = is_new(tx, now_ms, id.as_str(), Channel::Report, position)?;
                let outcome = take(
                    tx,
                    effects,
                    now_ms,
                    id.as_str(),
                    report.message.clone(),
                    new,
                    room,
                )?;
                if let Some(update) = outcome.update {
                    effects.push(Effect::Settle(id.clone()));
                    effects.update(tx, update)?;
                }
                effects.device(outcome.device);
                Ok::<_, HandlerError>(outcome.commands)
            })
            .await?;
        self.0.live.seen(device, now_ms);
        Ok(commands)
    }

    fn progress(&self, device: &DeviceId, progress: Progress) {
        // Newer progress, or the report of the next state, follows a dropped message.
        if self.0.budgets.progress.take(device, 1).is_ok() {
            self.0.live.tell(device, progress);
        }
    }
}

fn take(
    tx: &Tx,
    effects: &mut Effects,
    now_ms: i64,
    device: &str,
    report: Report,
    new: bool,
    room: Room,
) -> Result<Outcome, HandlerError> {
    let mut outcome = Outcome::default();
    match report {
        // A repeat gets an answer too: the first answer may be lost with the PUBACK.
        Report::Inventory(inventory) => {
            if new {
                tx.set_inventory(device, &clip(inventory))?;
                tx.device_seen(now_ms, device, None)?;
            }
            outcome.commands.extend(deployments::pending(tx, device)?);
            outcome.commands.extend(commands::pending(tx, effects, device)?);
            outcome.device = tx.device(device)?;
        }
        Report::Deployment(report) if new => {
            outcome.update = deployments::advance(tx, device, report)?;
            if outcome.update.is_some() {
                outcome.device = tx.device(device)?;
            }
        }
        Report::LocalInstall(install) if new => {
            take_local_install(tx, now_ms, device, &install)?;
            outcome.device = tx.device(device)?;
        }
        Report::Unsupported { command, id } if new => {
            commands::unsupported(tx, effects, device, id.as_deref())?;
            let (command, id) = (told(&command), id.as_deref().map(told));
            tracing::warn!(
                device,
                command,
                id,
                "the device's agent does not know this command: update it"
            );
        }
        Report::NotRun(not_run) if new => {
            commands::not_run(tx, effects, device, &not_run)?;
            let NotRun { cause, at_ms, .. } = not_run;
            let (command, id) = (told(&not_run.command), not_run.id.as_deref().map(told));
            let detail = told(&not_run.detail);
            tracing::warn!(
                device,
                command,
                id,
                ?cause,
                detail,
                at_ms,
                "the device did not run a command"
            );
        }
        Report::CallBegun(begun) if new => commands::begun(tx, effects, device, &begun)?,
        Report::CallOutput(output) if new => commands::wrote(tx, effects, device, &output, room)?,
        Report::CallEnded(ended) if new => {
            outcome.commands = commands::ended(tx, effects, device, &ended)?;
        }
        Report::Deployment(_)
        | Report::LocalInstall(_)
        | Report::NotRun(_)
        | Report::Unsupported { .. }
        | Report::CallBegun(_)
        | Report::CallOutput(_)
        | Report::CallEnded(_)
        | Report::Unknown { .. } => {}
    }
    Ok(outcome)
}

fn take_local_install(tx: &Tx, now_ms: i64, device: &str, install: &LocalInstall) -> Result<(), StoreError> {
    let install = LocalInstall {
        slot: told(&install.slot),
        version: told(&install.version),
        detail: told(&install.detail),
        transaction: told(&install.transaction),
        ..*install
    };
    let transition = Transition {
        state: if install.succeeded {
            DeploymentState::Installed
        } else {
            DeploymentState::Failed
        },
        reason: (!install.succeeded).then(|| Why {
            code: FailureCode::Backend,
            detail: install.detail.clone(),
        }),
        running_version: String::new(),
        running_slot: String::new(),
        bytes_fetched: 0,
    };
    tx.insert_local_install(now_ms, device, &install, &transition)
}

fn check_position<T>(message: &Sequenced<T>) -> Result<(u64, u64), HandlerError> {
    // The range of the database's numbers: at a million messages a second it lasts for 290,000 years.
    if message.sequence == 0 || i64::try_from(message.sequence).is_err() {
        return Err(HandlerError::Refused(
            "a sequence number must be from 1 to 2^63 - 1".into(),
        ));
    }
    Ok((message.queue, message.sequence))
}

fn is_new(
    tx: &Tx,
    now_ms: i64,
    device: &str,
    channel: Channel,
    (queue, sequence): (u64, u64),
) -> Result<bool, HandlerError> {
    // Its connection is about to end. A revoked device keeps the message until it is paired again.
    if !tx.has_active_certificate(device)? {
        return Err(if tx.has_device(device)? {
            HandlerError::Unavailable("the device is revoked".into())
        } else {
            HandlerError::Refused("the device was removed".into())
        });
    }
    Ok(tx.advance_queue(now_ms, device, channel.as_str(), queue, sequence)?)
}

/// The agent keeps to the limit; this is for clients that do not.
fn clip(mut inventory: Inventory) -> Inventory {
    let texts = [
        &mut inventory.agent_version,
        &mut inventory.os,
        &mut inventory.os_version,
        &mut inventory.kernel,
        &mut inventory.architecture,
        &mut inventory.hostname,
        &mut inventory.boot_id,
        &mut inventory.updater,
        &mut inventory.compatible,
    ];
    let of_slots = inventory.slots.iter_mut().flat_map(|slot| {
        [
            &mut slot.name,
            &mut slot.bootname,
            &mut slot.state,
            &mut slot.boot_status,
            &mut slot.version,
            &mut slot.installed_at,
        ]
    });
    let optional = [&mut inventory.serial, &mut inventory.model]
        .into_iter()
        .flatten();
    let of_commands = inventory
        .commands
        .iter_mut()
        .flatten()
        .map(|offer| &mut offer.name);
    let texts = texts
        .into_iter()
        .chain(of_slots)
        .chain(optional)
        .chain(of_commands);
    for text in texts.chain(&mut inventory.capabilities) {
        *text = told(text);
    }
    inventory
}

// === impl HandlerError ===

impl From<StoreError> for HandlerError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
