//! Runs of commands on devices, and what they write.

use std::collections::HashSet;

use homeport_api::{CommandRun, Page, RunState};
use homeport_protocol::report::Stream;
use serde_json::Value;

use crate::access::{DEVICE_SEEN, limited};
use crate::store::{Paging, Row, StoreError, Tx};

/// Runs of one device that have ended and are kept.
const RUNS: u32 = 100;

/// Newest runs of one device whose output is kept.
const RUNS_WITH_OUTPUT: u32 = 20;

/// Output of one run that is kept, in bytes: the newest.
pub(crate) const MAX_OUTPUT: u64 = 1024 * 1024;

const COLUMNS: &str = "command_runs.id, command, commands.name, arguments, device, devices.name, created_ms, created_by, state, \
     cancel, detail, exit_status, output_start, output_end, dropped_bytes, begun_ms, updated_ms";

/// Place of the result behind [`COLUMNS`].
const RESULT: usize = 17;

const TABLES: &str =
    "command_runs JOIN commands ON commands.id = command JOIN devices ON devices.id = device";

/// A run, as far as it decides what a device's report does.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) id: u64,
    pub(crate) command: u64,
    pub(crate) state: RunState,
    pub(crate) cancel: bool,
    pub(crate) nonce: Option<i64>,
    pub(crate) output_start: u64,
    pub(crate) output_end: u64,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) state: RunState,
    pub(crate) detail: String,
    pub(crate) exit_status: Option<i32>,
    /// JSON.
    pub(crate) result: Option<String>,
    pub(crate) dropped_bytes: u64,
}

/// A part of a run's output.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) at: u64,
    pub(crate) stream: String,
    pub(crate) data: Vec<u8>,
}

// === impl Tx ===

impl Tx {
    /// Adds a run on each of these devices.
    pub(crate) fn insert_runs(
        &self,
        now_ms: i64,
        command: u64,
        devices: &[String],
        due_ms: i64,
    ) -> Result<(), StoreError> {
        let devices = serde_json::to_string(devices)?;
        self.execute(
            "INSERT INTO command_runs (command, device, state, final, due_ms, updated_ms) SELECT ?1, value, \
             ?2, 0, ?3, ?4 FROM json_each(?5, '$')",
            &[&command, &RunState::Waiting.as_str(), &due_ms, &now_ms, &devices],
        )?;
        Ok(())
    }

    /// Those of these devices on which `most` runs or more have not ended.
    pub(crate) fn crowded(&self, devices: &[String], most: u64) -> Result<HashSet<String>, StoreError> {
        let devices = serde_json::to_string(devices)?;
        self.rows(
            "SELECT value FROM json_each(?1, '$') WHERE (SELECT count(*) FROM command_runs WHERE device = value \
             AND final = 0) >= ?2",
            &[&devices, &most],
            |row| row.get(0),
        )
    }

    /// Forgets a device's oldest runs, and the output of older ones.
    pub(crate) fn forget_old_runs(&self, device: &str) -> Result<(), StoreError> {
        self.execute(
            "DELETE FROM command_runs WHERE device = ?1 AND final = 1 AND id <= (SELECT id FROM command_runs \
             WHERE device = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            &[&device, &RUNS],
        )?;
        let without: Option<u64> = self.row(
            "SELECT id FROM command_runs WHERE device = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2",
            &[&device, &RUNS_WITH_OUTPUT],
            |row| row.get(0),
        )?;
        let Some(last) = without else {
            return Ok(());
        };
        let forgotten = self.execute(
            "DELETE FROM command_output WHERE run IN (SELECT id FROM command_runs WHERE device = ?1 AND id <= \
             ?2)",
            &[&device, &last],
        )?;
        if forgotten > 0 {
            self.execute(
                "UPDATE command_runs SET output_start = output_end WHERE device = ?1 AND id <= ?2",
                &[&device, &last],
            )?;
        }
        Ok(())
    }

    /// Runs of a device that have not ended, oldest first.
    pub(crate) fn open_runs(&self, device: &str) -> Result<Vec<Open>, StoreError> {
        self.rows(
            "SELECT id, command, state, cancel, nonce, output_start, output_end FROM command_runs WHERE \
             device = ?1 AND final = 0 ORDER BY id",
            &[&device],
            open,
        )
    }

