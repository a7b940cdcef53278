//! Settings: command line, environment (`HOMEPORT_*`) and a TOML file. A source earlier in this list overrides the later ones.

use std::{
    fs, io,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Deserialize;

use crate::store::{
    Database,
    postgres::{Address, AddressError},
};

const HTTPS_PORT: u16 = 8443;
const MQTT_PORT: u16 = 8883;

/// 4 GiB.
const MAX_BUNDLE_SIZE: u64 = 4 << 30;

const RETENTION_DAYS: u32 = 30;

/// 500 series every minute, and room for what a device collected while it was away.
const SAMPLES_PER_DAY: u32 = 1_000_000;

/// Largest settings file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Settings as the administrator gives them. In the file, the keys have underscores: `https_listen = "[::]:8443"`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// TOML file with settings; the command line and the environment override it
    #[arg(long, env = "HOMEPORT_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Directory for everything that the server keeps
    #[arg(long, env = "HOMEPORT_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// PostgreSQL to use in place of a file in the data directory: postgres://USER@HOST[:PORT][,HOST...]/DATABASE[?sslmode=...]
    #[arg(long, env = "HOMEPORT_DATABASE", value_name = "ADDRESS")]
    pub database: Option<String>,

    /// File with the password for it, which only its owner can read
    #[arg(long, env = "HOMEPORT_DATABASE_PASSWORD_FILE", value_name = "FILE")]
    pub database_password_file: Option<PathBuf>,

    /// PEM file with the authorities of its TLS certificate [default: those that the system trusts]
    #[arg(long, env = "HOMEPORT_DATABASE_CA", value_name = "FILE")]
    pub database_ca: Option<PathBuf>,

    /// Address for the web page, the REST API and downloads [default: [::]:8443]
    #[arg(long, env = "HOMEPORT_HTTPS_LISTEN", value_name = "ADDRESS:PORT")]
    pub https_listen: Option<SocketAddr>,

    /// Address for devices [default: [::]:8883]
    #[arg(long, env = "HOMEPORT_MQTT_LISTEN", value_name = "ADDRESS:PORT")]
    pub mqtt_listen: Option<SocketAddr>,

    /// DNS name or IP address at which clients reach this server; the first one goes into pairing tokens [default: localhost]
    #[arg(
        long = "host-name",
        env = "HOMEPORT_HOST_NAME",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub host_name: Vec<String>,

    /// Host and port of HTTPS as devices reach it, if it differs from the first host name and the port that the server listens on
    #[arg(long, env = "HOMEPORT_HTTPS_AUTHORITY", value_name = "HOST:PORT")]
    pub https_authority: Option<String>,

    /// The same for MQTT
    #[arg(long, env = "HOMEPORT_MQTT_AUTHORITY", value_name = "HOST:PORT")]
    pub mqtt_authority: Option<String>,

    /// PEM file with the certificate of your own authority, in place of the one that the server makes
    #[arg(
        long,
        env = "HOMEPORT_CA_CERTIFICATE",
        value_name = "FILE",
        requires = "ca_key"
    )]
    pub ca_certificate: Option<PathBuf>,

    /// PEM file with its key (PKCS#8)
    #[arg(
        long,
        env = "HOMEPORT_CA_KEY",
        value_name = "FILE",
        requires = "ca_certificate"
    )]
    pub ca_key: Option<PathBuf>,

    /// Longest bundle that can be uploaded, in bytes [default: 4294967296]
    #[arg(long, env = "HOMEPORT_MAX_BUNDLE_SIZE", value_name = "BYTES")]
    pub max_bundle_size: Option<u64>,

    /// Days that telemetry is kept [default: 30]
    #[arg(long, env = "HOMEPORT_RETENTION_DAYS", value_name = "DAYS")]
    pub retention_days: Option<u32>,

    /// Samples of telemetry that the server stores for one device in a day [default: 1000000]
    #[arg(long, env = "HOMEPORT_SAMPLES_PER_DAY", value_name = "NUMBER")]
    pub samples_per_day: Option<u32>,

    /// Disk space that the server reserves for operators, in bytes; below it, telemetry waits [default: a twentieth of the disk, 16 MiB to
    /// 1 GiB]
    #[arg(long, env = "HOMEPORT_DISK_RESERVE", value_name = "BYTES")]
    pub disk_reserve: Option<u64>,
}

