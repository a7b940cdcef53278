//! Who this device is, and to whom it belongs, on disk.
//!
//! An identity is a directory with all that belongs together: key, certificate, CA and server. The present one is what
//! the symbolic link `identity` points to, so that a new one takes its place in one step. One that is not yet proven
//! lies in `identity.pending`.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use der::pem::{LineEnding, encode_string};
use homeport_protocol::DeviceId;
use homeport_system::file;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};

use super::{
    est::{self, Key},
    tls,
};

const LINK: &str = "identity";
const PENDING: &str = "identity.pending";
const PREFIX: &str = "identity-";

const KEY: &str = "device.key";
const CERTIFICATE: &str = "device.crt";
const CA: &str = "ca.crt";
const SERVER: &str = "server.json";
/// SHA-256 of the pairing token that a pending key is to be certified for.
const TOKEN: &str = "token.sha256";

/// Longest file of an identity, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A device's identity with its server.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) device: DeviceId,
    /// Host and port of the server's HTTPS.
    pub(crate) authority: String,
    /// Host and port of the server's MQTT; not known before the server was asked.
    pub(crate) mqtt: Option<String>,
    /// Shows the device's certificate and trusts the server's CA alone.
    pub(crate) tls: Arc<ClientConfig>,
    /// In DER.
    pub(crate) ca: CertificateDer<'static>,
    /// Since 1970.
    pub(crate) not_before: Duration,
    /// Since 1970.
    pub(crate) not_after: Duration,
}

/// Why an identity cannot be stored or used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is damaged; pair this device again with `homeport-agent pair --force <token>`", .0.display())]
    Damaged(PathBuf),
    #[error("the identity cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where identities are kept.
#[derive(Debug, Clone)]
pub(crate) struct IdentityStore(PathBuf);

#[derive(Serialize, Deserialize)]
struct ServerFile {
    device: DeviceId,
    authority: String,
    mqtt: Option<String>,
}

// === impl IdentityStore ===

impl IdentityStore {
    /// Identities in `state_dir`.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, IdentityError> {
        at(state_dir, file::create_private_directory(state_dir))?;
        Ok(Self(state_dir.to_owned()))
    }

    /// The present identity.
    pub(crate) fn load(&self) -> Result<Option<Identity>, IdentityError> {
        read(&self.0.join(LINK))
    }

    /// One that has a certificate, but was not proven before the agent ended.
    pub(crate) fn load_pending(&self) -> Result<Option<Identity>, IdentityError> {
        let folder = self.0.join(PENDING);
        if !folder.join(SERVER).exists() {
            return Ok(None);
        }
        read(&folder)
    }

    /// Makes room for a new identity and stores its key, and the hash of the pairing token that is going to be spent on it.
    pub(crate) fn begin(&self, key: &Key, token: Option<&[u8]>) -> Result<(), IdentityError> {
        let folder = self.0.join(PENDING);
        at(&folder, file::absent_is_none(fs::remove_dir_all(&folder)))?;
        at(&folder, file::create_private_directory(&folder))?;
        if let Some(token) = token {
            write(&folder, TOKEN, token)?;
        }
        write(&folder, KEY, pem("PRIVATE KEY", key.pkcs8())?.as_bytes())
    }

    /// The key that the token with this hash was offered with before. If the server's answer was lost, it gives the certificate
    /// to this key alone.
    pub(crate) fn begun(&self, token: &[u8]) -> Result<Option<Key>, IdentityError> {
        let folder = self.0.join(PENDING);
        if read_file(&folder, TOKEN).ok().as_deref() != Some(token) {
            return Ok(None);
        }
        // The token's hash is written first: the key is missing if the power failed in between.
        let Ok(key) = read_file(&folder, KEY) else {
            return Ok(None);
        };
        let Ok(PrivateKeyDer::Pkcs8(key)) = PrivateKeyDer::from_pem_slice(&key) else {
            return Ok(None);
        };
        // Another certificate is about to be asked for, and what came before will not be of use.
        let server = folder.join(SERVER);
        at(&server, file::absent_is_none(fs::remove_file(&server)))?;
        Ok(Key::from_pkcs8(key.secret_pkcs8_der()).ok())
    }

    /// Stores what the server gave for the key. From here on the identity is usable, once proven.
    pub(crate) fn fill(
        &self,
        issued: &est::Issued,
        ca: &CertificateDer<'_>,
        authority: &str,
    ) -> Result<(), IdentityError> {
        let folder = self.0.join(PENDING);
        write(
            &folder,
            CERTIFICATE,
            pem("CERTIFICATE", &issued.certificate)?.as_bytes(),
        )?;
        write(&folder, CA, pem("CERTIFICATE", ca)?.as_bytes())?;
        let server = ServerFile {
            device: issued.device.clone(),
            authority: authority.to_owned(),
            mqtt: None,
        };
        write_server(&folder, &server)
    }

    /// Makes the pending identity the present one. The server was asked with it, and named `mqtt`.
    pub(crate) fn promote(&self, pending: &Identity, mqtt: String) -> Result<Identity, IdentityError> {
        let server = ServerFile {
            device: pending.device.clone(),
            authority: pending.authority.clone(),
            mqtt: Some(mqtt),
        };
        let folder = self.0.join(PENDING);
        write_server(&folder, &server)?;
        let random = at(&self.0, getrandom::u64().map_err(io::Error::other))?;
        let name = format!("{PREFIX}{random:016x}");
        at(&folder, fs::rename(&folder, self.0.join(&name)))?;
        let beside = self.0.join("identity.new");
        at(&beside, file::absent_is_none(fs::remove_file(&beside)))?;
        at(&beside, symlink(&name, &beside))?;
        at(&beside, fs::rename(&beside, self.0.join(LINK)))?;
        at(&self.0, file::sync_directory(&self.0))?;
        self.remove_others(&name);
        self.load()?
            .ok_or_else(|| IdentityError::Damaged(self.0.join(LINK)))
    }

    /// Removes identities that were replaced. One that stays behind harms nobody, and the next promotion tries again.
    fn remove_others(&self, present: &str) {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_other = name
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX) && name != present);
            if is_other {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn read(folder: &Path) -> Result<Option<Identity>, IdentityError> {
    let path = folder.join(SERVER);
    let Some(server) = at(&path, file::absent_is_none(file::read_limited(&path, MAX_FILE)))? else {
        return Ok(None);
    };
    let server: ServerFile = serde_json::from_slice(&server).map_err(|_| IdentityError::Damaged(path))?;
    let key = PrivateKeyDer::from_pem_slice(&read_file(folder, KEY)?)
        .map_err(|_| IdentityError::Damaged(folder.join(KEY)))?;
    let certificate = read_certificate(folder, CERTIFICATE)?;
    let ca = read_certificate(folder, CA)?;
    let (not_before, not_after) =
        est::validity(&certificate).ok_or_else(|| IdentityError::Damaged(folder.join(CERTIFICATE)))?;
    Ok(Some(Identity {
        device: server.device,
        authority: server.authority,
        mqtt: server.mqtt,
        tls: Arc::new(tls::mutual(&ca, vec![certificate], key)?),
        ca,
        not_before,
        not_after,
    }))
}

fn read_file(folder: &Path, name: &str) -> Result<Vec<u8>, IdentityError> {
    let path = folder.join(name);
    at(&path, file::read_limited(&path, MAX_FILE))
}

fn read_certificate(folder: &Path, name: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read_file(folder, name)?)
        .map_err(|_| IdentityError::Damaged(folder.join(name)))
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), IdentityError> {
    let path = folder.join(name);
    at(&path, file::write_atomic(&path, content))
}

