//! Backup and restore of everything that a server keeps, in one file. See `docs/usage/backup.md`.
//!
//! The file is a tar archive that `tar` and `sha256sum` understand. It begins with a description of itself, then come the authority with
//! its key, the bundles and the database. The SHA-256 of each comes last; without that entry the archive is incomplete.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

mod archive;
mod restore;
mod swap;

use self::archive::Writer;
pub use self::{
    restore::{Options, Restored, restore},
    swap::finish_restore,
};
use crate::{
    blob::{self, Bundles},
    ca, files, now_ms, people,
    store::{self, Database, StoreError, Tx, moving, offline},
};

/// Why a backup or a restore failed. The present state is unchanged, but for [`BackupError::RowsPending`].
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file cannot be used.
    #[error("cannot use {}: {source}", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No room.
    #[error("the disk that holds {} is full: free some space, or choose another disk", .0.display())]
    Full(PathBuf),
    /// A backup is never overwritten.
    #[error("{} exists already: choose another name", .0.display())]
    Exists(PathBuf),
    /// Nothing to back up.
    #[error("{} holds no database of homeport-server: check --data-dir", .0.display())]
    NoData(PathBuf),
    /// A restore was cut short.
    #[error("a restore into {} was cut short: start the server once, which finishes it", .0.display())]
    Unfinished(PathBuf),
    /// The content of a bundle does not match its id.
    #[error(
        "the bundle {0} is damaged on this disk: delete it in the web page and upload it again, or make the backup with --no-bundles"
    )]
    DamagedBundle(String),
    /// Not an archive of this program.
    #[error("this is not a backup of homeport-server: {0}")]
    Foreign(String),
    /// From a newer program.
    #[error(
        "this backup has format {found}, and this homeport-server reads up to {known}: restore it with a newer one"
    )]
    Newer {
        /// Format of the backup.
        found: u32,
        /// Highest that is known.
        known: u32,
    },
    /// Cut off or changed.
    #[error("this backup is damaged ({0}): use another one")]
    Damaged(String),
    /// Something is there already.
    #[error(
        "{} is not empty: give another --data-dir, or --replace to move what is there aside",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// Another user runs the restore, and the server could not read the files.
    #[error("{} belongs to another user: run this as the user that the server runs as", .0.display())]
    Owner(PathBuf),
    /// The files are restored, and the rows are not yet.
    #[error(
        "the files are restored, and the rows are not in PostgreSQL yet ({0}): start the server once, which puts them there"
    )]
    RowsPending(StoreError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The content of a backup that was made.
#[derive(Debug)]
pub struct Made {
    /// Bundles in it.
    pub bundles: usize,
    /// Length of the file, in bytes.
    pub size: u64,
    /// Bundles in the database whose file is missing.
    pub missing: Vec<String>,
}

/// Writes a backup of `data_dir` and of its database, whose server may be running, to the new file `to`, which only its owner can read.
///
/// `authority` names the files of an authority outside the data directory.
pub fn back_up(
    data_dir: &Path,
    database: &Database,
    authority: Option<&(PathBuf, PathBuf)>,
    to: &Path,
    with_bundles: bool,
) -> Result<Made, BackupError> {
    if to.try_exists().map_err(|source| file_error(to, source))? {
        return Err(BackupError::Exists(to.to_owned()));
    }
    if swap::is_unfinished(data_dir) {
        return Err(BackupError::Unfinished(data_dir.to_owned()));
    }
    moving::nothing_pending(data_dir)?;
    let holds_a_fleet = match database {
        Database::Embedded => data_dir.join(store::DATABASE).exists(),
        Database::Postgres(_) => data_dir.join(ca::CERTIFICATE_FILE).exists() || authority.is_some(),
    };
    if !holds_a_fleet {
        return Err(BackupError::NoData(data_dir.to_owned()));
    }
    let failed = |source| file_error(to, source);
    let directory = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Taken before the database is copied: a certificate that the copy lacks was always issued after this time.
    let created_ms = now_ms();
    let work = tempfile::Builder::new()
        .prefix(".homeport-backup-")
        .tempdir_in(directory)
        .map_err(failed)?;
    let copy = work.path().join(store::DATABASE);
    let copied = match database {
        Database::Embedded => offline::copy(data_dir, &copy),
        Database::Postgres(address) => moving::export(address, &copy).map(drop),
    };
    copied.map_err(|error| match error {
        StoreError::Full => BackupError::Full(to.to_owned()),
        error => error.into(),
    })?;

    let file = tempfile::Builder::new()
        .prefix(".homeport-backup-")
        .tempfile_in(directory)
        .map_err(failed)?;
    let mut archive = Writer::new(file.as_file(), created_ms).map_err(failed)?;
    let (certificate, key) = match authority {
        Some((certificate, key)) => (certificate.clone(), key.clone()),
        None => (data_dir.join(ca::CERTIFICATE_FILE), data_dir.join(ca::KEY_FILE)),
    };
    let mut add = |name: &str, path: &Path| {
        let source = File::open(path).map_err(|source| file_error(path, source))?;
        archive.add(name, source).map_err(failed)
    };
    add(ca::CERTIFICATE_FILE, &certificate)?;
    add(ca::KEY_FILE, &key)?;
    for name in [files::SERVER_IDENTITY, people::FIRST_ADMIN_PASSWORD] {
        let path = data_dir.join(name);
        if path.exists() {
            add(name, &path)?;
        }
    }
    let (bundles, missing) = if with_bundles {
        let directory = Bundles::open(data_dir, 0).map_err(|source| file_error(data_dir, source))?;
        add_bundles(&mut archive, &directory, &copy, to)?
    } else {
        (0, Vec::new())
    };
    let source = File::open(&copy).map_err(failed)?;
    archive.add(store::DATABASE, source).map_err(failed)?;
    archive.finish().map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let file = file
        .persist_noclobber(to)
        .map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
            _ => failed(error.error),
        })?;
    let size = file.metadata().map_err(failed)?.len();
    files::sync_dir(directory).map_err(failed)?;
    Ok(Made {
        bundles,
        size,
        missing,
    })
}

/// Adds the bundles that the copied database knows. A bundle whose file is gone was usually deleted after the copy was made: the copy
/// forgets it too.
fn add_bundles(
    archive: &mut Writer<&File>,
    directory: &Bundles,
    database: &Path,
    to: &Path,
) -> Result<(usize, Vec<String>), BackupError> {
    let known = offline::read(database, Tx::bundle_ids::<Vec<_>>)?;
    let (count, mut missing) = (known.len(), Vec::new());
    for id in known {
        let path = directory.path(&id);
        let source = match File::open(&path) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(id);
                continue;
            }
            Err(source) => return Err(file_error(&path, source)),
        };
        let name = format!("{}/{}", blob::DIRECTORY, blob::file_name(&id));
        let hash = archive
            .add(&name, source)
            .map_err(|source| file_error(to, source))?;
        if hash != id {
            return Err(BackupError::DamagedBundle(id));
        }
    }
    if !missing.is_empty() {
        offline::change(database, |tx| {
            missing.iter().try_for_each(|id| tx.delete_bundle(id))
        })?;
    }
    Ok((count - missing.len(), missing))
}

fn file_error(path: &Path, source: io::Error) -> BackupError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackupError::Full(path.to_owned()),
        _ => BackupError::File {
            path: path.to_owned(),
            source,
        },
    }
}
