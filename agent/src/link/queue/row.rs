//! One lane of the queue: its messages in order, in memory and in files.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use homeport_system::clock::now_ms;
use tracing::warn;

use super::{Lane, Unsynced, segment};

#[derive(Debug)]
pub(super) struct Row {
    pub(super) lane: Lane,
    pub(super) next_sequence: u64,
    pub(super) entries: VecDeque<Entry>,
    pub(super) segments: VecDeque<Segment>,
    /// Payload bytes in memory.
    pub(super) in_memory: u64,
    pub(super) dropped: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) at_ms: i64,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum Place {
    Disk {
        offset: u32,
        length: u32,
    },
    Memory(Vec<u8>),
    /// Goes with the connection that it was made for; never written.
    Volatile(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Segment {
    /// Sequence of the first record that it ever had: its name.
    pub(super) first: u64,
    /// Sequence of the last record.
    pub(super) last: u64,
    /// Records that are still needed.
    pub(super) live: usize,
    pub(super) length: u64,
    /// Open while it is appended to: the newest one only.
    pub(super) file: Option<Arc<File>>,
}

// === impl Row ===

impl Row {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            next_sequence: 1,
            entries: VecDeque::new(),
            segments: VecDeque::new(),
            in_memory: 0,
            dropped: 0,
        }
    }

    pub(super) fn recover(&mut self, first: u64, path: &Path) -> io::Result<()> {
        let (records, length) = segment::recover(path)?;
        // A sequence that does not grow is damage that the checksum happened to miss.
        let mut last = self.next_sequence - 1;
        let records: Vec<_> = records
            .into_iter()
            .filter(|record| {
                let grows = record.sequence > last;
                last = last.max(record.sequence);
                grows
            })
            .collect();
        if records.is_empty() {
            return fs::remove_file(path);
        }
        self.skip_to(last + 1);
        self.segments.push_back(Segment {
            first,
            last,
            live: records.len(),
            length,
            file: None,
        });
        self.entries.extend(records.into_iter().map(|record| Entry {
            sequence: record.sequence,
            at_ms: record.at_ms,
            place: Place::Disk {
                offset: record.offset,
                length: record.length,
            },
        }));
        Ok(())
    }

    pub(super) fn skip_to(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    pub(super) fn append(&mut self, place: Place) {
        self.entries.push_back(Entry {
            sequence: self.next_sequence,
            at_ms: now_ms(),
            place,
        });
        self.next_sequence += 1;
    }

    pub(super) fn size(&self) -> u64 {
        self.in_memory + self.segments.iter().map(|segment| segment.length).sum::<u64>()
    }

    /// Index of the segment that holds `sequence`.
    pub(super) fn segment_of(&self, sequence: u64) -> usize {
        self.segments.partition_point(|segment| segment.last < sequence)
    }

    pub(super) fn write_out(&mut self, directory: &Path) -> io::Result<Unsynced> {
        let mut unsynced = Unsynced::default();
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            let Place::Memory(payload) = &entry.place else {
                continue;
            };
            let (sequence, at_ms, length) = (entry.sequence, entry.at_ms, payload.len());
            let segment = Self::active(&mut self.segments, self.lane, directory, sequence, &mut unsynced)?;
            let Some(file) = segment.file.clone() else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let Place::Memory(payload) = &self.entries[index].place else {
                continue;
            };
            let found = match segment::append(&file, segment.length, sequence, at_ms, payload) {
                Ok(found) => found,
                Err(error) => {
                    self.give_up_active(directory);
                    return Err(error);
                }
            };
            segment.length += segment::record_length(length);
            segment.last = sequence;
            segment.live += 1;
            self.in_memory -= length as u64;
            self.entries[index].place = Place::Disk {
                offset: found.offset,
                length: found.length,
            };
            unsynced.add(file);
        }
        Ok(unsynced)
    }

    /// The segment that a record with `sequence` goes to.
    pub(super) fn active<'a>(
        segments: &'a mut VecDeque<Segment>,
        lane: Lane,
        directory: &Path,
        sequence: u64,
        unsynced: &mut Unsynced,
    ) -> io::Result<&'a mut Segment> {
        let has_room = |segment: &Segment| segment.file.is_some() && segment.length < segment::TARGET_LENGTH;
        if !segments.back().is_some_and(has_room) {
            let file = segment::open(&lane.path(directory, sequence))?;
            if let Some(full) = segments.back_mut() {
                full.file = None;
            }
            unsynced.directory = Some(directory.to_owned());
            segments.push_back(Segment {
                first: sequence,
                last: sequence,
                live: 0,
                length: 0,
                file: Some(Arc::new(file)),
            });
        }
        segments.back_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes the next write begin a new file: what is wrong with this one, only the file system knows.
    pub(super) fn give_up_active(&mut self, directory: &Path) {
        let Some(active) = self.segments.back_mut() else {
            return;
        };
        active.file = None;
        if active.live == 0 {
            // One that stays behind is empty, and is removed at the next start.
            let _ = fs::remove_file(self.lane.path(directory, active.first));
            self.segments.pop_back();
        }
    }

    /// Removes the oldest message; false when there is none.
    pub(super) fn pop(&mut self, directory: &Path) -> bool {
        let Some(entry) = self.entries.pop_front() else {
            return false;
        };
        self.release(&entry, directory);
        true
    }

    /// Removes a message that cannot be read.
    pub(super) fn lose(&mut self, index: usize, directory: &Path) {
        if let Some(entry) = self.entries.remove(index) {
            self.release(&entry, directory);
            self.dropped += 1;
        }
    }

    pub(super) fn release(&mut self, entry: &Entry, directory: &Path) {
        match &entry.place {
            Place::Volatile(_) => {}
            Place::Memory(payload) => self.in_memory -= payload.len() as u64,
            Place::Disk { .. } => {
                let index = self.segment_of(entry.sequence);
                let Some(segment) = self.segments.get_mut(index) else {
                    return;
                };
                segment.live -= 1;
                if segment.live > 0 {
                    return;
                }
                let emptied = match &segment.file {
                    // Emptied, not removed: the next record comes soon, and a new name costs a sync.
                    Some(file) => file.set_len(0).map(|()| segment.length = 0),
                    None => fs::remove_file(self.lane.path(directory, segment.first)),
                };
                if let Err(error) = emptied {
                    // It is found again at the next start, and the server drops what it has already.
                    warn!("cannot free room in the queue: {error}");
                }
                if segment.file.is_none() {
                    self.segments.remove(index);
                }
            }
        }
    }
}
