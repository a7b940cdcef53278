//! Moves everything that a server keeps in its database to a database of the other kind.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags};

pub use super::copy::Copied;
use super::{
    DATABASE, StoreError, Tx, copy, lock,
    postgres::{self, Address},
    schema,
};

/// The database of a restored backup, in the data directory of a server that uses PostgreSQL, until it is there.
pub(crate) const RESTORED: &str = "restored.db";

/// End of the name of a database that was copied to PostgreSQL.
const COPIED: &str = "copied";

/// A database in PostgreSQL that no server uses while this exists.
#[derive(Debug)]
pub(crate) struct Held {
    address: Address,
    writing: postgres::Writing,
}

/// Copies the database in `data_dir` to PostgreSQL, which holds none, and moves the file aside. Returns what was copied, and where the file
/// is now. No server uses either.
pub fn to_postgres(data_dir: &Path, address: &Address) -> Result<(Vec<Copied>, PathBuf), StoreError> {
    let _lock = lock(data_dir)?;
    nothing_pending(data_dir)?;
    let file = data_dir.join(DATABASE);
    if !file.exists() {
        return Err(StoreError::NoDatabase(file));
    }
    let aside = file.with_extension(format!("db.{COPIED}"));
    if aside.exists() {
        return Err(StoreError::Exists(aside));
    }
    let copied = Held::new(address)?.put(&file, false)?;
    rename(&file, &aside)?;
    Ok((copied, aside))
}

/// Copies the database in PostgreSQL to a new one in `data_dir`. No server uses either. What is in PostgreSQL stays there.
pub fn from_postgres(address: &Address, data_dir: &Path) -> Result<Vec<Copied>, StoreError> {
    let _lock = lock(data_dir)?;
    nothing_pending(data_dir)?;
    // SQLite would take the remains of another database for those of the new one.
    for end in ["", "-wal", "-journal"] {
        let file = data_dir.join(format!("{DATABASE}{end}"));
        if file.exists() {
            return Err(StoreError::Exists(file));
        }
    }
    let held = Held::new(address)?;
    let copied = export(address, &data_dir.join(DATABASE));
    drop(held);
    copied
}

/// Makes sure that no restored database waits in `data_dir` to be put into PostgreSQL.
pub(crate) fn nothing_pending(data_dir: &Path) -> Result<(), StoreError> {
    let file = data_dir.join(RESTORED);
    if file.exists() {
        return Err(StoreError::Pending(file));
    }
    Ok(())
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

// === impl Held ===

impl Held {
    /// Keeps servers out of the database.
    pub(crate) fn new(address: &Address) -> Result<Self, StoreError> {
        Ok(Self {
            address: address.clone(),
            writing: postgres::Writing::open(address)?,
        })
    }

    /// For a server that uses it from now on.
    pub(super) fn into_writing(self) -> postgres::Writing {
        self.writing
    }

    /// Whether it holds a fleet.
    pub(crate) fn is_in_use(&mut self) -> Result<bool, StoreError> {
        self.writing.change(|tx| Ok(!tx.has_no_users()?))
    }

    /// Writes all that it holds to the new SQLite database `file`.
    pub(crate) fn export(&self, file: &Path) -> Result<Vec<Copied>, StoreError> {
        export(&self.address, file)
    }

    /// Puts the database of a restored backup in place of what it holds, if there is one in `data_dir`.
    pub(crate) fn import_restored(&mut self, data_dir: &Path) -> Result<(), StoreError> {
        let file = data_dir.join(RESTORED);
        if !file.exists() {
            return Ok(());
        }
        self.put(&file, true)?;
        fs::remove_file(&file)
            .and_then(|()| crate::files::sync_dir(data_dir))
            .map_err(|error| directory(&file, error))
    }

    fn put(&mut self, file: &Path, replace: bool) -> Result<Vec<Copied>, StoreError> {
        let mut connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // One file, that can be moved.
        connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL")?;
        schema::migrate(&mut connection)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let from = Tx::embedded(connection);
        self.writing.change(move |to| {
            if replace {
                copy::clear(to)?;
            } else if !to.has_no_users()? {
                return Err(StoreError::NotEmpty);
            }
            copy::copy(&from, to)
        })
    }
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
