//! Why connections end.

use mqtt_proto::v5::DisconnectReasonCode;

use super::codec::PacketError;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Close {
    #[error("the device has left")]
    Gone,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the device has connected again")]
    TakenOver,
    #[error("the device's certificate is no longer active")]
    Removed,
    #[error("the device was silent for too long")]
    KeepAlive,
    #[error("the device does not acknowledge commands")]
    Unacknowledged,
    #[error("the device does not read what the server sends")]
    Unread,
    #[error("the device sent a packet too slowly")]
    Slow,
    #[error("the server stops")]
    ShuttingDown,
    #[error("messages cannot be stored now")]
    Unavailable,
    #[error("the device used topics that are not its own")]
    NotAuthorized,
    #[error("the device published with QoS 2")]
    QosNotSupported,
    #[error("the device asked to retain a message")]
    RetainNotSupported,
    #[error("the device used a topic alias")]
    TopicAliasInvalid,
    #[error("the device sent more than it may before it is acknowledged")]
    ReceiveMaximumExceeded,
    #[error(transparent)]
    Packet(#[from] PacketError),
}

// === impl Close ===

impl Close {
    /// The reason code for a client of MQTT 5; none if the client itself left.
    pub(super) fn code(&self) -> Option<DisconnectReasonCode> {
        use DisconnectReasonCode as Code;

        Some(match self {
            Self::Gone | Self::Broken(_) => return None,
            Self::TakenOver => Code::SessionTakenOver,
            Self::Removed => Code::AdministrativeAction,
            Self::KeepAlive => Code::KeepAliveTimeout,
            Self::Unacknowledged | Self::Unread | Self::Slow => Code::UnspecifiedError,
            Self::ShuttingDown => Code::ServerShuttingDown,
            Self::Unavailable => Code::ServerBusy,
            Self::NotAuthorized => Code::NotAuthorized,
            Self::QosNotSupported => Code::QoSNotSupported,
            Self::RetainNotSupported => Code::RetainNotSupported,
            Self::TopicAliasInvalid => Code::TopicAliasInvalid,
            Self::ReceiveMaximumExceeded => Code::ReceiveMaximumExceeded,
            Self::Packet(PacketError::TooLarge { .. }) => Code::PacketTooLarge,
            Self::Packet(PacketError::Malformed(_)) => Code::MalformedPacket,
            Self::Packet(PacketError::Protocol(_) | PacketError::Version) => Code::ProtocolError,
        })
    }
}
