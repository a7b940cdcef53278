//! Moves everything that a server keeps in its database to a database of the other kind.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;

pub use super::copy::Copied;
use super::{
    DATABASE, StoreError, Tx, copy, lock,
    postgres::{self, Address},
    schema, sqlite,
};

/// The database of a restored backup, in the data directory of a server that uses PostgreSQL, until it is there.
pub(crate) const RESTORED: &str = "restored.db";

/// End of the name of a database that was copied to PostgreSQL.
const COPIED: &str = "copied";

/// Copies the database in `data_dir` to PostgreSQL, which holds none, and moves the file aside. Returns what was copied, and where the file
/// is now. No server uses either.
pub fn to_postgres(data_dir: &Path, address: &Address) -> Result<(Vec<Copied>, PathBuf), StoreError> {
    let _lock = lock(data_dir)?;
    let file = data_dir.join(DATABASE);
    if !file.exists() {
        return Err(StoreError::NoDatabase(file));
    }
    let aside = file.with_extension(format!("db.{COPIED}"));
    if aside.exists() {
        return Err(StoreError::Exists(aside));
    }
    let copied = into_postgres(&file, address, false)?;
    rename(&file, &aside)?;
    Ok((copied, aside))
}

/// Copies the database in PostgreSQL to a new one in `data_dir`. No server uses either. What is in PostgreSQL stays there.
pub fn from_postgres(address: &Address, data_dir: &Path) -> Result<Vec<Copied>, StoreError> {
    let _lock = lock(data_dir)?;
    let file = data_dir.join(DATABASE);
    if file.exists() {
        return Err(StoreError::Exists(file));
    }
    // Nobody changes it while this holds its lock.
    let held = postgres::Writing::open(address)?;
    let copied = export(address, &file);
    drop(held);
    copied
}

/// Writes what PostgreSQL holds at one moment to the new SQLite database `file`. A server may be using it, and does not wait.
pub(crate) fn export(address: &Address, file: &Path) -> Result<Vec<Copied>, StoreError> {
    let part = file.with_extension("part");
    let remove = || match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(directory(&part, error)),
        _ => Ok(()),
    };
    remove()?;
    let written = postgres::read(address, {
        let part = part.clone();
        move |from| write(from, &part)
    });
    match written {
        Ok(copied) => {
            rename(&part, file)?;
            Ok(copied)
        }
        Err(error) => {
            remove()?;
            Err(error)
        }
    }
}

/// Whether PostgreSQL holds a fleet.
pub(crate) fn is_in_use(address: &Address) -> Result<bool, StoreError> {
    postgres::Writing::open(address)?.change(|tx| Ok(!tx.has_no_users()?))
}

/// Puts the database of a restored backup into PostgreSQL, in place of what is there, if there is one in `data_dir`.
pub(crate) fn import_restored(data_dir: &Path, address: &Address) -> Result<(), StoreError> {
    let file = data_dir.join(RESTORED);
    if !file.exists() {
        return Ok(());
    }
    into_postgres(&file, address, true)?;
    fs::remove_file(&file).map_err(|error| directory(&file, error))
}

fn write(from: &Tx, file: &Path) -> Result<Vec<Copied>, StoreError> {
    let mut connection = Connection::open(file)?;
    // It is no database of a server before it has its name.
    connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL")?;
    schema::migrate(&mut connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let to = Tx::embedded(connection);
    let copied = copy::copy(from, &to)?;
    to.execute("COMMIT", &[])?;
    Ok(copied)
}

fn into_postgres(file: &Path, address: &Address, replace: bool) -> Result<Vec<Copied>, StoreError> {
    let mut connection = sqlite::open(file)?;
    schema::migrate(&mut connection)?;
    // One file, that can be moved.
    connection.execute_batch("PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE")?;
    let from = Tx::embedded(connection);
    postgres::Writing::open(address)?.change(move |to| {
        if replace {
            copy::clear(to)?;
        } else if !to.has_no_users()? {
            return Err(StoreError::NotEmpty);
        }
        copy::copy(&from, to)
    })
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| directory(from, error))?;
    let parent = to.parent().unwrap_or(Path::new("."));
    crate::files::sync_dir(parent).map_err(|error| directory(parent, error))
}

fn directory(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Directory {
        path: path.to_owned(),
        source: Arc::new(source),
    }
}
