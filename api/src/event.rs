//! Live events.

use serde::{Deserialize, Serialize};

use crate::{Bundle, Deployment, Device, DeviceProgress, Series};

/// Something that just happened. A client that missed events (`resync`) fetches what it shows again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Event {
    /// A device was paired, came, went or changed.
    Device {
        /// How it is now.
        device: Box<Device>,
    },
    /// A device was removed.
    DeviceRemoved {
        /// Which.
        id: String,
    },
    /// A deployment was made, or its cancellation was asked for. Its devices are told of one by one, or by a `resync` if they are many.
    Deployment {
        /// How it is now.
        deployment: Box<Deployment>,
    },
    /// An update on a device moved.
    Update {
        /// How it is now.
        update: Box<DeviceProgress>,
    },
    /// Telemetry arrived; each series holds only the new samples.
    Telemetry {
        /// From which device.
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
        /// Which.
        id: String,
    },
    /// The client was too slow and events were dropped.
    Resync,
}
