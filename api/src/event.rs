//! Live events.

use serde::{Deserialize, Serialize};

use crate::{Bundle, Deployment, Device, DeviceProgress, Series};

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
    /// A bundle was deleted.
    BundleRemoved {
        /// Its id.
        id: String,
    },
    /// The client was too slow, and the server dropped events.
    Resync,
}
