//! Blocks of one bundle on disk.
//!
//! A sparse file holds the blocks in their places; an index beside it holds a CRC-32 for each. A block counts only if its
//! content matches its CRC, which is checked on every read. So neither file needs to be written before the other: whatever
//! a power cut leaves of them, a block that is not whole is only fetched again. Damage on purpose is the backend's affair,
//! which checks signatures.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::RangeInclusive,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crc::{CRC_32_ISO_HDLC, Crc};
use homeport_system::file;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Bytes of a block, the least that is fetched. See `docs/development/decisions/bundle-relay.md` for the measurement.
pub(super) const BLOCK: u64 = 16 * 1024;

const MAGIC: &[u8; 8] = b"HPBLOCK1";
/// Magic, size of the bundle, its id, bytes fetched so far.
const HEADER: u64 = 8 + 8 + 64 + 8;
const FETCHED_AT: u64 = HEADER - 8;
const ENTRY: u64 = 4;
const ABSENT: u32 = 0;
/// Largest bundle: its index takes 8 MiB of memory.
pub(super) const MAX_BUNDLE: u64 = 32 * 1024 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Cache {
    data: File,
    index: File,
    size: u64,
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    crcs: Vec<u32>,
    cached: u64,
    fetched: u64,
}

// === impl Cache ===

impl Cache {
    /// Opens the cache of the bundle `id`, and removes those of all others.
    pub(super) fn open(dir: &Path, id: &str, size: u64) -> io::Result<Self> {
        if size == 0 || size > MAX_BUNDLE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a bundle of {size} bytes is not possible"),
            ));
        }
        file::create_private_directory(dir)?;
        let (data_path, index_path) = paths(dir);
        let index = open(&index_path)?;
        let data = open(&data_path)?;
        let entries = match read_index(&index, id, size) {
            Some(entries) => entries,
            None => start_index(&index, &data, id, size)?,
        };
        Ok(Self {
            data,
            index,
            size,
            entries: Mutex::new(entries),
        })
    }

    /// Removes the cache from disk.
    pub(super) fn remove(dir: &Path) -> io::Result<()> {
        let (data_path, index_path) = paths(dir);
        file::remove(&index_path)?;
        file::remove(&data_path)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that are there.
    pub(super) fn cached(&self) -> u64 {
        self.lock().cached
    }

    /// Bytes that were ever fetched for this bundle, over restarts.
    pub(super) fn fetched(&self) -> u64 {
        self.lock().fetched
    }

    pub(super) fn add_fetched(&self, bytes: u64) {
        self.lock().fetched += bytes;
    }

    /// The first blocks in `within` that are not there, at most `limit` of them in a row.
    pub(super) fn missing(&self, within: RangeInclusive<u64>, limit: u64) -> Option<RangeInclusive<u64>> {
        let entries = self.lock();
        let absent = |block: &u64| {
            entries
                .crcs
                .get(index_of(*block))
                .is_none_or(|crc| *crc == ABSENT)
        };
        let end = *within.end();
        let first = within.into_iter().find(absent)?;
        let last = (first..=end)
            .take_while(absent)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .last()?;
        Some(first..=last)
    }

    /// The bytes that a block covers; the last one may be short.
    pub(super) fn extent(&self, block: u64) -> std::ops::Range<u64> {
        let start = block * BLOCK;
        start..(start + BLOCK).min(self.size)
    }

    /// Stores whole blocks that follow each other, beginning with `first`. Survives a killed process at once and a power
    /// cut after [`Cache::flush`].
    pub(super) fn write(&self, first: u64, content: &[u8]) -> io::Result<()> {
        self.data.write_all_at(content, first * BLOCK)?;
        let crcs: Vec<u32> = content.chunks(index_of(BLOCK)).map(checksum).collect();
        let raw: Vec<u8> = crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        self.index.write_all_at(&raw, HEADER + first * ENTRY)?;
        let mut entries = self.lock();
        for (block, crc) in (first..).zip(crcs) {
            let extent = self.extent(block);
            if let Some(entry) = entries.crcs.get_mut(index_of(block)) {
                if *entry == ABSENT {
                    entries.cached += extent.end - extent.start;
                }
            }
            if let Some(entry) = entries.crcs.get_mut(index_of(block)) {
                *entry = crc;
            }
        }
        Ok(())
    }

    /// The content of a block; `None` if it is not there or not whole.
    pub(super) fn read(&self, block: u64) -> io::Result<Option<Vec<u8>>> {
        let extent = self.extent(block);
        let length = extent.end - extent.start;
        let wanted = match self.lock().crcs.get(index_of(block)) {
            Some(&crc) if crc != ABSENT => crc,
            _ => return Ok(None),
        };
        let mut content = vec![0; index_of(length)];
        match self.data.read_exact_at(&mut content, extent.start) {
            Ok(()) if checksum(&content) == wanted => return Ok(Some(content)),
            Ok(()) => tracing::warn!(
                block,
                "a block of the bundle cache was damaged, fetching it again"
            ),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
        let mut entries = self.lock();
        if let Some(entry) = entries.crcs.get_mut(index_of(block)) {
            *entry = ABSENT;
            entries.cached = entries.cached.saturating_sub(length);
        }
        Ok(None)
    }

    /// Brings everything to the disk itself.
    pub(super) fn flush(&self) -> io::Result<()> {
        let fetched = self.fetched();
        self.index.write_all_at(&fetched.to_le_bytes(), FETCHED_AT)?;
        self.data.sync_data()?;
        self.index.sync_data()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn paths(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("bundle.blocks"), dir.join("bundle.index"))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn header(id: &str, size: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(index_of(HEADER));
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&size.to_le_bytes());
    header.extend_from_slice(id.as_bytes());
    header.resize(index_of(FETCHED_AT), 0);
    header
}

/// The index, if it is one and belongs to this bundle.
fn read_index(index: &File, id: &str, size: u64) -> Option<Entries> {
    let blocks = size.div_ceil(BLOCK);
    let mut raw = vec![0; index_of(HEADER + blocks * ENTRY)];
    index.read_exact_at(&mut raw, 0).ok()?;
    if raw.get(..index_of(FETCHED_AT))? != header(id, size) {
        return None;
    }
    let fetched = u64::from_le_bytes(*raw.get(index_of(FETCHED_AT)..)?.first_chunk()?);
    let crcs: Vec<u32> = raw
        .get(index_of(HEADER)..)?
        .chunks_exact(4)
        .map(|crc| u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]))
        .collect();
    let present = (0..).zip(&crcs).filter(|(_, crc)| **crc != ABSENT);
    let cached = present
        .map(|(block, _): (u64, _)| BLOCK.min(size - block * BLOCK))
        .sum();
    Some(Entries {
        crcs,
        cached,
        fetched,
    })
}

