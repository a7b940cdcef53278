//! A restored state replaces the present one. A crash at any moment leaves the old state, or a swap that the next start finishes.
//!
//! The restore first prepares everything in a directory beside the present state. One rename decides, and after it the swap only goes
//! forward. The old files move out, a second rename records that, and the new files move in.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use super::{BackupError, file_error};
use crate::{blob, ca, files, now_ms, people, store};

/// Prefix of the names of a restore's own directories.
pub(super) const PREFIX: &str = ".restore-";

/// Name of the directory while the old files move out. The swap is decided once it exists.
const MOVING_OUT: &str = ".restore-out";

/// Name of the same directory while the new files move in.
const MOVING_IN: &str = ".restore-in";

/// In it: the new files.
pub(super) const NEW: &str = "new";

/// In it: the old files.
pub(super) const OLD: &str = "old";

/// Whether a swap was decided and not finished.
pub(super) fn is_unfinished(data_dir: &Path) -> bool {
    data_dir.join(MOVING_OUT).exists() || data_dir.join(MOVING_IN).exists()
}

/// Finishes a restore that a crash cut short, if there is one, or removes its preparations. Call this before the database is opened.
pub fn finish_restore(data_dir: &Path) -> Result<(), BackupError> {
    let failed = |source| file_error(data_dir, source);
    let left: Vec<_> = fs::read_dir(data_dir)
        .map_err(failed)?
        .filter_map(Result::ok)
        .filter(|entry| is_work(&entry.file_name()))
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let _lock = store::lock(data_dir)?;
    if is_unfinished(data_dir) {
        tracing::warn!("finishing a restore that was cut short");
        finish(data_dir)?;
    }
    for entry in left {
        let path = entry.path();
        if path.exists() {
            tracing::info!(directory = %path.display(), "removing the rest of an unfinished restore");
            fs::remove_dir_all(&path).map_err(|source| file_error(&path, source))?;
        }
    }
    Ok(())
}

