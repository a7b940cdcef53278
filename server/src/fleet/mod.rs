//! The parts that capabilities share: the database, connections, events, budgets, and what follows a commit.
//!
//! Each capability adds its methods to [`Fleet`]. A method that changes something is one transaction, with its audit entry and its
//! [`effects`].

use std::sync::Arc;

use homeport_api::{Device, DeviceProgress, Event, Page};
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;

mod ask;
mod budgets;
mod certificates;
pub(crate) mod effects;
mod events;
mod feed;
mod live;
mod refused;
pub(crate) mod targets;

pub use self::feed::Feed;
pub(crate) use self::feed::RECHECK;
use self::{budgets::Budgets, certificates::Certificates, events::Events, live::Live, refused::Refused};
pub use crate::error::FleetError;
use crate::{
    access::{Place, Uses},
    blob::Bundles,
    ca::Fingerprint,
    commands::Outputs,
    disk::{Disk, Room},
    mqtt::Registry,
    passwords::{LOGINS, Passwords},
    store::{Store, StoreError, Tx},
    tls::Admission,
};

/// The fleet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet(pub(crate) Arc<Inner>);

/// The addresses at which devices reach this server, and how they verify it.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Host and port of HTTPS, for pairing tokens.
    pub https_authority: String,
    /// Host and port of MQTT.
    pub mqtt_authority: String,
    /// SHA-256 of the CA certificate.
    pub ca_fingerprint: [u8; 32],
}

/// The parts that capabilities share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) bundles: Bundles,
    pub(crate) registry: Registry,
    pub(crate) addresses: Addresses,
    pub(crate) certificates: Certificates,
    refused: Refused,
    pub(crate) live: Live,
    pub(crate) events: Events,
    pub(crate) outputs: Outputs,
    pub(crate) passwords: Passwords,
    pub(crate) uses: Uses,
    pub(crate) budgets: Budgets,
    pub(crate) disk: Disk,
    /// Held while the file and the row of a bundle change.
    pub(crate) library: tokio::sync::Mutex<()>,
}

/// A reason why the server does not accept everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Devices keep their telemetry: the disk is nearly full.
    DiskLow,
    /// Devices keep everything, and operators use the room that is reserved for them: the disk is full.
    DiskFull,
    /// Nothing can be written.
    Failing,
}

// === impl Fleet ===

impl Fleet {
    /// Loads the fleet from `store`. Certificates that a handshake refuses come out of the channel.
    pub async fn load(
        store: Store,
        bundles: Bundles,
        registry: Registry,
        addresses: Addresses,
        disk: Disk,
        samples_per_day: u32,
    ) -> Result<(Self, mpsc::Receiver<CertificateDer<'static>>), StoreError> {
        let active = store.read(Tx::active_certificates).await?;
        let logins = store.read(|tx| tx.logins(LOGINS)).await?;
        let (live, news) = Live::new();
        let (refused, waiting) = Refused::new();
        let fleet = Self(Arc::new(Inner {
            store,
            bundles,
            registry,
            addresses,
            certificates: Certificates::new(active),
            refused,
            live,
            events: Events::new(),
            outputs: Outputs::default(),
            passwords: Passwords::new(&logins),
            uses: Uses::default(),
            budgets: Budgets::new(samples_per_day),
            disk,
            library: tokio::sync::Mutex::default(),
        }));
        tokio::spawn(live::follow(Arc::downgrade(&fleet.0), news));
        Ok((fleet, waiting))
    }

    /// The addresses at which devices reach this server.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.0.addresses
    }

    /// The reason why the server does not accept everything, if there is one.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        if self.0.store.is_failing() {
            return Some(Trouble::Failing);
        }
        match self.0.disk.room() {
            Room::Enough => None,
            Room::Low => Some(Trouble::DiskLow),
            Room::None => Some(Trouble::DiskFull),
        }
    }

    /// The files of the bundles.
    #[must_use]
    pub fn bundles(&self) -> &Bundles {
        &self.0.bundles
    }
}

impl Admission for Fleet {
    fn is_active(&self, certificate: &Fingerprint) -> bool {
        self.0.certificates.identify(certificate).is_some()
    }

    fn refused(&self, certificate: &CertificateDer<'_>) {
        self.0.refused.push(certificate);
    }
}

// === impl Inner ===

impl Inner {
    /// The room on this machine's disk, if the rows are on it.
    pub(crate) fn room_for_rows(&self) -> Room {
        if self.store.is_embedded() {
            self.disk.room()
        } else {
            Room::Enough
        }
    }

    /// Adds the facts that only memory holds.
    pub(crate) fn complete(&self, mut device: Device) -> Device {
        self.live.complete(&mut device);
        device
    }

    /// Adds the facts that only memory holds.
    pub(crate) fn complete_page(&self, mut page: Page<Device>) -> Page<Device> {
        page.items
            .iter_mut()
            .for_each(|device| self.live.complete(device));
        page
    }

    /// Adds the facts that only memory holds.
    fn complete_update(&self, mut progress: DeviceProgress) -> DeviceProgress {
        self.live.complete_update(&progress.device, &mut progress.update);
        progress
    }

    fn publish_device(&self, device: Device) {
        let place = Place::of_device(&device);
        let device = Box::new(self.complete(device));
        self.events.publish(Event::Device { device }, place);
    }

    fn publish_moved(&self, device: Device, was: Place) {
        let place = Place::of_device(&device);
        let device = Box::new(self.complete(device));
        self.events.publish_moved(Event::Device { device }, place, was);
    }

    fn publish_update(&self, update: DeviceProgress, place: Place) {
        let update = Box::new(self.complete_update(update));
        self.events.publish(Event::Update { update }, place);
    }
}
