//! Deployments: what is to be installed where.

use homeport_api::{Bundle, Deployment, Target};
use homeport_protocol::{BundleOffer, DeploymentState, deployment::Progress};
use rusqlite::{OptionalExtension as _, Row, params};

use super::{StoreError, Tx};
use crate::bundle;

/// An update of a device that is not in a final state.
#[derive(Debug, Clone)]
pub struct OpenUpdate {
    /// Its deployment.
    pub deployment: u64,
    /// Where it stands.
    pub state: DeploymentState,
    /// Whether the device may know of it.
    pub sent: bool,
    /// Whether an operator wants it cancelled.
    pub cancel: bool,
    /// What is offered.
    pub bundle: BundleOffer,
}

const COLUMNS: &str = "id, bundle, version, target, created_ms, created_by";

// === impl Tx ===

impl Tx {
    /// Adds a deployment of `bundle` on `devices`, of which none has an open one.
    pub fn insert_deployment(
        &self,
        now_ms: i64,
        created_by: &str,
        bundle: &Bundle,
        target: &Target,
        devices: &[String],
    ) -> Result<u64, StoreError> {
        let target = serde_json::to_string(target)?;
        let id: u64 = self
            .0
            .prepare_cached(
                "INSERT INTO deployments (bundle, size, version, compatible, manifest_hash, target, created_ms, created_by) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            )?
            .query_row(
                params![
                    bundle.id,
                    bundle.size,
                    bundle.version,
                    bundle.compatible,
                    bundle.manifest_hash,
                    target,
                    now_ms,
                    created_by
                ],
                |row| row.get(0),
            )?;
        for device in devices {
            self.insert_offer(now_ms, id, device, bundle)?;
        }
        Ok(id)
    }

    /// The deployment with this number.
    pub fn deployment(&self, id: u64) -> Result<Option<Deployment>, StoreError> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(None);
        };
        self.0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM deployments WHERE id = ?"))?
            .query_row([id], |row| Ok(self.assemble_deployment(row)))
            .optional()?
            .transpose()
    }

    /// Newest first.
    pub fn deployments(&self, limit: u32) -> Result<Vec<Deployment>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM deployments ORDER BY id DESC LIMIT ?"
        ))?;
        let mut rows = statement.query([limit])?;
        let mut deployments = Vec::new();
        while let Some(row) = rows.next()? {
            deployments.push(self.assemble_deployment(row)?);
        }
        Ok(deployments)
    }

    /// The update that runs on a device, if one does.
    pub fn open_update(&self, device: &str) -> Result<Option<OpenUpdate>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT deployments.id, state, sent, cancel, bundle, size, deployments.version, compatible, manifest_hash \
             FROM updates JOIN deployments ON deployments.id = updates.deployment WHERE device = ? AND final = 0",
        )?;
        let open = statement.query_row([device], |row| {
            let id: String = row.get(4)?;
            let manifest_hash: String = row.get(8)?;
            let state: String = row.get(1)?;
            Ok(OpenUpdate {
                deployment: row.get(0)?,
                state: super::updates::state(&state),
                sent: row.get(2)?,
                cancel: row.get(3)?,
                bundle: BundleOffer {
                    path: bundle::device_path(&id),
                    id,
                    size: row.get(5)?,
                    version: row.get(6)?,
                    compatible: row.get(7)?,
                    manifest_hash: Some(manifest_hash),
                },
            })
        });
        Ok(open.optional()?)
    }

    /// Open updates that need a bundle.
    pub fn open_updates_of_bundle(&self, bundle: &str) -> Result<u64, StoreError> {
        Ok(self
            .0
            .prepare_cached(
                "SELECT count(*) FROM updates JOIN deployments ON deployments.id = updates.deployment \
                 WHERE bundle = ? AND final = 0",
            )?
            .query_row([bundle], |row| row.get(0))?)
    }

    /// Whether `progress` is about where the update stands.
    pub fn is_current(&self, device: &str, progress: &Progress) -> Result<bool, StoreError> {
        let open = self.open_update(device)?;
        Ok(open.is_some_and(|open| open.deployment == progress.deployment && open.state == progress.state))
    }

    fn assemble_deployment(&self, row: &Row<'_>) -> Result<Deployment, StoreError> {
        let id = row.get(0)?;
        let devices = self.updates_of_deployment(id)?;
        Ok(Deployment {
            id,
            bundle: row.get(1)?,
            version: row.get(2)?,
            target: serde_json::from_str(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
            created_ms: row.get(4)?,
            created_by: row.get(5)?,
            finished: devices.iter().all(|device| device.update.state.is_final()),
            devices,
        })
    }
}
