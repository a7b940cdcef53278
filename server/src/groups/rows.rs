//! Groups of devices.

use std::collections::HashMap;

use homeport_api::{Group, Page};

use crate::access::{self, GROUP_SEEN, Place, is_within, limited};
use crate::store::{Paging, Row, StoreError, Tx};

const COLUMNS: &str =
    "name, project, (SELECT count(*) FROM group_devices WHERE group_devices.name = groups.name)";

// === impl Tx ===

impl Tx {
    /// Makes a group, and returns whether it is new.
    pub fn create_group(&self, name: &str, project: &str) -> Result<bool, StoreError> {
        let inserted = self.execute(
            "INSERT INTO groups (name, project) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            &[&name, &project],
        )?;
        Ok(inserted == 1)
    }

    /// Number of groups of a project.
    pub fn count_groups(&self, project: &str) -> Result<usize, StoreError> {
        self.value("SELECT count(*) FROM groups WHERE project = ?1", &[&project])
    }

    /// The group with this name.
    pub fn group(&self, name: &str) -> Result<Option<Group>, StoreError> {
        self.row(
            &format!("SELECT {COLUMNS} FROM groups WHERE name = ?1"),
            &[&name],
            group,
        )
    }

    /// Groups of a scope, by name.
    pub fn groups(&self, scope: &str, paging: &Paging<String>) -> Result<Page<Group>, StoreError> {
        let after = paging.after.as_deref().unwrap_or_default();
        let rows = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM groups WHERE {GROUP_SEEN} AND name > ?2 ORDER BY name LIMIT ?3",
                GROUP_SEEN = limited(scope, GROUP_SEEN)
            ),
            &[&scope, &after, &paging.rows()],
            group,
        )?;
        Ok(paging.page(rows, |group: &Group| group.name.clone())?)
    }

    /// Removes a group, and returns whether there was one.
    pub fn delete_group(&self, name: &str) -> Result<bool, StoreError> {
        // Another group may get this name, and others roles on it.
        self.execute(
            "UPDATE deployments SET target_group = NULL WHERE target_group = ?1",
            &[&name],
        )?;
        let deleted = self.execute("DELETE FROM groups WHERE name = ?1", &[&name])?;
        Ok(deleted == 1)
    }

    /// Puts a device into a group. Both exist.
    pub fn join_group(&self, name: &str, device: &str) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO group_devices (name, device) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            &[&name, &device],
        )?;
        Ok(())
    }

    /// Takes a device out of a group, and returns whether it was in it.
    pub fn leave_group(&self, name: &str, device: &str) -> Result<bool, StoreError> {
        let deleted = self.execute(
            "DELETE FROM group_devices WHERE name = ?1 AND device = ?2",
            &[&name, &device],
        )?;
        Ok(deleted == 1)
    }

    pub(crate) fn groups_of(&self, device: &str) -> Result<Vec<String>, StoreError> {
        self.rows(
            "SELECT name FROM group_devices WHERE device = ?1 ORDER BY name",
            &[&device],
            |row| row.get(0),
        )
    }

    /// The groups of each of these devices, a JSON list of ids.
    pub(crate) fn groups_of_all(&self, devices: &str) -> Result<HashMap<String, Vec<String>>, StoreError> {
        let mut found: Vec<(String, String)> = self.rows(
            "SELECT device, name FROM json_each(?1, '$') CROSS JOIN group_devices WHERE device = value",
            &[&devices],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        found.sort_unstable();
        let mut groups: HashMap<_, Vec<_>> = HashMap::new();
        for (device, name) in found {
            groups.entry(device).or_default().push(name);
        }
        Ok(groups)
    }

    /// Takes a device out of the groups that do not reach into its project.
    pub(crate) fn leave_other_groups(&self, device: &str, project: &str) -> Result<(), StoreError> {
        for group in self.groups_of(device)? {
            if !is_within(project, &Place::of_group(&group).project) {
                self.leave_group(&group, device)?;
            }
        }
        Ok(())
    }

    /// Ids of the devices of a group.
    pub fn group_devices(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.rows(
            "SELECT device FROM group_devices WHERE name = ?1 ORDER BY device",
            &[&name],
            |row| row.get(0),
        )
    }

    /// Ids of the devices of a group whose certificates were not revoked, by the devices' names.
    pub fn able_group_devices(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.rows(
            "SELECT device FROM group_devices JOIN devices ON devices.id = device WHERE group_devices.name \
             = ?1 AND (EXISTS (SELECT 1 FROM certificates WHERE certificates.device = devices.id AND \
             revoked_ms IS NULL) OR NOT EXISTS (SELECT 1 FROM certificates WHERE certificates.device = \
             devices.id)) ORDER BY devices.name, device",
            &[&name],
            |row| row.get(0),
        )
    }
}

fn group(row: Row<'_>) -> Result<Group, StoreError> {
    Ok(Group {
        name: row.get(0)?,
        project: access::path(row.get(1)?),
        devices: row.get(2)?,
    })
}
