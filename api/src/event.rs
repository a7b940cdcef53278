//! Live events.

use serde::{Deserialize, Serialize};

use crate::{Bundle, CommandRun, Deployment, Device, DeviceProgress, Permission, Series};

/// Something that just happened. A client that missed events (`resync`) fetches again what it shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Event {
    /// A device was paired, connected, disconnected or changed.
    Device {
        /// The device as it is now.
        device: Box<Device>,
    },
    /// A device was removed.
    DeviceRemoved {
        /// Its id.
        id: String,
    },
    /// A deployment was made, or an operator asked to cancel it. An event for each of its devices follows, or one `resync` if they are
    /// many.
    Deployment {
        /// The deployment as it is now.
        deployment: Box<Deployment>,
    },
    /// An update on a device moved.
    Update {
        /// The update as it is now.
        update: Box<DeviceProgress>,
    },
    /// A run of a command was requested, or changed. It comes without its result. One `resync` comes instead for a command on many devices.
    Command {
        /// The run as it is now.
        run: Box<CommandRun>,
    },
    /// Telemetry arrived; each series holds only the new samples.
    Telemetry {
        /// Id of the device.
        device: String,
        /// The samples.
        series: Vec<Series>,
    },
    /// A bundle was uploaded.
    Bundle {
        /// The bundle.
        bundle: Box<Bundle>,
    },
    /// A bundle was deleted from a project.
    BundleRemoved {
        /// Its id.
        id: String,
        /// Path of the project; absent if it was in none.
        project: Option<String>,
    },
    /// The client was too slow, and the server dropped events.
    Resync,
}

// === impl Event ===

impl Event {
    /// What a client must be allowed to see, where it happened, to get the event; `None` for an event that everybody gets.
    #[must_use]
    pub fn permission(&self) -> Option<Permission> {
        match self {
            Self::Device { .. } | Self::DeviceRemoved { .. } | Self::Update { .. } => {
                Some(Permission::DeviceRead)
            }
            Self::Deployment { .. } => Some(Permission::DeploymentRead),
            Self::Command { .. } => Some(Permission::CommandRead),
            Self::Telemetry { .. } => Some(Permission::TelemetryRead),
            Self::Bundle { .. } | Self::BundleRemoved { .. } => Some(Permission::BundleRead),
            Self::Resync => None,
        }
    }
}