    /// Runs of a command that have not ended, with their devices, numbered after `after`, at most `limit`.
    pub(crate) fn open_runs_of(
        &self,
        command: u64,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(String, Open)>, StoreError> {
        self.rows(
            "SELECT id, command, state, cancel, nonce, output_start, output_end, device FROM command_runs \
             WHERE command = ?1 AND final = 0 AND id > ?2 ORDER BY id LIMIT ?3",
            &[&command, &after, &limit],
            |row| Ok((row.get(7)?, open(row)?)),
        )
    }

    /// A run of a device by its number, ended or not.
    pub(crate) fn run_of_device(&self, device: &str, id: u64) -> Result<Option<Open>, StoreError> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(None);
        };
        self.row(
            "SELECT id, command, state, cancel, nonce, output_start, output_end FROM command_runs WHERE id = \
             ?1 AND device = ?2",
            &[&id, &device],
            open,
        )
    }

    /// Runs whose time is over, with their devices, at most `limit`.
    pub(crate) fn overdue_runs(&self, now_ms: i64, limit: u32) -> Result<Vec<(String, Open)>, StoreError> {
        self.rows(
            "SELECT id, command, state, cancel, nonce, output_start, output_end, device FROM command_runs \
             WHERE final = 0 AND due_ms <= ?1 ORDER BY due_ms LIMIT ?2",
            &[&now_ms, &limit],
            |row| Ok((row.get(7)?, open(row)?)),
        )
    }

    /// Puts a run into a state that is not final.
    pub(crate) fn set_run_state(
        &self,
        now_ms: i64,
        id: u64,
        state: RunState,
        due_ms: i64,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE command_runs SET state = ?1, final = 0, due_ms = ?2, updated_ms = ?3 WHERE id = ?4",
            &[&state.as_str(), &due_ms, &now_ms, &id],
        )?;
        Ok(())
    }

    /// Notes that a device has begun a run. Output of an earlier attempt is void.
    pub(crate) fn begin_run(&self, now_ms: i64, id: u64, nonce: i64, due_ms: i64) -> Result<(), StoreError> {
        self.execute("DELETE FROM command_output WHERE run = ?1", &[&id])?;
        self.execute(
            "UPDATE command_runs SET state = ?1, final = 0, nonce = ?2, begun_ms = ?3, due_ms = ?4, \
             updated_ms = ?3, output_start = 0, output_end = 0, detail = '' WHERE id = ?5",
            &[&RunState::Running.as_str(), &nonce, &now_ms, &due_ms, &id],
        )?;
        Ok(())
    }

    /// Notes that somebody wants a run cancelled.
    pub(crate) fn cancel_run(&self, now_ms: i64, id: u64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE command_runs SET cancel = 1, updated_ms = ?1 WHERE id = ?2",
            &[&now_ms, &id],
        )?;
        Ok(())
    }

    /// Notes how a run ended.
    pub(crate) fn end_run(&self, now_ms: i64, id: u64, ending: &Ending) -> Result<(), StoreError> {
        self.execute(
            "UPDATE command_runs SET state = ?1, final = 1, detail = ?2, exit_status = ?3, result = ?4, \
             dropped_bytes = ?5, updated_ms = ?6 WHERE id = ?7",
            &[
                &ending.state.as_str(),
                &ending.detail,
                &ending.exit_status.map(i64::from),
                &ending.result,
                &i64::try_from(ending.dropped_bytes).unwrap_or(i64::MAX),
                &now_ms,
                &id,
            ],
        )?;
        Ok(())
    }

    /// Adds output to a run, and forgets the oldest beyond [`MAX_OUTPUT`].
    pub(crate) fn add_output(
        &self,
        now_ms: i64,
        run: &Open,
        stream: Stream,
        data: &[u8],
    ) -> Result<(), StoreError> {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        self.execute(
            "INSERT INTO command_output (run, at, stream, data) VALUES (?1, ?2, ?3, ?4)",
            &[&run.id, &run.output_end, &stream, &data],
        )?;
        let end = run.output_end + data.len() as u64;
        let mut start = run.output_start;
        if end.saturating_sub(start) > MAX_OUTPUT {
            // Whole parts, the first of which begins where enough is left.
            let kept: Option<u64> = self.row(
                "SELECT at FROM command_output WHERE run = ?1 AND at >= ?2 ORDER BY at LIMIT 1",
                &[&run.id, &(end - MAX_OUTPUT)],
                |row| row.get(0),
            )?;
            start = kept.unwrap_or(run.output_end);
            self.execute(
                "DELETE FROM command_output WHERE run = ?1 AND at < ?2",
                &[&run.id, &start],
            )?;
        }
        self.execute(
            "UPDATE command_runs SET output_start = ?1, output_end = ?2, updated_ms = ?3 WHERE id = ?4",
            &[&start, &end, &now_ms, &run.id],
        )?;
        Ok(())
    }

    /// Counts output that is not kept. What there was before it goes too, so that what is kept has no gap.
    pub(crate) fn skip_output(&self, now_ms: i64, run: &Open, length: u64) -> Result<(), StoreError> {
        self.execute("DELETE FROM command_output WHERE run = ?1", &[&run.id])?;
        self.execute(
            "UPDATE command_runs SET output_start = ?1, output_end = ?1, updated_ms = ?2 WHERE id = ?3",
            &[&(run.output_end + length), &now_ms, &run.id],
        )?;
        Ok(())
    }

    /// Parts of a run's output that end behind `from`, oldest first, at most `limit`.
    pub(crate) fn output(&self, run: u64, from: u64, limit: u32) -> Result<Vec<Part>, StoreError> {
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        self.rows(
            "SELECT at, stream, data FROM command_output WHERE run = ?1 AND at >= coalesce((SELECT max(at) \
             FROM command_output WHERE run = ?1 AND at <= ?2), 0) AND at + length(data) > ?2 ORDER BY at \
             LIMIT ?3",
            &[&run, &from, &limit],
            |row| {
                Ok(Part {
                    at: row.get(0)?,
                    stream: row.get(1)?,
                    data: row.get(2)?,
                })
            },
        )
    }

    /// The run of a command on a device, with its result.
    pub(crate) fn run(&self, command: u64, device: &str) -> Result<Option<CommandRun>, StoreError> {
        let Ok(command) = i64::try_from(command) else {
            return Ok(None);
        };
        self.row(
            &format!("SELECT {COLUMNS}, result FROM {TABLES} WHERE command = ?1 AND device = ?2"),
            &[&command, &device],
            |row| {
                let result: Option<String> = row.get(RESULT)?;
                let result = result.map(|json| serde_json::from_str(&json)).transpose()?;
                Ok(CommandRun {
                    result,
                    ..command_run(row)?
                })
            },
        )
    }

    /// Runs of a command on devices in a scope, in the order in which it listed them, or those of them that are in `state`.
    pub(crate) fn runs_of_command(
        &self,
        scope: &str,
        command: u64,
        state: Option<RunState>,
        paging: &Paging<u64>,
    ) -> Result<Page<CommandRun>, StoreError> {
        let state = state.map(RunState::as_str);
        let runs = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM {TABLES} WHERE {DEVICE_SEEN} AND command = ?2 AND command_runs.id > \
                 ?3 AND (CAST(?5 AS TEXT) IS NULL OR state = ?5) ORDER BY command_runs.id LIMIT ?4",
                DEVICE_SEEN = limited(scope, DEVICE_SEEN)
            ),
            &[&scope, &command, &paging.above(), &paging.rows(), &state],
            command_run,
        )?;
        Ok(paging.page(runs, |run| run.id)?)
    }

    /// Runs of a device, newest first.
    pub(crate) fn runs_of_device(
        &self,
        device: &str,
        paging: &Paging<u64>,
    ) -> Result<Page<CommandRun>, StoreError> {
        let runs = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM {TABLES} WHERE device = ?1 AND command_runs.id < ?2 ORDER BY \
                 command_runs.id DESC LIMIT ?3"
            ),
            &[&device, &paging.below(), &paging.rows()],
            command_run,
        )?;
        Ok(paging.page(runs, |run| run.id)?)
    }

    /// Forgets runs that ended before `before_ms`, at most `limit`, and counts them.
    pub(crate) fn prune_runs(&self, before_ms: i64, limit: u32) -> Result<usize, StoreError> {
        self.execute(
            "DELETE FROM command_runs WHERE id IN (SELECT id FROM command_runs WHERE final = 1 AND \
             updated_ms < ?1 ORDER BY updated_ms LIMIT ?2)",
            &[&before_ms, &limit],
        )
    }
}

