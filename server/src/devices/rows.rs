//! Devices, as the API shows them.

use crate::access::{self, DEVICE_SEEN, limited};
use crate::store::{Paging, Row, StoreError, Tx};
use homeport_api::{Device, DeviceSlot, Page};
use homeport_protocol::{Inventory, Slot};

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
        self.row(
            &format!("SELECT {COLUMNS} FROM devices WHERE id = ?1"),
            &[&id],
            |row| self.assemble(row),
        )
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
                "SELECT {COLUMNS} FROM devices WHERE {DEVICE_SEEN} AND (name, id) > (?2, ?3) \
                 AND (CAST(?5 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM group_devices WHERE group_devices.name = ?5 AND device = devices.id)) \
                 AND (CAST(?6 AS TEXT) IS NULL OR project = ?6 OR substr(project, 1, length(?6) + 1) = ?6 || '/') ORDER BY name, id LIMIT ?4",
                DEVICE_SEEN = limited(scope, DEVICE_SEEN)
            ),
            &[&scope, &name, &id, &paging.rows(), &group, &project],
            |row| self.assemble(row),
        )?;
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
            |row| self.assemble(row),
        )?;
        if found.is_empty() {
            found = self.rows(&format!(
                        "SELECT {COLUMNS} FROM devices WHERE {DEVICE_SEEN} AND name = ?2 AND id > ?3 ORDER BY id LIMIT ?4", DEVICE_SEEN = limited(scope, DEVICE_SEEN)
                    ), &[&scope, &text, &id, &paging.rows()], |row| self.assemble(row))?;
        }
        if found.is_empty() && !text.is_empty() {
            // Ids consist of lower-case letters and digits.
            found = self.rows(&format!(
                        "SELECT {COLUMNS} FROM devices WHERE {DEVICE_SEEN} AND id >= ?2 AND id < ?2 || '~' AND id > ?3 ORDER BY id LIMIT ?4", DEVICE_SEEN = limited(scope, DEVICE_SEEN)
                    ), &[&scope, &text, &id, &paging.rows()], |row| self.assemble(row))?;
        }
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

    fn assemble(&self, row: Row<'_>) -> Result<Device, StoreError> {
        let id: String = row.get(0)?;
        let inventory: Inventory = row.json(6)?;
        let certificate: Option<(Vec<u8>, i64, bool)> = self.row(
            "SELECT hash, expires_ms, revoked_ms IS NOT NULL FROM certificates WHERE device = ?1 \
                 ORDER BY revoked_ms IS NOT NULL, replaces IS NOT NULL, issued_ms DESC LIMIT 1",
            &[&id],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let (certificate, certificate_expires_ms, revoked) = certificate.unwrap_or_default();
        Ok(Device {
            name: row.get(1)?,
            online: false,
            last_seen_ms: row.get(3)?,
            paired_ms: row.get(2)?,
            project: access::path(row.get(7)?),
            revoked,
            certificate_sha256: crate::hex(&certificate),
            certificate_expires_ms,
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
            groups: self.groups_of(&id)?,
            update: self.latest_update(&id)?,
            id,
        })
    }
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
