//! A fleet without a network.

use std::{fs, net::SocketAddr, path::Path};

use bytes::Bytes;
use homeport_api::{Deployment, DeviceUpdate, NewDeployment, NewPairingToken, Target};
use homeport_protocol::{
    Command, DeploymentState, DeviceId, FailureCode, Inventory, PairingToken, Reason, Report, Sequenced,
    command::Envelope, report::DeploymentReport,
};
use homeport_server::{
    access::Actor,
    blob::Bundles,
    ca::{DeviceCertificate, Fingerprint},
    disk::Disk,
    est::{Enrolment as _, Hints, IssueError},
    fleet::{Addresses, Fleet, FleetError},
    mqtt::{Handler as _, Registry},
    people,
    store::{Database, Paging, Store, postgres::Address},
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::bundle;

/// What one device may have stored.
pub(crate) const SAMPLES_PER_DAY: u32 = 2000;

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) bundle: String,
    /// The first administrator.
    pub(crate) admin: Actor,
    directory: TempDir,
}

/// A device's end of its queue.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) certificate: Fingerprint,
    pub(crate) sequence: u64,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&database(directory.path()), directory.path()).unwrap();
        people::create_first_admin(&store, directory.path())
            .await
            .unwrap();
        let bundles = Bundles::open(directory.path(), 1_000_000).unwrap();
        let addresses = Addresses {
            https_authority: "localhost:1".into(),
            mqtt_authority: "localhost:2".into(),
            ca_fingerprint: [0; 32],
        };
        let disk = Disk::open(directory.path(), None).unwrap();
        let (fleet, _refused) =
            Fleet::load(store, bundles, Registry::new(), addresses, disk, SAMPLES_PER_DAY)
                .await
                .unwrap();
        let password = fs::read_to_string(directory.path().join("first-admin-password")).unwrap();
        let admin = log_in(&fleet, "admin", password.trim()).await;
        let bundle = add_bundle(&fleet, &admin, "2").await;
        Self {
            fleet,
            bundle,
            admin,
            directory,
        }
    }

    pub(crate) async fn token(&self, new: NewPairingToken) -> PairingToken {
        let created = self.fleet.create_token(&self.admin, new).await.unwrap();
        created.token.parse().unwrap()
    }

    pub(crate) async fn pair(&self) -> Device {
        let token = self.token(NewPairingToken::default()).await;
        let sign = |id: &DeviceId| {
            let mut fingerprint = [0; 32];
            fingerprint[..16].copy_from_slice(id.as_str().as_bytes());
            Ok(signed(fingerprint))
        };
        let enrolled = self.fleet.enrol(&token.secret, &KEY, &hints(), sign).await;
        let (id, certificate) = enrolled.unwrap();
        Device {
            id,
            certificate: certificate.fingerprint,
            sequence: 0,
        }
    }

    /// Enrols with a certificate that has this fingerprint.
    pub(crate) async fn enrol(
        &self,
        token: &PairingToken,
        key: &[u8; 32],
        fingerprint: Fingerprint,
    ) -> Result<DeviceId, IssueError> {
        let sign = move |_: &DeviceId| Ok(signed(fingerprint));
        let enrolled = self.fleet.enrol(&token.secret, key, &hints(), sign).await;
        enrolled.map(|(id, _)| id)
    }

    pub(crate) async fn renew(
        &self,
        with: &Fingerprint,
        fingerprint: Fingerprint,
    ) -> Result<DeviceId, IssueError> {
        let renewed = self
            .fleet
            .renew(with, move |_: &DeviceId| Ok(signed(fingerprint)));
        renewed.await.map(|(id, _)| id)
    }

    pub(crate) fn is_active(&self, certificate: &Fingerprint) -> bool {
        homeport_server::mqtt::Handler::identify(&self.fleet, certificate).is_some()
    }

    pub(crate) async fn connect(&self, device: &mut Device) -> Vec<Command> {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        self.fleet.connected(&device.id, &device.certificate, peer).await;
        self.report(device, Report::Inventory(Inventory::default())).await
    }

    pub(crate) async fn report(&self, device: &mut Device, report: Report) -> Vec<Command> {
        device.sequence += 1;
        self.report_as(device, device.sequence, report).await
    }

    pub(crate) async fn report_as(&self, device: &Device, sequence: u64, message: Report) -> Vec<Command> {
        let report = Sequenced {
            queue: 1,
            sequence,
            message,
        };
        let sent = self.fleet.report(&device.id, report).await.unwrap();
        sent.into_iter().map(|envelope| envelope.command).collect()
    }

    /// What the server sends a device in answer to a report.
    pub(crate) async fn answers(&self, device: &mut Device, message: Report) -> Vec<Envelope> {
        device.sequence += 1;
        let report = Sequenced {
            queue: 1,
            sequence: device.sequence,
            message,
        };
        self.fleet.report(&device.id, report).await.unwrap()
    }

    /// Changes the database by hand.
    pub(crate) fn sql(&self, statement: &str) {
        crate::support::sql(self.directory.path(), statement);
    }

    pub(crate) async fn state(&self, device: &mut Device, deployment: u64, state: DeploymentState) {
        self.report(device, state_report(deployment, state)).await;
    }

    pub(crate) async fn deploy(&self, device: &Device) -> Result<Deployment, FleetError> {
        let new = NewDeployment {
            bundle: self.bundle.clone(),
            target: Target::Device(device.id.to_string()),
        };
        self.fleet.deploy(&self.admin, new).await
    }

    /// The device of a deployment to one device.
    pub(crate) async fn update(&self, deployment: u64) -> (String, DeviceUpdate) {
        let devices = self
            .fleet
            .deployment_devices(&self.admin, deployment, None, Paging::first(2));
        let mut devices = devices.await.unwrap().items;
        assert_eq!(devices.len(), 1);
        let device = devices.remove(0);
        (device.device, device.update)
    }

    /// How many rows a table has.
    pub(crate) fn rows(&self, table: &str) -> usize {
        let query = format!("SELECT count(*) FROM {table}");
        if let Some(address) = homeport_testkit::postgres::database(self.directory.path()) {
            let count = homeport_testkit::postgres::with(&address, move |client| {
                client.query_one(&query, &[]).unwrap().get::<_, i64>(0)
            });
            return count.try_into().unwrap();
        }
        let database = Connection::open(self.directory.path().join("homeport.db")).unwrap();
        database.query_row(&query, [], |row| row.get(0)).unwrap()
    }

    pub(crate) async fn states(&self, deployment: u64) -> Vec<DeploymentState> {
        let (device, update) = self.update(deployment).await;
        let found = self.fleet.update_history(&self.admin, device, update.id);
        let found = found.await.unwrap();
        assert_eq!(found.update, update);
        let states: Vec<_> = found.history.iter().map(|change| change.state).collect();
        assert_eq!(states.last(), Some(&update.state));
        assert_eq!(states.iter().nth_back(1), update.previous.as_ref());
        assert_eq!(states.len() as u64, update.steps);
        states
    }
}