/// Complete settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory for everything that the server keeps.
    pub data_dir: PathBuf,
    /// Where the server keeps its rows.
    pub database: Database,
    /// Address that HTTPS listens on.
    pub https_listen: SocketAddr,
    /// Address that MQTT listens on.
    pub mqtt_listen: SocketAddr,
    /// Names of this server, at least one.
    pub host_names: Vec<String>,
    /// Host and port for pairing tokens, if given.
    pub https_authority: Option<String>,
    /// Host and port for devices' MQTT, if given.
    pub mqtt_authority: Option<String>,
    /// Certificate and key of the administrator's own authority; `None` if the server makes one.
    pub authority: Option<(PathBuf, PathBuf)>,
    /// Longest bundle, in bytes.
    pub max_bundle_size: u64,
    /// Days that telemetry is kept.
    pub retention_days: u32,
    /// Samples that the server stores for one device in a day.
    pub samples_per_day: u32,
    /// Disk space that is reserved for operators, in bytes; `None` for a share of the disk.
    pub disk_reserve: Option<u64>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not valid.
    #[error("{}: {source}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The place and the cause.
        source: Box<toml::de::Error>,
    },
    /// No data directory.
    #[error("no data directory: give --data-dir, HOMEPORT_DATA_DIR, or `data_dir` in the settings file")]
    NoDataDir,
    /// Half an authority.
    #[error("`ca_certificate` and `ca_key` belong together: give both, or none")]
    HalfAuthority,
    /// The address of the database.
    #[error(transparent)]
    Database(#[from] AddressError),
}

// === impl Settings ===

impl Settings {
    /// Reads the settings file, if there is one, and fills in the defaults.
    pub fn complete(self) -> Result<Config, ConfigError> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Self::default(),
        };
        let mut host_names = if self.host_name.is_empty() {
            file.host_name
        } else {
            self.host_name
        };
        if host_names.is_empty() {
            host_names.push("localhost".into());
        }
        let authority = match (
            self.ca_certificate.or(file.ca_certificate),
            self.ca_key.or(file.ca_key),
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(ConfigError::HalfAuthority),
        };
        let database = match self.database.or(file.database) {
            Some(address) => {
                let password_file = self.database_password_file.or(file.database_password_file);
                let authorities = self.database_ca.or(file.database_ca);
                Database::Postgres(Address::parse(
                    &address,
                    password_file.as_deref(),
                    authorities.as_deref(),
                )?)
            }
            None => Database::Embedded,
        };
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Ok(Config {
            data_dir: self.data_dir.or(file.data_dir).ok_or(ConfigError::NoDataDir)?,
            database,
            https_listen: self.https_listen.or(file.https_listen).unwrap_or(any(HTTPS_PORT)),
            mqtt_listen: self.mqtt_listen.or(file.mqtt_listen).unwrap_or(any(MQTT_PORT)),
            host_names,
            https_authority: self.https_authority.or(file.https_authority),
            mqtt_authority: self.mqtt_authority.or(file.mqtt_authority),
            authority,
            max_bundle_size: self
                .max_bundle_size
                .or(file.max_bundle_size)
                .unwrap_or(MAX_BUNDLE_SIZE),
            retention_days: self
                .retention_days
                .or(file.retention_days)
                .unwrap_or(RETENTION_DAYS),
            samples_per_day: self
                .samples_per_day
                .or(file.samples_per_day)
                .unwrap_or(SAMPLES_PER_DAY),
            disk_reserve: self.disk_reserve.or(file.disk_reserve),
        })
    }
}

fn read(path: &Path) -> Result<Settings, ConfigError> {
    let failed = |source| ConfigError::File {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(failed(io::Error::other("it is longer than 65536 bytes")));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    toml::from_str(&text).map_err(|source| ConfigError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

// === impl Config ===

impl Config {
    /// Host and port of HTTPS as devices reach it, if the server listens on `port`.
    #[must_use]
    pub fn https_authority(&self, port: u16) -> String {
        self.authority(self.https_authority.as_ref(), port)
    }

    /// The same for MQTT.
    #[must_use]
    pub fn mqtt_authority(&self, port: u16) -> String {
        self.authority(self.mqtt_authority.as_ref(), port)
    }

    fn authority(&self, given: Option<&String>, port: u16) -> String {
        if let Some(given) = given {
            return given.clone();
        }
        match self.host_names.first() {
            Some(name) if name.parse::<Ipv6Addr>().is_ok() => format!("[{name}]:{port}"),
            Some(name) => format!("{name}:{port}"),
            None => format!("localhost:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        fs::write(
            &path,
            "data_dir = \"/a\"\nhost_name = [\"::1\"]\nretention_days = 7\n",
        )
        .unwrap();
        let settings = Settings {
            config: Some(path.clone()),
            retention_days: Some(9),
            ..Settings::default()
        };
        let config = settings.clone().complete().unwrap();
        assert_eq!(config.data_dir, Path::new("/a"));
        assert_eq!(config.retention_days, 9);
        assert_eq!(config.https_authority(1), "[::1]:1");

        fs::write(&path, "data_dirr = \"/a\"\n").unwrap();
        assert!(matches!(settings.complete(), Err(ConfigError::Syntax { .. })));
        assert!(matches!(
            Settings::default().complete(),
            Err(ConfigError::NoDataDir)
        ));
    }
}
