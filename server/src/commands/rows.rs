//! Commands: a request for a target.

use std::collections::BTreeMap;

use homeport_api::{Command, Page, RunState, Target};
use serde_json::Value;

use super::Order;
use crate::access::{self, COMMAND_SEEN, DEVICE_SEEN, Place, limited};
use crate::store::{Paging, Row, StoreError, Tx};

const COLUMNS: &str = "id, name, arguments, timeout_s, target, project, created_ms, created_by, expires_ms";

/// What a device is told of a command.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Name of the command.
    pub(crate) name: String,
    /// JSON of its arguments.
    pub(crate) arguments: String,
    /// Seconds that it may run.
    pub(crate) timeout_s: u32,
    /// From this moment on it does not begin.
    pub(crate) expires_ms: i64,
}

// === impl Tx ===

impl Tx {
    /// Adds a command without runs, and returns its number.
    pub(crate) fn insert_command(
        &self,
        now_ms: i64,
        created_by: &str,
        project: &str,
        order: &Order,
    ) -> Result<u64, StoreError> {
        let (target_device, target_group) = (order.target.device(), order.target.group());
        let target = serde_json::to_string(&order.target)?;
        self.value(
            "INSERT INTO commands (name, arguments, timeout_s, target, target_device, target_group, project, \
             created_ms, created_by, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING id",
            &[
                &order.name,
                &order.arguments,
                &order.timeout_s,
                &target,
                &target_device,
                &target_group,
                &project,
                &now_ms,
                &created_by,
                &order.expires_ms,
            ],
        )
    }

    /// The command with this number, with its runs on the devices of a scope counted.
    pub(crate) fn command(&self, id: u64, devices: &str) -> Result<Option<Command>, StoreError> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(None);
        };
        let found = self.row(
            &format!("SELECT {COLUMNS} FROM commands WHERE id = ?1"),
            &[&id],
            command,
        )?;
        Ok(self
            .complete_commands(found.into_iter().collect(), devices)?
            .pop())
    }

    /// What devices are told of a command.
    pub(crate) fn request(&self, id: u64) -> Result<Option<Request>, StoreError> {
        self.row(
            "SELECT name, arguments, timeout_s, expires_ms FROM commands WHERE id = ?1",
            &[&id],
            |row| {
                Ok(Request {
                    name: row.get(0)?,
                    arguments: row.get(1)?,
                    timeout_s: row.get(2)?,
                    expires_ms: row.get(3)?,
                })
            },
        )
    }

    /// Commands of a scope, newest first, with the runs on the devices of another scope counted.
    pub(crate) fn commands(
        &self,
        scope: &str,
        devices: &str,
        paging: &Paging<u64>,
    ) -> Result<Page<Command>, StoreError> {
        let commands = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM commands WHERE {COMMAND_SEEN} AND id < ?2 ORDER BY id DESC LIMIT ?3",
                COMMAND_SEEN = limited(scope, COMMAND_SEEN)
            ),
            &[&scope, &paging.below(), &paging.rows()],
            command,
        )?;
        let mut page = paging.page(commands, |command| command.id)?;
        page.items = self.complete_commands(page.items, devices)?;
        Ok(page)
    }

    /// Where a command is: its project, and the groups that it is for or that its device is in.
    pub(crate) fn command_place(&self, id: u64) -> Result<Option<Place>, StoreError> {
        self.target_place(
            "SELECT project, target_device, target_group FROM commands WHERE id = ?1",
            id,
        )
    }

    /// Moves the commands whose only target is this device to its project.
    pub(crate) fn move_commands(&self, device: &str, project: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE commands SET project = ?1 WHERE target_device = ?2",
            &[&project, &device],
        )?;
        Ok(())
    }

    /// Whether a run of the command has not ended.
    pub(crate) fn is_unfinished(&self, command: u64) -> Result<bool, StoreError> {
        let open: Option<i64> = self.row(
            "SELECT 1 FROM command_runs WHERE command = ?1 AND final = 0 LIMIT 1",
            &[&command],
            |row| row.get(0),
        )?;
        Ok(open.is_some())
    }

    /// Numbers of commands that have no runs any more, at most `limit`.
    pub(crate) fn commands_without_runs(&self, limit: u32) -> Result<Vec<u64>, StoreError> {
        self.rows(
            "SELECT id FROM commands WHERE id > 0 AND NOT EXISTS (SELECT 1 FROM command_runs WHERE command = \
             commands.id) ORDER BY id LIMIT ?1",
            &[&limit],
            |row| row.get(0),
        )
    }

    /// Deletes those of these commands that have no runs.
    pub(crate) fn delete_commands_without_runs(&self, ids: &[u64]) -> Result<(), StoreError> {
        let ids = serde_json::to_string(ids)?;
        self.execute(
            "DELETE FROM commands WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?1, '$')) AND NOT \
             EXISTS (SELECT 1 FROM command_runs WHERE command = commands.id)",
            &[&ids],
        )?;
        Ok(())
    }

    /// Counts the runs on the devices of a scope.
    fn complete_commands(&self, mut commands: Vec<Command>, scope: &str) -> Result<Vec<Command>, StoreError> {
        let ids: Vec<u64> = commands.iter().map(|command| command.id).collect();
        let ids = serde_json::to_string(&ids)?;
        let counts: Vec<(u64, String, u64, i64)> = self.rows(
            &format!(
                "SELECT command, state, count(*), max(updated_ms) FROM json_each(?2, '$') CROSS JOIN \
                 command_runs CROSS JOIN devices WHERE command = CAST(value AS BIGINT) AND devices.id = \
                 device AND {DEVICE_SEEN} GROUP BY command, state",
                DEVICE_SEEN = limited(scope, DEVICE_SEEN)
            ),
            &[&scope, &ids],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        for (id, state, count, updated_ms) in counts {
            if let Some(command) = commands.iter_mut().find(|command| command.id == id) {
                command.finished &= RunState::named(&state).is_none_or(RunState::is_final);
                command.updated_ms = command.updated_ms.max(updated_ms);
                command.states.insert(state, count);
            }
        }
        for command in &mut commands {
            if let Target::Device(device) = &command.target {
                command.device_name = self.device_name(device)?;
            }
        }
        Ok(commands)
    }
}

/// A command whose runs are not counted yet.
fn command(row: Row<'_>) -> Result<Command, StoreError> {
    let created_ms = row.get(6)?;
    Ok(Command {
        id: row.get(0)?,
        name: row.get(1)?,
        arguments: row.json::<Value>(2)?,
        timeout_s: row.get(3)?,
        target: row.json(4)?,
        project: access::path(row.get(5)?),
        device_name: None,
        created_ms,
        created_by: row.get(7)?,
        expires_ms: row.get(8)?,
        finished: true,
        states: BTreeMap::new(),
        updated_ms: created_ms,
    })
}