fn open(row: Row<'_>) -> Result<Open, StoreError> {
    Ok(Open {
        id: row.get(0)?,
        command: row.get(1)?,
        state: state(row, 2)?,
        cancel: row.get(3)?,
        nonce: row.get(4)?,
        output_start: row.get(5)?,
        output_end: row.get(6)?,
    })
}

/// Reads a row of `COLUMNS`.
fn command_run(row: Row<'_>) -> Result<CommandRun, StoreError> {
    let exit_status: Option<i64> = row.get(11)?;
    Ok(CommandRun {
        id: row.get(0)?,
        command: row.get(1)?,
        name: row.get(2)?,
        arguments: row.json::<Value>(3)?,
        device: row.get(4)?,
        device_name: row.get(5)?,
        created_ms: row.get(6)?,
        created_by: row.get(7)?,
        state: state(row, 8)?,
        cancelling: row.get(9)?,
        detail: row.get(10)?,
        exit_status: exit_status.and_then(|status| status.try_into().ok()),
        result: None,
        output_start: row.get(12)?,
        output_end: row.get(13)?,
        dropped_bytes: row.get(14)?,
        begun_ms: row.get(15)?,
        updated_ms: row.get(16)?,
    })
}

fn state(row: Row<'_>, column: usize) -> Result<RunState, StoreError> {
    let name: String = row.get(column)?;
    RunState::named(&name).ok_or_else(|| StoreError::Corrupt(format!("no state of a run: {name}")))
}
