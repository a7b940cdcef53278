//! What happens, for those who watch.

use std::sync::Arc;

use homeport_api::Event;
use tokio::sync::broadcast::{self, error::RecvError};

/// Events that a slow watcher may be behind. Then it is told to fetch everything again.
const BACKLOG: usize = 256;

#[derive(Debug)]
pub(super) struct Events(broadcast::Sender<Arc<str>>);

/// Follows what happens. Each item is the JSON of an [`Event`].
#[derive(Debug)]
pub struct Watcher(broadcast::Receiver<Arc<str>>);

// === impl Events ===

impl Events {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    pub(super) fn watch(&self) -> Watcher {
        Watcher(self.0.subscribe())
    }

    pub(super) fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(super) fn publish(&self, event: &Event) {
        if self.is_watched() {
            // Nobody left is no error.
            let _ = self.0.send(json(event));
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// The next event; [`Event::Resync`] after some were missed. `None` when the server stops.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => Some(json(&Event::Resync)),
            Err(RecvError::Closed) => None,
        }
    }
}

fn json(event: &Event) -> Arc<str> {
    // Our own types always encode: their maps have text as keys.
    serde_json::to_string(event).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_too_slow_is_told() {
        let events = Events::new();
        let mut watcher = events.watch();
        for id in 0..=BACKLOG {
            events.publish(&Event::DeviceRemoved { id: id.to_string() });
        }
        assert_eq!(&*watcher.next().await.unwrap(), r#"{"type":"resync"}"#);
        assert_eq!(
            &*watcher.next().await.unwrap(),
            r#"{"type":"device_removed","id":"1"}"#
        );
        drop(events);
    }
}
