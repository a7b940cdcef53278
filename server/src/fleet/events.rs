//! Live events for watchers.

use std::{collections::HashMap, sync::Arc};

use homeport_api::Event;
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::limits::STREAMS_BY_PERSON;

/// Events that a slow watcher may lag behind. After that, the server tells it to fetch everything again.
const BACKLOG: usize = 256;

#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Arc<str>>,
    watching: Watching,
}

/// How many streams each person has open. One HTTP/2 connection carries many, so the limit of connections does not bound them.
type Watching = Arc<Mutex<HashMap<String, usize>>>;

/// A subscription to events. Each item is the JSON of an [`Event`].
#[derive(Debug)]
pub struct Watcher {
    events: broadcast::Receiver<Arc<str>>,
    _seat: Seat,
}

/// One stream of a person, until dropped.
#[derive(Debug)]
struct Seat {
    watching: Watching,
    person: String,
}

// === impl Events ===

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
            watching: Watching::default(),
        }
    }

    /// `None` if the person already has the most streams that one may have.
    pub(crate) fn watch(&self, person: &str) -> Option<Watcher> {
        let mut watching = self.watching.lock();
        let count = watching.entry(person.to_owned()).or_default();
        if *count >= STREAMS_BY_PERSON {
            return None;
        }
        *count += 1;
        Some(Watcher {
            events: self.sender.subscribe(),
            _seat: Seat {
                watching: Arc::clone(&self.watching),
                person: person.to_owned(),
            },
        })
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub(crate) fn publish(&self, event: &Event) {
        if self.is_watched() {
            // It is no error that nobody watches.
            let _ = self.sender.send(json(event));
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// The next event; [`Event::Resync`] after some were missed. `None` when the server stops.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => Some(json(&Event::Resync)),
            Err(RecvError::Closed) => None,
        }
    }
}

// === impl Seat ===

impl Drop for Seat {
    fn drop(&mut self) {
        let mut watching = self.watching.lock();
        if let Some(count) = watching.get_mut(&self.person) {
            *count -= 1;
            if *count == 0 {
                watching.remove(&self.person);
            }
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
        let mut watcher = events.watch("a").unwrap();
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

    #[test]
    fn nobody_is_remembered_who_watches_no_more() {
        let events = Events::new();
        let watchers: Vec<_> = (0..STREAMS_BY_PERSON)
            .map(|_| events.watch("a").unwrap())
            .collect();
        assert!(events.watch("a").is_none());
        assert!(events.watch("b").is_some());
        drop(watchers);
        assert!(events.watching.lock().is_empty());
    }
}
