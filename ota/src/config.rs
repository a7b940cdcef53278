//! Settings of engine and boot check, with their defaults.

use std::{path::PathBuf, time::Duration};

/// Settings of [`crate::Engine`].
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where state and block cache live, e.g. `/var/lib/homeport/ota`. Made if missing, readable by its owner only.
    pub state_dir: PathBuf,
    /// Where files live that must not survive a reboot, e.g. `/run/homeport`.
    pub run_dir: PathBuf,
    /// Version of the running image from os-release, for a slot that was not written by the backend (at the factory).
    pub os_version: String,
    /// How long a new system may take to prove itself; the same as [`BootCheckConfig::deadline`].
    pub trial_deadline: Duration,
    /// Whether a bundle older than the running version is installed.
    pub allow_downgrade: bool,
    /// Most bytes that the block cache takes on disk. An update that needs more fails with `disk_full`.
    pub cache_limit_bytes: u64,
    /// Bytes that the block cache leaves free on its file system.
    pub reserve_bytes: u64,
    /// How long a dead link is borne, since the last byte that came, before an update fails with `network`.
    pub network_patience: Duration,
    /// Longest pause between two tries to reach the server.
    pub max_backoff: Duration,
    /// Where the kernel tells the id of this boot.
    pub boot_id_path: PathBuf,
}

/// Settings of [`crate::boot_check::run`].
#[derive(Debug, Clone)]
pub struct BootCheckConfig {
    /// As [`EngineConfig::state_dir`].
    pub state_dir: PathBuf,
    /// As [`EngineConfig::run_dir`].
    pub run_dir: PathBuf,
    /// How long the new system may take to prove itself.
    pub deadline: Duration,
    /// How long one program of `health.d` may run.
    pub check_timeout: Duration,
    /// Directories with programs that check the system's health; a later one overrides a name of an earlier one.
    pub health_dirs: Vec<PathBuf>,
    /// systemd units that may fail; `*` at the end stands for any rest.
    pub ignored_units: Vec<String>,
    /// Where the kernel tells the id of this boot.
    pub boot_id_path: PathBuf,
}

const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";
const TRIAL_DEADLINE: Duration = Duration::from_secs(10 * 60);

// === impl EngineConfig ===

impl EngineConfig {
    /// The defaults, for state in `state_dir` and volatile files in `run_dir`.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
            os_version: String::new(),
            trial_deadline: TRIAL_DEADLINE,
            allow_downgrade: false,
            cache_limit_bytes: 1024 * 1024 * 1024,
            reserve_bytes: 4 * 1024 * 1024,
            network_patience: Duration::from_secs(24 * 60 * 60),
            max_backoff: Duration::from_secs(5 * 60),
            boot_id_path: BOOT_ID_PATH.into(),
        }
    }
}

// === impl BootCheckConfig ===

impl BootCheckConfig {
    /// The defaults, for state in `state_dir` and volatile files in `run_dir`.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
            deadline: TRIAL_DEADLINE,
            check_timeout: Duration::from_secs(60),
            health_dirs: vec![
                "/usr/lib/homeport/health.d".into(),
                "/etc/homeport/health.d".into(),
            ],
            ignored_units: Vec::new(),
            boot_id_path: BOOT_ID_PATH.into(),
        }
    }
}
