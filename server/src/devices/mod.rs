//! Devices, as operators see and change them.

use homeport_api::{Device, DevicePatch, Event, Page, Permission};
use homeport_protocol::DeviceId;

pub(crate) mod http;
mod rows;

use crate::{
    access::{Access, Actor, named},
    fleet::{
        Fleet, FleetError,
        effects::{Effect, Effects},
    },
    now_ms,
    store::{Paging, StoreError, Tx, device_id},
};

/// The part of the fleet that a list shows.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Only devices of this group.
    pub group: Option<String>,
    /// Only devices of this project and of those below it.
    pub project: Option<String>,
}

/// Longest name of a device, in characters.
const MAX_NAME: usize = 128;

/// A name that people can read and tell apart.
pub(crate) fn check_name(name: &str) -> Result<(), FleetError> {
    if let Some((hidden, _)) = homeport_api::text::characters(name).find(|(_, hidden)| *hidden) {
        return Err(FleetError::Invalid(format!(
            "a device's name cannot have the invisible character U+{:04X}: leave it out",
            u32::from(hidden)
        )));
    }
    let valid = (1..=MAX_NAME).contains(&name.chars().count()) && name.trim() == name;
    if valid {
        return Ok(());
    }
    Err(FleetError::Invalid(
        "a device's name is 1 to 128 characters, without spaces at its ends".into(),
    ))
}

// === impl Fleet ===

impl Fleet {
    /// All devices, or those of a group or a project, by name.
    pub async fn devices(
        &self,
        actor: &Actor,
        part: Part,
        paging: Paging<(String, String)>,
    ) -> Result<Page<Device>, FleetError> {
        let devices = self
            .ask(actor, move |tx, access| {
                if let Some(group) = &part.group {
                    access.group(tx, group, Permission::GroupRead)?;
                }
                let project = named(part.project)?;
                if let Some(project) = &project {
                    access.find_project(tx, project)?;
                }
                let scope = access.scope(Permission::DeviceRead);
                let page = tx.devices(&scope, part.group.as_deref(), project.as_deref(), &paging)?;
                Ok(trim(access, page))
            })
            .await?;
        Ok(self.0.complete_page(devices))
    }

    /// Devices that match `text`: an id, a name, or the beginning of an id.
    pub async fn find_devices(
        &self,
        actor: &Actor,
        text: String,
        paging: Paging<(String, String)>,
    ) -> Result<Page<Device>, FleetError> {
        let devices = self
            .ask(actor, move |tx, access| {
                let page = tx.find_devices(&access.scope(Permission::DeviceRead), &text, &paging)?;
                Ok(trim(access, page))
            })
            .await?;
        Ok(self.0.complete_page(devices))
    }

    /// The device with this id.
    pub async fn device(&self, actor: &Actor, id: String) -> Result<Device, FleetError> {
        let device = self
            .ask(actor, move |tx, access| {
                access.device(tx, &id, Permission::DeviceRead)?;
                show(tx, access, &id)
            })
            .await?;
        Ok(self.0.complete(device))
    }

    /// Gives a device a name, moves it to a project, or both.
    pub async fn change_device(
        &self,
        actor: &Actor,
        id: String,
        patch: DevicePatch,
    ) -> Result<Device, FleetError> {
        if let Some(name) = &patch.name {
            check_name(name)?;
        }
        let device = self
            .act(actor, move |tx, access, effects| {
                let place = access.device(tx, &id, Permission::DeviceRead)?;
                let was = place.clone();
                if let Some(name) = &patch.name {
                    access.require(Permission::DeviceChange, &place)?;
                    tx.rename_device(&id, name)?;
                    tx.audit(now_ms(), &place.project, &access.user, "device.rename", &id, name)?;
                }
                if let Some(project) = &patch.project {
                    move_device(tx, access, &id, project)?;
                }
                // Read again: those who move a device may not see it where it is now.
                let device = tx.device(&id)?.ok_or_else(|| FleetError::no_device(&id))?;
                effects.moved(Some(device.clone()), was);
                Ok(access.trim(device))
            })
            .await?;
        Ok(self.0.complete(device))
    }