/// Whether a directory of this name is a restore's own.
pub(super) fn is_work(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Decides the swap: the files under [`NEW`] in `ready`, a directory in `data_dir`, replace the present ones. Returns where the old files
/// are now, if there were any.
pub(super) fn decide(ready: &Path, data_dir: &Path) -> Result<Option<PathBuf>, BackupError> {
    let failed = |source| file_error(data_dir, source);
    files::sync_dir(&ready.join(NEW)).map_err(failed)?;
    files::sync_dir(ready).map_err(failed)?;
    fs::rename(ready, data_dir.join(MOVING_OUT)).map_err(failed)?;
    files::sync_dir(data_dir).map_err(failed)?;
    finish(data_dir)
}

pub(super) fn finish(data_dir: &Path) -> Result<Option<PathBuf>, BackupError> {
    let failed = |source| file_error(data_dir, source);
    let (moving_out, moving_in) = (data_dir.join(MOVING_OUT), data_dir.join(MOVING_IN));
    if moving_out.exists() {
        move_out(data_dir, &moving_out.join(OLD)).map_err(failed)?;
        fs::rename(&moving_out, &moving_in).map_err(failed)?;
        files::sync_dir(data_dir).map_err(failed)?;
    }
    move_in(data_dir, &moving_in).map_err(failed)
}

/// Moves the old files out. Bundles stay where they are: their names are the hashes of their content.
fn move_out(data_dir: &Path, old: &Path) -> io::Result<()> {
    files::create_private_dir(old)?;
    let journals = [
        format!("{}-wal", store::DATABASE),
        format!("{}-shm", store::DATABASE),
    ];
    let names = [
        store::DATABASE,
        ca::CERTIFICATE_FILE,
        ca::KEY_FILE,
        files::SERVER_IDENTITY,
        files::LISTENING,
        people::FIRST_ADMIN_PASSWORD,
    ];
    for name in names.into_iter().chain(journals.iter().map(String::as_str)) {
        move_if_there(&data_dir.join(name), &old.join(name))?;
    }
    files::sync_dir(old)?;
    files::sync_dir(data_dir)
}

fn move_in(data_dir: &Path, moving_in: &Path) -> io::Result<Option<PathBuf>> {
    let (new, bundles) = (moving_in.join(NEW), data_dir.join(blob::DIRECTORY));
    files::create_private_dir(&bundles)?;
    for entry in entries(&new.join(blob::DIRECTORY))? {
        fs::rename(entry.path(), bundles.join(entry.file_name()))?;
    }
    files::sync_dir(&bundles)?;
    for entry in entries(&new)? {
        if entry.file_name() != OsStr::new(blob::DIRECTORY) {
            fs::rename(entry.path(), data_dir.join(entry.file_name()))?;
        }
    }
    files::sync_dir(data_dir)?;
    let old = moving_in.join(OLD);
    let mut aside = None;
    if old.exists() {
        if fs::read_dir(&old)?.next().is_some() {
            let place = data_dir.join(format!("replaced-{}", now_ms()));
            fs::rename(&old, &place)?;
            aside = Some(place);
        } else {
            fs::remove_dir(&old)?;
        }
    }
    fs::remove_dir_all(moving_in)?;
    files::sync_dir(data_dir)?;
    Ok(aside)
}

/// The entries of a directory. There are none if it is gone: then the swap was all but finished.
fn entries(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUNDLE: &str = "bundles/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.raucb";
    const STATE: [&str; 4] = [
        store::DATABASE,
        ca::CERTIFICATE_FILE,
        ca::KEY_FILE,
        files::SERVER_IDENTITY,
    ];

    /// A data directory with an old state, and the new state that replaces it.
    fn prepare() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path();
        let ready = data_dir.join(".restore-ready");
        for bundles in [data_dir.join("bundles"), ready.join(NEW).join("bundles")] {
            fs::create_dir_all(bundles).unwrap();
        }
        for name in STATE {
            fs::write(data_dir.join(name), "old").unwrap();
            fs::write(ready.join(NEW).join(name), "new").unwrap();
        }
        fs::write(data_dir.join("homeport.db-wal"), "old").unwrap();
        fs::write(ready.join(NEW).join(BUNDLE), "new").unwrap();
        (directory, ready)
    }

    fn is_new(data_dir: &Path) {
        for name in STATE.into_iter().chain([BUNDLE]) {
            assert_eq!(fs::read_to_string(data_dir.join(name)).unwrap(), "new", "{name}");
        }
        assert!(!data_dir.join("homeport.db-wal").exists());
        let names = || fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().path());
        let aside: Vec<_> = names()
            .filter(|path| path.to_string_lossy().contains("/replaced-"))
            .collect();
        assert_eq!(aside.len(), 1);
        for name in STATE.into_iter().chain(["homeport.db-wal"]) {
            assert_eq!(fs::read_to_string(aside[0].join(name)).unwrap(), "old", "{name}");
        }
        assert!(!names().any(|path| is_work(path.file_name().unwrap())));
    }

    #[test]
    fn before_the_decision_the_old_state_stays() {
        let (directory, ready) = prepare();
        finish_restore(directory.path()).unwrap();
        assert!(!ready.exists());
        for name in STATE {
            assert_eq!(fs::read_to_string(directory.path().join(name)).unwrap(), "old");
        }
    }

    #[test]
    fn after_it_a_swap_that_was_cut_short_anywhere_is_finished() {
        for done in 0..=STATE.len() {
            let (directory, ready) = prepare();
            let (data_dir, out) = (directory.path(), directory.path().join(MOVING_OUT));
            fs::rename(&ready, &out).unwrap();
            fs::create_dir(out.join(OLD)).unwrap();
            for name in &STATE[..done] {
                fs::rename(data_dir.join(name), out.join(OLD).join(name)).unwrap();
            }
            finish_restore(data_dir).unwrap();
            is_new(data_dir);

            let (directory, ready) = prepare();
            let (data_dir, into) = (directory.path(), directory.path().join(MOVING_IN));
            move_out(data_dir, &ready.join(OLD)).unwrap();
            fs::rename(&ready, &into).unwrap();
            for name in &STATE[..done] {
                fs::rename(into.join(NEW).join(name), data_dir.join(name)).unwrap();
            }
            assert!(is_unfinished(data_dir));
            finish_restore(data_dir).unwrap();
            is_new(data_dir);
        }
    }
}
