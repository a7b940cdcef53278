//! Devices, as the API shows them.

use std::collections::HashMap;

use homeport_api::{Device, DeviceSlot, Page};
use homeport_protocol::{CommandOffer, Inventory, Slot};

use crate::access::{self, DEVICE_SEEN, limited};
use crate::store::{Paging, Row, StoreError, Tx};

const COLUMNS: &str = "id, name, paired_ms, last_seen_ms, address, serial, inventory, project";

// === impl Tx ===

impl Tx {
    /// Adds a device that is being paired.
    pub fn insert_device(
        &self,
        now_ms: i64,
        id: &str,
        name: &str,
        serial: Option<&str>,
        project: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO devices (id, name, paired_ms, serial, project) VALUES (?1, ?2, ?3, ?4, ?5)",
            &[&id, &name, &now_ms, &serial, &project],
        )?;
        Ok(())
    }

    /// Notes that a device was paired again.
    pub fn set_paired(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        self.execute("UPDATE devices SET paired_ms = ?1 WHERE id = ?2", &[&now_ms, &id])?;
        Ok(())
    }

    /// Whether there is such a device.
    pub fn has_device(&self, id: &str) -> Result<bool, StoreError> {
        self.value("SELECT EXISTS (SELECT 1 FROM devices WHERE id = ?1)", &[&id])
    }

    /// The device, without the facts that only memory holds: it is shown offline.
    pub fn device(&self, id: &str) -> Result<Option<Device>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM devices WHERE id = ?1");
        Ok(self.assemble(self.rows(&query, &[&id], bare)?)?.pop())
    }

    /// Devices of a scope, or those of them in a group or a project, by name.
    pub fn devices(
        &self,
        scope: &str,
        group: Option<&str>,
        project: Option<&str>,
        paging: &Paging<(String, String)>,
    ) -> Result<Page<Device>, StoreError> {
        let (name, id) = paging.after.clone().unwrap_or_default();
        let devices = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM devices WHERE {DEVICE_SEEN} AND (name, id) > (?2, ?3) AND (CAST(?5 \
                 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM group_devices WHERE group_devices.name = ?5 AND \
                 device = devices.id)) AND (CAST(?6 AS TEXT) IS NULL OR project = ?6 OR substr(project, 1, \
                 length(?6) + 1) = ?6 || '/') ORDER BY name, id LIMIT ?4",
                DEVICE_SEEN = limited(scope, DEVICE_SEEN)
            ),
            &[&scope, &name, &id, &paging.rows(), &group, &project],
            bare,
        )?;
        let devices = self.assemble(devices)?;
        Ok(paging.page(devices, |device| (device.name.clone(), device.id.clone()))?)
    }

    /// Devices of a scope that match `text`: the device with this id, else those with this name, else those whose id begins with it.
    pub fn find_devices(
        &self,
        scope: &str,
        text: &str,
        paging: &Paging<(String, String)>,
    ) -> Result<Page<Device>, StoreError> {
        let (name, id) = paging.after.clone().unwrap_or_default();
        let mut found: Vec<Device> = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM devices WHERE {DEVICE_SEEN} AND id = ?2",
                DEVICE_SEEN = limited(scope, DEVICE_SEEN)
            ),
            &[&scope, &text],
            bare,
        )?;
        if found.is_empty() {
            found = self.rows(
                &format!(
                    "SELECT {COLUMNS} FROM devices WHERE {DEVICE_SEEN} AND name = ?2 AND id > ?3 ORDER BY \
                     id LIMIT ?4",
                    DEVICE_SEEN = limited(scope, DEVICE_SEEN)
                ),
                &[&scope, &text, &id, &paging.rows()],
                bare,
            )?;
        }
        if found.is_empty() && !text.is_empty() {
            // Ids consist of lower-case letters and digits.
            found = self.rows(
                &format!(
                    "SELECT {COLUMNS} FROM devices WHERE {DEVICE_SEEN} AND id >= ?2 AND id < ?2 || '~' AND \
                     id > ?3 ORDER BY id LIMIT ?4",
                    DEVICE_SEEN = limited(scope, DEVICE_SEEN)
                ),
                &[&scope, &text, &id, &paging.rows()],
                bare,
            )?;
        }
        let found = self.assemble(found)?;
        Ok(paging.page(found, |device| (name.clone(), device.id.clone()))?)
    }

    /// The name of a device, if there is one.
    pub(crate) fn device_name(&self, id: &str) -> Result<Option<String>, StoreError> {
        self.row("SELECT name FROM devices WHERE id = ?1", &[&id], |row| row.get(0))
    }

    /// Gives a device a name, and returns whether there is such a device.
    pub fn rename_device(&self, id: &str, name: &str) -> Result<bool, StoreError> {
        let renamed = self.execute("UPDATE devices SET name = ?1 WHERE id = ?2", &[&name, &id])?;
        Ok(renamed == 1)
    }

    /// Puts a device into a project.
    pub fn set_device_project(&self, id: &str, project: &str) -> Result<(), StoreError> {
        self.execute("UPDATE devices SET project = ?1 WHERE id = ?2", &[&project, &id])?;
        Ok(())
    }

    /// Notes when the server saw a device, and at which address.
    pub fn device_seen(&self, now_ms: i64, id: &str, address: Option<&str>) -> Result<(), StoreError> {
        self.execute(
            "UPDATE devices SET last_seen_ms = ?1, address = coalesce(?2, address) WHERE id = ?3",
            &[&now_ms, &address, &id],
        )?;
        Ok(())
    }

    /// The commands that a device has, and what its policy says of them; `None` if it did not say.
    pub(crate) fn command_offers(&self, id: &str) -> Result<Option<Vec<CommandOffer>>, StoreError> {
        let inventory: Option<Inventory> =
            self.row("SELECT inventory FROM devices WHERE id = ?1", &[&id], |row| {
                row.json(0)
            })?;
        Ok(inventory.and_then(|inventory| inventory.commands))
    }

    /// Stores the inventory that a device reported.
    pub fn set_inventory(&self, id: &str, inventory: &Inventory) -> Result<(), StoreError> {
        let inventory = serde_json::to_string(inventory)?;
        self.execute(
            "UPDATE devices SET inventory = ?1 WHERE id = ?2",
            &[&inventory, &id],
        )?;
        Ok(())
    }

    /// Removes a device and all its data. Its telemetry is removed in small steps, see [`Tx::prune_samples`].
    pub fn delete_device(&self, id: &str) -> Result<bool, StoreError> {
        let deleted = self.execute("DELETE FROM devices WHERE id = ?1", &[&id])?;
        Ok(deleted == 1)
    }

    /// Adds the facts of other tables, for all devices at once.
    fn assemble(&self, mut devices: Vec<Device>) -> Result<Vec<Device>, StoreError> {
        if devices.is_empty() {
            return Ok(devices);
        }
        let ids: Vec<_> = devices.iter().map(|device| device.id.as_str()).collect();
        let ids = serde_json::to_string(&ids)?;
        let certificates: Vec<(String, Vec<u8>, i64, bool)> = self.rows(
            "SELECT device, hash, expires_ms, revoked_ms IS NOT NULL FROM json_each(?1, '$') CROSS JOIN \
             certificates WHERE hash = (SELECT shown.hash FROM certificates AS shown WHERE shown.device = \
             value ORDER BY shown.revoked_ms IS NOT NULL, shown.replaces IS NOT NULL, shown.issued_ms DESC \
             LIMIT 1)",
            &[&ids],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let mut certificates: HashMap<_, _> = certificates
            .into_iter()
            .map(|(device, hash, expires_ms, revoked)| (device, (hash, expires_ms, revoked)))
            .collect();
        let mut groups = self.groups_of_all(&ids)?;
        let mut updates = self.latest_updates(&ids)?;
        for device in &mut devices {
            let (hash, expires_ms, revoked) = certificates.remove(&device.id).unwrap_or_default();
            device.certificate_sha256 = crate::hex(&hash);
            device.certificate_expires_ms = expires_ms;
            device.revoked = revoked;
            device.groups = groups.remove(&device.id).unwrap_or_default();
            device.update = updates.remove(&device.id);
        }
        Ok(devices)
    }
}

