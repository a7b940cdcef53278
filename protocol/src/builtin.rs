//! The commands that every agent has: their names, and the shapes of their arguments and results, in JSON.
//!
//! With the feature `schema`, [`ALL`] has the JSON Schemas (draft 2020-12), made of the same types. Results may get further
//! fields; arguments that a command does not know are refused.

use serde::{Deserialize, Serialize};

/// A built-in command.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What it does: a sentence for people.
    pub about: &'static str,
    /// Seconds that it runs unless the call says something else.
    pub timeout_s: u32,
    /// JSON Schema of the arguments.
    #[cfg(feature = "schema")]
    pub arguments: fn() -> schemars::Schema,
    /// JSON Schema of the result.
    #[cfg(feature = "schema")]
    pub result: fn() -> schemars::Schema,
}

/// Makes [`ALL`].
macro_rules! builtins {
    ($($name:literal, $about:literal, $timeout_s:literal, $arguments:ty, $result:ty;)*) => {
        /// All of them, by name.
        pub const ALL: &[Builtin] = &[$(Builtin {
            name: $name,
            about: $about,
            timeout_s: $timeout_s,
            #[cfg(feature = "schema")]
            arguments: || schemars::schema_for!($arguments),
            #[cfg(feature = "schema")]
            result: || schemars::schema_for!($result),
        }),*];
    };
}

builtins! {
    "disk", "Lists file systems with their sizes and what is free.", 30, Nothing, Disk;
    "get_version", "Tells the versions of agent, system and kernel.", 30, Nothing, Version;
    "ifconfig", "Lists network links with their addresses, routes and name servers.", 30, Nothing, Network;
    "journal", "Shows messages of the system's log, and follows it if asked to.", 60, JournalArguments, Lines;
    "killall", "Sends a signal to every process of a name.", 30, KillallArguments, Killed;
    "ping", "Sends ICMP echo requests to a host and measures its answers.", 60, PingArguments, Ping;
    "ps", "Lists processes.", 30, Nothing, Processes;
    "reboot", "Reboots the device; it succeeded when the device has booted again.", 600, Nothing, Rebooted;
    "run", "Runs a program that the device's policy names.", 60, RunArguments, Done;
    "service", "Shows, starts, stops or restarts a service.", 120, ServiceArguments, Service;
}

/// The built-in command of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name == name)
}

/// An object without fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Result of a command that has nothing to say beside its output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Done {}

/// Result of `disk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Disk {
    /// Those with a size, in the order of mounting.
    pub file_systems: Vec<FileSystem>,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileSystem {
    /// Where it is mounted.
    pub mount: String,
    /// What is mounted.
    pub source: String,
    /// Its type, e.g. `ext4`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its size.
    pub size_bytes: u64,
    /// What is used.
    pub used_bytes: u64,
    /// What users other than root may still use.
    pub available_bytes: u64,
    /// Inodes; 0 where the file system does not count them.
    pub inodes: u64,
    /// Inodes that are free.
    pub free_inodes: u64,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// Result of `get_version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Version {
    /// Version of the agent.
    pub agent: String,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// Version of the running image: `IMAGE_VERSION`, else `VERSION_ID` of os-release.
    pub os_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub architecture: String,
    /// Host name.
    pub hostname: String,
    /// Random id of this boot.
    pub boot_id: String,
    /// Seconds since it booted.
    pub uptime_s: u64,
}

/// Result of `ifconfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Network {
    /// The network links, as the kernel lists them.
    pub links: Vec<Link>,
    /// The routes of the main table.
    pub routes: Vec<Route>,
    /// Addresses of the name servers in `/etc/resolv.conf`.
    pub name_servers: Vec<String>,
}

/// A network link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Link {
    /// Its name, e.g. `eth0`.
    pub name: String,
    /// RFC 2863: `up`, `down`, `dormant`, `lowerlayerdown`, `notpresent`, `testing` or `unknown`.
    pub state: String,
    /// Hardware address; empty without one.
    pub mac: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Addresses with the length of their prefix, e.g. `192.0.2.7/24`.
    pub addresses: Vec<String>,
    /// Bytes that were received.
    pub received_bytes: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Errors of both directions.
    pub errors: u64,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Route {
    /// Network with the length of its prefix, or `default`.
    pub destination: String,
    /// The next hop; empty if there is none.
    pub gateway: String,
    /// The link.
    pub link: String,
    /// Lower ones are preferred.
    pub metric: u32,
}

