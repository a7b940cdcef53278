//! Serves one bundle to the update backend on loopback and fetches what is missing from the server.
//!
//! The backend sees a patient local web server: a link that is dead for an hour is a response that takes an hour. What came
//! once is kept in a block cache and never fetched again, not even after a power cut.

mod cache;
mod fetcher;
mod range;
mod server;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex as StdMutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use homeport_protocol::{BundleOffer, FailureCode, Reason};
use homeport_system::{Backoff, file::blocking};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Notify, watch},
    task::JoinHandle,
    time::Instant,
};

use self::{
    cache::{BLOCK, Cache},
    fetcher::{FetchError, Fetcher},
    writer::{BlockWriter, FlushPace, cache_reason, check_space},
};
use crate::Upstream;

/// Most bytes in one request to the server. Others may ask between two.
const MAX_RUN: u64 = 1024 * 1024;
/// The end of a bundle that holds its signature: RAUC allows 64 KiB of it, and a length.
const TAIL: u64 = 64 * 1024 + 8;

/// Where and how the relay works.
#[derive(Debug, Clone)]
pub(crate) struct RelayConfig {
    pub(crate) dir: PathBuf,
    pub(crate) cache_limit: u64,
    pub(crate) reserve: u64,
    pub(crate) patience: Duration,
    pub(crate) max_backoff: Duration,
}

/// Where the backend finds the relay. Kept over a restart of the agent, so that a running installation finds it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) port: u16,
    pub(crate) secret: String,
}

/// A running relay; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
    address: Address,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    config: RelayConfig,
    bundle: BundleOffer,
    cache: Arc<Cache>,
    /// Held while fetching, so that nothing is fetched twice.
    fetching: Mutex<Fetching>,
    trouble: StdMutex<Option<String>>,
    fatal: watch::Sender<Option<Reason>>,
    troubles: AtomicU32,
    network_up: Notify,
}

#[derive(Debug)]
struct Fetching {
    fetcher: Fetcher,
    /// A block of which only the beginning has come, so that a link that breaks often still gets on.
    begun: (u64, Vec<u8>),
    flush: FlushPace,
    backoff: Backoff,
    /// Since when nothing has come although it was asked for.
    silent_since: Option<Instant>,
}

// === impl Relay ===

impl Relay {
    /// Opens the cache and listens, at `previous` if that is still free.
    pub(crate) async fn open(
        config: RelayConfig,
        bundle: BundleOffer,
        upstream: watch::Receiver<Option<Upstream>>,
        previous: Option<Address>,
    ) -> Result<Self, Reason> {
        let (dir, id, size) = (config.dir.clone(), bundle.id.clone(), bundle.size);
        if !is_sha256(&id) {
            return Err(Reason::new(
                FailureCode::Corrupt,
                "the offered bundle's id is not a SHA-256 in hex",
            ));
        }
        let cache = blocking(move || Cache::open(&dir, &id, size))
            .await
            .map_err(|error| cache_reason(&error))?;
        let (listener, address) = listen(previous).await.map_err(|error| {
            Reason::new(
                FailureCode::Backend,
                format!("the bundle relay cannot listen: {error}"),
            )
        })?;
        let shared = Arc::new(Shared {
            cache: Arc::new(cache),
            fetching: Mutex::new(Fetching {
                fetcher: Fetcher::new(upstream, bundle.clone()),
                begun: (0, Vec::new()),
                flush: FlushPace::new(),
                backoff: Backoff::up_to(config.max_backoff),
                silent_since: None,
            }),
            config,
            bundle,
            trouble: StdMutex::new(None),
            fatal: watch::Sender::new(None),
            troubles: AtomicU32::new(0),
            network_up: Notify::new(),
        });
        let server = tokio::spawn(server::serve(listener, address.secret.clone(), shared.clone()));
        Ok(Self {
            shared,
            address,
            server,
        })
    }