fn start_index(index: &File, data: &File, id: &str, size: u64) -> io::Result<Entries> {
    let blocks = size.div_ceil(BLOCK);
    data.set_len(0)?;
    data.set_len(size)?;
    index.set_len(0)?;
    index.set_len(HEADER + blocks * ENTRY)?;
    index.write_all_at(&header(id, size), 0)?;
    Ok(Entries {
        crcs: vec![ABSENT; index_of(blocks)],
        cached: 0,
        fetched: 0,
    })
}

/// Never [`ABSENT`].
fn checksum(content: &[u8]) -> u32 {
    CRC.checksum(content).max(ABSENT + 1)
}

/// Sizes here are below [`MAX_BUNDLE`] divided by the block size, or lengths of one block: they fit any `usize`.
fn index_of(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const SIZE: u64 = 3 * BLOCK + 100;

    fn content(block: u8, length: u64) -> Vec<u8> {
        vec![block; usize::try_from(length).unwrap()]
    }

    #[test]
    fn keeps_blocks_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), ID, SIZE).unwrap();
        assert_eq!(cache.missing(0..=3, 99), Some(0..=3));
        cache.write(1, &content(1, 2 * BLOCK)).unwrap();
        cache.write(3, &content(3, 100)).unwrap();
        cache.add_fetched(777);
        cache.flush().unwrap();
        drop(cache);

        let cache = Cache::open(dir.path(), ID, SIZE).unwrap();
        assert_eq!(cache.cached(), 2 * BLOCK + 100);
        assert_eq!(cache.fetched(), 777);
        assert_eq!(cache.missing(0..=3, 99), Some(0..=0));
        assert_eq!(cache.missing(1..=3, 99), None);
        assert_eq!(cache.read(3).unwrap(), Some(content(3, 100)));
        assert_eq!(cache.read(0).unwrap(), None);
    }

    #[test]
    fn a_damaged_block_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), ID, SIZE).unwrap();
        cache.write(0, &content(1, BLOCK)).unwrap();
        cache.data.write_all_at(b"torn", 100).unwrap();
        assert_eq!(cache.read(0).unwrap(), None);
        assert_eq!(cache.missing(0..=0, 1), Some(0..=0));
        assert_eq!(cache.cached(), 0);
    }

    #[test]
    fn a_damaged_index_never_serves_wrong_data() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), ID, SIZE).unwrap();
        cache.write(0, &content(1, BLOCK)).unwrap();
        cache.index.write_all_at(&[0xff; 16], HEADER).unwrap();
        drop(cache);
        let cache = Cache::open(dir.path(), ID, SIZE).unwrap();
        for block in 0..4 {
            assert_eq!(cache.read(block).unwrap(), None);
        }
    }

    #[test]
    fn another_bundle_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), ID, SIZE).unwrap();
        cache.write(0, &content(1, BLOCK)).unwrap();
        drop(cache);
        let other = ID.replace('0', "1");
        assert_eq!(Cache::open(dir.path(), &other, SIZE).unwrap().cached(), 0);
    }

    #[test]
    fn missing_runs_are_limited() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), ID, SIZE).unwrap();
        assert_eq!(cache.missing(0..=3, 2), Some(0..=1));
        assert!(Cache::open(dir.path(), ID, 0).is_err());
        assert!(Cache::open(dir.path(), ID, MAX_BUNDLE + 1).is_err());
    }
}
