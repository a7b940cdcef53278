//! Configuration: TOML fragments, each overriding the ones before it key by key.

mod value;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use homeport_protocol::limits::MAX_KEEP_ALIVE;
use homeport_system::file;
use toml::{Table, Value};
use tracing::{level_filters::LevelFilter, warn};

use self::value::Typed;
use crate::https;

/// Places where fragments are looked for, in the order in which they are read.
const FOLDERS: [&str; 2] = ["/usr/lib/homeport", "/etc/homeport"];

/// Longest fragment, in bytes.
const MAX_FRAGMENT: u64 = 64 * 1024;

/// Interfaces that containers and virtual machines make, often for a moment and each with a name of its own.
const SHORT_LIVED: [&str; 10] = [
    "veth*", "docker*", "br-*", "cni*", "cali*", "flannel*", "podman*", "lxc*", "virbr*", "vnet*",
];

/// What the agent is told to do. Every key is described in docs/usage/agent-configuration.md.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) log: LevelFilter,
    pub(crate) state_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) server: Server,
    pub(crate) token_file: PathBuf,
    pub(crate) link: Link,
    pub(crate) telemetry: Telemetry,
    pub(crate) queue: Queue,
    pub(crate) ota: Ota,
}

/// `[server]`: where to go instead of where pairing said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) url: Option<String>,
    pub(crate) mqtt: Option<String>,
}

/// `[link]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) keep_alive: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
}

/// `[telemetry]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Telemetry {
    /// Zero: none is sent.
    pub(crate) interval: Duration,
    pub(crate) sources: Vec<Source>,
    pub(crate) mounts: Vec<String>,
    /// Empty: all but the loopback and those that `ignore_interfaces` names.
    pub(crate) interfaces: Vec<String>,
    /// Names, with `*` at the end for any rest.
    pub(crate) ignore_interfaces: Vec<String>,
}

/// A group of telemetry series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Cpu,
    Memory,
    Disk,
    Temperature,
    Uptime,
    Network,
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) size_limit: u64,
    pub(crate) age_limit: Duration,
    pub(crate) flush_interval: Duration,
}

/// `[ota]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ota {
    pub(crate) trial_deadline: Duration,
    pub(crate) allow_downgrade: bool,
    pub(crate) cache_limit: u64,
    pub(crate) ignore_units: Vec<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: not TOML: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("{}: {key} must be {expected}", path.display())]
    Key {
        path: PathBuf,
        key: String,
        expected: &'static str,
    },
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            log: LevelFilter::INFO,
            state_dir: PathBuf::from("/var/lib/homeport"),
            run_dir: PathBuf::from("/run/homeport"),
            server: Server::default(),
            token_file: PathBuf::from("/boot/homeport-pairing-token"),
            link: Link {
                keep_alive: 15 * MINUTE,
                connect_timeout: Duration::from_secs(30),
                backoff_min: Duration::from_secs(1),
                backoff_max: 5 * MINUTE,
            },
            telemetry: Telemetry {
                interval: MINUTE,
                sources: Source::ALL.to_vec(),
                mounts: vec!["/".to_owned()],
                interfaces: Vec::new(),
                ignore_interfaces: SHORT_LIVED.map(str::to_owned).to_vec(),
            },
            queue: Queue {
                size_limit: 8 << 20,
                age_limit: 7 * 24 * 60 * MINUTE,
                flush_interval: 5 * MINUTE,
            },
            ota: Ota {
                trial_deadline: 10 * MINUTE,
                allow_downgrade: false,
                cache_limit: 1 << 30,
                ignore_units: Vec::new(),
            },
        }
    }
}

