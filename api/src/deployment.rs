//! Deployments, and the updates that devices go through.

use std::collections::BTreeMap;

use homeport_protocol::{DeploymentState, FailureCode};
use serde::{Deserialize, Serialize};

/// What to install where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDeployment {
    /// Id of the bundle.
    pub bundle: String,
    /// Devices that get it.
    pub target: Target,
}

/// Who gets a deployment. Groups are resolved when the deployment is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Target {
    /// One device, by id.
    Device(String),
    /// A group, by name.
    Group(String),
}

/// A deployment and how far its devices are, all in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deployment {
    /// Number.
    pub id: u64,
    /// Id of the bundle.
    pub bundle: String,
    /// Version of the bundle.
    pub version: String,
    /// Who was meant.
    pub target: Target,
    /// Name of the device, for a deployment to one that is still there.
    pub device_name: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// Who made it.
    pub created_by: String,
    /// Whether every device is in a final state.
    pub finished: bool,
    /// How many devices are in each state, by its name; states without devices are left out.
    pub states: BTreeMap<String, u64>,
    /// When a device entered a state last; when it was made, without devices.
    pub updated_ms: i64,
}

/// One device of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceProgress {
    /// Which device.
    pub device: String,
    /// Its name.
    pub device_name: String,
    /// Its state.
    #[serde(flatten)]
    pub update: DeviceUpdate,
}

/// One update on one device. The states that it went through are an [`UpdateHistory`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceUpdate {
    /// Number, among all updates of all devices.
    pub id: u64,
    /// Where it came from.
    pub origin: UpdateOrigin,
    /// Number of the deployment; absent for updates that did not come through Homeport.
    pub deployment: Option<u64>,
    /// Version of the bundle.
    pub version: String,
    /// Where it stands: `offered`, `waiting`, `downloading`, `installing`, `installed`, `rebooting`, `trial`, `verified`, `rolled_back`,
    /// `failed`, `cancelled`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: DeploymentState,
    /// The state before this one: where it was when it failed, for example.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub previous: Option<DeploymentState>,
    /// How many states it has entered.
    pub steps: u64,
    /// Why, for the states that have a reason.
    pub reason: Option<Why>,
    /// Version that ran when it entered the state, as far as the device said.
    pub running_version: String,
    /// Slot that ran then.
    pub running_slot: String,
    /// Of the present state, 0 to 100.
    pub percent: u8,
    /// What the device's update backend is doing, in its own words.
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
    /// How it is now.
    #[serde(flatten)]
    pub update: DeviceUpdate,
    /// Every state that it went through, oldest first: the first 255, and the final one.
    pub history: Vec<StateChange>,
}

/// Where an update came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UpdateOrigin {
    /// A deployment of this server.
    Deployment,
    /// Somebody at the device: a USB stick, `rauc install` by hand.
    Local,
}

/// Why an update failed, rolled back or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// For programs: `signature`, `incompatible`, `version_too_old`, `truncated`, `corrupt`, `bundle_gone`, `disk_full`, `network`, `backend`,
    /// `busy`, `health_check`, `failed_unit`, `server_unreachable`, `deadline`, `boot_failed`, `unexpected_slot`, `cancelled`, `lease`, `other`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: FailureCode,
    /// For people.
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
    /// Why.
    pub reason: Option<Why>,
}
