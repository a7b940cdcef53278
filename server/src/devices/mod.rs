//! Devices, as operators see and change them.

use homeport_api::{Device, Event, Page};
use homeport_protocol::DeviceId;

pub(crate) mod http;
mod rows;

use crate::{
    fleet::{
        Fleet, FleetError,
        effects::{Effect, Effects},
    },
    now_ms,
    store::{Paging, StoreError, Tx, device_id},
};

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
    /// All devices, or those of a group, by name.
    pub async fn devices(
        &self,
        group: Option<String>,
        paging: Paging<(String, String)>,
    ) -> Result<Page<Device>, FleetError> {
        let devices = self
            .0
            .store
            .read(move |tx| {
                if let Some(group) = &group {
                    tx.group(group)?.ok_or_else(|| FleetError::no_group(group))?;
                }
                Ok::<_, FleetError>(tx.devices(group.as_deref(), &paging)?)
            })
            .await?;
        Ok(self.0.complete_page(devices))
    }

    /// Devices that match `text`: an id, a name, or the beginning of an id.
    pub async fn find_devices(
        &self,
        text: String,
        paging: Paging<(String, String)>,
    ) -> Result<Page<Device>, FleetError> {
        let devices = self
            .0
            .store
            .read(move |tx| tx.find_devices(&text, &paging))
            .await?;
        Ok(self.0.complete_page(devices))
    }

    /// The device with this id.
    pub async fn device(&self, id: String) -> Result<Device, FleetError> {
        let device = self
            .0
            .store
            .read(move |tx| tx.device(&id)?.ok_or_else(|| FleetError::no_device(&id)))
            .await?;
        Ok(self.0.complete(device))
    }

    /// Gives a device a name.
    pub async fn rename_device(&self, actor: String, id: String, name: String) -> Result<Device, FleetError> {
        check_name(&name)?;
        self.change_device(id, move |tx, id| {
            tx.rename_device(id, &name)?;
            Ok(tx.audit(now_ms(), &actor, "device.rename", id, &name)?)
        })
        .await
    }

    /// Revokes a device's certificates and the pairing tokens that could replace them. Its connection drops at once. The device cannot
    /// reconnect until it is paired again with a token that is made from now on.
    pub async fn revoke_device(&self, actor: String, id: String) -> Result<Device, FleetError> {
        let device = self
            .change(move |tx, effects| {
                if !tx.has_device(&id)? {
                    return Err(FleetError::no_device(&id));
                }
                let now_ms = now_ms();
                shut_out(tx, effects, now_ms, &id)?;
                tx.audit(now_ms, &actor, "device.revoke", &id, "")?;
                let device = tx.device(&id)?.ok_or_else(|| FleetError::no_device(&id))?;
                effects.device(Some(device.clone()));
                Ok(device)
            })
            .await?;
        Ok(self.0.complete(device))
    }

    /// Removes a device and all data about it.
    pub async fn delete_device(&self, actor: String, id: String) -> Result<(), FleetError> {
        self.change(move |tx, effects| {
            let device = tx.device(&id)?.ok_or_else(|| FleetError::no_device(&id))?;
            let now_ms = now_ms();
            let removed = shut_out(tx, effects, now_ms, &id)?;
            tx.delete_device(&id)?;
            tx.audit(now_ms, &actor, "device.delete", &id, &device.name)?;
            effects.push(Effect::Forget(removed));
            effects.push(Effect::Publish(Event::DeviceRemoved { id }));
            Ok(())
        })
        .await
    }

    async fn change_device(
        &self,
        id: String,
        change: impl FnOnce(&Tx, &str) -> Result<(), FleetError> + Send + 'static,
    ) -> Result<Device, FleetError> {
        let device = self
            .change(move |tx, effects| {
                if !tx.has_device(&id)? {
                    return Err(FleetError::no_device(&id));
                }
                change(tx, &id)?;
                let device = tx.device(&id)?.ok_or_else(|| FleetError::no_device(&id))?;
                effects.device(Some(device.clone()));
                Ok(device)
            })
            .await?;
        Ok(self.0.complete(device))
    }
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