    /// Deletes the cache in `dir`.
    pub(crate) async fn remove(dir: &Path) -> io::Result<()> {
        let dir = dir.to_owned();
        blocking(move || Cache::remove(&dir)).await
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "http://127.0.0.1:{}/{}/{}",
            self.address.port,
            self.address.secret,
            server::FILE_NAME
        )
    }

    /// Fetches the bundle's ends, where its header and signature are, so that looking at it does not depend on the link.
    pub(crate) async fn prefetch(&self) -> Result<(), Reason> {
        let last = (self.shared.bundle.size - 1) / BLOCK;
        let tail = self.shared.bundle.size.saturating_sub(TAIL) / BLOCK;
        self.shared.ensure(0, 0).await?;
        self.shared.ensure(tail, last).await
    }

    /// Returns once the server answers, by fetching the first block that is missing.
    pub(crate) async fn wait_for_server(&self) -> Result<(), Reason> {
        let last = (self.shared.bundle.size - 1) / BLOCK;
        match self.shared.cache.missing(0..=last, 1) {
            Some(run) => self.shared.ensure(*run.start(), *run.start()).await,
            None => Ok(()),
        }
    }

    /// Fails when the bytes that are still missing do not all fit.
    pub(crate) fn check_space_for_all(&self) -> Result<(), Reason> {
        self.shared
            .check_space(self.shared.bundle.size - self.shared.cache.cached())
    }

    /// Bytes that came from the server for this bundle, over restarts.
    pub(crate) fn bytes_fetched(&self) -> u64 {
        self.shared.cache.fetched()
    }

    /// How often something went wrong with the link. Compared before and after, it tells whether the link is to blame.
    pub(crate) fn troubles(&self) -> u32 {
        self.shared.troubles.load(Ordering::Relaxed)
    }

    /// What is wrong with the link now.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.shared.trouble).clone()
    }

    /// Why the relay gave up, if it did.
    pub(crate) fn fatal(&self) -> Option<Reason> {
        self.shared.fatal.borrow().clone()
    }

    /// Serves nothing any more: a running installation fails at once.
    pub(crate) fn refuse(&self, reason: &Reason) {
        self.shared.give_up(reason);
    }

    pub(crate) fn network_up(&self) {
        self.shared.network_up.notify_waiters();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Shared ===

impl Shared {
    /// Returns once all blocks from `first` to `last` are in the cache, however long that takes, or with the reason why
    /// they never will be.
    async fn ensure(&self, first: u64, last: u64) -> Result<(), Reason> {
        while self.cache.missing(first..=last, 1).is_some() {
            let mut fetching = self.fetching.lock().await;
            // Another request may have fetched them in the meantime, or all.
            let Some(run) = self.cache.missing(first..=last, MAX_RUN / BLOCK) else {
                break;
            };
            let mut fatal = self.fatal.subscribe();
            tokio::select! {
                result = self.fetch(&mut fetching, *run.start(), *run.end()) => result?,
                reason = fatal.wait_for(Option::is_some) => {
                    return Err(reason.ok().and_then(|reason| reason.clone()).unwrap_or_else(closed));
                }
            }
        }
        Ok(())
    }

    /// Fetches the blocks, or at least tries and waits until it is worth another try.
    async fn fetch(&self, fetching: &mut Fetching, first: u64, last: u64) -> Result<(), Reason> {
        let mut range = self.cache.extent(first).start..self.cache.extent(last).end;
        self.check_space(range.end - range.start)
            .inspect_err(|reason| self.give_up(reason))?;
        let (block, begun) = std::mem::take(&mut fetching.begun);
        let begun = if block == first { begun } else { Vec::new() };
        range.start += begun.len() as u64;
        let before = self.cache.fetched();
        let mut writer = BlockWriter::new(self.cache.clone(), first, begun, fetching.flush);
        let result = fetching.fetcher.fetch(range, &mut writer).await;
        let (block, begun, flush) = writer.finish();
        fetching.begun = (block, begun);
        fetching.flush = flush;
        if self.cache.fetched() > before || result.is_ok() {
            fetching.silent_since = None;
            fetching.backoff.reset();
        }
        match result {
            Ok(()) => {
                *lock(&self.trouble) = None;
                Ok(())
            }
            Err(FetchError::Fatal(reason)) => {
                self.give_up(&reason);
                Err(reason)
            }
            Err(FetchError::Transient { detail, pause }) => self
                .bear(fetching, detail, pause)
                .await
                .inspect_err(|reason| self.give_up(reason)),
        }
    }

    /// Waits before the next try, unless patience is at its end.
    async fn bear(
        &self,
        fetching: &mut Fetching,
        detail: String,
        pause: Option<Duration>,
    ) -> Result<(), Reason> {
        let silent = fetching.silent_since.get_or_insert_with(Instant::now).elapsed();
        if silent >= self.config.patience {
            return Err(Reason::new(
                FailureCode::Network,
                format!(
                    "nothing came from the server for {} s: {detail}",
                    silent.as_secs()
                ),
            ));
        }
        tracing::info!(
            detail,
            "fetching the bundle is interrupted, it goes on when the server answers"
        );
        self.troubles.fetch_add(1, Ordering::Relaxed);
        *lock(&self.trouble) = Some(detail);
        let pause = pause.unwrap_or_else(|| fetching.backoff.next_wait());
        let pause = pause.min(self.config.patience.saturating_sub(silent));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.network_up.notified() => fetching.backoff.reset(),
        }
        Ok(())
    }

    /// A block from the cache; fetched again if it turns out to be damaged. Those up to `last` will be wanted too.
    async fn block(&self, block: u64, last: u64) -> Result<Vec<u8>, Reason> {
        let ahead = last.min(block + MAX_RUN / BLOCK - 1);
        loop {
            self.ensure(block, ahead).await?;
            let cache = self.cache.clone();
            let content = blocking(move || cache.read(block))
                .await
                .map_err(|error| cache_reason(&error))?;
            if let Some(content) = content {
                return Ok(content);
            }
        }
    }

    fn check_space(&self, needed: u64) -> Result<(), Reason> {
        let total = self.cache.cached().saturating_add(needed);
        if total > self.config.cache_limit {
            return Err(Reason::new(
                FailureCode::DiskFull,
                format!(
                    "the bundle cache is limited to {} bytes and the update needs {total}: raise the limit",
                    self.config.cache_limit
                ),
            ));
        }
        check_space(&self.config.dir, needed, self.config.reserve)
    }

    /// The first reason counts.
    fn give_up(&self, reason: &Reason) {
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            fatal.get_or_insert_with(|| reason.clone());
            first
        });
    }
}

async fn listen(previous: Option<Address>) -> io::Result<(TcpListener, Address)> {
    if let Some(address) = previous {
        match TcpListener::bind(("127.0.0.1", address.port)).await {
            Ok(listener) => return Ok((listener, address)),
            Err(error) => tracing::info!(%error, "the relay's former port is taken"),
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    Ok((
        listener,
        Address {
            port,
            secret: secret()?,
        },
    ))
}

/// 128 random bits in hex: other users of the device cannot guess the path.
fn secret() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

fn is_sha256(id: &str) -> bool {
    id.len() == 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn lock<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> Reason {
    Reason::new(FailureCode::Backend, "the bundle relay was closed")
}
