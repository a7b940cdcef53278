//! Puts what arrives into the cache, whole blocks only.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use homeport_protocol::{FailureCode, Reason};
use homeport_system::file::blocking;

use super::cache::{BLOCK, Cache};

/// The most that a power cut makes the relay fetch again: what came since the last flush.
const FLUSH_BYTES: u64 = 1024 * 1024;
/// As [`FLUSH_BYTES`], for slow links.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct BlockWriter {
    cache: Arc<Cache>,
    next: u64,
    pending: Vec<u8>,
    flush: FlushPace,
}

/// When the cache was flushed last.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlushPace {
    bytes: u64,
    at: Instant,
}

// === impl BlockWriter ===

impl BlockWriter {
    /// Expects the content of the blocks from `first` on, of which the beginning is in `pending`.
    pub(super) fn new(cache: Arc<Cache>, first: u64, pending: Vec<u8>, flush: FlushPace) -> Self {
        Self {
            cache,
            next: first,
            pending,
            flush,
        }
    }

    /// The block that is not whole yet, what there is of it, and when to flush.
    pub(super) fn finish(self) -> (u64, Vec<u8>, FlushPace) {
        (self.next, self.pending, self.flush)
    }

    pub(super) async fn push(&mut self, piece: &[u8]) -> Result<(), Reason> {
        self.cache.add_fetched(piece.len() as u64);
        self.flush.bytes += piece.len() as u64;
        self.pending.extend_from_slice(piece);
        let start = self.next * BLOCK;
        let end = start + self.pending.len() as u64;
        let whole = if end >= self.cache.size() {
            self.cache.size() - start
        } else {
            end / BLOCK * BLOCK - start
        };
        if whole == 0 {
            return Ok(());
        }
        let rest = self.pending.split_off(
            usize::try_from(whole)
                .unwrap_or(usize::MAX)
                .min(self.pending.len()),
        );
        let blocks = std::mem::replace(&mut self.pending, rest);
        let (cache, first) = (self.cache.clone(), self.next);
        self.next += whole.div_ceil(BLOCK);
        let flush = self.flush.is_due();
        blocking(move || {
            cache.write(first, &blocks)?;
            if flush { cache.flush() } else { Ok(()) }
        })
        .await
        .map_err(|error| cache_reason(&error))?;
        if flush {
            self.flush = FlushPace::new();
        }
        Ok(())
    }
}

// === impl FlushPace ===

impl FlushPace {
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            at: Instant::now(),
        }
    }

    fn is_due(&self) -> bool {
        self.bytes >= FLUSH_BYTES || self.at.elapsed() >= FLUSH_INTERVAL
    }
}

/// Fails unless `bytes` more fit on the file system of `dir` with `reserve` bytes left over.
pub(super) fn check_space(dir: &Path, bytes: u64, reserve: u64) -> Result<(), Reason> {
    let status = nix::sys::statvfs::statvfs(dir)
        .map_err(|error| cache_reason(&io::Error::from_raw_os_error(error as i32)))?;
    // The field types differ between architectures.
    #[allow(clippy::useless_conversion)]
    let free = u64::from(status.blocks_available()).saturating_mul(u64::from(status.fragment_size()));
    if free >= bytes.saturating_add(reserve) {
        return Ok(());
    }
    Err(Reason::new(
        FailureCode::DiskFull,
        format!(
            "{} has {free} bytes free; the update needs {bytes} more and {reserve} in reserve: free some space there",
            dir.display()
        ),
    ))
}

/// What a failed access to the cache means for the update.
pub(super) fn cache_reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::new(
            FailureCode::DiskFull,
            format!("the bundle cache does not fit on the device ({error}): free some space there"),
        ),
        _ => Reason::new(
            FailureCode::Backend,
            format!("the bundle cache cannot be used: {error}"),
        ),
    }
}
