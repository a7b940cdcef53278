//! State that changes too often for the database: which devices are connected, and the progress of updates.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use homeport_api::{Device, DeviceUpdate};
use homeport_protocol::{DeviceId, deployment::Progress};
use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::{Fleet, Inner};
use crate::{store::StoreError, text::told};

/// Progress messages that may wait. The server drops further ones: newer ones will come.
const WAITING_NEWS: usize = 1024;

/// A progress message, and its device.
pub(crate) type News = (DeviceId, Progress);

#[derive(Debug)]
pub(crate) struct Live {
    presences: RwLock<HashMap<String, Presence>>,
    progress: RwLock<HashMap<String, Progress>>,
    news: mpsc::Sender<News>,
}

/// Devices that the server has seen since it started.
#[derive(Debug)]
struct Presence {
    online: bool,
    last_seen_ms: i64,
}

// === impl Live ===

impl Live {
    pub(crate) fn new() -> (Self, mpsc::Receiver<News>) {
        let (news, receiver) = mpsc::channel(WAITING_NEWS);
        let live = Self {
            presences: RwLock::default(),
            progress: RwLock::default(),
            news,
        };
        (live, receiver)
    }

    pub(crate) fn set_online(&self, device: &DeviceId, online: bool, now_ms: i64) {
        let presence = Presence {
            online,
            last_seen_ms: now_ms,
        };
        self.presences
            .write()
            .insert(device.as_str().to_owned(), presence);
    }

    pub(crate) fn seen(&self, device: &DeviceId, now_ms: i64) {
        if let Some(presence) = self.presences.write().get_mut(device.as_str()) {
            presence.last_seen_ms = now_ms;
        }
    }

    pub(crate) fn is_online(&self, device: &str) -> bool {
        self.presences
            .read()
            .get(device)
            .is_some_and(|presence| presence.online)
    }

    pub(crate) fn forget(&self, device: &str) {
        self.presences.write().remove(device);
        self.progress.write().remove(device);
    }

    /// Forgets the progress of a state that the update has left.
    pub(crate) fn settle(&self, device: &str) {
        self.progress.write().remove(device);
    }

    pub(crate) fn tell(&self, device: &DeviceId, progress: Progress) {
        // The queue is full: newer progress will come.
        let _ = self.news.try_send((device.clone(), progress));
    }

    pub(crate) fn complete(&self, device: &mut Device) {
        if let Some(presence) = self.presences.read().get(&device.id) {
            device.online = presence.online;
            device.last_seen_ms = device.last_seen_ms.max(Some(presence.last_seen_ms));
        }
        if let Some(update) = &mut device.update {
            self.complete_update(&device.id, update);
        }
    }

    pub(crate) fn complete_update(&self, device: &str, update: &mut DeviceUpdate) {
        if update.state == homeport_protocol::DeploymentState::Verified {
            update.percent = 100;
        }
        let progress = self.progress.read();
        let current = progress.get(device).filter(|progress| {
            update.deployment == Some(progress.deployment) && update.state == progress.state
        });
        if let Some(progress) = current {
            update.percent = progress.percent.min(100);
            update.message.clone_from(&progress.message);
            update.bytes_fetched = update.bytes_fetched.max(progress.bytes_fetched);
        }
    }
}

/// Keeps and publishes progress messages.
pub(crate) async fn follow(fleet: Weak<Inner>, mut news: mpsc::Receiver<News>) {
    while let Some((device, progress)) = news.recv().await {
        let Some(inner) = fleet.upgrade() else { return };
        if let Err(error) = take(&Fleet(inner), device, progress).await {
            tracing::warn!(%error, "cannot look up an update");
        }
    }
}

async fn take(fleet: &Fleet, device: DeviceId, mut progress: Progress) -> Result<(), StoreError> {
    let inner = Arc::clone(&fleet.0);
    progress.message = told(&progress.message);
    let (id, news) = (device.as_str().to_owned(), progress.clone());
    let update = inner
        .store
        .read(move |tx| {
            if tx.is_current(&id, &news)? {
                let update = tx.update(news.deployment, &id)?;
                Ok(update.zip(tx.device_place(&id)?))
            } else {
                Ok::<_, StoreError>(None)
            }
        })
        .await?;
    if let Some((update, place)) = update {
        inner
            .live
            .progress
            .write()
            .insert(device.as_str().to_owned(), progress);
        inner.publish_update(update, place);
    }
    Ok(())
}
