//! Everything that goes to the server and matters, until the server has it.
//!
//! Each lane ([`Lane`]) is in order. Reports are written and synced at once. Telemetry waits in memory and is written now
//! and then, so that a device that is online seldom writes it at all: what was acknowledged meanwhile is never written.
//! Files are only ever appended to ([`segment`]); a record that a power cut tore is cut off.
//!
//! Sequence numbers are never used twice, not even when the message that had one is lost: they are reserved in blocks,
//! in the file `queue.json`, before use.

mod lane;
mod row;
mod segment;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use homeport_protocol::{Sequenced, limits::MAX_PAYLOAD};
use homeport_system::{clock::now_ms, file};
use serde::Serialize;
use tracing::warn;

pub(crate) use self::lane::Lane;
use self::row::{Entry, Place, Row};
use crate::clock;

/// Sequence numbers that are reserved at a time. A crash skips at most this many.
const RESERVED_BLOCK: u64 = 64;

/// Payload bytes of a lane that wait in memory; when there are more they are written early.
const MEMORY_LIMIT: u64 = 64 * 1024;

/// Name of [`Meta::queue`] in `queue.json`.
const QUEUE: &str = "queue";

/// Longest `queue.json`, in bytes.
const MAX_META: u64 = 1024;

/// What the queue may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of both lanes, on disk and in memory.
    pub(crate) size: u64,
    /// Age of telemetry.
    pub(crate) age: Duration,
}

/// The queue of one device, in one directory.
#[derive(Debug)]
pub(crate) struct Queue {
    directory: PathBuf,
    limits: Limits,
    meta: Meta,
    /// One for each lane, in their order.
    rows: [Row; Lane::ALL.len()],
    /// What [`Queue::push_unhurried`] left to sync.
    unhurried: Unsynced,
    fault: Option<String>,
}

/// Numbers for people.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct QueueStatus {
    /// Reports that the server does not have yet.
    pub(crate) reports: usize,
    /// Telemetry messages that the server does not have yet.
    pub(crate) telemetry: usize,
    /// Bytes of both.
    pub(crate) bytes: u64,
    /// Reports lost since the agent was started, because there was no room or the server could not take them.
    pub(crate) dropped_reports: u64,
    /// Telemetry messages lost since the agent was started, because they were too many or too old, or the server could not take them.
    pub(crate) dropped_telemetry: u64,
    /// Series that the newest telemetry left out, because they were too many.
    pub(crate) left_out_series: usize,
    /// Why messages are kept in memory only. Absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

/// Files that were written and must be synced before their messages are safe. Slow: not for the reactor's thread.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    files: Vec<Arc<File>>,
    directory: Option<PathBuf>,
}

/// The queue's own file: numbers by their names, those of the lanes and [`QUEUE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Meta {
    /// See [`Sequenced::queue`].
    queue: u64,
    /// Numbers up to these may have been used, for each lane.
    reserved: [u64; Lane::ALL.len()],
}

// === impl Queue ===

