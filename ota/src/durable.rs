//! Files that are whole after a power cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

/// Largest file that [`load`] reads, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Name and size of the file that is given up when the file system is full, so that a device can still say so.
const BALLAST: &str = "ballast";
const BALLAST_BYTES: usize = 256 * 1024;

/// Replaces `path` so that after a power cut either the old or the new content is there. On a full file system the
/// ballast beside it makes room.
pub(crate) fn store<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let content = serde_json::to_vec(value)?;
    match replace(path, &content) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            remove(&path.with_file_name(BALLAST))?;
            replace(path, &content)
        }
        result => result,
    }
}

/// Puts ballast into `dir` if there is none. Without room for it there is none.
pub(crate) fn keep_ballast(dir: &Path) -> io::Result<()> {
    let path = dir.join(BALLAST);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == BALLAST_BYTES as u64) {
        return Ok(());
    }
    let written = write(&path, &vec![0xff; BALLAST_BYTES]);
    if written.is_err() {
        remove(&path)?;
    }
    written
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    write(&temporary, content)?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Reads what [`store`] wrote; `None` when it never did. Content that makes no sense is an
/// [`io::ErrorKind::InvalidData`].
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let content = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "file is too large"));
        }
        Ok(_) => fs::read(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&content).map(Some).map_err(Into::into)
}

/// Removes a file for good; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a directory that only its owner may enter, and its parents.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value.json");
        assert_eq!(load::<u32>(&path).unwrap(), None);
        store(&path, &7_u32).unwrap();
        store(&path, &8_u32).unwrap();
        assert_eq!(load::<u32>(&path).unwrap(), Some(8));
        fs::write(&path, "{").unwrap();
        assert_eq!(load::<u32>(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// Needs a small file system of its own: `mount -t tmpfs -o size=1m tmpfs DIR`, then
    /// `HOMEPORT_SMALL_DIR=DIR cargo test -p homeport-ota full_file_system -- --ignored`.
    #[test]
    #[ignore = "needs a small file system"]
    fn a_full_file_system_still_takes_a_state() {
        let dir = std::env::var_os("HOMEPORT_SMALL_DIR").unwrap();
        let dir = Path::new(&dir);
        keep_ballast(dir).unwrap();
        let filler = fs::File::create(dir.join("filler")).unwrap();
        let full = std::iter::repeat_with(|| (&filler).write_all(&[1; 4096]))
            .find_map(Result::err)
            .unwrap();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        store(&dir.join("value.json"), &"x".repeat(10_000)).unwrap();
        assert!(!dir.join(BALLAST).exists());
        assert!(keep_ballast(dir).is_err());
        drop(filler);
        fs::remove_file(dir.join("filler")).unwrap();
        keep_ballast(dir).unwrap();
    }
}
