//! Restores a data directory from a backup.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    BackupError, archive, file_error,
    swap::{self, NEW},
};
use crate::{
    blob::{self, Bundles, Manifest, Received},
    ca::{self, Authority},
    files, hex, now_ms,
    pairing::readmission::READMISSION,
    store::{
        self, Database, StoreError, Tx,
        moving::{self, Held},
        offline::{self, Inherited},
    },
};

/// Times in certificates have whole seconds.
const SECOND: i64 = 1000;

/// Name of the file with the rows that PostgreSQL had, among the old files.
const OLD_ROWS: &str = "postgresql.db";

/// The name in the audit record.
const ACTOR: &str = "system";

/// Options of a restore.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Moves the present files of the data directory aside.
    pub replace: bool,
    /// Readmits certificates that were issued after the backup was made and that no database knows any more.
    pub readmit: bool,
}

/// The outcome of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The moment whose state the backup holds, milliseconds since 1970-01-01T00:00:00Z.
    pub created_ms: i64,
    /// Where the old files are now.
    pub aside: Option<PathBuf>,
    /// Changes that the database takes over from the old one; `None` if there was no readable one of the same authority.
    pub inherited: Option<Inherited>,
    /// Bundles that are newer than the backup and can be deployed again.
    pub offered: Vec<String>,
    /// Bundles whose file is neither in the backup nor in the data directory.
    pub missing: Vec<String>,
}

/// Restores `data_dir` and its database from the backup `source`. Everything is checked before anything is touched: a restore that fails or
/// is cut short leaves the present state.
pub fn restore(
    source: &Path,
    data_dir: &Path,
    database: &Database,
    options: Options,
) -> Result<Restored, BackupError> {
    let failed = |source| file_error(data_dir, source);
    let file = File::open(source).map_err(|error| file_error(source, error))?;
    files::create_private_dir(data_dir).map_err(failed)?;
    swap::finish_restore(data_dir)?;
    let _lock = store::lock(data_dir)?;
    if !options.replace && !is_empty(data_dir).map_err(failed)? {
        return Err(BackupError::NotEmpty(data_dir.to_owned()));
    }
    let mut held = match database {
        Database::Embedded => None,
        Database::Postgres(address) => Some(Held::new(address)?),
    };
    let replaces_rows = match &mut held {
        Some(held) => held.is_in_use()?,
        None => false,
    };
    if replaces_rows && !options.replace {
        return Err(StoreError::NotEmpty.into());
    }
    let work = tempfile::Builder::new()
        .prefix(swap::PREFIX)
        .tempdir_in(data_dir)
        .map_err(failed)?;
    let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid());
    if owner(work.path()).map_err(failed)? != owner(data_dir).map_err(failed)? {
        return Err(BackupError::Owner(data_dir.to_owned()));
    }
    let new = work.path().join(NEW);
    fs::create_dir(&new).map_err(failed)?;
    fs::create_dir(new.join(blob::DIRECTORY)).map_err(failed)?;
    let about = archive::unpack(BufReader::new(file), &new)?;
    Authority::load(&new.join(ca::CERTIFICATE_FILE), &new.join(ca::KEY_FILE))
        .map_err(|error| BackupError::Damaged(error.to_string()))?;
    let restored_rows = new.join(store::DATABASE);
    offline::check(&restored_rows).map_err(|error| match error {
        StoreError::Corrupt(_) | StoreError::Database(_) => BackupError::Damaged(error.to_string()),
        error => error.into(),
    })?;

    let old = match &held {
        Some(held) if replaces_rows => old_rows(held, work.path())?,
        _ => data_dir.join(store::DATABASE),
    };
    let now_ms = now_ms();
    let inherited = inherit(data_dir, &old, &new, now_ms);
    let present = Bundles::open(data_dir, 0).map_err(failed)?;
    let restored = Bundles::open(&new, 0).map_err(failed)?;
    let known: HashSet<String> = offline::read(&restored_rows, Tx::bundle_ids)?;
    let newer = newer_bundles(&present, &known).map_err(failed)?;
    let mut missing: Vec<_> = known
        .into_iter()
        .filter(|id| !restored.path(id).exists() && !present.path(id).exists())
        .collect();
    missing.sort();
    let newer: Vec<_> = newer
        .into_iter()
        .map(|bundle| Ok((projects(&old, &restored_rows, &bundle.id)?, bundle)))
        .filter(|found| !matches!(found, Ok((projects, _)) if projects.is_empty()))
        .collect::<Result<_, StoreError>>()?;
    let offered: Vec<_> = newer.iter().map(|(_, bundle)| bundle.id.clone()).collect();
    offline::change(&restored_rows, |tx| {
        // A person whose session the backup holds may have logged out since.
        tx.delete_sessions()?;
        // The same for a token that was revoked, or whose user was disabled.
        tx.delete_access_tokens()?;
        for (projects, bundle) in &newer {
            for project in projects {
                tx.insert_bundle(now_ms, ACTOR, bundle, project)?;
            }
        }
        if options.readmit {
            tx.insert_readmission(about.created_ms - SECOND, now_ms, now_ms + READMISSION)?;
        }
        let detail = if options.readmit {
            "unknown certificates are readmitted"
        } else {
            ""
        };
        tx.audit(
            now_ms,
            "",
            ACTOR,
            "backup.restore",
            &about.created_ms.to_string(),
            detail,
        )
    })?;
    if held.is_some() {
        fs::rename(&restored_rows, new.join(moving::RESTORED)).map_err(failed)?;
    }
    let aside = swap::decide(work.path(), data_dir)?;
    if let Some(held) = &mut held {
        held.import_restored(data_dir).map_err(BackupError::RowsPending)?;
    }
    Ok(Restored {
        created_ms: about.created_ms,
        aside,
        inherited,
        offered,
        missing,
    })
}

