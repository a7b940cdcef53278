//! The file format of backups.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::{BackupError, file_error};
use crate::{blob, ca, files, hex, people, store};

/// The format that this server writes, and the highest that it reads.
const FORMAT: u32 = 1;

/// First entry: the backup's description of itself.
const ABOUT: &str = "homeport-backup.json";

/// Last entry, as `sha256sum` writes and checks it: one line for each other entry.
const SUMS: &str = "SHA256SUMS";

/// Longest first entry, in bytes.
const MAX_ABOUT: u64 = 4096;

/// Longest last entry, in bytes: some 100,000 bundles.
const MAX_SUMS: u64 = 16 * 1024 * 1024;

/// Bytes that are copied at once.
const PIECE: usize = 64 * 1024;

/// A backup's description of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    format: u32,
    server_version: String,
    /// The moment whose state it holds, milliseconds since 1970-01-01T00:00:00Z.
    pub(super) created_ms: i64,
}

/// Writes a backup.
pub(super) struct Writer<W: Write> {
    tar: Builder<W>,
    sums: String,
    created_ms: i64,
}

/// Passes on a limited number of bytes and hashes them.
struct Hashing<R> {
    source: R,
    hash: Sha256,
    length: u64,
}

// === impl Writer ===

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, created_ms: i64) -> io::Result<Self> {
        let about = About {
            format: FORMAT,
            server_version: env!("CARGO_PKG_VERSION").into(),
            created_ms,
        };
        let about = serde_json::to_vec(&about)?;
        let mut writer = Self {
            tar: Builder::new(out),
            sums: String::new(),
            created_ms,
        };
        writer.append(ABOUT, about.as_slice(), about.len() as u64)?;
        Ok(writer)
    }

    /// Adds a file, and returns the lower-case hex SHA-256 of its content.
    pub(super) fn add(&mut self, name: &str, source: File) -> io::Result<String> {
        let length = source.metadata()?.len();
        self.append(name, source, length)
    }

    /// Writes the last entry, without which the archive is incomplete.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let sums = std::mem::take(&mut self.sums);
        self.append(SUMS, sums.as_bytes(), sums.len() as u64)?;
        self.tar.into_inner()?.flush()
    }

    fn append(&mut self, name: &str, source: impl Read, length: u64) -> io::Result<String> {
        let mut header = Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.created_ms / 1000).unwrap_or_default());
        let mut source = Hashing::new(source.take(length));
        self.tar.append_data(&mut header, name, &mut source)?;
        if source.length != length {
            return Err(io::Error::other(format!(
                "{name} became shorter while it was read"
            )));
        }
        let hash = source.finish();
        self.sums.extend([hash.as_str(), "  ", name, "\n"]);
        Ok(hash)
    }
}

// === impl Hashing ===

impl<R> Hashing<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            hash: Sha256::new(),
            length: 0,
        }
    }

    fn finish(self) -> String {
        hex(&self.hash.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.length += count as u64;
        Ok(count)
    }
}

