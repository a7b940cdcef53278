//! State on disk as JSON. A reserve beside it lets it be written even when the file system is full.

use std::{fs, io, path::Path};

use homeport_system::file;
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
    match file::write_atomic(path, &content) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            file::remove(&path.with_file_name(BALLAST))?;
            file::write_atomic(path, &content)
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
    let written = file::write(&path, &vec![0xff; BALLAST_BYTES]);
    if written.is_err() {
        file::remove(&path)?;
    }
    written
}

/// Reads what [`store`] wrote; `None` when it never did. Content that makes no sense is an
/// [`io::ErrorKind::InvalidData`].
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Some(content) = file::absent_is_none(file::read_limited(path, MAX_FILE))? else {
        return Ok(None);
    };
    serde_json::from_slice(&content).map(Some).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, process::Command};

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

    /// A file system of 1 MiB; ends with this.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Self {
            let disk = Self(tempfile::tempdir().unwrap());
            run(Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
                .arg(disk.0.path()));
            disk
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            run(Command::new("umount").arg(self.0.path()));
        }
    }

    fn run(command: &mut Command) {
        let status = command.status().unwrap();
        assert!(status.success(), "{command:?}: {status}");
    }

    #[test]
    #[ignore = "mounts a file system: `./just root-test`"]
    fn a_full_file_system_still_takes_a_state() {
        let disk = SmallDisk::mount();
        let dir = disk.0.path();
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
