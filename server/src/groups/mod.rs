//! Groups of devices.

use homeport_api::{Event, Group, Page};

pub(crate) mod http;
mod rows;

use crate::{
    fleet::{
        Fleet, FleetError,
        effects::{Effect, MANY},
    },
    now_ms,
    store::{Paging, StoreError, Tx},
};

/// Longest name of a group, in bytes.
const MAX_NAME: usize = 64;

// === impl Fleet ===

impl Fleet {
    /// Groups, by name.
    pub async fn groups(&self, paging: Paging<String>) -> Result<Page<Group>, FleetError> {
        Ok(self.0.store.read(move |tx| tx.groups(&paging)).await?)
    }

    /// The group of that name.
    pub async fn group(&self, name: String) -> Result<Group, FleetError> {
        self.0
            .store
            .read(move |tx| tx.group(&name)?.ok_or_else(|| FleetError::no_group(&name)))
            .await
    }

    /// Makes a group without devices.
    pub async fn create_group(&self, actor: String, name: String) -> Result<Group, FleetError> {
        let valid = (1..=MAX_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !valid {
            return Err(FleetError::Invalid(
                "a group's name is 1 to 64 characters of a-z, 0-9 and `-`".into(),
            ));
        }
        self.0
            .store
            .write(move |tx| {
                if !tx.create_group(&name)? {
                    return Err(FleetError::Conflict {
                        kind: "group-exists",
                        detail: format!("there is a group `{name}` already"),
                    });
                }
                tx.audit(now_ms(), &actor, "group.create", &name, "")?;
                Ok(Group { name, devices: 0 })
            })
            .await
    }

    /// Removes a group; its devices stay.
    pub async fn delete_group(&self, actor: String, name: String) -> Result<(), FleetError> {
        self.change(move |tx, effects| {
            let devices = tx.group_devices(&name)?;
            if !tx.delete_group(&name)? {
                return Err(FleetError::no_group(&name));
            }
            tx.audit(now_ms(), &actor, "group.delete", &name, "")?;
            if devices.len() > MANY as usize {
                effects.push(Effect::Publish(Event::Resync));
                return Ok(());
            }
            for id in &devices {
                effects.device(tx.device(id)?);
            }
            Ok(())
        })
        .await
    }

    /// Puts a device into a group.
    pub async fn join_group(&self, actor: String, name: String, device: String) -> Result<(), FleetError> {
        self.change_group(name, device, move |tx, name, device| {
            tx.join_group(name, device)?;
            tx.audit(now_ms(), &actor, "group.join", device, name)
        })
        .await
    }

    /// Takes a device out of a group.
    pub async fn leave_group(&self, actor: String, name: String, device: String) -> Result<(), FleetError> {
        self.change_group(name, device, move |tx, name, device| {
            if tx.leave_group(name, device)? {
                tx.audit(now_ms(), &actor, "group.leave", device, name)?;
            }
            Ok(())
        })
        .await
    }

    async fn change_group(
        &self,
        name: String,
        device: String,
        change: impl FnOnce(&Tx, &str, &str) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), FleetError> {
        self.change(move |tx, effects| {
            if tx.group(&name)?.is_none() {
                return Err(FleetError::no_group(&name));
            }
            if !tx.has_device(&device)? {
                return Err(FleetError::no_device(&device));
            }
            change(tx, &name, &device)?;
            effects.device(tx.device(&device)?);
            Ok(())
        })
        .await
    }
}
