//! Update bundles: files in the data directory, named after the SHA-256 of their bytes.
//!
//! The server reads a bundle's manifest, to show it and to offer it to the right devices. It neither checks nor trusts the signature: the
//! device that installs the firmware checks it with its own keyring.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

mod ber;
mod ini;
mod manifest;
mod signature;
mod upload;

pub use self::{
    manifest::{Manifest, ManifestError},
    upload::{Received, Upload, UploadError},
};

/// The directory of bundles. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bundles {
    directory: Arc<Path>,
    max_size: u64,
}

pub(crate) const DIRECTORY: &str = "bundles";
const SUFFIX: &str = ".raucb";

/// Prefix of the name of an unfinished upload.
const UPLOAD_PREFIX: &str = ".upload-";

/// The path on the HTTPS port where a device fetches the bundle `id`.
#[must_use]
pub fn device_path(id: &str) -> String {
    format!("/device/v1/bundles/{id}")
}

/// Whether `id` is a name that a bundle can have: 64 lower-case hex digits.
#[must_use]
pub fn is_id(id: &str) -> bool {
    id.len() == 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Reads `bytes` as the signature of a bundle, and as its manifest.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(der) = ber::to_der(bytes) {
        assert_eq!(ber::to_der(&der).as_ref(), Some(&der), "DER stays as it is");
    }
    if let Ok(manifest) = signature::signed_text(bytes) {
        let _ = Manifest::parse(&manifest);
    }
    let _ = Manifest::parse(bytes);
}

// === impl Bundles ===

impl Bundles {
    /// The bundles in `data_dir`. Bundles are at most `max_size` bytes long.
    pub fn open(data_dir: &Path, max_size: u64) -> io::Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        fs::create_dir_all(&directory)?;
        Ok(Self {
            directory: directory.into(),
            max_size,
        })
    }

    /// Longest bundle, in bytes.
    #[must_use]
    pub fn max_size(&self) -> u64 {
        self.max_size
    }

    /// The file of bundle `id`, which [`is_id`].
    #[must_use]
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(file_name(id))
    }

    /// Removes the file of bundle `id`. A download under way goes on: it holds the file open.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes unfinished uploads that a crash left behind. Other files stay, and the log names them. A bundle that is not `known` may be
    /// newer than a restored database, and a file may belong to somebody.
    pub fn sweep(&self, known: &HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_str().unwrap_or_default();
            if name.starts_with(UPLOAD_PREFIX) && entry.file_type()?.is_file() {
                tracing::info!(file = %path.display(), "removing the rest of an unfinished upload");
                fs::remove_file(path)?;
            } else if let Some(id) = bundle_id(name) {
                if !known.contains(id) {
                    tracing::warn!(
                        file = %path.display(),
                        "the database does not know this bundle: upload it again to offer it, or remove the file"
                    );
                }
            } else {
                tracing::warn!(file = %path.display(), "this file is not the server's; left alone");
            }
        }
        Ok(())
    }

    /// Ids of the bundles whose files exist.
    pub(crate) fn ids(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(bundle_id).map(str::to_owned));
        }
        Ok(ids)
    }
}

/// The name of the file of bundle `id`.
pub(crate) fn file_name(id: &str) -> String {
    format!("{id}{SUFFIX}")
}

/// The id of the bundle whose file has this name.
pub(crate) fn bundle_id(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX).filter(|id| is_id(id))
}