impl Config {
    /// Reads the system's fragments, or those of `folder` alone (`--config`).
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        match folder {
            Some(folder) => config.read_folder(folder)?,
            None => {
                for folder in FOLDERS {
                    config.read_folder(Path::new(folder))?;
                }
            }
        }
        Ok(config)
    }

    fn read_folder(&mut self, folder: &Path) -> Result<(), ConfigError> {
        self.read_fragment(&folder.join("agent.toml"))?;
        let fragments = folder.join("agent.toml.d");
        let read = |source| ConfigError::Read {
            path: fragments.clone(),
            source,
        };
        let Some(entries) = file::absent_is_none(fs::read_dir(&fragments)).map_err(read)? else {
            return Ok(());
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(read)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        paths.iter().try_for_each(|path| self.read_fragment(path))
    }

    fn read_fragment(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let Some(content) = file::absent_is_none(file::read_limited(path, MAX_FRAGMENT)).map_err(read)?
        else {
            return Ok(());
        };
        let syntax = |reason: String| ConfigError::Syntax {
            path: path.to_owned(),
            reason,
        };
        let text = String::from_utf8(content).map_err(|error| syntax(error.to_string()))?;
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| syntax(error.to_string()))?;
        for (name, value) in table {
            match value {
                Value::Table(section) => {
                    for (key, value) in section {
                        self.set(path, &format!("{name}.{key}"), value)?;
                    }
                }
                value => self.set(path, &name, value)?,
            }
        }
        Ok(())
    }

    fn set(&mut self, path: &Path, key: &str, value: Value) -> Result<(), ConfigError> {
        let value = Typed(value);
        let result = match key {
            "log" => value.level().map(|level| self.log = level),
            "state-dir" => value.path().map(|path| self.state_dir = path),
            "run-dir" => value.path().map(|path| self.run_dir = path),
            "server.url" => value.server_url().map(|url| self.server.url = url),
            "server.mqtt" => value.authority().map(|authority| self.server.mqtt = authority),
            "pairing.token-file" => value.path().map(|path| self.token_file = path),
            "link.keep-alive" => value
                .duration_between(Duration::from_secs(10), MAX_KEEP_ALIVE)
                .map(|time| self.link.keep_alive = time),
            "link.connect-timeout" => value
                .positive_duration()
                .map(|time| self.link.connect_timeout = time),
            "link.backoff-min" => value.positive_duration().map(|time| self.link.backoff_min = time),
            "link.backoff-max" => value.positive_duration().map(|time| self.link.backoff_max = time),
            "telemetry.interval" => value.duration().map(|time| self.telemetry.interval = time),
            "telemetry.sources" => value.sources().map(|sources| self.telemetry.sources = sources),
            "telemetry.mounts" => value.texts().map(|mounts| self.telemetry.mounts = mounts),
            "telemetry.interfaces" => value.texts().map(|names| self.telemetry.interfaces = names),
            "telemetry.ignore-interfaces" => value
                .texts()
                .map(|names| self.telemetry.ignore_interfaces = names),
            "queue.size-limit" => value.size().map(|size| self.queue.size_limit = size),
            "queue.age-limit" => value.positive_duration().map(|time| self.queue.age_limit = time),
            "queue.flush-interval" => value
                .positive_duration()
                .map(|time| self.queue.flush_interval = time),
            "ota.trial-deadline" => value
                .positive_duration()
                .map(|time| self.ota.trial_deadline = time),
            "ota.allow-downgrade" => value.flag().map(|flag| self.ota.allow_downgrade = flag),
            "ota.cache-limit" => value.size().map(|size| self.ota.cache_limit = size),
            "ota.ignore-units" => value.texts().map(|units| self.ota.ignore_units = units),
            _ => {
                // Not an error: a fragment may be written for a newer agent than the one that runs after a rollback.
                warn!("{}: {key} is not a key of this version", path.display());
                Ok(())
            }
        };
        result.map_err(|expected| ConfigError::Key {
            path: path.to_owned(),
            key: key.to_owned(),
            expected,
        })
    }
}

// === impl Source ===

impl Source {
    const ALL: [Self; 6] = [
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Temperature,
        Self::Uptime,
        Self::Network,
    ];

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "disk" => Self::Disk,
            "temperature" => Self::Temperature,
            "uptime" => Self::Uptime,
            "network" => Self::Network,
            _ => return None,
        })
    }
}

/// The authority of an `https://` address without a path.
pub(crate) fn authority_of(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://")?.trim_end_matches('/');
    let is_plain = !authority.contains(['/', '@', '?', '#']);
    (is_plain && https::split(authority, https::HTTPS_PORT).is_some()).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fragments: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("agent.toml.d")).unwrap();
        for (name, text) in fragments {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Config::load(Some(folder.path()))
    }

    #[test]
    fn later_fragments_override_key_by_key() {
        let config = read(&[
            (
                "agent.toml",
                "[telemetry]\ninterval = '2min'\nmounts = ['/', '/data']",
            ),
            ("agent.toml.d/20-b.toml", "telemetry.interval = 30"),
            (
                "agent.toml.d/10-a.toml",
                "telemetry.interval = '1h'\n[queue]\nsize-limit = '64K'",
            ),
            ("agent.toml.d/30-c.conf", "telemetry.interval = 1"),
        ])
        .unwrap();
        assert_eq!(config.telemetry.interval, Duration::from_secs(30));
        assert_eq!(config.telemetry.mounts, ["/", "/data"]);
        assert_eq!(config.queue.size_limit, 64 << 10);
        assert_eq!(config.link, Config::default().link);
    }

    #[test]
    fn without_fragments_there_are_defaults() {
        assert_eq!(read(&[]).unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_file_shows_the_defaults() {
        let shipped = include_str!("../../dist/agent.toml");
        assert_eq!(read(&[("agent.toml", shipped)]).unwrap(), Config::default());
        let mut keys = String::new();
        for line in shipped.lines() {
            let is_default = line.contains(" = ") && !line.contains("instead of what");
            keys += line.strip_prefix('#').filter(|_| is_default).unwrap_or(line);
            keys += "\n";
        }
        assert!(keys.contains("\ninterval = "));
        assert_eq!(read(&[("agent.toml", &keys)]).unwrap(), Config::default());
    }

    #[test]
    fn unknown_keys_are_survived_and_wrong_ones_named() {
        assert_eq!(
            read(&[("agent.toml", "colour = 'blue'\n[link]\nspeed = 1")]).unwrap(),
            Config::default()
        );
        for (text, key) in [
            ("log = 'loud'", "log"),
            ("log = 1", "log"),
            ("[link]\nkeep-alive = '1s'", "link.keep-alive"),
            ("[link]\nbackoff-min = 0", "link.backoff-min"),
            ("[telemetry]\nsources = ['cpu', 'gpu']", "telemetry.sources"),
            ("[telemetry]\nmounts = '/'", "telemetry.mounts"),
            ("[queue]\nsize-limit = 'big'", "queue.size-limit"),
            ("[server]\nurl = 'http://a'", "server.url"),
            ("[ota]\nallow-downgrade = 'yes'", "ota.allow-downgrade"),
        ] {
            let error = read(&[("agent.toml", text)]).unwrap_err().to_string();
            assert!(
                error.contains("agent.toml") && error.contains(&format!(" {key} must be ")),
                "{error}"
            );
        }
        assert!(
            read(&[("agent.toml", "[")])
                .unwrap_err()
                .to_string()
                .contains("not TOML")
        );
    }
}
