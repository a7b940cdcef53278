//! Devices, groups, telemetry.

use serde::{Deserialize, Serialize};

/// A paired device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// Identity, the common name of its certificate.
    pub id: String,
    /// Name that people gave it.
    pub name: String,
    /// Whether it is connected now.
    pub online: bool,
    /// When it last connected, disconnected or sent something; absent if it never did.
    pub last_seen_ms: Option<i64>,
    /// When it was paired.
    pub paired_ms: i64,
    /// Whether its certificate was revoked: it cannot connect until it is paired again.
    pub revoked: bool,
    /// SHA-256 of its certificate, lower-case hex.
    pub certificate_sha256: String,
    /// When its certificate expires.
    pub certificate_expires_ms: i64,
    /// Address that it last connected from.
    pub address: Option<String>,
    /// Hardware serial number.
    pub serial: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Version of the running image.
    pub os_version: String,
    /// Operating system.
    pub os: String,
    /// Version of the agent.
    pub agent_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub architecture: String,
    /// Host name.
    pub hostname: String,
    /// Update backend and version, e.g. `rauc 1.13`.
    pub updater: String,
    /// `compatible` of the update backend.
    pub compatible: String,
    /// Slots of the update backend.
    pub slots: Vec<DeviceSlot>,
    /// Path of its project; absent if it is in none.
    pub project: Option<String>,
    /// Names of the groups it is in. Only those that the reader may see.
    pub groups: Vec<String>,
    /// The update that runs on it or ran last.
    pub update: Option<crate::DeviceUpdate>,
}

/// One slot of the update backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceSlot {
    /// The backend's name, e.g. `rootfs.0`.
    pub name: String,
    /// Bootloader's name, e.g. `A`.
    pub bootname: String,
    /// `booted`, `active` or `inactive`.
    pub state: String,
    /// `good`, `bad` or empty.
    pub boot_status: String,
    /// Version of the bundle that was installed last.
    pub version: String,
    /// When the backend installed it, RFC 3339 by the device's clock.
    pub installed_at: String,
}

/// A change to a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DevicePatch {
    /// New name, 1 to 128 characters.
    pub name: Option<String>,
    /// Path of the project to move it to; empty to take it out of its project. It leaves groups of other projects.
    pub project: Option<String>,
}

/// A new group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewGroup {
    /// 1 to 64 of `a-z 0-9 -`. A group of a project has the project's path and `/` before it, e.g. `acme/pilot`.
    pub name: String,
}

/// A group of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Group {
    /// Name, with the path of its project.
    pub name: String,
    /// Path of its project; absent if it is in none.
    pub project: Option<String>,
    /// Number of its devices. `GET /api/v1/devices?group=` lists them.
    pub devices: u64,
}

/// Samples of one telemetry series, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Series {
    /// Name, e.g. `cpu.busy`.
    pub name: String,
    /// SenML unit, empty without one.
    pub unit: String,
    /// The samples, averaged down to the number that the client asked for.
    pub points: Vec<Point>,
}

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Point {
    /// When it was measured.
    pub at_ms: i64,
    /// Value.
    pub value: f64,
}
