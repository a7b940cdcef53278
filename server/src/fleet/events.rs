//! Live events for watchers. Each watcher gets those that its rights let it see.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use homeport_api::{Event, Permission};
use parking_lot::Mutex;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

use crate::{
    access::{Access, Place},
    limits::STREAMS_BY_PERSON,
};

/// Events that a slow watcher may lag behind. After that, the server tells it to fetch everything again.
const BACKLOG: usize = 256;

#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Arc<News>>,
    /// Changes whenever somebody's rights may have changed.
    rights: watch::Sender<()>,
    watching: Watching,
}

/// How many streams each person has open. One HTTP/2 connection carries many, so the limit of connections does not bound them.
type Watching = Arc<Mutex<HashMap<String, usize>>>;

/// An event, and where it happened.
#[derive(Debug)]
pub(crate) struct News {
    event: Event,
    place: Place,
    /// Where the device of the event was until now, if it moved.
    was: Option<Place>,
    json: OnceLock<Arc<str>>,
}

/// The news for a watcher.
#[derive(Debug)]
pub(crate) enum Told {
    /// The JSON of an event.
    Event(Arc<str>),
    /// A deployment changed. The watcher may see only some of its devices, so it is read anew.
    Deployment(u64),
    /// Somebody's rights may have changed, perhaps those of the watcher.
    Rights,
}

/// A subscription to events.
#[derive(Debug)]
pub(crate) struct Watcher {
    events: broadcast::Receiver<Arc<News>>,
    rights: watch::Receiver<()>,
    /// Received, and not given yet: rights may have changed before it happened.
    held: Option<Arc<News>>,
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
            rights: watch::Sender::new(()),
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
            rights: self.rights.subscribe(),
            held: None,
            _seat: Seat {
                watching: Arc::clone(&self.watching),
                person: person.to_owned(),
            },
        })
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells those who may see what happens in `place`.
    pub(crate) fn publish(&self, event: Event, place: Place) {
        self.send(event, place, None);
    }

    /// Tells those who may see `place` that a device is there now, and those who only saw where it was that it is gone.
    pub(crate) fn publish_moved(&self, event: Event, place: Place, was: Place) {
        self.send(event, place, Some(was));
    }

    fn send(&self, event: Event, place: Place, was: Option<Place>) {
        if self.is_watched() {
            // It is no error that nobody watches.
            let _ = self.sender.send(Arc::new(News {
                event,
                place,
                was,
                json: OnceLock::new(),
            }));
        }
    }

    /// Has every watcher's rights looked up again, before it gets another event.
    pub(crate) fn rights_changed(&self) {
        self.rights.send_replace(());
    }
}

// === impl News ===

impl News {
    /// The event as somebody with these rights gets it.
    fn for_reader(&self, access: &Access) -> Option<Told> {
        let Some(permission) = self.event.permission() else {
            let sees_something = access.allows_somewhere(Permission::DeviceRead);
            return sees_something.then(|| Told::Event(self.json()));
        };
        if access.allows_everywhere(permission) {
            return Some(Told::Event(self.json()));
        }
        let seen = match permission {
            Permission::BundleRead => access.sees_bundles_of(&self.place.project),
            _ => access.allows(permission, &self.place),
        };
        match &self.event {
            Event::Deployment { deployment } => seen.then_some(Told::Deployment(deployment.id)),
            Event::Device { device } if seen => {
                let device = Box::new(access.trim((**device).clone()));
                Some(Told::Event(json(&Event::Device { device })))
            }
            Event::Device { device } => {
                let left = self
                    .was
                    .as_ref()
                    .is_some_and(|was| access.allows(permission, was));
                left.then(|| {
                    let id = device.id.clone();
                    Told::Event(json(&Event::DeviceRemoved { id }))
                })
            }
            _ => seen.then(|| Told::Event(self.json())),
        }
    }

    fn json(&self) -> Arc<str> {
        Arc::clone(self.json.get_or_init(|| json(&self.event)))
    }
}

// === impl Watcher ===

impl Watcher {
    /// The next news for somebody with these rights; [`Event::Resync`] after some were missed. `None` when the server stops.
    pub(crate) async fn next(&mut self, access: &Access) -> Option<Told> {
        loop {
            if let Some(told) = self.held.take().and_then(|news| news.for_reader(access)) {
                return Some(told);
            }
            tokio::select! {
                biased;
                _ = self.rights.changed() => return Some(Told::Rights),
                news = self.events.recv() => match news {
                    Ok(news) => self.held = Some(news),
                    Err(RecvError::Lagged(_)) => return Some(Told::Event(json(&Event::Resync))),
                    Err(RecvError::Closed) => return None,
                },
            }
            // Rights that changed before the event may have come after the first look. The event waits until they are known.
            if self.rights.has_changed().unwrap_or(true) {
                self.rights.mark_unchanged();
                return Some(Told::Rights);
            }
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
    use homeport_api::Role;

    use super::*;
    use crate::access::{Held, Scope, everything};

    fn told(told: Option<Told>) -> String {
        match told {
            Some(Told::Event(json)) => json.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn removed(id: &str) -> Event {
        Event::DeviceRemoved { id: id.to_owned() }
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told() {
        let events = Events::new();
        let mut watcher = events.watch("a").unwrap();
        for id in 0..=BACKLOG {
            events.publish(removed(&id.to_string()), Place::default());
        }
        let access = everything();
        assert_eq!(told(watcher.next(&access).await), r#"{"type":"resync"}"#);
        assert_eq!(
            told(watcher.next(&access).await),
            r#"{"type":"device_removed","id":"1"}"#
        );
        drop(events);
    }

    #[tokio::test]
    async fn a_watcher_gets_what_it_may_see() {
        let events = Events::new();
        let mut watcher = events.watch("a").unwrap();
        let held = Held {
            id: 1,
            role: Role::Viewer,
            scope: Scope::Project("acme".to_owned()),
        };
        let access = Access::new("a".to_owned(), 1, vec![held], Role::Administrator, "");
        events.publish(removed("theirs"), Place::of_project("beta"));
        events.publish(removed("nobody's"), Place::default());
        events.publish(removed("ours"), Place::of_project("acme/plant"));
        assert_eq!(
            told(watcher.next(&access).await),
            r#"{"type":"device_removed","id":"ours"}"#
        );
        events.publish(removed("ours"), Place::of_project("acme"));
        events.rights_changed();
        assert_eq!(told(watcher.next(&access).await), "Some(Rights)");
        assert_eq!(
            told(watcher.next(&access).await),
            r#"{"type":"device_removed","id":"ours"}"#,
            "another's rights changed: nothing is lost"
        );
        let device = || {
            let device = Box::new(homeport_api::Device {
                id: "d".to_owned(),
                ..homeport_api::Device::default()
            });
            Event::Device { device }
        };
        events.publish_moved(device(), Place::of_project("beta"), Place::of_project("gamma"));
        events.publish_moved(device(), Place::of_project("beta"), Place::of_project("acme"));
        events.publish(Event::Resync, Place::default());
        assert_eq!(
            told(watcher.next(&access).await),
            r#"{"type":"device_removed","id":"d"}"#,
            "it left"
        );
        assert_eq!(told(watcher.next(&access).await), r#"{"type":"resync"}"#);
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
