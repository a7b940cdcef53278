//! Effects of a commit: memory, connections and watchers learn of it here, in the order of commits.
//!
//! A job lists its effects while it decides. Nothing else may change in memory who is authorised. See
//! `docs/development/decisions/revocation.md`.

use std::sync::Arc;

use homeport_api::{Device, DeviceProgress, Event};
use homeport_protocol::{DeviceId, command::Envelope};

use super::{Fleet, Inner};
use crate::{
    access::Place,
    ca::Fingerprint,
    store::{StoreError, Tx},
};

/// Most devices of one change for which watchers get an event each. If there are more, watchers fetch everything again: that many events
/// would not fit into a watcher's backlog.
pub(crate) const MANY: u32 = 100;

/// One thing that follows a commit.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A certificate may connect from now on.
    Activate(Fingerprint, DeviceId),
    /// These certificates may not connect any more.
    Deactivate(Vec<Fingerprint>),
    /// The device's connection ends. Comes after [`Effect::Deactivate`], so that the device cannot return in between.
    Disconnect(DeviceId),
    /// The device connected (`true`) or disconnected, at this time.
    Online(DeviceId, bool, i64),
    /// A device changed.
    Device(Box<Device>),
    /// A device is no longer in this place.
    Moved(Box<Device>, Place),
    /// Memory forgets a deleted device.
    Forget(DeviceId),
    /// The device gets a command, if it is connected.
    Deliver(DeviceId, Envelope),
    /// An update of a device changed; the device is here.
    Update(Box<DeviceProgress>, Place),
    /// The update left the state whose progress is in memory.
    Settle(DeviceId),
    /// A run of a command wrote something, began or ended: whoever follows its output looks.
    Output(u64),
    /// Watchers get an event that happened here.
    Publish(Event, Place),
    /// Everybody fetches everything again.
    Resync,
    /// Somebody's rights changed, or a login ended. Watchers are asked again before they get another event.
    Rights,
}

/// The effects of one commit, in order.
#[derive(Debug, Default)]
pub(crate) struct Effects(Vec<Effect>);

// === impl Effects ===

impl Effects {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// Adds that a device changed, if there is one.
    pub(crate) fn device(&mut self, device: Option<Device>) {
        self.0
            .extend(device.map(|device| Effect::Device(Box::new(device))));
    }

    /// Adds that a device is no longer in this place, if it still is anywhere.
    pub(crate) fn moved(&mut self, device: Option<Device>, was: Place) {
        self.0
            .extend(device.map(|device| Effect::Moved(Box::new(device), was)));
    }

    /// Adds that an update changed.
    pub(crate) fn update(&mut self, tx: &Tx, update: DeviceProgress) -> Result<(), StoreError> {
        let place = tx.device_place(&update.device)?.unwrap_or_default();
        self.push(Effect::Update(Box::new(update), place));
        Ok(())
    }
}

// === impl Fleet ===

impl Fleet {
    /// Runs `job` in a transaction. The effects that it lists are applied after the commit, before the caller gets the answer.
    pub(crate) async fn change<T, E>(
        &self,
        job: impl Fn(&Tx, &mut Effects) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        self.0
            .store
            .write_then(
                move |tx| {
                    let mut effects = Effects::default();
                    job(tx, &mut effects).map(|value| (value, effects))
                },
                move |(value, effects)| {
                    for effect in effects.0 {
                        inner.apply(effect);
                    }
                    value
                },
            )
            .await
    }
}

// === impl Inner ===

impl Inner {
    fn apply(&self, effect: Effect) {
        match effect {
            Effect::Activate(certificate, device) => self.certificates.insert(certificate, device),
            Effect::Deactivate(certificates) => self.certificates.remove(&certificates),
            Effect::Disconnect(device) => self.registry.disconnect(&device),
            Effect::Online(device, online, now_ms) => self.live.set_online(&device, online, now_ms),
            Effect::Device(device) => self.publish_device(*device),
            Effect::Moved(device, was) => self.publish_moved(*device, was),
            Effect::Forget(device) => self.live.forget(device.as_str()),
            Effect::Deliver(device, command) => {
                // A device that is not connected gets the command after it reconnects.
                let _ = self.registry.send(&device, &command);
            }
            Effect::Update(update, place) => self.publish_update(*update, place),
            Effect::Settle(device) => self.live.settle(device.as_str()),
            Effect::Output(run) => self.outputs.notify(run),
            Effect::Publish(event, place) => self.events.publish(event, place),
            Effect::Resync => self.events.publish(Event::Resync, Place::default()),
            Effect::Rights => self.events.rights_changed(),
        }
    }
}
