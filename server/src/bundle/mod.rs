//! Update bundles: files in the data directory, named after the SHA-256 of their bytes.
//!
//! The server reads a bundle's manifest, to show it and to offer it to the right devices. It neither checks nor trusts the signature:
//! whether firmware is good is decided by the keyring of the device that installs it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

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

const DIRECTORY: &str = "bundles";
const SUFFIX: &str = ".raucb";

/// Where a device fetches the bundle `id`, on the HTTPS port.
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
        self.directory.join(format!("{id}{SUFFIX}"))
    }

    /// Removes the file of bundle `id`. A download under way goes on: it holds the file open.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what a crash left behind: unfinished uploads, and files that `is_known` does not know.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if !id.is_some_and(&is_known) {
                tracing::info!(file = %entry.path().display(), "removing the rest of an unfinished upload");
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