/// A device without the facts of other tables.
fn bare(row: Row<'_>) -> Result<Device, StoreError> {
    let inventory: Inventory = row.json(6)?;
    Ok(Device {
        id: row.get(0)?,
        name: row.get(1)?,
        online: false,
        last_seen_ms: row.get(3)?,
        paired_ms: row.get(2)?,
        project: access::path(row.get(7)?),
        revoked: false,
        certificate_sha256: String::new(),
        certificate_expires_ms: 0,
        address: row.get(4)?,
        serial: match inventory.serial {
            Some(serial) => Some(serial),
            None => row.get(5)?,
        },
        model: inventory.model,
        os_version: inventory.os_version,
        os: inventory.os,
        agent_version: inventory.agent_version,
        kernel: inventory.kernel,
        architecture: inventory.architecture,
        hostname: inventory.hostname,
        updater: inventory.updater,
        compatible: inventory.compatible,
        slots: inventory.slots.into_iter().map(slot).collect(),
        groups: Vec::new(),
        update: None,
    })
}

fn slot(slot: Slot) -> DeviceSlot {
    DeviceSlot {
        name: slot.name,
        bootname: slot.bootname,
        state: slot.state,
        boot_status: slot.boot_status,
        version: slot.version,
        installed_at: slot.installed_at,
    }
}