/// Arguments of `journal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct JournalArguments {
    /// Messages of this unit only.
    pub unit: Option<String>,
    /// Messages of this priority and of more important ones: 0 (emergency) to 7 (debug).
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 7)))]
    pub priority: Option<u8>,
    /// Messages of the last so many seconds only.
    pub since_s: Option<u32>,
    /// Lines that contain this text only.
    pub contains: Option<String>,
    /// The newest so many lines; 200 by default.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100_000)))]
    pub lines: Option<u32>,
    /// Goes on with new messages until the time is over or somebody cancels.
    pub follow: bool,
}

/// Result of a command whose answer is its output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lines {
    /// Lines that were written.
    pub lines: u64,
}

/// Arguments of `killall`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KillallArguments {
    /// Name of the program, without its folder.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 255)))]
    pub name: String,
    /// The signal.
    #[serde(default)]
    pub signal: Signal,
}

/// A signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// SIGTERM
    #[default]
    Term,
    /// SIGKILL
    Kill,
    /// SIGHUP
    Hup,
    /// SIGINT
    Int,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
}

/// Result of `killall`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Killed {
    /// The processes that got the signal.
    pub pids: Vec<u32>,
}

/// Arguments of `ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PingArguments {
    /// Name or address.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 253)))]
    pub host: String,
    /// How many requests, one a second; 3 by default.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 20)))]
    pub count: Option<u8>,
}

/// Result of `ping`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ping {
    /// The address that was asked.
    pub address: String,
    /// Requests.
    pub sent: u32,
    /// Answers.
    pub received: u32,
    /// The quickest answer in milliseconds; absent without an answer.
    pub min_ms: Option<f64>,
    /// All of them on average.
    pub average_ms: Option<f64>,
    /// The slowest.
    pub max_ms: Option<f64>,
}

/// Result of `ps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Processes {
    /// The processes, by pid. Where there are too many for an answer, those with the most memory.
    pub processes: Vec<Process>,
    /// Processes that were left out.
    pub left_out: u32,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// That of its parent.
    pub parent: u32,
    /// Its user's name; the number where there is no name.
    pub user: String,
    /// State as in proc(5): `R`, `S`, `D`, `Z`, `T`, `I` and others.
    pub state: String,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Seconds of one processor that it has used.
    pub cpu_s: f64,
    /// Share of one processor that it has used since it was started, in percent.
    pub cpu_percent: f64,
    /// Name as the kernel has it.
    pub name: String,
    /// Command line, cut after 256 bytes; empty for threads of the kernel.
    pub arguments: String,
}

/// Result of `reboot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rebooted {
    /// Id of the boot that ended.
    pub boot_id_before: String,
    /// Id of the boot that followed.
    pub boot_id: String,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunArguments {
    /// Name of the program in the device's policy.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
    pub program: String,
    /// Its arguments.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = 64), inner(length(max = 4096))))]
    pub arguments: Vec<String>,
}

/// Arguments of `service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceArguments {
    /// What to do.
    #[serde(default)]
    pub action: ServiceAction,
    /// The unit, or the init script. Without a suffix, `.service` is meant.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 255)))]
    pub unit: String,
    /// For `logs`: the newest so many lines; 200 by default.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100_000)))]
    pub lines: Option<u32>,
}

/// See [`ServiceArguments`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceAction {
    /// Shows how it stands.
    #[default]
    Status,
    /// Shows its messages.
    Logs,
    /// Starts it.
    Start,
    /// Stops it.
    Stop,
    /// Stops and starts it.
    Restart,
}

/// Result of `service`: how it stands after the action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Service {
    /// The unit.
    pub unit: String,
    /// What it is.
    pub description: String,
    /// systemd's `ActiveState`; `active`, `inactive` or `unknown` elsewhere.
    pub active: String,
    /// systemd's `SubState`; empty elsewhere.
    pub state: String,
    /// Main process; absent without one.
    pub pid: Option<u32>,
    /// Memory of all its processes, where that is counted.
    pub memory_bytes: Option<u64>,
    /// When it entered the state, milliseconds since 1970-01-01T00:00:00Z, by the device's clock.
    pub since_ms: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_names() {
        assert!(ALL.is_sorted_by_key(|builtin| builtin.name));
        assert_eq!(find("ps").map(|builtin| builtin.timeout_s), Some(30));
        assert!(find("fly").is_none());
    }

    #[test]
    fn arguments_that_a_command_does_not_know_are_refused() {
        let read = |json| serde_json::from_str::<ServiceArguments>(json);
        assert_eq!(read(r#"{"unit": "a"}"#).unwrap().action, ServiceAction::Status);
        assert!(read(r#"{"unit": "a", "force": true}"#).is_err());
        assert!(serde_json::from_str::<Nothing>(r#"{"a": 1}"#).is_err());
    }
}
