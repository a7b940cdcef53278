//! Room on the disk that holds the data directory. The server refuses devices' messages first, so that operators can still log in and
//! delete.
//!
//! A spare file reserves room for the worst case, a disk that somebody else filled. The server removes it when nothing else is left.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use nix::{fcntl::posix_fallocate, sys::statvfs::statvfs};
use tokio::{task, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::store::{Store, Tx};

/// The share of the disk that is reserved for operators if no size is set: one in twenty bytes.
const RESERVE_SHARE: u64 = 20;

/// The smallest and the largest reserve, in bytes.
const RESERVE: std::ops::RangeInclusive<u64> = (16 << 20)..=(1 << 30);

/// The reserve never takes more than one in so many bytes of a small disk.
const SMALL_SHARE: u64 = 4;

/// Largest spare file, in bytes: hundreds of transactions, and a checkpoint of the database's log.
const SPARE: u64 = 8 << 20;

/// Less room than this counts as none, in bytes: a transaction may need more.
const FULL: u64 = 2 << 20;

const SPARE_FILE: &str = "spare";

/// How often the server checks the room.
const INTERVAL: Duration = Duration::from_secs(5);

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Room {
    /// For everything.
    Enough,
    /// For operators and reports, not for telemetry.
    Low,
    /// For operators, as long as the spare file's room lasts.
    None,
}

/// The disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    /// Bytes that are reserved for operators; `None` for a share of the disk.
    reserve: Option<u64>,
    room: AtomicU8,
}

// === impl Disk ===

impl Disk {
    /// The disk of `data_dir`. If it is full, the spare file is removed at once: a start needs room too.
    pub fn open(data_dir: &Path, reserve: Option<u64>) -> io::Result<Self> {
        let disk = Self(Arc::new(Inner {
            data_dir: data_dir.to_owned(),
            reserve,
            room: AtomicU8::new(Room::Enough as u8),
        }));
        disk.look(0)?;
        Ok(disk)
    }

    /// How much room there was at the last check.
    #[must_use]
    pub fn room(&self) -> Room {
        match self.0.room.load(Ordering::Relaxed) {
            0 => Room::Enough,
            1 => Room::Low,
            _ => Room::None,
        }
    }

    /// Checks the room again and again, and keeps the spare file. Also finds out whether the database can be written.
    pub async fn watch(self, store: Store, shutdown: CancellationToken) {
        let mut next = tokio::time::interval(INTERVAL);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // A failed probe wakes this loop as well. Only a tick makes the next probe, or a broken disk would keep a core busy.
            let may_probe = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = next.tick() => true,
                () = store.failed() => false,
            };
            // The database reuses its free pages before its file grows.
            let reusable = store.read(Tx::reusable_bytes).await.unwrap_or(0);
            let disk = self.clone();
            match task::spawn_blocking(move || disk.look(reusable)).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot tell how much room the disk has"),
            }
            // Nobody may have asked a database elsewhere for anything since it went away.
            if may_probe && (store.is_failing() || !store.is_embedded()) {
                let _ = store.write(Tx::probe).await;
            }
        }
    }

    fn look(&self, reusable: u64) -> io::Result<()> {
        let (total, mut free) = space(&self.0.data_dir)?;
        let path = self.0.data_dir.join(SPARE_FILE);
        let spare = fs::metadata(&path).map_or(0, |file| file.len());
        if spare > 0 && free < FULL {
            fs::remove_file(&path)?;
            free = space(&self.0.data_dir)?.1;
            tracing::error!(
                directory = %self.0.data_dir.display(),
                "the disk is full: the reserved room is in use now, free some space soon"
            );
            self.settle(Room::None, free);
            return Ok(());
        }
        let reserve = self.0.reserve.unwrap_or_else(|| {
            (total / RESERVE_SHARE)
                .clamp(*RESERVE.start(), *RESERVE.end())
                .min(total / SMALL_SHARE)
        });
        let wanted = SPARE.min(total / (2 * SMALL_SHARE));
        if spare < wanted && free > reserve.saturating_add(2 * wanted) {
            hold(&path, wanted)?;
            free -= wanted;
        }
        let room = if free < FULL || (spare == 0 && free < wanted) {
            Room::None
        } else if free.saturating_add(reusable) < reserve {
            Room::Low
        } else {
            Room::Enough
        };
        self.settle(room, free);
        Ok(())
    }

    fn settle(&self, room: Room, free: u64) {
        let before = self.room();
        self.0.room.store(room as u8, Ordering::Relaxed);
        if before != room {
            match room {
                Room::Enough => tracing::info!(free, "the disk has room for telemetry again"),
                Room::Low => tracing::warn!(
                    free,
                    "the disk is nearly full: devices keep their telemetry until there is room"
                ),
                Room::None => tracing::error!(
                    free,
                    "the disk is full: devices keep their messages until there is room"
                ),
            }
        }
    }
}

/// Bytes of the file system, and those that are free for this user.
fn space(path: &Path) -> io::Result<(u64, u64)> {
    let stat = statvfs(path)?;
    let unit = stat.fragment_size();
    Ok((stat.blocks() * unit, stat.blocks_available() * unit))
}

/// Makes the file and allocates its blocks.
fn hold(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    posix_fallocate(file.as_fd(), 0, length).map_err(|error| {
        let _ = fs::remove_file(path);
        error.into()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicUsize, mpsc};

    use super::*;
    use crate::store::Database;

    /// Waits until there were exactly this many transactions.
    async fn reach(transactions: &AtomicUsize, count: usize) {
        while transactions.load(Ordering::Relaxed) < count {
            task::yield_now().await;
        }
        assert_eq!(transactions.load(Ordering::Relaxed), count);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_fails_is_probed_once_a_tick() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Database::Embedded, directory.path()).unwrap();
        let disk = Disk::open(directory.path(), None).unwrap();
        let transactions = store.break_disk().await;
        // The clock stands still while this waits.
        let (done, waits) = mpsc::channel::<()>();
        let standstill = task::spawn_blocking(move || waits.recv());
        let shutdown = CancellationToken::new();
        let watch = tokio::spawn(disk.watch(store.clone(), shutdown.clone()));
        let mut count = 2;
        reach(&transactions, count).await;
        for _ in 0..3 {
            // Each of them wakes the watch.
            for _ in 0..20 {
                assert!(store.write(Tx::probe).await.is_err());
            }
            tokio::time::advance(INTERVAL).await;
            count += 21;
            reach(&transactions, count).await;
        }
        shutdown.cancel();
        watch.await.unwrap();
        drop(done);
        assert!(standstill.await.unwrap().is_err());
    }

    #[test]
    fn telemetry_goes_without_before_operators_do() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path(), None).unwrap();
        assert_eq!(disk.room(), Room::Enough);
        let spare = fs::metadata(directory.path().join(SPARE_FILE)).unwrap().len();
        assert_eq!(spare, SPARE, "held back from the start");
        let disk = Disk::open(directory.path(), Some(u64::MAX / 2)).unwrap();
        assert_eq!(disk.room(), Room::Low);
        disk.look(u64::MAX / 2).unwrap();
        assert_eq!(disk.room(), Room::Enough, "free pages of the database are room");
    }
}
