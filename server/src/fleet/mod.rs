//! The parts that capabilities share: the database, connections, events, budgets, and what follows a commit.
//!
//! Each capability adds its methods to [`Fleet`]. A method that changes something is one transaction, with its audit entry and its
//! [`effects`].

use std::sync::Arc;

use homeport_api::{Device, DeviceProgress, Event, Page, Permission};
use rustls_pki_types::CertificateDer;

mod budgets;
pub(crate) mod effects;
mod events;
mod feed;
mod ingest;
mod live;
mod queue_rows;

pub use self::feed::Feed;
pub(crate) use self::feed::RECHECK;
use self::{budgets::Budgets, events::Events, live::Live};
use crate::{
    access::Place,
    bundles::Bundles,
    ca::Fingerprint,
    disk::{Disk, Room},
    mqtt::Registry,
    pairing::{
        certificates::Certificates,
        readmission::{self, Refused},
    },
    people::{self, Accounts},
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
    pub(crate) accounts: Accounts,
    budgets: Budgets,
    disk: Disk,
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

/// Why the fleet refused a request.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its id or name.
        id: String,
    },
    /// The request conflicts with the present state.
    #[error("{detail}")]
    Conflict {
        /// Stable name of the problem.
        kind: &'static str,
        /// The cause, and what to do next.
        detail: String,
    },
    /// The login has ended, or the access token.
    #[error("log in first: `POST /api/v1/session`, or `homeport login`")]
    NotLoggedIn,
    /// The actor sees the thing, and may not do this with it.
    #[error(
        "you may not {} {}: `{permission}` needs the role {} there",
        .permission.words(), place(.project), .permission.role()
    )]
    Forbidden {
        /// The permission that is missing.
        permission: Permission,
        /// Path of the project where it is missing.
        project: String,
    },
    /// The request is invalid and can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Fleet ===

impl Fleet {
    /// Loads the fleet from `store`.
    pub async fn load(
        store: Store,
        bundles: Bundles,
        registry: Registry,
        addresses: Addresses,
        disk: Disk,
        samples_per_day: u32,
    ) -> Result<Self, StoreError> {
        let active = store.read(Tx::active_certificates).await?;
        let logins = store.read(|tx| tx.logins(people::LOGINS)).await?;
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

    fn publish_update(&self, update: DeviceProgress, place: Place) {
        let update = Box::new(self.complete_update(update));
        self.events.publish(Event::Update { update }, place);
    }
}

// === impl FleetError ===

impl FleetError {
    pub(crate) fn forbidden(permission: Permission, project: &str) -> Self {
        Self::Forbidden {
            permission,
            project: project.to_owned(),
        }
    }

    pub(crate) fn no_device(id: &str) -> Self {
        Self::NotFound {
            what: "device",
            id: id.to_owned(),
        }
    }

    pub(crate) fn no_group(name: &str) -> Self {
        Self::NotFound {
            what: "group",
            id: name.to_owned(),
        }
    }

    pub(crate) fn no_bundle(id: &str) -> Self {
        Self::NotFound {
            what: "bundle",
            id: id.to_owned(),
        }
    }

    pub(crate) fn no_deployment(id: u64) -> Self {
        Self::NotFound {
            what: "deployment",
            id: id.to_string(),
        }
    }
}

/// Where, in words.
fn place(project: &str) -> String {
    if project.is_empty() {
        "outside of projects".to_owned()
    } else {
        format!("in the project `{project}`")
    }
}
