//! Server to device.

use serde::{Deserialize, Serialize, ser::SerializeMap};

use crate::{
    codec::{self, DecodeError},
    deployment::BundleOffer,
    limits::MAX_COMMAND_ID,
};

/// A command on its way to a device: the payload for [`crate::topic::Channel::Command`].
///
/// Commands are rows on the server first: they are sent again after a reconnect until the device has reported on them, so
/// a device handles each idempotently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Names the command among all that this device ever gets, 1 to [`MAX_COMMAND_ID`] bytes. It comes from the command's
    /// row, so a repeat has the same one; reports carry it back. Absent for a command without a row, and from older servers.
    pub id: Option<String>,
    /// From this moment on the command must not be begun: milliseconds since 1970-01-01T00:00:00Z. Absent: it never
    /// expires.
    pub expires_ms: Option<i64>,
    /// What to do.
    pub command: Command,
}

/// What the server asks of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Install this bundle.
    Deploy(Deploy),
    /// Stop a deployment, if that is still possible.
    Cancel(Cancel),
    /// Send the inventory now.
    Inventory,
    /// Run a command by its name.
    Call(Call),
    /// End a call before its time.
    Stop(Stop),
    /// Something this side does not know yet. Answered with [`crate::Report::Unsupported`].
    Unknown {
        /// The kind as sent.
        kind: String,
    },
}

/// See [`Command::Deploy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// The deployment's number; reports carry it back.
    pub deployment: u64,
    /// What to install.
    pub bundle: BundleOffer,
}

/// See [`Command::Cancel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Which deployment.
    pub deployment: u64,
}

/// See [`Command::Call`]. The envelope has an id, which the reports on the call carry back, and an expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Name of the command, such as those of [`crate::builtin`].
    pub name: String,
    /// Its arguments: a JSON object.
    pub arguments: String,
    /// Seconds that it may run. Then it is ended.
    pub timeout_s: u32,
}

/// See [`Command::Stop`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Id of the call.
    pub call: String,
}

/// A receiver that does not know the kind never looks at the body.
#[derive(Deserialize)]
struct Received {
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    expires_ms: Option<i64>,
    #[serde(default)]
    body: Option<ciborium::Value>,
}

// === impl Envelope ===

impl Envelope {
    /// Encodes it for the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`Envelope::encode`] wrote. An unknown kind is not an error.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let received: Received = codec::decode(payload)?;
        if let Some(length) = received.id.as_ref().map(String::len) {
            if length == 0 || length > MAX_COMMAND_ID {
                return Err(DecodeError::Malformed(format!(
                    "a command's id has 1 to {MAX_COMMAND_ID} bytes, this one has {length}"
                )));
            }
        }
        Ok(Self {
            id: received.id,
            expires_ms: received.expires_ms,
            command: Command::read(received.kind, received.body)?,
        })
    }
}

impl From<Command> for Envelope {
    /// A command without a row, which does not expire.
    fn from(command: Command) -> Self {
        Self {
            id: None,
            expires_ms: None,
            command,
        }
    }
}

/// The kind comes first, the body last.
impl Serialize for Envelope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.command.kind())?;
        if let Some(id) = &self.id {
            map.serialize_entry("id", id)?;
        }
        if let Some(expires_ms) = self.expires_ms {
            map.serialize_entry("expires_ms", &expires_ms)?;
        }
        match &self.command {
            Command::Deploy(deploy) => map.serialize_entry("body", deploy)?,
            Command::Cancel(cancel) => map.serialize_entry("body", cancel)?,
            Command::Call(call) => map.serialize_entry("body", call)?,
            Command::Stop(stop) => map.serialize_entry("body", stop)?,
            Command::Inventory | Command::Unknown { .. } => {}
        }
        map.end()
    }
}

// === impl Command ===

impl Command {
    /// The kind as it is called on the wire and in [`crate::Inventory::capabilities`].
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::Cancel(_) => "cancel",
            Self::Inventory => "inventory",
            Self::Call(_) => "call",
            Self::Stop(_) => "stop",
            Self::Unknown { kind } => kind,
        }
    }

    fn read(kind: String, body: Option<ciborium::Value>) -> Result<Self, DecodeError> {
        let malformed = |error: ciborium::value::Error| DecodeError::Malformed(error.to_string());
        let body = body.unwrap_or(ciborium::Value::Null);
        Ok(match kind.as_str() {
            "deploy" => Self::Deploy(body.deserialized().map_err(malformed)?),
            "cancel" => Self::Cancel(body.deserialized().map_err(malformed)?),
            "inventory" => Self::Inventory,
            "call" => Self::Call(body.deserialized().map_err(malformed)?),
            "stop" => Self::Stop(body.deserialized().map_err(malformed)?),
            _ => Self::Unknown {
                kind: crate::limits::clip(kind),
            },
        })
    }
}
