//! What a device says about itself.

use serde::{Deserialize, Serialize};

/// The device's description of itself, sent after every connect and when it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Version of the agent.
    pub agent_version: String,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// Version of the running image: `IMAGE_VERSION`, else `VERSION_ID` of os-release.
    pub os_version: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Machine architecture (`uname -m`).
    pub architecture: String,
    /// Host name.
    pub hostname: String,
    /// Hardware serial number, where the board has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Model, from the device tree or DMI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Random id of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The update backend and its version, e.g. `rauc 1.13`; empty without one.
    pub updater: String,
    /// `compatible` of the update backend.
    pub compatible: String,
    /// The slots that the update backend manages.
    pub slots: Vec<Slot>,
    /// Kinds of command that the agent understands ([`crate::Command::kind`]), at most
    /// [`crate::limits::MAX_CAPABILITIES`]. Empty from agents that do not tell: they understand `deploy`, `cancel` and
    /// `inventory`.
    pub capabilities: Vec<String>,
    /// The commands that can be called by name ([`crate::command::Call`]), at most [`crate::limits::MAX_COMMANDS`]. Absent from
    /// agents that take no calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<CommandOffer>>,
}

/// A command that can be called by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOffer {
    /// Its name.
    pub name: String,
    /// What the device's policy says.
    #[serde(default)]
    pub policy: Policy,
}

/// What a device's policy says of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It is allowed with all arguments.
    Allowed,
    /// It depends on the arguments.
    #[default]
    Depends,
    /// It is never allowed.
    Denied,
    /// A newer protocol.
    #[serde(other)]
    Other,
}

/// One slot of the update backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// The backend's name, e.g. `rootfs.0`.
    pub name: String,
    /// Bootloader's name, e.g. `A`; empty for slots that are not booted.
    pub bootname: String,
    /// `booted`, `active` or `inactive`.
    pub state: String,
    /// `good` or `bad` as the bootloader sees it; empty when unknown.
    pub boot_status: String,
    /// Version of the bundle that was installed last; empty when never.
    pub version: String,
    /// When that was, as the device's clock said (RFC 3339); empty when never.
    pub installed_at: String,
}
