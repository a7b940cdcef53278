//! Commands that devices run: what there is, requests, and the runs on devices.

use std::{collections::BTreeMap, fmt};

use homeport_protocol::Policy;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Target;

/// A command that can be requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandKind {
    /// Its name.
    pub name: String,
    /// What it does: a sentence.
    pub about: String,
    /// Seconds that it may run unless the request says something else.
    pub timeout_s: u32,
    /// JSON Schema (draft 2020-12) of its arguments.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub arguments: Value,
    /// JSON Schema of its result.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub result: Value,
    /// For a device: what its policy says, `allowed`, `depends` (on the arguments) or `denied`. Absent if the device does not have the
    /// command, or did not say.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub policy: Option<Policy>,
}

/// A request for a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewCommand {
    /// Name of the command.
    pub name: String,
    /// Its arguments: an object. Without it, an empty one.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub arguments: Option<Value>,
    /// Devices that run it.
    pub target: Target,
    /// Seconds that it may run on a device, at most a day. Without it, that of the [`CommandKind`].
    #[serde(default)]
    pub timeout_s: Option<u32>,
    /// Seconds until a device must have begun it, at most 30 days. Without it, an hour.
    #[serde(default)]
    pub expires_s: Option<u32>,
}

/// A requested command, with the number of its runs in each state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Command {
    /// Number.
    pub id: u64,
    /// Name of the command.
    pub name: String,
    /// Its arguments.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub arguments: Value,
    /// Its target.
    pub target: Target,
    /// Path of the project of its target; absent if that is in none.
    pub project: Option<String>,
    /// Name of the device, for a command on one that is still there.
    pub device_name: Option<String>,
    /// When it was requested.
    pub created_ms: i64,
    /// User who requested it.
    pub created_by: String,
    /// From this moment on it does not begin on a device.
    pub expires_ms: i64,
    /// Seconds that it may run.
    pub timeout_s: u32,
    /// Whether every run has ended.
    pub finished: bool,
    /// How many runs are in each state, by its name; states without runs are left out.
    pub states: BTreeMap<String, u64>,
    /// When a run last changed; for a command without runs, when it was requested.
    pub updated_ms: i64,
}

/// The run of a command on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommandRun {
    /// Number, among all runs of all commands.
    pub id: u64,
    /// Number of the command.
    pub command: u64,
    /// Name of the command.
    pub name: String,
    /// Its arguments.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub arguments: Value,
    /// Id of the device.
    pub device: String,
    /// Its name.
    pub device_name: String,
    /// When it was requested.
    pub created_ms: i64,
    /// User who requested it.
    pub created_by: String,
    /// Its state.
    pub state: RunState,
    /// Whether somebody wants it cancelled.
    pub cancelling: bool,
    /// Why it ended like this, for people; empty if there is nothing to say.
    pub detail: String,
    /// Exit status of the program that it ran.
    pub exit_status: Option<i32>,
    /// Its result, which matches the schema of its [`CommandKind`]. Lists of runs leave it out.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub result: Option<Value>,
    /// Place of the first byte of output that the server still has.
    pub output_start: u64,
    /// Bytes of output that came so far.
    pub output_end: u64,
    /// Bytes of output that the device threw away because they were too many.
    pub dropped_bytes: u64,
    /// When the device began it, as the server learned of it.
    pub begun_ms: Option<i64>,
    /// When it changed last.
    pub updated_ms: i64,
}

/// A line of a run's output, which comes as `application/x-ndjson`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OutputLine {
    /// The run as it is now. First line, and again when its state changes; the last line of a run that has ended.
    Run {
        /// The run, with its result.
        run: Box<CommandRun>,
    },
    /// A part of the output.
    Output {
        /// Place of its first byte in the output.
        at: u64,
        /// `stdout` or `stderr`.
        stream: String,
        /// The bytes, in Base64 (RFC 4648, section 4). They are the device's: a terminal may obey them, so show them with care.
        data: String,
    },
}

/// State of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RunState {
    /// The device was not told yet.
    Waiting,
    /// The device was told, and has not answered.
    Sent,
    /// The device runs it.
    Running,
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// The device's policy does not allow it.
    Denied,
    /// The device does not take these arguments.
    Invalid,
    /// The device does not have the command.
    UnknownCommand,
    /// The device's agent is too old for commands.
    Unsupported,
    /// It was not begun in time.
    Expired,
    /// Somebody cancelled it.
    Cancelled,
    /// It ran for too long, and was ended.
    TimedOut,
    /// The agent or the device was ended while it ran: nobody knows what it did.
    Interrupted,
    /// The device never said what became of it. It may still.
    Unanswered,
}

// === impl RunState ===

impl RunState {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Waiting,
        Self::Sent,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Denied,
        Self::Invalid,
        Self::UnknownCommand,
        Self::Unsupported,
        Self::Expired,
        Self::Cancelled,
        Self::TimedOut,
        Self::Interrupted,
        Self::Unanswered,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::UnknownCommand => "unknown_command",
            Self::Unsupported => "unsupported",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Interrupted => "interrupted",
            Self::Unanswered => "unanswered",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        self > Self::Running
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_the_names_shown() {
        for state in RunState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
            assert_eq!(RunState::named(state.as_str()), Some(state));
        }
        let open: Vec<_> = RunState::ALL
            .into_iter()
            .filter(|state| !state.is_final())
            .collect();
        assert_eq!(open, [RunState::Waiting, RunState::Sent, RunState::Running]);
    }
}