/// Unpacks the backup `source` into the empty directory `into`, and checks all of it. Only entries that a backup can hold are unpacked.
pub(super) fn unpack(source: impl Read, into: &Path) -> Result<About, BackupError> {
    let mut archive = Archive::new(source);
    // Raw: our names need no extension of tar, and `tar` would read the content of an extension into memory.
    let entries = archive.entries().map_err(damaged)?.raw(true);
    let mut about = None;
    let mut found = BTreeMap::new();
    for entry in entries {
        // A file that is no tar archive at all fails here, at its first entry.
        let entry = entry.map_err(|error| match &about {
            None => BackupError::Foreign(error.to_string()),
            Some(_) => damaged(error),
        })?;
        let name = entry
            .path()
            .ok()
            .and_then(|path| path.to_str().map(str::to_owned))
            .unwrap_or_default();
        let foreign = || BackupError::Foreign(format!("it holds `{}`", name.escape_debug()));
        if entry.header().entry_type() != EntryType::Regular {
            return Err(foreign());
        }
        let length = entry.size();
        let mut content = Hashing::new(entry);
        match (&about, name.as_str()) {
            (None, ABOUT) => about = Some(read_about(&read(&mut content, MAX_ABOUT)?)?),
            (None, _) => return Err(BackupError::Foreign(format!("it does not begin with `{ABOUT}`"))),
            (Some(about), SUMS) => {
                let sums = read(&mut content, MAX_SUMS)?;
                check_sums(&sums, &found)?;
                let about: &About = about;
                return check_complete(&found).map(|()| about.clone());
            }
            (Some(_), name) if is_ours(name) => write(&mut content, &into.join(name))?,
            _ => return Err(foreign()),
        }
        if content.length != length {
            return Err(BackupError::Damaged(format!("{name} is cut off")));
        }
        let hash = content.finish();
        if file_id(&name).is_some_and(|id| id != hash) {
            return Err(BackupError::Damaged(format!(
                "{name} is not the bundle of this name"
            )));
        }
        if found.insert(name.clone(), hash).is_some() {
            return Err(BackupError::Damaged(format!("it holds {name} twice")));
        }
    }
    Err(match about {
        None => BackupError::Foreign("it is empty".into()),
        Some(_) => BackupError::Damaged("its end is missing".into()),
    })
}

fn read_about(content: &[u8]) -> Result<About, BackupError> {
    let about: About =
        serde_json::from_slice(content).map_err(|error| BackupError::Foreign(format!("{ABOUT}: {error}")))?;
    if about.format > FORMAT {
        return Err(BackupError::Newer {
            found: about.format,
            known: FORMAT,
        });
    }
    Ok(about)
}

fn check_sums(sums: &[u8], found: &BTreeMap<String, String>) -> Result<(), BackupError> {
    let listed: Option<BTreeMap<String, String>> = String::from_utf8_lossy(sums)
        .lines()
        .map(|line| {
            let (hash, name) = line.split_once("  ")?;
            Some((name.to_owned(), hash.to_owned()))
        })
        .collect();
    let listed = listed.ok_or_else(|| BackupError::Damaged(format!("{SUMS} is unreadable")))?;
    let names: BTreeSet<_> = listed.keys().chain(found.keys()).collect();
    match names
        .into_iter()
        .find(|name| listed.get(*name) != found.get(*name))
    {
        None => Ok(()),
        Some(name) => Err(BackupError::Damaged(format!(
            "{name} has changed since it was written"
        ))),
    }
}

fn check_complete(found: &BTreeMap<String, String>) -> Result<(), BackupError> {
    let needed = [store::DATABASE, ca::CERTIFICATE_FILE, ca::KEY_FILE];
    match needed.into_iter().find(|name| !found.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(BackupError::Damaged(format!("{name} is missing"))),
    }
}

fn is_ours(name: &str) -> bool {
    [
        store::DATABASE,
        ca::CERTIFICATE_FILE,
        ca::KEY_FILE,
        files::SERVER_IDENTITY,
        people::FIRST_ADMIN_PASSWORD,
    ]
    .contains(&name)
        || file_id(name).is_some()
}

/// The id of the bundle whose entry has this name.
fn file_id(name: &str) -> Option<&str> {
    let (directory, file) = name.split_once('/')?;
    blob::bundle_id(file).filter(|_| directory == blob::DIRECTORY)
}

fn read(content: &mut impl Read, limit: u64) -> Result<Vec<u8>, BackupError> {
    let mut bytes = Vec::new();
    content.take(limit + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 > limit {
        return Err(BackupError::Damaged("an entry is too long".into()));
    }
    Ok(bytes)
}

fn write(content: &mut impl Read, path: &Path) -> Result<(), BackupError> {
    let failed = |source| file_error(path, source);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = content.read(&mut piece).map_err(damaged)?;
        if count == 0 {
            break;
        }
        file.write_all(&piece[..count]).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn damaged(error: io::Error) -> BackupError {
    BackupError::Damaged(error.to_string())
}
