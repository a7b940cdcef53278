//! Groups of devices.

use homeport_api::Group;
use rusqlite::OptionalExtension as _;

use super::{StoreError, Tx};

// === impl Tx ===

impl Tx {
    /// Whether it is new.
    pub fn create_group(&self, name: &str) -> Result<bool, StoreError> {
        let inserted = self
            .0
            .prepare_cached("INSERT INTO groups (name) VALUES (?) ON CONFLICT DO NOTHING")?
            .execute([name])?;
        Ok(inserted == 1)
    }

    /// The group with this name.
    pub fn group(&self, name: &str) -> Result<Option<Group>, StoreError> {
        let found: Option<String> = self
            .0
            .prepare_cached("SELECT name FROM groups WHERE name = ?")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        found
            .map(|name| {
                let devices = self.group_devices(&name)?;
                Ok(Group { name, devices })
            })
            .transpose()
    }

    /// All, by name.
    pub fn groups(&self) -> Result<Vec<Group>, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT name FROM groups ORDER BY name")?;
        let names: Vec<String> = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        names
            .into_iter()
            .map(|name| {
                let devices = self.group_devices(&name)?;
                Ok(Group { name, devices })
            })
            .collect()
    }

    /// Whether there was one.
    pub fn delete_group(&self, name: &str) -> Result<bool, StoreError> {
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

    /// Whether it was in.
    pub fn leave_group(&self, name: &str, device: &str) -> Result<bool, StoreError> {
        let deleted = self
            .0
            .prepare_cached("DELETE FROM group_devices WHERE name = ? AND device = ?")?
            .execute([name, device])?;
        Ok(deleted == 1)
    }

    pub(super) fn groups_of(&self, device: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT name FROM group_devices WHERE device = ? ORDER BY name")?;
        let rows = statement.query_map([device], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn group_devices(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT device FROM group_devices WHERE name = ? ORDER BY device")?;
        let rows = statement.query_map([name], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