impl Queue {
    /// Opens the queue in `directory`, or makes a new one. Whatever is damaged is left out and logged.
    pub(crate) fn open(directory: &Path, limits: Limits) -> io::Result<Self> {
        file::create_private_directory(directory)?;
        let meta = read_meta(directory)?;
        let mut rows = Lane::ALL.map(Row::new);
        let mut paths = fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            for row in &mut rows {
                if let Some(first) = row.lane.sequence_of(&path) {
                    row.recover(first, &path)?;
                }
            }
        }
        let mut queue = Self {
            directory: directory.to_owned(),
            limits,
            rows,
            unhurried: Unsynced::default(),
            fault: None,
            meta: match meta {
                Some(meta) => meta,
                None => Meta {
                    queue: getrandom::u64().map_err(io::Error::other)?,
                    reserved: [0; Lane::ALL.len()],
                },
            },
        };
        for (row, reserved) in queue.rows.iter_mut().zip(queue.meta.reserved) {
            row.skip_to(reserved + 1);
        }
        // A full disk must not keep the agent from telling about it.
        if let Err(error) = queue.reserve() {
            queue.note_fault(&error);
        }
        Ok(queue)
    }

    /// Takes a message. It is safe once the returned files are synced. A full disk is not an error: the message stays in
    /// memory, and the status says so.
    pub(crate) fn push<T: Serialize>(&mut self, lane: Lane, message: T) -> Unsynced {
        let Some(payload) = self.encode(lane, message) else {
            return Unsynced::default();
        };
        let row = self.row_mut(lane);
        row.in_memory += payload.len() as u64;
        row.append(Place::Memory(payload));
        let is_due = lane.is_written_at_once() || row.in_memory > MEMORY_LIMIT;
        // On a disk that failed each message is a try, so that the fault is over soon after its cause is.
        let must_write = is_due || self.fault.is_some();
        let unsynced = if must_write {
            self.write_out(lane)
        } else {
            Unsynced::default()
        };
        self.enforce_limits();
        unsynced
    }

    /// Takes a message that may be lost with the power: it is safe once the next of its lane is, or after the next flush.
    pub(crate) fn push_unhurried<T: Serialize>(&mut self, lane: Lane, message: T) {
        let unsynced = self.push(lane, message);
        self.unhurried.join(unsynced);
    }

    /// Takes a message that only makes sense on the present connection; see [`Queue::drop_volatile`].
    pub(crate) fn push_volatile<T: Serialize>(&mut self, lane: Lane, message: T) {
        if let Some(payload) = self.encode(lane, message) {
            self.row_mut(lane).append(Place::Volatile(payload));
        }
    }

    /// Forgets what [`Queue::push_volatile`] took.
    pub(crate) fn drop_volatile(&mut self) {
        for row in &mut self.rows {
            row.entries
                .retain(|entry| !matches!(entry.place, Place::Volatile(_)));
        }
    }

    /// The oldest message of `lane` with a sequence above `after`, and its sequence.
    pub(crate) fn peek(&mut self, lane: Lane, after: u64) -> Option<(u64, Vec<u8>)> {
        self.expire();
        loop {
            let row = self.row(lane);
            let index = row.entries.partition_point(|entry| entry.sequence <= after);
            let entry = row.entries.get(index)?;
            let sequence = entry.sequence;
            match self.read(lane, entry) {
                Ok(payload) => return Some((sequence, payload)),
                Err(error) => {
                    warn!("a queued message cannot be read and is lost: {error}");
                    let directory = self.directory.clone();
                    self.row_mut(lane).lose(index, &directory);
                }
            }
        }
    }

    /// The server has `sequence` and all before it.
    pub(crate) fn acknowledge(&mut self, lane: Lane, sequence: u64) {
        let directory = self.directory.clone();
        let row = self.row_mut(lane);
        while row
            .entries
            .front()
            .is_some_and(|entry| entry.sequence <= sequence)
        {
            row.pop(&directory);
        }
    }

    /// The server has all before `sequence`, and will never take that one: it is lost.
    pub(crate) fn refuse(&mut self, lane: Lane, sequence: u64) {
        self.acknowledge(lane, sequence);
        self.row_mut(lane).dropped += 1;
    }

    /// Writes what waits in memory.
    pub(crate) fn flush(&mut self) -> Unsynced {
        self.expire();
        let mut unsynced = Unsynced::default();
        for lane in Lane::ALL {
            unsynced.join(self.write_out(lane));
        }
        unsynced
    }

    /// Writes and syncs all, and gives back the sequence numbers that were not used.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.drop_volatile();
        self.flush().sync()?;
        self.write_meta(Meta {
            queue: self.meta.queue,
            reserved: self.rows.each_ref().map(|row| row.next_sequence - 1),
        })
    }

    /// Notes that syncing failed: what was written may be lost with the power.
    pub(crate) fn note_fault(&mut self, error: &io::Error) {
        let fault = format!("messages are kept in memory only: {error}");
        if self.fault.as_ref() != Some(&fault) {
            warn!("{fault}");
            self.fault = Some(fault);
        }
    }

    pub(crate) fn status(&self) -> QueueStatus {
        let (reports, telemetry) = (self.row(Lane::Report), self.row(Lane::Telemetry));
        QueueStatus {
            reports: reports.entries.len(),
            telemetry: telemetry.entries.len(),
            bytes: self.size(),
            dropped_reports: reports.dropped,
            dropped_telemetry: telemetry.dropped,
            left_out_series: 0,
            fault: self.fault.clone(),
        }
    }

    /// `None` for a message that is larger than the server takes: sent, it would end one connection after the other.
    fn encode<T: Serialize>(&mut self, lane: Lane, message: T) -> Option<Vec<u8>> {
        // Seldom enough, a block at a time, to be done here and now.
        if let Err(error) = self.reserve() {
            self.note_fault(&error);
        }
        let payload = Sequenced {
            queue: self.meta.queue,
            sequence: self.row(lane).next_sequence,
            message,
        }
        .encode();
        if payload.len() > MAX_PAYLOAD {
            let length = payload.len();
            warn!("a message of {length} bytes is larger than the server takes; it is dropped");
            self.row_mut(lane).dropped += 1;
            return None;
        }
        Some(payload)
    }

    fn reserve(&mut self) -> io::Result<()> {
        let mut meta = self.meta;
        for (row, reserved) in self.rows.iter().zip(&mut meta.reserved) {
            if row.next_sequence > *reserved {
                *reserved = row.next_sequence + RESERVED_BLOCK;
            }
        }
        if meta == self.meta {
            Ok(())
        } else {
            self.write_meta(meta)
        }
    }

    fn write_meta(&mut self, meta: Meta) -> io::Result<()> {
        let content = serde_json::to_vec(&meta.to_map()).map_err(io::Error::other)?;
        file::write_atomic(&meta_path(&self.directory), &content)?;
        self.meta = meta;
        Ok(())
    }

    fn write_out(&mut self, lane: Lane) -> Unsynced {
        let directory = self.directory.clone();
        match self.row_mut(lane).write_out(&directory) {
            Ok(mut unsynced) => {
                unsynced.join(mem::take(&mut self.unhurried));
                let nothing_waits = self.rows.iter().all(|row| row.in_memory == 0);
                if nothing_waits && self.reserve().is_ok() {
                    self.fault = None;
                }
                unsynced
            }
            Err(error) => {
                self.note_fault(&error);
                Unsynced::default()
            }
        }
    }

    fn enforce_limits(&mut self) {
        self.expire();
        while self.size() > self.limits.size {
            // The least important lane that has something makes room.
            let mut rows = self.rows.iter_mut().rev();
            let Some(row) = rows.find(|row| !row.entries.is_empty()) else {
                return;
            };
            row.pop(&self.directory);
            row.dropped += 1;
        }
        for row in &mut self.rows {
            // Only a disk that takes nothing lets this much gather.
            while row.in_memory > 2 * MEMORY_LIMIT && row.pop(&self.directory) {
                row.dropped += 1;
            }
        }
    }

    fn expire(&mut self) {
        if clock::is_unset() {
            return;
        }
        let age = i64::try_from(self.limits.age.as_millis()).unwrap_or(i64::MAX);
        let oldest = now_ms().saturating_sub(age);
        // A time from before the clock was set says nothing about the age.
        let is_old = |entry: &Entry| entry.at_ms < oldest && entry.at_ms > clock::build_time_ms();
        for row in self.rows.iter_mut().filter(|row| row.lane.ages()) {
            while row.entries.front().is_some_and(is_old) {
                row.pop(&self.directory);
                row.dropped += 1;
            }
        }
    }

    fn read(&self, lane: Lane, entry: &Entry) -> io::Result<Vec<u8>> {
        match &entry.place {
            Place::Memory(payload) | Place::Volatile(payload) => Ok(payload.clone()),
            Place::Disk { offset, length } => {
                let row = self.row(lane);
                let index = row.segment_of(entry.sequence);
                let segment = row.segments.get(index).ok_or(io::ErrorKind::NotFound)?;
                segment::read(&lane.path(&self.directory, segment.first), *offset, *length)
            }
        }
    }

    fn row(&self, lane: Lane) -> &Row {
        &self.rows[lane as usize]
    }

    fn row_mut(&mut self, lane: Lane) -> &mut Row {
        &mut self.rows[lane as usize]
    }

    fn size(&self) -> u64 {
        self.rows.iter().map(Row::size).sum()
    }
}

