//! Where PostgreSQL is, and how to get in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{super::StoreError, Session, session::Told, trust::Trust};

/// Certificates of the authorities that the system trusts, on Debian, Alpine and the images of containers.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Longest wait for a connection to one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time in which the database's machine acknowledges nothing, before the connection is given up.
const SILENCE: Duration = Duration::from_secs(15);

/// Pause between two questions whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Longest wait for a connection that can be used, to whichever of the hosts.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Most connections that wait for the first word of a host that says nothing: each has a thread and a descriptor.
const MAX_WAITING: usize = 256;

/// Largest file with a password, in bytes.
const MAX_PASSWORD_FILE: u64 = 4096;

/// What a connection is told first. A statement or a lock that takes longer is given up, and so is a transaction that nobody goes on with. A
/// server that has gone is noticed within half a minute. What is committed is on the disk.
const SETTINGS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning; SET jit = off; \
     SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 30000; \
     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not an address.
    #[error(
        "`database` is not an address of PostgreSQL, like `postgres://homeport@db.example.com/homeport`: {0}"
    )]
    Syntax(String),
    /// Others would see it.
    #[error(
        "`database` has a password, which other users of this machine can see: put it into a file that `database_password_file` names"
    )]
    Password,
    /// Neither safe nor refused.
    #[error(
        "`database` has sslmode={0}, which may leave the connection open to others: use verify-full, or disable on a network that is safe"
    )]
    SslMode(String),
    /// A file cannot be used.
    #[error("cannot use {}: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// A file that others can read.
    #[error("{} can be read by other users of this machine: `chmod 600` it", .0.display())]
    Open(PathBuf),
}

/// How to reach a PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub struct Address(Arc<Inner>);

struct Inner {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// Connections that are being made; each holds a clone.
    waiting: Arc<()>,
}

// === impl Address ===

impl Address {
    /// Reads an address like `postgres://user@host:port,host2/database?target_session_attrs=read-write`, whose password is in a file.
    ///
    /// Over a network the connection is TLS, and the server's certificate must be of one of the `authorities` (a PEM file; by default those
    /// that the system trusts) and name the host.
    pub fn parse(
        address: &str,
        password_file: Option<&Path>,
        authorities: Option<&Path>,
    ) -> Result<Self, AddressError> {
        let (address, mode) = without_ssl_mode(address);
        let mut config: Config = address
            .parse()
            .map_err(|error: postgres::Error| AddressError::Syntax(cause(&error)))?;
        if config.get_password().is_some() {
            return Err(AddressError::Password);
        }
        if !config.get_hostaddrs().is_empty() {
            return Err(AddressError::Syntax(
                "name the host in place of `hostaddr`".into(),
            ));
        }
        if config.get_hosts().is_empty() || config.get_dbname().is_none() {
            return Err(AddressError::Syntax("it names no host, or no database".into()));
        }
        if let Some(path) = password_file {
            config.password(password(path)?);
        }
        let local = |host: &Host| matches!(host, Host::Unix(_));
        let is_local = config.get_hosts().iter().all(local);
        if !is_local && config.get_hosts().iter().any(local) {
            return Err(AddressError::Syntax("it mixes sockets and hosts".into()));
        }
        let tls = match mode.as_deref() {
            None if is_local => None,
            Some("disable") => None,
            None | Some("require" | "verify-ca" | "verify-full") => Some(tls(authorities)?),
            Some(other) => return Err(AddressError::SslMode(other.to_owned())),
        };
        config
            .ssl_mode(if tls.is_some() {
                SslMode::Require
            } else {
                SslMode::Disable
            })
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(3);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        Ok(Self(Arc::new(Inner {
            config,
            tls,
            waiting: Arc::default(),
        })))
    }

    /// Connects, and calls itself `name`.
    pub(super) fn connect(&self, name: &str) -> Result<Session, StoreError> {
        let silent = || {
            let error = io::Error::new(io::ErrorKind::TimedOut, "it takes connections, and says nothing");
            StoreError::Away(Arc::new(error))
        };
        let place = Arc::clone(&self.0.waiting);
        if Arc::strong_count(&place) > MAX_WAITING {
            return Err(silent());
        }
        let mut config = self.0.config.clone();
        config.application_name(name);
        let tls = self.0.tls.clone();
        let (sender, connected) = mpsc::channel();
        // The client gives up a host that does not answer, but not one that takes the connection and says nothing.
        thread::spawn(move || {
            let client: Result<Client, _> = match tls {
                Some(tls) => config.connect(tls),
                None => config.connect(NoTls),
            };
            drop(place);
            let _ = sender.send(client);
        });
        let client = connected.recv_timeout(READY_TIMEOUT).map_err(|_| silent())?;
        // Whatever the reason: it may be over soon.
        let client = client.map_err(|error| StoreError::Away(Arc::new(Told(error))))?;
        let session = Session::new(client);
        session.batch(SETTINGS)?;
        Ok(session)
    }

    /// Asks the database to end the statement that runs on a connection.
    pub(super) fn cancel(&self, token: &postgres::CancelToken) {
        let asked = match &self.0.tls {
            Some(tls) => token.cancel_query(tls.clone()),
            None => token.cancel_query(NoTls),
        };
        if let Err(error) = asked {
            tracing::debug!(%error, "cannot cancel a read");
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address")
            .field(&self.0.config.get_hosts())
            .finish()
    }
}

/// The address without `sslmode`, of which the client knows only some values, and that value.
fn without_ssl_mode(address: &str) -> (String, Option<String>) {
    let Some((address, query)) = address.split_once('?') else {
        return (address.to_owned(), None);
    };
    let (modes, others): (Vec<_>, Vec<_>) = query.split('&').partition(|part| part.starts_with("sslmode="));
    let mode = modes
        .last()
        .and_then(|mode| mode.split_once('='))
        .map(|(_, mode)| mode.to_owned());
    (format!("{address}?{}", others.join("&")), mode)
}

fn password(path: &Path) -> Result<String, AddressError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |cause: std::io::Error| AddressError::File {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let about = fs::metadata(path).map_err(failed)?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(AddressError::Open(path.to_owned()));
    }
    if about.len() > MAX_PASSWORD_FILE {
        return Err(failed(std::io::Error::other("it is longer than a password")));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn tls(authorities: Option<&Path>) -> Result<MakeRustlsConnect, AddressError> {
    let path = authorities.unwrap_or(Path::new(SYSTEM_AUTHORITIES));
    let failed = |cause: String| AddressError::File {
        path: path.to_owned(),
        cause,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let trust = Trust::new(certificates.filter_map(Result::ok).collect())
        .ok_or_else(|| failed("it holds no certificate in PEM".into()))?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn cause(error: &postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
