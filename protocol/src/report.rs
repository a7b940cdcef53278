//! Device to server.

use serde::{Deserialize, Serialize, de::DeserializeOwned, ser::SerializeMap};

use crate::{
    codec::{self, DecodeError},
    deployment::{DeploymentState, Reason},
    device::{CommandOffer, Inventory},
    limits::{MAX_CAPABILITIES, MAX_CAPABILITY, MAX_COMMANDS, MAX_OUTPUT, MAX_RESULT, MAX_SLOTS},
};

/// A message of the device's queue with its place in it.
///
/// Delivery is at least once and in order within a channel. The server remembers the highest `sequence` per device, channel and `queue`, and
/// drops what it has seen. The device frees a message when its PUBACK comes, which the server sends after the commit.
///
/// A PUBACK with *Payload format invalid* frees the message too: it is lost, and counted. One with *Quota exceeded* for
/// telemetry leaves it in the queue: the device sends it again later, with all that follow. So a server that refuses one for
/// that reason also refuses those behind it that are on their way; it would take the first for a repeat otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sequenced<T> {
    /// Random number made when the device created its queue: a device that lost its queue starts a new one.
    #[serde(rename = "q")]
    pub queue: u64,
    /// Position in the queue, from 1, never reused. Gaps are messages that the device had to drop.
    #[serde(rename = "s")]
    pub sequence: u64,
    /// The message.
    #[serde(rename = "m")]
    pub message: T,
}

/// What a device reports, in order, none lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "few reports exist at a time, and none of them for long"
)]
pub enum Report {
    /// First report after each connect, and again when it changes: the server answers with what the device missed.
    Inventory(Inventory),
    /// A deployment entered a new state.
    Deployment(DeploymentReport),
    /// An update that did not come through Homeport was seen (a USB stick, `rauc install` by hand).
    LocalInstall(LocalInstall),
    /// A command of a kind that this agent does not know.
    Unsupported {
        /// The command's kind.
        command: String,
        /// The command's id. Absent if it had none, and from older agents.
        id: Option<String>,
    },
    /// A command of a known kind was not begun, and will not be.
    NotRun(NotRun),
    /// A call was begun.
    CallBegun(CallBegun),
    /// A call wrote something.
    CallOutput(CallOutput),
    /// A call has ended, and will write nothing more.
    CallEnded(CallEnded),
    /// Something this side does not know yet. Stored by nobody, acknowledged, never fatal.
    Unknown {
        /// The kind as sent.
        kind: String,
    },
}

/// See [`Report::Deployment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentReport {
    /// Which deployment.
    pub deployment: u64,
    /// The state entered.
    pub state: DeploymentState,
    /// Why, for `waiting`, `failed`, `rolled_back` and `cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Version that runs as this is reported.
    #[serde(default)]
    pub running_version: String,
    /// Bootloader's name of the slot that runs.
    #[serde(default)]
    pub running_slot: String,
    /// Bytes fetched from the server for this deployment so far.
    #[serde(default)]
    pub bytes_fetched: u64,
    /// The device's clock, milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub at_ms: i64,
}

/// See [`Report::LocalInstall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalInstall {
    /// The slot that was written.
    pub slot: String,
    /// Version of the bundle.
    pub version: String,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// The backend's error, or a remark.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// RAUC's transaction id, where it has one: names the installation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub transaction: String,
    /// When it happened, milliseconds since 1970-01-01T00:00:00Z, by the device's clock.
    #[serde(default)]
    pub at_ms: i64,
}

/// See [`Report::NotRun`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// The command's kind.
    pub command: String,
    /// The command's id. Absent if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For programs.
    pub cause: Cause,
    /// For people: one sentence, at most [`crate::limits::MAX_TEXT`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The device's clock, milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub at_ms: i64,
}

/// Why a command was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It had expired when its turn came, by the device's clock.
    Expired,
    /// As many as the device lets wait were waiting already: send it again later.
    TooMany,
    /// A cause of a newer protocol.
    #[serde(other)]
    Other,
}

/// See [`Report::CallBegun`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallBegun {
    /// The call's id.
    pub id: String,
    /// A random number that the agent makes when it begins the call. A call that only looks is begun anew by an agent that
    /// was ended meanwhile: the number is another then, and what came before is void.
    pub run: u64,
    /// The device's clock, milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub at_ms: i64,
}

