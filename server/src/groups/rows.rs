//! Groups of devices.

use homeport_api::{Group, Page};
use rusqlite::{OptionalExtension as _, Row, params};

use crate::access::{self, GROUP_SEEN, Place, is_within, limited};
use crate::store::{Paging, StoreError, Tx};

const COLUMNS: &str =
    "name, project, (SELECT count(*) FROM group_devices WHERE group_devices.name = groups.name)";

// === impl Tx ===

impl Tx {
    /// Makes a group, and returns whether it is new.
    pub fn create_group(&self, name: &str, project: &str) -> Result<bool, StoreError> {
        let inserted = self
            .0
            .prepare_cached("INSERT INTO groups (name, project) VALUES (?, ?) ON CONFLICT DO NOTHING")?
            .execute([name, project])?;
        Ok(inserted == 1)
    }

    /// Number of groups of a project.
    pub fn count_groups(&self, project: &str) -> Result<usize, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT count(*) FROM groups WHERE project = ?")?
            .query_row([project], |row| row.get(0))?)
    }

    /// The group with this name.
    pub fn group(&self, name: &str) -> Result<Option<Group>, StoreError> {
        Ok(self
            .0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM groups WHERE name = ?"))?
            .query_row([name], group)
            .optional()?)
    }

    /// Groups of a scope, by name.
    pub fn groups(&self, scope: &str, paging: &Paging<String>) -> Result<Page<Group>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM groups WHERE {GROUP_SEEN} AND name > ?2 ORDER BY name LIMIT ?3",
            GROUP_SEEN = limited(scope, GROUP_SEEN)
        ))?;
        let after = paging.after.as_deref().unwrap_or_default();
        let rows = statement.query_map(params![scope, after, paging.rows()], group)?;
        let rows = rows.collect::<Result<_, _>>()?;
        Ok(paging.page(rows, |group: &Group| group.name.clone())?)
    }

    /// Removes a group, and returns whether there was one.
    pub fn delete_group(&self, name: &str) -> Result<bool, StoreError> {
        // Another group may get this name, and others roles on it.
        self.0
            .prepare_cached("UPDATE deployments SET target_group = NULL WHERE target_group = ?")?
            .execute([name])?;
        let deleted = self
            .0
            .prepare_cached("DELETE FROM groups WHERE name = ?")?
            .execute([name])?;
        Ok(deleted == 1)
    }

    /// Puts a device into a group. Both exist.
    pub fn join_group(&self, name: &str, device: &str) -> Result<(), StoreError> {
        self.0
            .prepare_cached("INSERT INTO group_devices (name, device) VALUES (?, ?) ON CONFLICT DO NOTHING")?
            .execute([name, device])?;
        Ok(())
    }

    /// Takes a device out of a group, and returns whether it was in it.
    pub fn leave_group(&self, name: &str, device: &str) -> Result<bool, StoreError> {
        let deleted = self
            .0
            .prepare_cached("DELETE FROM group_devices WHERE name = ? AND device = ?")?
            .execute([name, device])?;
        Ok(deleted == 1)
    }

    pub(crate) fn groups_of(&self, device: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT name FROM group_devices WHERE device = ? ORDER BY name")?;
        let rows = statement.query_map([device], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
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
        let mut statement = self
            .0
            .prepare_cached("SELECT device FROM group_devices WHERE name = ? ORDER BY device")?;
        let rows = statement.query_map([name], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Ids of the devices of a group whose certificates were not revoked, by the devices' names.
    pub fn able_group_devices(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT device FROM group_devices JOIN devices ON devices.id = device WHERE group_devices.name = ? AND \
             (EXISTS (SELECT 1 FROM certificates WHERE certificates.device = devices.id AND revoked_ms IS NULL) OR \
             NOT EXISTS (SELECT 1 FROM certificates WHERE certificates.device = devices.id)) ORDER BY devices.name, device",
        )?;
        let rows = statement.query_map([name], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn group(row: &Row<'_>) -> rusqlite::Result<Group> {
    Ok(Group {
        name: row.get(0)?,
        project: access::path(row.get(1)?),
        devices: row.get(2)?,
    })
}