fn meta_path(directory: &Path) -> PathBuf {
    directory.join("queue.json")
}

fn read_meta(directory: &Path) -> io::Result<Option<Meta>> {
    let content = file::absent_is_none(file::read_limited(&meta_path(directory), MAX_META))?;
    let Some(content) = content else {
        return Ok(None);
    };
    let map = serde_json::from_slice(&content).ok();
    let meta = map.as_ref().and_then(Meta::from_map);
    if meta.is_none() {
        // A new number starts a new queue, in which every sequence number is unused.
        warn!("the queue's own file is damaged, or of another version, and made anew");
    }
    Ok(meta)
}

// === impl Meta ===

impl Meta {
    fn to_map(self) -> BTreeMap<&'static str, u64> {
        let reserved = Lane::ALL.map(Lane::key).into_iter().zip(self.reserved);
        reserved.chain([(QUEUE, self.queue)]).collect()
    }

    /// `None` if a number is missing: an agent from before a lane may have written it, and numbers of that lane were used.
    fn from_map(map: &BTreeMap<String, u64>) -> Option<Self> {
        let mut reserved = [0; Lane::ALL.len()];
        for (lane, reserved) in Lane::ALL.into_iter().zip(&mut reserved) {
            *reserved = *map.get(lane.key())?;
        }
        Some(Self {
            queue: *map.get(QUEUE)?,
            reserved,
        })
    }
}

// === impl Unsynced ===

impl Unsynced {
    /// Makes the messages safe. Blocks for as long as the storage needs.
    pub(crate) fn sync(&self) -> io::Result<()> {
        for file in &self.files {
            file.sync_data()?;
        }
        self.directory.as_deref().map_or(Ok(()), file::sync_directory)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn add(&mut self, file: Arc<File>) {
        if !self.files.last().is_some_and(|last| Arc::ptr_eq(last, &file)) {
            self.files.push(file);
        }
    }

    fn join(&mut self, other: Self) {
        other.files.into_iter().for_each(|file| self.add(file));
        self.directory = self.directory.take().or(other.directory);
    }
}

#[cfg(test)]
mod tests;