/// Writes what PostgreSQL holds to a file, which is kept beside the old files.
fn old_rows(held: &Held, work: &Path) -> Result<PathBuf, BackupError> {
    let old = work.join(swap::OLD);
    files::create_private_dir(&old).map_err(|source| file_error(&old, source))?;
    let file = old.join(OLD_ROWS);
    held.export(&file)?;
    Ok(file)
}

/// Takes over from the old database which certificates may connect, if it belongs to the same authority.
fn inherit(data_dir: &Path, old: &Path, new: &Path, now_ms: i64) -> Option<Inherited> {
    let read = |directory: &Path| fs::read(directory.join(ca::CERTIFICATE_FILE)).ok();
    if !old.exists() || read(data_dir)? != read(new)? {
        return None;
    }
    match offline::inherit(&new.join(store::DATABASE), old, now_ms) {
        Ok(inherited) => Some(inherited),
        Err(error) => {
            tracing::warn!(%error, "cannot read the database that is replaced: revoke again what was revoked since the backup");
            None
        }
    }
}

/// The projects that get a bundle which is newer than the backup: those that had it, if they are in the restored database. If nobody knows
/// them any more, everybody gets it in a fleet without projects, and nobody in one with projects.
fn projects(old: &Path, restored: &Path, bundle: &str) -> Result<Vec<String>, StoreError> {
    let had = offline::read(old, |tx| tx.projects_of_bundle(bundle));
    offline::read(restored, |tx| match had {
        Ok(had) if !had.is_empty() => had
            .into_iter()
            .filter_map(|project| match tx.has_project(&project) {
                Ok(known) => (known || project.is_empty()).then_some(Ok(project)),
                Err(error) => Some(Err(error)),
            })
            .collect(),
        _ if tx.has_projects()? => Ok(Vec::new()),
        _ => Ok(vec![String::new()]),
    })
}

fn is_empty(data_dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(data_dir)? {
        let name = entry?.file_name();
        if name != store::LOCK && name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Bundles in the data directory that the backup does not know, except damaged ones.
fn newer_bundles(present: &Bundles, known: &HashSet<String>) -> io::Result<Vec<Received>> {
    let mut newer = Vec::new();
    for id in present.ids()? {
        if known.contains(&id) {
            continue;
        }
        let path = present.path(&id);
        let mut file = File::open(&path)?;
        let mut hash = Sha256::new();
        let size = io::copy(&mut file, &mut hash)?;
        match Manifest::read(&mut file) {
            Ok(manifest) if hex(&hash.finalize()) == id => newer.push(Received { id, size, manifest }),
            _ => tracing::warn!(file = %path.display(), "this is not a whole bundle; left alone"),
        }
    }
    Ok(newer)
}