fn write_server(folder: &Path, server: &ServerFile) -> Result<(), IdentityError> {
    let path = folder.join(SERVER);
    let content = at(&path, serde_json::to_vec(server).map_err(io::Error::other))?;
    at(&path, file::write_atomic(&path, &content))
}

fn pem(label: &'static str, content: &[u8]) -> Result<String, IdentityError> {
    encode_string(label, LineEnding::LF, content)
        .map_err(|error| rustls::Error::General(error.to_string()).into())
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, IdentityError> {
    result.map_err(|source| IdentityError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use homeport_testkit::Authority;

    use super::*;
    use crate::identity::Hints;

    const DEVICE: &str = "k2abcdefgh234567";

    fn fill(store: &IdentityStore, authority: &Authority, server: &str) {
        let key = Key::generate().unwrap();
        store.begin(&key, None).unwrap();
        let issued = est::Issued {
            certificate: authority
                .issue(&key.request(&Hints::default()).unwrap(), DEVICE)
                .to_vec(),
            device: DEVICE.parse().unwrap(),
        };
        store.fill(&issued, &authority.der(), server).unwrap();
    }

    #[test]
    fn a_key_that_was_begun_is_found_by_its_token_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(folder.path()).unwrap();
        assert!(store.begun(b"token").unwrap().is_none());
        let key = Key::generate().unwrap();
        store.begin(&key, Some(b"token")).unwrap();
        assert_eq!(store.begun(b"token").unwrap().unwrap().pkcs8(), key.pkcs8());
        assert!(store.begun(b"other").unwrap().is_none());
        // As after a power cut between the two files.
        fs::remove_file(folder.path().join(PENDING).join(KEY)).unwrap();
        assert!(store.begun(b"token").unwrap().is_none());
    }

    #[test]
    fn an_identity_is_pending_until_it_is_promoted() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(folder.path()).unwrap();
        let authority = Authority::new("ca");
        assert!(store.load().unwrap().is_none() && store.load_pending().unwrap().is_none());

        store.begin(&Key::generate().unwrap(), None).unwrap();
        assert!(store.load_pending().unwrap().is_none());
        fill(&store, &authority, "a:1");
        let pending = store.load_pending().unwrap().unwrap();
        assert!(store.load().unwrap().is_none());

        let present = store.promote(&pending, "a:2".to_owned()).unwrap();
        assert_eq!(present.mqtt.as_deref(), Some("a:2"));
        assert!(store.load_pending().unwrap().is_none());
        assert_eq!(store.load().unwrap().unwrap().device.as_str(), DEVICE);
    }

    #[test]
    fn a_new_identity_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(folder.path()).unwrap();
        let authority = Authority::new("ca");
        for server in ["a:1", "b:1"] {
            fill(&store, &authority, server);
            let pending = store.load_pending().unwrap().unwrap();
            store.promote(&pending, "m:1".to_owned()).unwrap();
        }
        assert_eq!(store.load().unwrap().unwrap().authority, "b:1");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 2, "the link and what it points to: {names:?}");
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(folder.path()).unwrap();
        fill(&store, &Authority::new("ca"), "a:1");
        fs::write(folder.path().join("identity.pending/device.crt"), "x").unwrap();
        let error = store.load_pending().unwrap_err().to_string();
        assert!(error.contains("device.crt is damaged"), "{error}");
    }
}