fn database(data_dir: &Path) -> Database {
    match homeport_testkit::postgres::database(data_dir) {
        Some(address) => Database::Postgres(Address::parse(&address, None, None).unwrap()),
        None => Database::Embedded,
    }
}

pub(crate) async fn log_in(fleet: &Fleet, user: &str, password: &str) -> Actor {
    let here = [127, 0, 0, 1].into();
    let session = fleet.log_in(here, user.into(), password.into()).await.unwrap();
    let (actor, _) = fleet.authenticate(&session.token).await.unwrap().unwrap();
    actor
}

async fn add_bundle(fleet: &Fleet, admin: &Actor, version: &str) -> String {
    let file = Bytes::from(bundle(version, 10));
    let mut upload = fleet.bundles().begin(file.len() as u64).unwrap();
    upload.write(&file).unwrap();
    let added = fleet.add_bundle(admin, upload, String::new(), None);
    let (bundle, is_new) = added.await.unwrap();
    assert!(is_new);
    bundle.id
}

/// Hash of the key that a device asks with.
pub(crate) const KEY: [u8; 32] = [3; 32];

pub(crate) fn hints() -> Hints {
    Hints {
        hostname: Some("board".into()),
        serial: Some("0815".into()),
        peer: [127, 0, 0, 1].into(),
    }
}

/// Nobody looks into it.
pub(crate) fn signed(fingerprint: Fingerprint) -> DeviceCertificate {
    DeviceCertificate {
        der: fingerprint.to_vec().into(),
        fingerprint,
        serial: "01".into(),
        expires_ms: i64::MAX,
    }
}

pub(crate) fn state_report(deployment: u64, state: DeploymentState) -> Report {
    Report::Deployment(DeploymentReport {
        deployment,
        state,
        reason: state
            .is_final()
            .then(|| Reason::new(FailureCode::Other, "for the test")),
        running_version: match state {
            DeploymentState::Verified => "2".into(),
            _ => "1".into(),
        },
        running_slot: "A".into(),
        bytes_fetched: 0,
        at_ms: 0,
    })
}
