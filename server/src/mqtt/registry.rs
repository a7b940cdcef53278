//! The devices that are connected now.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use homeport_protocol::{DeviceId, command::Envelope};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::close::Close;
use crate::limits::Limits;

/// Commands that may wait for one device. Further ones are refused: their rows stay, and the server sends them after the next connect.
const MAX_WAITING: usize = 64;

/// The devices that are connected now. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    links: Mutex<HashMap<DeviceId, Arc<Link>>>,
    started: Instant,
}

/// State that a connection's task shares with the rest of the server.
pub(super) struct Link {
    waker: AtomicWaker,
    inbox: Mutex<Inbox>,
    /// When the server last heard the device.
    heard: AtomicU32,
    /// How long it may be silent, in seconds.
    silence_limit: u32,
    /// Time since when the oldest command is unacknowledged; 0 if there is none.
    waiting_since: AtomicU32,
    /// Time since when sent bytes have not left the server; 0 if all have left.
    blocked_since: AtomicU32,
    /// When the packet that the device is sending began, and the bytes of it that have come; 0 if it is sending none.
    packet_since: AtomicU32,
    packet_bytes: AtomicU32,
    /// Held while the handler learns that the device has connected or disconnected. The connections of a device pass it on, so that the
    /// handler learns it in the right order.
    presence: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Inbox {
    commands: Vec<Bytes>,
    close: Option<Close>,
    closed: bool,
}

// === impl Registry ===

impl Registry {
    /// A registry without connections.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            links: Mutex::default(),
            started: Instant::now(),
        }))
    }

    /// Sends `command` if the device is connected. `true` if it is on its way, which does not mean that it arrives.
    #[must_use]
    pub fn send(&self, device: &DeviceId, command: &Envelope) -> bool {
        match self.link(device) {
            Some(link) => link.push(command),
            None => false,
        }
    }

    /// Ends the device's connection, if it has one. Callers deactivate the device's certificate before they call this, so that the device
    /// cannot reconnect in between.
    pub fn disconnect(&self, device: &DeviceId) {
        if let Some(link) = self.link(device) {
            link.close(Close::Removed);
        }
    }

    /// Whether the device is connected.
    #[must_use]
    pub fn is_connected(&self, device: &DeviceId) -> bool {
        self.link(device).is_some_and(|link| !link.inbox.lock().closed)
    }

    /// How many devices are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.0.links.lock().len()
    }

    /// Makes a link the device's only one, and closes its previous link.
    pub(super) fn join(&self, device: &DeviceId, silence_limit: Duration) -> Arc<Link> {
        let mut links = self.0.links.lock();
        let before = links.get(device);
        let presence = before.map(|link| Arc::clone(&link.presence)).unwrap_or_default();
        let link = Arc::new(Link {
            waker: AtomicWaker::new(),
            inbox: Mutex::default(),
            heard: AtomicU32::new(self.now()),
            silence_limit: u32::try_from(silence_limit.as_secs()).unwrap_or(u32::MAX),
            waiting_since: AtomicU32::new(0),
            blocked_since: AtomicU32::new(0),
            packet_since: AtomicU32::new(0),
            packet_bytes: AtomicU32::new(0),
            presence,
        });
        let before = links.insert(device.clone(), Arc::clone(&link));
        drop(links);
        if let Some(before) = before {
            before.close(Close::TakenOver);
        }
        link
    }

    /// Whether `link` is still the device's link.
    pub(super) fn is_current(&self, device: &DeviceId, link: &Arc<Link>) -> bool {
        self.link(device)
            .is_some_and(|current| Arc::ptr_eq(&current, link))
    }

    /// Forgets `link`, unless another has taken its place.
    pub(super) fn leave(&self, device: &DeviceId, link: &Arc<Link>) {
        let mut links = self.0.links.lock();
        if links
            .get(device)
            .is_some_and(|current| Arc::ptr_eq(current, link))
        {
            links.remove(device);
        }
    }

    /// Closes the connections of devices that are silent for too long, do not read or acknowledge what the server sends, or trickle.
    ///
    /// One sweep over all, instead of a timer in each: timers cost idle connections memory.
    pub(super) fn sweep(&self, limits: &Limits) {
        let now = self.now();
        for link in self.0.links.lock().values() {
            if let Some(close) = link.overdue(now, limits) {
                link.close(close);
            }
        }
    }

    /// Closes all connections.
    pub(super) fn close_all(&self) {
        for link in self.0.links.lock().values() {
            link.close(Close::ShuttingDown);
        }
    }

    /// Seconds since some moment before the registry was made: never 0.
    pub(super) fn now(&self) -> u32 {
        u32::try_from(self.0.started.elapsed().as_secs() + 1).unwrap_or(u32::MAX)
    }

    fn link(&self, device: &DeviceId) -> Option<Arc<Link>> {
        self.0.links.lock().get(device).cloned()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

// === impl Link ===

impl Link {
    /// Queues a command. `false` if the connection is closing, or too many wait already.
    pub(super) fn push(&self, command: &Envelope) -> bool {
        let payload = Bytes::from(command.encode());
        let mut inbox = self.inbox.lock();
        if inbox.closed || inbox.commands.len() >= MAX_WAITING {
            return false;
        }
        inbox.commands.push(payload);
        drop(inbox);
        self.waker.wake();
        true
    }

    /// Takes the oldest `count` commands out of the queue.
    pub(super) fn take(&self, count: usize) -> Vec<Bytes> {
        let mut inbox = self.inbox.lock();
        if inbox.commands.len() <= count {
            return std::mem::take(&mut inbox.commands);
        }
        inbox.commands.drain(..count).collect()
    }

    /// Asks the connection's task to end it.
    pub(super) fn close(&self, close: Close) {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            return;
        }
        inbox.closed = true;
        inbox.close = Some(close);
        drop(inbox);
        self.waker.wake();
    }

    /// Refuses further commands: the connection ends.
    pub(super) fn shut(&self) {
        *self.inbox.lock() = Inbox {
            closed: true,
            ..Inbox::default()
        };
    }

    /// The reason why the connection should end, if it should.
    pub(super) fn asked_to_close(&self) -> Option<Close> {
        self.inbox.lock().close.take()
    }

    /// Stores the waker of the connection's task.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Notes that the server heard the device now.
    pub(super) fn touch(&self, now: u32) {
        self.heard.store(now, Relaxed);
    }

    /// Notes since when the oldest command is unacknowledged.
    pub(super) fn waiting_since(&self, since: Option<u32>) {
        self.waiting_since.store(since.unwrap_or(0), Relaxed);
    }

    /// Notes whether bytes wait for the socket.
    pub(super) fn blocked(&self, blocked: bool, now: u32) {
        if !blocked {
            self.blocked_since.store(0, Relaxed);
        } else if self.blocked_since.load(Relaxed) == 0 {
            self.blocked_since.store(now, Relaxed);
        }
    }

    /// Notes how many bytes of an unfinished packet have come; 0 if the device has begun none, or the server does not read.
    pub(super) fn packet(&self, bytes: usize, now: u32) {
        if bytes == 0 {
            self.packet_since.store(0, Relaxed);
        } else if self.packet_since.load(Relaxed) == 0 {
            self.packet_since.store(now, Relaxed);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.packet_bytes.store(bytes, Relaxed);
    }

    /// The deadline that has passed.
    fn overdue(&self, now: u32, limits: &Limits) -> Option<Close> {
        let silence = now.saturating_sub(self.heard.load(Relaxed));
        let longer = |since: &AtomicU32, limit: Duration| {
            let since = since.load(Relaxed);
            since != 0 && u64::from(now.saturating_sub(since)) > limit.as_secs()
        };
        let made_up = self.packet_bytes.load(Relaxed) / limits.body_rate.max(1);
        let packet = limits.body_grace + Duration::from_secs(made_up.into());
        if silence > self.silence_limit {
            Some(Close::KeepAlive)
        } else if longer(&self.waiting_since, limits.acknowledge) {
            Some(Close::Unacknowledged)
        } else if longer(&self.blocked_since, limits.stall) {
            Some(Close::Unread)
        } else if longer(&self.packet_since, packet) {
            Some(Close::Slow)
        } else {
            None
        }
    }

    /// See the field.
    pub(super) fn presence(&self) -> &tokio::sync::Mutex<()> {
        &self.presence
    }
}

#[cfg(test)]
mod tests {
    use homeport_protocol::Command;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(90);

    fn device() -> DeviceId {
        "a".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection() {
        let registry = Registry::new();
        let link = registry.join(&device(), LIMIT);
        tokio::time::advance(LIMIT).await;
        registry.sweep(&Limits::default());
        assert_eq!(link.asked_to_close(), None);
        link.touch(registry.now());
        tokio::time::advance(LIMIT + Duration::from_secs(1)).await;
        registry.sweep(&Limits::default());
        assert_eq!(link.asked_to_close(), Some(Close::KeepAlive));
        assert!(!registry.send(&device(), &Command::Inventory.into()));
    }

    /// Ends with `close` this many seconds after `begin`, and not before.
    async fn ends_after(seconds: u64, close: Close, begin: impl Fn(&Link, u32)) {
        let registry = Registry::new();
        let link = registry.join(&device(), Duration::MAX);
        begin(&link, registry.now());
        tokio::time::advance(Duration::from_secs(seconds)).await;
        // A further notice does not restart the deadline.
        begin(&link, registry.now());
        registry.sweep(&Limits::default());
        assert_eq!(link.asked_to_close(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        registry.sweep(&Limits::default());
        assert_eq!(link.asked_to_close(), Some(close));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_go_on_ends_a_connection() {
        ends_after(30, Close::Unacknowledged, |link, _| link.waiting_since(Some(1))).await;
        ends_after(600, Close::Unread, |link, now| link.blocked(true, now)).await;
        ends_after(30, Close::Slow, |link, now| link.packet(1, now)).await;
        ends_after(30 + 100, Close::Slow, |link, now| link.packet(100 * 1024, now)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_does_not() {
        let registry = Registry::new();
        let link = registry.join(&device(), Duration::MAX);
        for second in 0..3600 {
            let now = registry.now();
            // Slower than the rate, but each packet ends, and sent bytes leave the server now and then.
            link.packet(second % 30 * 512, now);
            link.blocked(second % 600 != 0, now);
            registry.sweep(&Limits::default());
            assert_eq!(link.asked_to_close(), None, "{second}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[test]
    fn the_newest_link_counts() {
        let registry = Registry::new();
        let first = registry.join(&device(), LIMIT);
        let second = registry.join(&device(), LIMIT);
        assert_eq!(first.asked_to_close(), Some(Close::TakenOver));
        assert!(registry.is_current(&device(), &second) && !registry.is_current(&device(), &first));
        registry.leave(&device(), &first);
        assert_eq!(registry.connected(), 1);
        registry.leave(&device(), &second);
        assert_eq!(registry.connected(), 0);
    }

    #[test]
    fn commands_keep_their_order() {
        let registry = Registry::new();
        let link = registry.join(&device(), LIMIT);
        let commands = [Command::Inventory, Command::Unknown { kind: "x".into() }];
        for command in &commands {
            assert!(registry.send(&device(), &command.clone().into()));
        }
        let taken = [link.take(1), link.take(9)].concat();
        let decoded: Vec<_> = taken
            .iter()
            .map(|payload| Envelope::decode(payload).unwrap().command)
            .collect();
        assert_eq!(decoded, commands);
        link.shut();
        assert!(!registry.send(&device(), &Command::Inventory.into()) && !registry.is_connected(&device()));
    }
}
