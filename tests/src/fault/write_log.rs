//! What a board wrote and when it flushed, as QEMU's `blklogwrites` recorded it: the format of Linux' dm-log-writes
//! (`include/uapi` has none; see `drivers/md/dm-log-writes.c`).

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

/// QEMU's default size of the log's own sectors.
const LOG_SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// The record of a board's disk.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    /// What the board did, in order.
    pub entries: Vec<Entry>,
}

/// One thing that the board did to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It wrote.
    Write(Write),
    /// It waited until all that had been written was safe.
    Flush,
    /// It no longer needs some sectors. Their contents may stay.
    Discard,
}

/// A write. Offsets and lengths are bytes, and whole sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Place on the disk.
    pub offset: u64,
    /// Length.
    pub length: u64,
    /// Safe as soon as it was done, without a flush (FUA).
    pub durable: bool,
    data_at: u64,
}

// === impl WriteLog ===

impl WriteLog {
    /// Reads a log that is complete.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let count = entry_count(&file)?.context("the log is empty")?;
        let mut entries = Vec::new();
        let mut at = LOG_SECTOR;
        for _ in 0..count {
            let [sector, sectors, flags, _] = numbers(&file, at).context("the log is cut off")?;
            at += LOG_SECTOR;
            let (offset, length) = (sector * LOG_SECTOR, sectors * LOG_SECTOR);
            if flags & DISCARD != 0 {
                entries.push(Entry::Discard);
                continue;
            }
            if flags & FLUSH != 0 {
                entries.push(Entry::Flush);
            }
            if length > 0 {
                entries.push(Entry::Write(Write {
                    offset,
                    length,
                    durable: flags & FUA != 0,
                    data_at: at,
                }));
                at += length;
            }
        }
        Ok(Self { file, entries })
    }

    /// How many entries the log that is being written has; none before the first.
    pub fn length(path: &Path) -> Result<u64> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(entry_count(&file)?.unwrap_or(0))
    }

    /// What was written.
    pub fn data(&self, write: &Write) -> Result<Vec<u8>> {
        let mut data = vec![0; usize::try_from(write.length)?];
        self.file.read_exact_at(&mut data, write.data_at)?;
        Ok(data)
    }
}

fn entry_count(file: &File) -> Result<Option<u64>> {
    let [magic, version, count, sector] = match numbers(file, 0) {
        Ok(numbers) => numbers,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    ensure!(magic == MAGIC && version == VERSION, "not a log of writes");
    ensure!(
        sector & 0xffff_ffff == LOG_SECTOR,
        "the log has sectors of {sector}"
    );
    Ok(Some(count))
}

fn numbers(file: &File, at: u64) -> std::io::Result<[u64; 4]> {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at)?;
    let mut rest = bytes.as_slice();
    let mut numbers = [0; 4];
    for number in &mut numbers {
        let mut eight = [0; 8];
        rest.read_exact(&mut eight)?;
        *number = u64::from_le_bytes(eight);
    }
    Ok(numbers)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    /// A log of writes (sector, data) and flushes (no data).
    pub(crate) fn log(path: &Path, entries: &[(u64, Option<&[u8]>)]) -> WriteLog {
        let mut file = File::create(path).unwrap();
        let mut sector = |numbers: [u64; 4]| {
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            bytes.resize(512, 0);
            file.write_all(&bytes).unwrap();
        };
        sector([MAGIC, VERSION, entries.len() as u64, 512]);
        drop(file);
        let mut file = File::options().append(true).open(path).unwrap();
        for (place, data) in entries {
            let data = data.unwrap_or_default();
            let flags = if data.is_empty() { FLUSH } else { 0 };
            let mut head: Vec<u8> = [*place, data.len() as u64 / 512, flags, 0]
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect();
            head.resize(512, 0);
            file.write_all(&head).unwrap();
            file.write_all(data).unwrap();
        }
        WriteLog::open(path).unwrap()
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = log(&path, &[(3, Some(&[7; 1024])), (0, None), (9, Some(&[8; 512]))]);
        assert_eq!(WriteLog::length(&path).unwrap(), 3);
        let [Entry::Write(first), Entry::Flush, Entry::Write(second)] = log.entries[..] else {
            panic!("{:?}", log.entries)
        };
        assert_eq!((first.offset, first.length), (1536, 1024));
        assert_eq!(log.data(&first).unwrap(), [7; 1024]);
        assert_eq!((second.offset, log.data(&second).unwrap()), (4608, vec![8; 512]));
    }

    #[test]
    fn another_file_is_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, [1; 600]).unwrap();
        assert!(WriteLog::length(&path).is_err());
        std::fs::write(&path, "").unwrap();
        assert_eq!(WriteLog::length(&path).unwrap(), 0);
    }
}
