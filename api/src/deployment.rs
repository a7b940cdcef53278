//! Deployments, and the updates that devices go through.

use std::collections::BTreeMap;

use homeport_protocol::{DeploymentState, FailureCode};
use serde::{Deserialize, Serialize};

/// A request for a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDeployment {
    /// Id of the bundle.
    pub bundle: String,
    /// Devices that get it.
    pub target: Target,
}

/// Devices that get a deployment. The server resolves a group when it makes the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Target {
    /// One device, by id.
    Device(String),
    /// A group, by name.
    Group(String),
}

/// A deployment, with the number of its devices in each state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deployment {
    /// Number.
    pub id: u64,
    /// Id of the bundle.
    pub bundle: String,
    /// Version of the bundle.
    pub version: String,
    /// Its target.
    pub target: Target,
    /// Path of the project of its target; absent if that is in none.
    pub project: Option<String>,
    /// Name of the device, for a deployment to one that is still there.
    pub device_name: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// User who made it.
    pub created_by: String,
    /// Whether every device is in a final state.
    pub finished: bool,
    /// How many devices are in each state, by its name; states without devices are left out.
    pub states: BTreeMap<String, u64>,
    /// When a device last entered a state; for a deployment without devices, when it was made.
    pub updated_ms: i64,
}

/// One device of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceProgress {
    /// Id of the device.
    pub device: String,
    /// Its name.
    pub device_name: String,
    /// Its state.
    #[serde(flatten)]
    pub update: DeviceUpdate,
}

/// One update on one device. An [`UpdateHistory`] adds the states that it went through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceUpdate {
    /// Number, among all updates of all devices.
    pub id: u64,
    /// Its origin.
    pub origin: UpdateOrigin,
    /// Number of the deployment; absent for updates that did not come through Homeport.
    pub deployment: Option<u64>,
    /// Version of the bundle.
    pub version: String,
    /// Its state: `offered`, `waiting`, `downloading`, `installing`, `installed`, `rebooting`, `trial`, `verified`, `rolled_back`,
    /// `failed`, `cancelled`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: DeploymentState,
    /// The state before this one, e.g. the state in which it failed.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub previous: Option<DeploymentState>,
    /// How many states it has entered.
    pub steps: u64,
    /// Reason, for the states that have one.
    pub reason: Option<Why>,
    /// Version that ran when it entered the state, if the device reported it.
    pub running_version: String,
    /// Slot that ran then.
    pub running_slot: String,
    /// Progress of the present state in percent, 0 to 100.
    pub percent: u8,
    /// The current step of the device's update backend, in the backend's own words.
    pub message: String,
    /// Bytes that the device fetched.
    pub bytes_fetched: u64,
    /// Length of the bundle in bytes, 0 when unknown.
    pub bundle_size: u64,
    /// When it started.
    pub started_ms: i64,
    /// When it changed last.
    pub updated_ms: i64,
}

/// An update with every state that it went through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateHistory {
    /// The update as it is now.
    #[serde(flatten)]
    pub update: DeviceUpdate,
    /// Every state that it went through, oldest first: the first 255, and the final one.
    pub history: Vec<StateChange>,
}

/// Origin of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UpdateOrigin {
    /// A deployment of this server.
    Deployment,
    /// Somebody at the device: a USB stick, `rauc install` by hand.
    Local,
}

/// Reason why an update failed, rolled back or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// Code for programs: `signature`, `incompatible`, `version_too_old`, `truncated`, `corrupt`, `bundle_gone`, `disk_full`, `network`,
    /// `backend`, `busy`, `health_check`, `failed_unit`, `server_unreachable`, `deadline`, `boot_failed`, `unexpected_slot`, `cancelled`,
    /// `lease`, `other`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: FailureCode,
    /// Text for people.
    pub detail: String,
}

/// A state that was entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StateChange {
    /// The state.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: DeploymentState,
    /// When the server learned of it.
    pub at_ms: i64,
    /// Version that ran.
    pub running_version: String,
    /// Slot that ran.
    pub running_slot: String,
    /// Reason, for the states that have one.
    pub reason: Option<Why>,
}

// === impl Target ===

impl Target {
    /// Id of the device, if it is one.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Device(id) => Some(id),
            Self::Group(_) => None,
        }
    }

    /// Name of the group, if it is one.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Group(name) => Some(name),
            Self::Device(_) => None,
        }
    }
}
