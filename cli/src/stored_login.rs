//! The login that is kept between commands, and what the environment says instead.

use std::{
    env::{self, VarError},
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, Credential},
    error::{Error, Result},
    server_url::ServerUrl,
    trust::Roots,
};

/// Variable with the address of the server.
const URL_VARIABLE: &str = "HOMEPORT_URL";
/// Variable with the file of the CA's certificate.
const CA_VARIABLE: &str = "HOMEPORT_CA";
/// Variable with the SHA-256 fingerprint of the CA's certificate.
const FINGERPRINT_VARIABLE: &str = "HOMEPORT_CA_FINGERPRINT";
/// Variable with an access token or the token of a session. It is no argument: every user of a machine sees those.
pub(crate) const TOKEN_VARIABLE: &str = "HOMEPORT_TOKEN";

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

/// What the environment says instead of the stored login.
struct Environment {
    url: Option<String>,
    ca: Option<Ca>,
    token: Option<String>,
}

/// What the server's CA is known by.
enum Ca {
    /// The file of its certificate.
    File(PathBuf),
    /// The SHA-256 fingerprint of its certificate.
    Fingerprint(String),
}

// === impl Environment ===

impl Environment {
    fn read() -> Result<Self> {
        let ca = match (variable(CA_VARIABLE)?, variable(FINGERPRINT_VARIABLE)?) {
            (Some(_), Some(_)) => {
                return Err(Error::Usage(format!(
                    "both {CA_VARIABLE} and {FINGERPRINT_VARIABLE} are set; unset one of them"
                )));
            }
            (Some(path), None) => Some(Ca::File(path.into())),
            (None, fingerprint) => fingerprint.map(Ca::Fingerprint),
        };
        Ok(Self {
            url: variable(URL_VARIABLE)?,
            ca,
            token: variable(TOKEN_VARIABLE)?.map(|text| token(&text)).transpose()?,
        })
    }

    /// Whether nothing stored is needed: a pipeline may not even have a home directory.
    fn is_complete(&self) -> bool {
        self.url.is_some() && self.ca.is_some() && self.token.is_some()
    }
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

    /// Connects to the server that the environment or the stored login names, with its token.
    pub(crate) fn client() -> Result<Client> {
        let given = Environment::read()?;
        let stored = if given.is_complete() { None } else { Self::load()? };
        let url = match (given.url, &stored) {
            (Some(url), _) => url,
            (None, Some(stored)) => stored.url.clone(),
            (None, None) => return Err(Error::NotLoggedIn),
        };
        let url: ServerUrl = url.parse().map_err(Error::Usage)?;
        // What belongs to one server is never shown to another.
        let stored = stored.filter(|stored| stored.url == url.to_string());
        let session = stored.as_ref().and_then(|stored| stored.token.clone());
        let credential = match (given.token, session) {
            (Some(token), _) => Credential::Environment(token),
            (None, Some(token)) => Credential::Session(token),
            (None, None) => return Err(Error::NotLoggedIn),
        };
        let roots = match (given.ca, stored) {
            (Some(Ca::File(path)), _) => read_roots(&path)?,
            (Some(Ca::Fingerprint(fingerprint)), _) => Roots::with_fingerprint(&url, &fingerprint)?,
            (None, Some(stored)) => Roots::from_pem(stored.ca.as_bytes()).map_err(|e| {
                Error::Failed(format!(
                    "the stored CA certificate cannot be used: {e}; log in again"
                ))
            })?,
            (None, None) => {
                return Err(Error::Usage(format!(
                    "nothing is known about {url}; set {CA_VARIABLE} to the file of its CA certificate or {FINGERPRINT_VARIABLE} \
                     to that certificate's SHA-256 fingerprint, or log in"
                )));
            }
        };
        Ok(Client::new(url, &roots, credential))
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

/// What an environment variable holds, unless it is empty.
pub(crate) fn variable(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        // Passing over it would use another server or login than is meant.
        Err(VarError::NotUnicode(_)) => Err(Error::Usage(format!("{name} is not UTF-8 text"))),
    }
}

/// A token as it may be sent. The end of a line comes along from many a file.
fn token(text: &str) -> Result<String> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Usage(format!(
            "{TOKEN_VARIABLE} holds no token: a token is one word of ASCII characters"
        )));
    }
    Ok(token.to_owned())
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
