//! The fleet: what devices are there, what they may do, what is asked of them.
//!
//! Everything that changes goes through here: each method is one transaction, with its audit entry and its [`effects`].

use std::sync::Arc;

use homeport_api::{Device, DeviceProgress, Event, Page};
use rustls_pki_types::CertificateDer;

mod accounts;
mod budget;
mod certificates;
mod deployments;
mod devices;
mod effects;
mod enrolment;
mod events;
mod failed_logins;
mod groups;
mod ingest;
mod library;
mod live;
mod pairing;
mod readmission;
mod transition;

use self::{
    accounts::Accounts, budget::Budgets, certificates::Certificates, events::Events, live::Live,
    readmission::Refused,
};
pub(crate) use self::{accounts::FIRST_ADMIN_PASSWORD, readmission::READMISSION};
pub use self::{
    accounts::{Credential, LoginError, create_first_admin, reset_password},
    events::Watcher,
    library::AddError,
    readmission::readmit,
};
use crate::{
    bundle::Bundles,
    disk::{Disk, Room},
    mqtt::{Fingerprint, Registry},
    store::{Store, StoreError, Tx},
    tls::Admission,
};

/// The fleet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<Inner>);

/// Where devices find this server, and how they know it.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Host and port of HTTPS, for pairing tokens.
    pub https_authority: String,
    /// Host and port of MQTT.
    pub mqtt_authority: String,
    /// SHA-256 of the CA certificate.
    pub ca_fingerprint: [u8; 32],
}

#[derive(Debug)]
struct Inner {
    store: Store,
    bundles: Bundles,
    registry: Registry,
    addresses: Addresses,
    certificates: Certificates,
    refused: Refused,
    live: Live,
    events: Events,
    accounts: Accounts,
    budgets: Budgets,
    disk: Disk,
    /// Held while the file and the row of a bundle change.
    library: tokio::sync::Mutex<()>,
}

/// What keeps the server from taking all that it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Devices keep their telemetry: the disk is nearly full.
    DiskLow,
    /// Devices keep everything, operators use what was held back for them: the disk is full.
    DiskFull,
    /// Nothing can be written.
    Failing,
}

/// Why the fleet did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Which.
        id: String,
    },
    /// It does not fit what is there.
    #[error("{detail}")]
    Conflict {
        /// Stable name of the problem.
        kind: &'static str,
        /// What is in the way, and what to do.
        detail: String,
    },
    /// It can never be done.
    #[error("{0}")]
    Invalid(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Fleet ===

impl Fleet {
    /// The fleet that `store` remembers.
    pub async fn load(
        store: Store,
        bundles: Bundles,
        registry: Registry,
        addresses: Addresses,
        disk: Disk,
        samples_per_day: u32,
    ) -> Result<Self, StoreError> {
        let active = store.read(Tx::active_certificates).await?;
        let logins = store.read(|tx| tx.logins(accounts::LOGINS)).await?;
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
            accounts: Accounts::new(&logins),
            budgets: Budgets::new(samples_per_day),
            disk,
            library: tokio::sync::Mutex::default(),
        }));
        tokio::spawn(live::follow(Arc::downgrade(&fleet.0), news));
        tokio::spawn(readmission::follow(Arc::downgrade(&fleet.0), waiting));
        Ok(fleet)
    }

    /// Where devices find this server.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.0.addresses
    }

    /// What keeps the server from taking all that it should, in words for an administrator.
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

    /// The files behind the bundles.
    #[must_use]
    pub fn bundles(&self) -> &Bundles {
        &self.0.bundles
    }

    /// Follows what happens from now on, for this person. `None`: the person has as many streams open as one may have.
    #[must_use]
    pub fn watch(&self, person: &str) -> Option<Watcher> {
        self.0.events.watch(person)
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
    /// Adds what only memory knows.
    fn complete(&self, mut device: Device) -> Device {
        self.live.complete(&mut device);
        device
    }

    /// Adds what only memory knows.
    fn complete_page(&self, mut page: Page<Device>) -> Page<Device> {
        page.items
            .iter_mut()
            .for_each(|device| self.live.complete(device));
        page
    }

    /// Adds what only memory knows.
    fn complete_update(&self, mut progress: DeviceProgress) -> DeviceProgress {
        self.live.complete_update(&progress.device, &mut progress.update);
        progress
    }

    fn publish_device(&self, device: Device) {
        let device = Box::new(self.complete(device));
        self.events.publish(&Event::Device { device });
    }

    fn publish_update(&self, update: DeviceProgress) {
        let update = Box::new(self.complete_update(update));
        self.events.publish(&Event::Update { update });
    }
}

// === impl FleetError ===

impl FleetError {
    fn no_device(id: &str) -> Self {
        Self::NotFound {
            what: "device",
            id: id.to_owned(),
        }
    }

    fn no_group(name: &str) -> Self {
        Self::NotFound {
            what: "group",
            id: name.to_owned(),
        }
    }

    fn no_bundle(id: &str) -> Self {
        Self::NotFound {
            what: "bundle",
            id: id.to_owned(),
        }
    }

    fn no_deployment(id: u64) -> Self {
        Self::NotFound {
            what: "deployment",
            id: id.to_string(),
        }
    }
}