    /// Revokes a device's certificates and the pairing tokens that could replace them. Its connection drops at once. The device cannot
    /// reconnect until it is paired again with a token that is made from now on.
    pub async fn revoke_device(&self, actor: &Actor, id: String) -> Result<Device, FleetError> {
        let device = self
            .act(actor, move |tx, access, effects| {
                let place = access.device(tx, &id, Permission::DeviceRevoke)?;
                let now_ms = now_ms();
                shut_out(tx, effects, now_ms, &id)?;
                tx.audit(now_ms, &place.project, &access.user, "device.revoke", &id, "")?;
                effects.device(tx.device(&id)?);
                show(tx, access, &id)
            })
            .await?;
        Ok(self.0.complete(device))
    }

    /// Removes a device and all data about it.
    pub async fn delete_device(&self, actor: &Actor, id: String) -> Result<(), FleetError> {
        self.act(actor, move |tx, access, effects| {
            let place = access.device(tx, &id, Permission::DeviceDelete)?;
            let name = tx.device_name(&id)?.unwrap_or_default();
            let now_ms = now_ms();
            let removed = shut_out(tx, effects, now_ms, &id)?;
            tx.delete_device(&id)?;
            tx.audit(now_ms, &place.project, &access.user, "device.delete", &id, &name)?;
            effects.push(Effect::Forget(removed));
            effects.push(Effect::Publish(Event::DeviceRemoved { id: id.clone() }, place));
            Ok(())
        })
        .await
    }
}

/// The device, as the actor sees it.
fn show(tx: &Tx, access: &Access, id: &str) -> Result<Device, FleetError> {
    let device = tx.device(id)?.ok_or_else(|| FleetError::no_device(id))?;
    Ok(access.trim(device))
}

fn trim(access: &Access, page: Page<Device>) -> Page<Device> {
    let devices = page.items.into_iter();
    Page {
        items: devices.map(|device| access.trim(device)).collect(),
        next: page.next,
    }
}

/// Moves a device to another project, with what belongs to it. It leaves groups that do not reach into the project. What the old project has
/// in hand to pair it again ends, and an update of the old project does not follow it.
fn move_device(tx: &Tx, access: &Access, id: &str, project: &str) -> Result<(), FleetError> {
    let place = access.device(tx, id, Permission::DeviceRead)?;
    access.require_in(Permission::DeviceMove, &place.project)?;
    access.project(tx, project, Permission::DeviceMove)?;
    if place.project == project {
        return Ok(());
    }
    if tx.open_deployment(id)?.is_some() {
        return Err(FleetError::Conflict {
            kind: "device-busy",
            detail: format!("`{id}` is being updated: wait until that is finished, or cancel it"),
        });
    }
    tx.set_device_project(id, project)?;
    tx.leave_other_groups(id, project)?;
    tx.revoke_tokens_for(id)?;
    tx.forget_token_keys(id)?;
    tx.move_tokens(id, project)?;
    tx.move_deployments(id, project)?;
    tx.move_commands(id, project)?;
    // Neither project learns the name of the other.
    let now_ms = now_ms();
    let user = &access.user;
    tx.audit(now_ms, &place.project, user, "device.leave-project", id, "")?;
    tx.audit(now_ms, project, user, "device.join-project", id, "")?;
    Ok(())
}

/// Revokes everything that lets a device in: its certificates, and the tokens that would give it new ones.
fn shut_out(tx: &Tx, effects: &mut Effects, now_ms: i64, id: &str) -> Result<DeviceId, StoreError> {
    let device = device_id(id)?;
    effects.push(Effect::Deactivate(tx.revoke_certificates(now_ms, id, None)?));
    tx.revoke_tokens_for(id)?;
    tx.forget_token_keys(id)?;
    effects.push(Effect::Disconnect(device.clone()));
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_people_can_see() {
        for name in [
            "gate 7",
            "Überwachung 監視",
            "x",
            "می\u{200c}خواهم",
            "👩\u{200d}🔧",
        ] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for (name, why) in [
            ("a\u{1b}[2Jb", "U+001B"),
            ("a\u{9b}b", "U+009B"),
            ("a\u{202e}b", "U+202E"),
            ("a\u{200b}b", "U+200B"),
            ("a\u{200d}b", "U+200D"),
            ("\u{3164}", "U+3164"),
            ("", "1 to 128"),
            (" a", "1 to 128"),
        ] {
            let refusal = check_name(name).unwrap_err().to_string();
            assert!(refusal.contains(why), "{name:?}: {refusal}");
        }
    }
}