/// See [`Report::CallOutput`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOutput {
    /// The call's id.
    pub id: String,
    /// See [`CallBegun::run`].
    pub run: u64,
    /// Where it was written.
    pub stream: Stream,
    /// What was written, at most [`crate::limits::MAX_OUTPUT`] bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// See [`Report::CallEnded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnded {
    /// The call's id.
    pub id: String,
    /// See [`CallBegun::run`]; absent for a call that was not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// For programs.
    pub outcome: Outcome,
    /// For people: why, at most [`crate::limits::MAX_TEXT`] bytes. Empty for `succeeded`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Exit status of the program, for a command that runs one which ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// The result: JSON, at most [`crate::limits::MAX_RESULT`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Bytes of output that were thrown away because they were too many.
    #[serde(default)]
    pub dropped_bytes: u64,
    /// The device's clock, milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub at_ms: i64,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should; a program ended with status 0.
    Succeeded,
    /// It did not.
    Failed,
    /// The device's policy does not allow it; the detail names the rule.
    Denied,
    /// The arguments are not those of the command.
    Invalid,
    /// The device has no such command.
    UnknownCommand,
    /// Somebody ended it ([`crate::command::Stop`]).
    Cancelled,
    /// Its time was over.
    TimedOut,
    /// The agent or the device was ended while it ran: nobody knows what it did.
    Interrupted,
    /// An outcome of a newer protocol.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Envelope {
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    body: Option<ciborium::Value>,
}

// === impl Sequenced ===

impl<T: Serialize> Sequenced<T> {
    /// The payload for the channel of `T`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

impl<T: DeserializeOwned> Sequenced<T> {
    /// Reads what [`Sequenced::encode`] wrote.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(payload)
    }
}

// === impl Report ===

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Inventory(inventory) => {
                map.serialize_entry("kind", "inventory")?;
                map.serialize_entry("body", inventory)?;
            }
            Self::Deployment(report) => {
                map.serialize_entry("kind", "deployment")?;
                map.serialize_entry("body", report)?;
            }
            Self::LocalInstall(install) => {
                map.serialize_entry("kind", "local_install")?;
                map.serialize_entry("body", install)?;
            }
            Self::Unsupported { command, id } => {
                map.serialize_entry("kind", "unsupported")?;
                map.serialize_entry("body", command)?;
                // Beside the body, which older servers expect to be a text.
                if let Some(id) = id {
                    map.serialize_entry("id", id)?;
                }
            }
            Self::NotRun(not_run) => {
                map.serialize_entry("kind", "not_run")?;
                map.serialize_entry("body", not_run)?;
            }
            Self::CallBegun(begun) => {
                map.serialize_entry("kind", "call_begun")?;
                map.serialize_entry("body", begun)?;
            }
            Self::CallOutput(output) => {
                map.serialize_entry("kind", "call_output")?;
                map.serialize_entry("body", output)?;
            }
            Self::CallEnded(ended) => {
                map.serialize_entry("kind", "call_ended")?;
                map.serialize_entry("body", ended)?;
            }
            Self::Unknown { kind } => map.serialize_entry("kind", kind)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Envelope { kind, id, body } = Envelope::deserialize(deserializer)?;
        let body = body.unwrap_or(ciborium::Value::Null);
        let report = match kind.as_str() {
            "inventory" => body.deserialized().map(Self::Inventory),
            "deployment" => body.deserialized().map(Self::Deployment),
            "local_install" => body.deserialized().map(Self::LocalInstall),
            "unsupported" => body
                .deserialized()
                .map(|command| Self::Unsupported { command, id }),
            "not_run" => body.deserialized().map(Self::NotRun),
            "call_begun" => body.deserialized().map(Self::CallBegun),
            "call_output" => body.deserialized().map(Self::CallOutput),
            "call_ended" => body.deserialized().map(Self::CallEnded),
            _ => Ok(Self::Unknown {
                kind: crate::limits::clip(kind),
            }),
        }
        .map_err(serde::de::Error::custom)?;
        if let Self::Inventory(inventory) = &report {
            if inventory.slots.len() > MAX_SLOTS {
                return Err(serde::de::Error::custom("too many slots"));
            }
            let capabilities = &inventory.capabilities;
            if capabilities.len() > MAX_CAPABILITIES
                || capabilities.iter().any(|kind| kind.len() > MAX_CAPABILITY)
            {
                return Err(serde::de::Error::custom(
                    "too many capabilities, or too long ones",
                ));
            }
            let commands = inventory.commands.as_deref().unwrap_or_default();
            let is_long = |offer: &CommandOffer| offer.name.len() > MAX_CAPABILITY;
            if commands.len() > MAX_COMMANDS || commands.iter().any(is_long) {
                return Err(serde::de::Error::custom("too many commands, or too long ones"));
            }
        }
        let is_large = match &report {
            Self::CallOutput(output) => output.data.len() > MAX_OUTPUT,
            Self::CallEnded(ended) => ended.result.as_ref().is_some_and(|json| json.len() > MAX_RESULT),
            _ => false,
        };
        if is_large {
            return Err(serde::de::Error::custom("too much output, or too large a result"));
        }
        Ok(report)
    }
}
