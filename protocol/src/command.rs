//! Server to device.

use serde::{Deserialize, Serialize, ser::SerializeMap};

use crate::{
    codec::{self, DecodeError},
    deployment::BundleOffer,
};

/// What the server asks of a device. Commands are rows on the server first: they are sent again after a reconnect until
/// the device has reported on them, so a device handles each idempotently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Install this bundle.
    Deploy(Deploy),
    /// Stop a deployment, if that is still possible.
    Cancel(Cancel),
    /// Send the inventory now.
    Inventory,
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

/// `kind` first, then the body: a receiver that does not know the kind never looks at the body.
#[derive(Deserialize)]
struct Envelope {
    kind: String,
    #[serde(default)]
    body: Option<ciborium::Value>,
}

// === impl Command ===

impl Command {
    /// The payload for [`crate::topic::Channel::Command`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`Command::encode`] wrote. An unknown kind is not an error.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let Envelope { kind, body } = codec::decode(payload)?;
        let malformed = |error: ciborium::value::Error| DecodeError::Malformed(error.to_string());
        let body = body.unwrap_or(ciborium::Value::Null);
        Ok(match kind.as_str() {
            "deploy" => Self::Deploy(body.deserialized().map_err(malformed)?),
            "cancel" => Self::Cancel(body.deserialized().map_err(malformed)?),
            "inventory" => Self::Inventory,
            _ => Self::Unknown {
                kind: crate::limits::clip(kind),
            },
        })
    }
}

impl Serialize for Command {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Deploy(deploy) => {
                map.serialize_entry("kind", "deploy")?;
                map.serialize_entry("body", deploy)?;
            }
            Self::Cancel(cancel) => {
                map.serialize_entry("kind", "cancel")?;
                map.serialize_entry("body", cancel)?;
            }
            Self::Inventory => map.serialize_entry("kind", "inventory")?,
            Self::Unknown { kind } => map.serialize_entry("kind", kind)?,
        }
        map.end()
    }
}
