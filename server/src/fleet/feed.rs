//! The events that one person sees, for as long as that person's rights stay as they are.

use std::{sync::Arc, time::Duration};

use homeport_api::Event;
use tokio::time::{self, Interval};

use super::{
    Fleet, FleetError,
    events::{Told, Watcher},
};
use crate::access::{Access, Actor};

/// How often the server checks again that a stream's login has not expired. It notices at once when a login is ended.
pub(crate) const RECHECK: Duration = Duration::from_secs(30);

/// A subscription to events.
#[derive(Debug)]
pub struct Feed {
    watcher: Watcher,
    fleet: Fleet,
    actor: Actor,
    access: Access,
    recheck: Interval,
}

// === impl Fleet ===

impl Fleet {
    /// Subscribes the actor to events from now on. `None` if this user already has the most streams that one may have.
    pub async fn follow(&self, actor: &Actor) -> Result<Option<Feed>, FleetError> {
        let Some(watcher) = self.0.events.watch(&actor.user) else {
            return Ok(None);
        };
        // Read after the subscription: a change in between is noticed.
        let access = self.access(actor).await?.ok_or(FleetError::NotLoggedIn)?;
        Ok(Some(Feed {
            watcher,
            fleet: self.clone(),
            actor: actor.clone(),
            access,
            recheck: time::interval(RECHECK),
        }))
    }
}

// === impl Feed ===

impl Feed {
    /// The JSON of the next [`Event`] that the actor may see. `None` when the server stops, or after the actor's rights changed.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        loop {
            let told = tokio::select! {
                told = self.watcher.next(&self.access) => told?,
                _ = self.recheck.tick() => Told::Rights,
            };
            match told {
                Told::Event(json) => return Some(json),
                Told::Deployment(id) => {
                    let event = match self.fleet.deployment(&self.actor, id).await {
                        Ok(deployment) => Event::Deployment {
                            deployment: Box::new(deployment),
                        },
                        Err(FleetError::NotFound { .. }) => continue,
                        Err(_) => Event::Resync,
                    };
                    return serde_json::to_string(&event).ok().map(Into::into);
                }
                Told::Rights => {
                    let now = self.fleet.access(&self.actor).await.ok().flatten();
                    if now.as_ref() != Some(&self.access) {
                        return None;
                    }
                }
            }
        }
    }
}
