//! Deployments: a bundle for a target.

use std::collections::BTreeMap;

use homeport_api::{Bundle, Deployment, Page, Target};
use homeport_protocol::{BundleOffer, DeploymentState, deployment::Progress};

use crate::access::{self, DEPLOYMENT_SEEN, DEVICE_SEEN, limited};
use crate::blob;
use crate::store::{Paging, Row, StoreError, Tx};

/// An update of a device that is not in a final state.
#[derive(Debug, Clone)]
pub struct OpenUpdate {
    /// Its deployment.
    pub deployment: u64,
    /// Its state.
    pub state: DeploymentState,
    /// Whether the device may know of it.
    pub sent: bool,
    /// Whether an operator wants it cancelled.
    pub cancel: bool,
    /// The bundle that it offers.
    pub bundle: BundleOffer,
}

const COLUMNS: &str = "id, bundle, version, target, created_ms, created_by, project";

// === impl Tx ===

impl Tx {
    /// Adds a deployment of `bundle` on `devices`. None of them has an open one.
    pub fn insert_deployment(
        &self,
        now_ms: i64,
        created_by: &str,
        bundle: &Bundle,
        target: &Target,
        project: &str,
        devices: &[String],
    ) -> Result<u64, StoreError> {
        let (target_device, target_group) = (target.device(), target.group());
        let target = serde_json::to_string(target)?;
        let id: u64 = self.value(
            "INSERT INTO deployments (bundle, size, version, compatible, manifest_hash, target, created_ms, \
             created_by, project, target_device, target_group) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
             ?10, ?11) RETURNING id",
            &[
                &bundle.id,
                &bundle.size,
                &bundle.version,
                &bundle.compatible,
                &bundle.manifest_hash,
                &target,
                &now_ms,
                &created_by,
                &project,
                &target_device,
                &target_group,
            ],
        )?;
        for device in devices {
            self.insert_offer(now_ms, id, device, bundle)?;
        }
        Ok(id)
    }

    /// The deployment with this number, with the devices of a scope counted.
    pub fn deployment(&self, id: u64, devices: &str) -> Result<Option<Deployment>, StoreError> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(None);
        };
        let found = self.row(
            &format!("SELECT {COLUMNS} FROM deployments WHERE id = ?1"),
            &[&id],
            deployment,
        )?;
        Ok(self.complete(found.into_iter().collect(), devices)?.pop())
    }

    /// Moves the deployments whose only target is this device to its project.
    pub fn move_deployments(&self, device: &str, project: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE deployments SET project = ?1 WHERE target_device = ?2",
            &[&project, &device],
        )?;
        Ok(())
    }

    /// Deployments of a scope, newest first, with the devices of another scope counted.
    pub fn deployments(
        &self,
        scope: &str,
        devices: &str,
        paging: &Paging<u64>,
    ) -> Result<Page<Deployment>, StoreError> {
        let deployments = self.rows(&format!(
            "SELECT {COLUMNS} FROM deployments WHERE {DEPLOYMENT_SEEN} AND id < ?2 ORDER BY id DESC LIMIT ?3",
            DEPLOYMENT_SEEN = limited(scope, DEPLOYMENT_SEEN)
        ), &[&scope, &paging.below(), &paging.rows()], deployment)?;
        let mut page = paging.page(deployments, |deployment| deployment.id)?;
        page.items = self.complete(page.items, devices)?;
        Ok(page)
    }

    /// The update that runs on a device, if one does.
    pub fn open_update(&self, device: &str) -> Result<Option<OpenUpdate>, StoreError> {
        self.row(
            "SELECT deployments.id, state, sent, cancel, bundle, size, deployments.version, compatible, \
             manifest_hash FROM updates JOIN deployments ON deployments.id = updates.deployment WHERE \
             device = ?1 AND final = 0",
            &[&device],
            |row| {
                let id: String = row.get(4)?;
                let manifest_hash: String = row.get(8)?;
                let state: String = row.get(1)?;
                Ok(OpenUpdate {
                    deployment: row.get(0)?,
                    state: super::update_rows::state(&state),
                    sent: row.get(2)?,
                    cancel: row.get(3)?,
                    bundle: BundleOffer {
                        path: blob::device_path(&id),
                        id,
                        size: row.get(5)?,
                        version: row.get(6)?,
                        compatible: row.get(7)?,
                        manifest_hash: Some(manifest_hash),
                    },
                })
            },
        )
    }

    /// Number of the deployment that runs on a device, if one does.
    pub fn open_deployment(&self, device: &str) -> Result<Option<u64>, StoreError> {
        self.row(
            "SELECT deployment FROM updates WHERE device = ?1 AND final = 0",
            &[&device],
            |row| row.get(0),
        )
    }

    /// Devices on which a deployment can be cancelled, because their running system is still untouched.
    pub fn cancellable_devices(&self, deployment: u64) -> Result<Vec<String>, StoreError> {
        let open: Vec<(String, String)> = self.rows(
            "SELECT device, state FROM updates WHERE deployment = ?1 AND final = 0 ORDER BY id",
            &[&deployment],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(open
            .into_iter()
            .filter(|(_, state)| super::update_rows::state(state).is_cancellable())
            .map(|(device, _)| device)
            .collect())
    }

    /// Open updates that need a bundle, of devices in a scope.
    pub fn open_updates_of_bundle(&self, scope: &str, bundle: &str) -> Result<u64, StoreError> {
        self.value(
            &format!(
                "SELECT count(*) FROM updates JOIN deployments ON deployments.id = updates.deployment JOIN \
                 devices ON devices.id = updates.device WHERE {DEVICE_SEEN} AND bundle = ?2 AND final = 0",
                DEVICE_SEEN = limited(scope, DEVICE_SEEN)
            ),
            &[&scope, &bundle],
        )
    }

    /// Whether `progress` is about the present state of the update.
    pub fn is_current(&self, device: &str, progress: &Progress) -> Result<bool, StoreError> {
        let open = self.open_update(device)?;
        Ok(open.is_some_and(|open| open.deployment == progress.deployment && open.state == progress.state))
    }

    /// Counts the devices of a scope in deployments.
    fn complete(&self, mut deployments: Vec<Deployment>, scope: &str) -> Result<Vec<Deployment>, StoreError> {
        let ids: Vec<u64> = deployments.iter().map(|deployment| deployment.id).collect();
        let ids = serde_json::to_string(&ids)?;
        let counts: Vec<(u64, String, u64, i64)> = self.rows(
            &format!(
                "SELECT deployment, state, count(*), max(updated_ms) FROM json_each(?2, '$') CROSS JOIN \
                 updates CROSS JOIN devices WHERE deployment = CAST(value AS BIGINT) AND devices.id = \
                 device AND {DEVICE_SEEN} GROUP BY deployment, state",
                DEVICE_SEEN = limited(scope, DEVICE_SEEN)
            ),
            &[&scope, &ids],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        for (id, state, count, updated_ms) in counts {
            if let Some(deployment) = deployments.iter_mut().find(|deployment| deployment.id == id) {
                deployment.finished &= super::update_rows::state(&state).is_final();
                deployment.updated_ms = deployment.updated_ms.max(updated_ms);
                deployment.states.insert(state, count);
            }
        }
        for deployment in &mut deployments {
            if let Target::Device(device) = &deployment.target {
                deployment.device_name = self.device_name(device)?;
            }
        }
        Ok(deployments)
    }
}

/// A deployment whose devices are not counted yet.
fn deployment(row: Row<'_>) -> Result<Deployment, StoreError> {
    let created_ms = row.get(4)?;
    Ok(Deployment {
        id: row.get(0)?,
        bundle: row.get(1)?,
        version: row.get(2)?,
        target: row.json(3)?,
        device_name: None,
        created_ms,
        created_by: row.get(5)?,
        project: access::path(row.get(6)?),
        finished: true,
        states: BTreeMap::new(),
        updated_ms: created_ms,
    })
}
