//! MQTT topics. A device reads and writes only under its own prefix, `hp1/<device id>/`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// First element of every topic: the protocol and its major version.
pub const PREFIX: &str = "hp1";

/// Identity of a device: the common name of its certificate, given by the server at enrolment.
///
/// 1 to 64 characters of `a-z 0-9 -`, so that it is safe in topics, host names, file names and URLs alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

/// A text that is not a [`DeviceId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a device id is 1 to 64 characters of a-z, 0-9 and '-'")]
pub struct InvalidDeviceId;

/// What a topic carries. QoS 1 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Device to server: [`crate::Sequenced`] telemetry, [`crate::senml::Pack`].
    Telemetry,
    /// Device to server: [`crate::Sequenced`] [`crate::Report`]s, in order, none lost.
    Report,
    /// Device to server, QoS 0, latest wins: [`crate::deployment::Progress`].
    Progress,
    /// Server to device: [`crate::Command`].
    Command,
}

/// A topic of one device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Whose topic it is.
    pub device: DeviceId,
    /// What it carries.
    pub channel: Channel,
}

/// A text that is not one of our topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a topic of this protocol")]
pub struct InvalidTopic;

// === impl DeviceId ===

impl DeviceId {
    /// Longest id, in bytes: what an X.509 common name holds.
    pub const MAX_LEN: usize = 64;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceId> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for DeviceId {
    type Error = InvalidDeviceId;

    fn try_from(text: String) -> Result<Self, InvalidDeviceId> {
        let valid = (1..=Self::MAX_LEN).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid {
            Ok(Self(text))
        } else {
            Err(InvalidDeviceId)
        }
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Channel ===

impl Channel {
    /// The topic's last element.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Report => "report",
            Self::Progress => "progress",
            Self::Command => "command",
        }
    }

    /// Whether devices publish on it. The others are the server's.
    #[must_use]
    pub fn is_up(self) -> bool {
        !matches!(self, Self::Command)
    }
}

// === impl Topic ===

impl Topic {
    /// The topic of `device` that carries `channel`.
    #[must_use]
    pub fn new(device: DeviceId, channel: Channel) -> Self {
        Self { device, channel }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}/{}/{}", self.device, self.channel.as_str())
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let mut parts = text.split('/');
        let (Some(PREFIX), Some(device), Some(channel), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidTopic);
        };
        let channel = match channel {
            "telemetry" => Channel::Telemetry,
            "report" => Channel::Report,
            "progress" => Channel::Progress,
            "command" => Channel::Command,
            _ => return Err(InvalidTopic),
        };
        let device = device.parse().map_err(|_| InvalidTopic)?;
        Ok(Self { device, channel })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn foreign_topics_are_refused() {
        for text in [
            "",
            "hp1",
            "hp1/a",
            "hp1/a/telemetry/x",
            "hp2/a/telemetry",
            "hp1//telemetry",
            "hp1/+/telemetry",
            "hp1/#",
            "hp1/A/telemetry",
            "hp1/a/Telemetry",
            "/hp1/a/telemetry",
        ] {
            assert_eq!(text.parse::<Topic>(), Err(InvalidTopic), "{text}");
        }
        assert_eq!("x".repeat(65).parse::<DeviceId>(), Err(InvalidDeviceId));
    }

    proptest! {
        #[test]
        fn topics_round_trip(id in "[a-z0-9-]{1,64}", channel in 0usize..4) {
            let channel = [Channel::Telemetry, Channel::Report, Channel::Progress, Channel::Command][channel];
            let topic = Topic::new(id.parse().unwrap(), channel);
            prop_assert_eq!(topic.to_string().parse::<Topic>().unwrap(), topic);
        }

        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,80}") {
            let _ = text.parse::<Topic>();
        }
    }
}
