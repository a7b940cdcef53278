//! Files of the queue: records appended one after the other, each with a checksum.
//!
//! A record is, little-endian: length of the payload (u32), CRC-32 of all that follows (u32), sequence (u64), time (i64,
//! milliseconds since 1970), payload. A record that was not written whole ends the file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use crc::{CRC_32_ISO_HDLC, Crc};
use homeport_protocol::limits::MAX_PAYLOAD;
use homeport_system::file;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Length of what stands before the payload.
const HEADER: usize = 24;

/// A new file is begun when one has become longer than this, in bytes.
pub(super) const TARGET_LENGTH: u64 = 64 * 1024;

/// The longest that a file can be: one record more than the target.
const MAX_LENGTH: u64 = TARGET_LENGTH + (HEADER + MAX_PAYLOAD) as u64;

/// A record and where it is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) at_ms: i64,
    /// Of the payload.
    pub(super) offset: u32,
    /// Of the payload.
    pub(super) length: u32,
}

/// Bytes that a payload takes in a file.
pub(super) fn record_length(payload: usize) -> u64 {
    (HEADER + payload) as u64
}

/// Creates a file, or opens one to append to it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Appends a record to a file of `length` bytes. A failed write leaves the file as it was.
pub(super) fn append(
    mut file: &File,
    length: u64,
    sequence: u64,
    at_ms: i64,
    payload: &[u8],
) -> io::Result<Found> {
    let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let payload_length = u32::try_from(payload.len()).map_err(too_long)?;
    let mut record = Vec::with_capacity(HEADER + payload.len());
    record.extend(payload_length.to_le_bytes());
    record.extend([0; 4]);
    record.extend(sequence.to_le_bytes());
    record.extend(at_ms.to_le_bytes());
    record.extend(payload);
    let checksum = CRC.checksum(&record[8..]);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
    if let Err(error) = file.write_all(&record) {
        // What was written of it would hide the records after it.
        file.set_len(length)?;
        return Err(error);
    }
    Ok(Found {
        sequence,
        at_ms,
        offset: u32::try_from(length + HEADER as u64).map_err(too_long)?,
        length: payload_length,
    })
}

/// Finds the whole records of a file and cuts off what comes after them. Returns its length too, in bytes.
pub(super) fn recover(path: &Path) -> io::Result<(Vec<Found>, u64)> {
    let content = match file::read_limited(path, MAX_LENGTH) {
        // Not one of ours, or beyond repair: nothing in it can be trusted.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
        content => content?,
    };
    let mut records = Vec::new();
    let mut end = 0;
    while let Some(found) = record_at(&content, end) {
        end += HEADER + found.length as usize;
        records.push(found);
    }
    if end < content.len() || content.is_empty() {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(end as u64)?;
        file.sync_all()?;
    }
    Ok((records, end as u64))
}

/// Reads one payload again.
pub(super) fn read(path: &Path, offset: u32, length: u32) -> io::Result<Vec<u8>> {
    let mut payload = vec![0; length as usize];
    File::open(path)?.read_exact_at(&mut payload, u64::from(offset))?;
    Ok(payload)
}

fn record_at(content: &[u8], start: usize) -> Option<Found> {
    let record = content.get(start..)?;
    let (header, rest) = record.split_at_checked(HEADER)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?);
    let checksum = u32::from_le_bytes(header[4..8].try_into().ok()?);
    if length as usize > MAX_PAYLOAD || rest.len() < length as usize {
        return None;
    }
    if CRC.checksum(&record[8..HEADER + length as usize]) != checksum {
        return None;
    }
    Some(Found {
        sequence: u64::from_le_bytes(header[8..16].try_into().ok()?),
        at_ms: i64::from_le_bytes(header[16..24].try_into().ok()?),
        offset: u32::try_from(start + HEADER).ok()?,
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another checksum would make every queue in the field unreadable.
    #[test]
    fn the_checksum_is_the_crc_32_of_ethernet_and_zip() {
        assert_eq!(CRC.checksum(b"123456789"), 0xcbf4_3926);
    }
}
