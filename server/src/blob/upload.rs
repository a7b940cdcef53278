//! Uploads: a bundle is written, hashed and parsed before anybody sees it.

use std::{
    fmt,
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use bytes::Bytes;
use nix::sys::statvfs::statvfs;
use ring::digest;
use tempfile::NamedTempFile;

use super::{Bundles, Manifest, ManifestError, UPLOAD_PREFIX};

/// Room that an upload leaves on the disk, in bytes: for the database.
const RESERVE: u64 = 64 * 1024 * 1024;

/// An upload in progress. If it is dropped before [`Upload::finish`], it leaves nothing behind.
///
/// Its methods block.
pub struct Upload {
    bundles: Bundles,
    file: NamedTempFile,
    hash: digest::Context,
    announced: u64,
    received: u64,
}

/// Why a bundle was refused.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Over the limit.
    #[error(
        "the bundle is {size} bytes long, and this server takes at most {limit}: raise `max_bundle_size` to allow more"
    )]
    TooLarge {
        /// Length that the client announced.
        size: u64,
        /// Longest that is accepted.
        limit: u64,
    },
    /// No room.
    #[error(
        "the server's disk has no room for this bundle: delete bundles that are no longer needed, then upload it again"
    )]
    DiskFull,
    /// Fewer or more bytes arrived than the client announced.
    #[error("the upload broke off after {received} of {announced} bytes: upload it again")]
    Incomplete {
        /// Bytes that arrived.
        received: u64,
        /// Bytes that the client announced.
        announced: u64,
    },
    /// The SHA-256 differs from the one that the client sent.
    #[error("the file was damaged on the way: its SHA-256 is {actual}; upload it again")]
    Damaged {
        /// SHA-256 of the bytes that arrived.
        actual: String,
    },
    /// Not a bundle that can be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Everything else.
    #[error("cannot store the bundle: {0}")]
    Io(io::Error),
}

/// A bundle that arrived.
#[derive(Debug)]
pub struct Received {
    /// Lower-case hex SHA-256 of the file.
    pub id: String,
    /// Length in bytes.
    pub size: u64,
    /// Its manifest.
    pub manifest: Manifest,
}

// === impl Bundles ===

impl Bundles {
    /// Begins an upload of `announced` bytes.
    pub fn begin(&self, announced: u64) -> Result<Upload, UploadError> {
        if announced > self.max_size {
            return Err(UploadError::TooLarge {
                size: announced,
                limit: self.max_size,
            });
        }
        if free(&self.directory)? < announced.saturating_add(RESERVE) {
            return Err(UploadError::DiskFull);
        }
        Ok(Upload {
            bundles: self.clone(),
            file: tempfile::Builder::new()
                .prefix(UPLOAD_PREFIX)
                .tempfile_in(&self.directory)?,
            hash: digest::Context::new(&digest::SHA256),
            announced,
            received: 0,
        })
    }
}

// === impl Upload ===

impl Upload {
    /// Takes the next bytes.
    pub fn write(&mut self, chunk: &Bytes) -> Result<(), UploadError> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > self.announced {
            return Err(self.incomplete());
        }
        self.hash.update(chunk);
        self.file.write_all(chunk)?;
        Ok(())
    }

    /// Puts the bundle into the store, safe from power cuts. `expected` is the lower-case hex SHA-256 that it should have.
    pub fn finish(self, expected: Option<&str>) -> Result<Received, UploadError> {
        if self.received != self.announced {
            return Err(self.incomplete());
        }
        let Self {
            bundles,
            mut file,
            hash,
            received,
            ..
        } = self;
        let id = crate::hex(hash.finish().as_ref());
        if expected.is_some_and(|expected| expected != id) {
            return Err(UploadError::Damaged { actual: id });
        }
        let manifest = Manifest::read(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(bundles.path(&id)).map_err(|error| error.error)?;
        File::open(&bundles.directory)?.sync_all()?;
        Ok(Received {
            id,
            size: received,
            manifest,
        })
    }

    fn incomplete(&self) -> UploadError {
        UploadError::Incomplete {
            received: self.received,
            announced: self.announced,
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("file", &self.file)
            .field("announced", &self.announced)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

fn free(directory: &Path) -> Result<u64, UploadError> {
    let stat = statvfs(directory).map_err(io::Error::from)?;
    #[allow(
        clippy::useless_conversion,
        reason = "the width of these numbers differs between architectures"
    )]
    Ok(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
}

// === impl UploadError ===

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use super::*;

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory.join(crate::blob::DIRECTORY))
            .unwrap()
            .count()
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(directory.path(), 100).unwrap();
        assert!(matches!(bundles.begin(101), Err(UploadError::TooLarge { .. })));

        let mut short = bundles.begin(10).unwrap();
        short.write(&Bytes::from_static(b"123")).unwrap();
        assert!(matches!(
            short.finish(None),
            Err(UploadError::Incomplete { received: 3, .. })
        ));

        let mut long = bundles.begin(2).unwrap();
        assert!(long.write(&Bytes::from_static(b"123")).is_err());
        drop(long);

        let mut damaged = bundles.begin(3).unwrap();
        damaged.write(&Bytes::from_static(b"123")).unwrap();
        assert!(matches!(
            damaged.finish(Some(&"0".repeat(64))),
            Err(UploadError::Damaged { .. })
        ));

        let mut other = bundles.begin(9).unwrap();
        other.write(&Bytes::from_static(b"\0\0\0\0\0\0\0\0\x01")).unwrap();
        assert!(matches!(other.finish(None), Err(UploadError::Manifest(_))));
        assert_eq!(files(directory.path()), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(directory.path(), u64::MAX).unwrap();
        assert!(matches!(bundles.begin(1 << 60), Err(UploadError::DiskFull)));
        assert!(matches!(bundles.begin(u64::MAX), Err(UploadError::DiskFull)));
    }

    #[test]
    fn the_rest_of_a_crash_is_swept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(directory.path(), 100).unwrap();
        let (known, unknown) = ("a".repeat(64), "b".repeat(64));
        fs::write(bundles.path(&known), "").unwrap();
        fs::write(bundles.path(&unknown), "").unwrap();
        for name in [".tmp1", "README", "keep.raucb"] {
            fs::write(bundles.directory.join(name), "").unwrap();
        }
        fs::create_dir(bundles.directory.join(".upload-directory")).unwrap();
        let (_, rest) = bundles.begin(9).unwrap().file.keep().unwrap();
        bundles.sweep(&HashSet::from([known])).unwrap();
        assert!(!rest.exists());
        assert_eq!(files(directory.path()), 6);
    }
}
