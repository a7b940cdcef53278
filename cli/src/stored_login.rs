//! The login that is kept between commands, and what the environment says instead.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    client::Client,
    error::{Error, Result},
    server_url::ServerUrl,
    trust::Roots,
};

/// Largest file that is read whole, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What `homeport login` keeps, in a file that only its owner can read.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredLogin {
    /// The server.
    pub(crate) url: String,
    /// The CA that is trusted for it, PEM.
    pub(crate) ca: String,
    /// The session; absent after `homeport logout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

// === impl StoredLogin ===

impl StoredLogin {
    /// The stored login, if there is one.
    pub(crate) fn load() -> Result<Option<Self>> {
        let path = Self::path()?;
        let text = match read_limited(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(Error::File {
                    what: "cannot read",
                    path,
                    source,
                });
            }
        };
        serde_json::from_slice(&text).map(Some).map_err(|e| {
            Error::Failed(format!(
                "{} is damaged ({e}); delete it and log in again",
                path.display()
            ))
        })
    }

    /// Keeps this login instead of the one before.
    pub(crate) fn save(&self) -> Result<()> {
        let path = Self::path()?;
        self.write(&path).map_err(|source| Error::File {
            what: "cannot write",
            path,
            source,
        })
    }

    /// Connects to the server that the environment or the stored login names, with its session.
    pub(crate) fn client() -> Result<Client> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let stored = Self::load()?;
        let url = match variable("HOMEPORT_URL") {
            Some(url) => url,
            None => stored.as_ref().ok_or(Error::NotLoggedIn)?.url.clone(),
        };
        let url: ServerUrl = url.parse().map_err(Error::Usage)?;
        // What belongs to one server is never shown to another.
        let stored = stored.filter(|stored| stored.url == url.to_string());
        let roots = match (variable("HOMEPORT_CA"), &stored) {
            (Some(path), _) => read_roots(Path::new(&path))?,
            (None, Some(stored)) => Roots::from_pem(stored.ca.as_bytes()).map_err(|e| {
                Error::Failed(format!(
                    "the stored CA certificate cannot be used: {e}; log in again"
                ))
            })?,
            (None, None) => {
                return Err(Error::Usage(format!(
                    "nothing is known about {url}; set HOMEPORT_CA to the file of its CA certificate, or log in"
                )));
            }
        };
        let token = variable("HOMEPORT_TOKEN")
            .or_else(|| stored.and_then(|stored| stored.token))
            .ok_or(Error::NotLoggedIn)?;
        Ok(Client::new(url, &roots, Some(token)))
    }

    fn path() -> Result<PathBuf> {
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let config = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .ok_or_else(|| {
                Error::Usage("set HOME or XDG_CONFIG_HOME: the login is stored there".to_owned())
            })?;
        Ok(config.join("homeport").join("login.json"))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        // Made with mode 0600, and put in place in one step.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

/// Reads CA certificates from a file.
pub(crate) fn read_roots(path: &Path) -> Result<Roots> {
    let pem = read_limited(path).map_err(|source| Error::File {
        what: "cannot read the CA certificate",
        path: path.to_owned(),
        source,
    })?;
    Roots::from_pem(&pem).map_err(|why| Error::Usage(format!("{}: {why}", path.display())))
}

/// Reads a small file, or standard input for `-`.
pub(crate) fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut content)?;
    } else {
        fs::File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_end(&mut content)?;
    }
    if content.len() as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is larger than 1 MiB",
        ));
    }
    Ok(content)
}
