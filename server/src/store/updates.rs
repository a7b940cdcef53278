//! Updates: one row for each device of a deployment and each local install, one for every state it went through.

use homeport_api::{Bundle, DeviceProgress, DeviceUpdate, StateChange, UpdateOrigin, Why};
use homeport_protocol::{DeploymentState, report::LocalInstall};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Deserialize as _;
use serde::de::{IntoDeserializer as _, value::StrDeserializer};

use super::{StoreError, Tx};

/// Updates in a device's history that the API shows.
const SHOWN: u32 = 100;

/// Local installs of a device that are kept.
const LOCAL_INSTALLS: u32 = 100;

/// States of one update that are kept, and its final one: a device that goes back and forth does not fill the database.
const STATES: u32 = 256;

/// A state that an update enters.
#[derive(Debug, Clone)]
pub struct Transition {
    /// Which.
    pub state: DeploymentState,
    /// Why.
    pub reason: Option<Why>,
    /// Version that runs.
    pub running_version: String,
    /// Slot that runs.
    pub running_slot: String,
    /// Bytes fetched so far.
    pub bytes_fetched: u64,
}

const COLUMNS: &str =
    "id, deployment, version, state, reason, bytes_fetched, bundle_size, started_ms, updated_ms, device";

// === impl Tx ===

impl Tx {
    /// Newest first.
    pub fn updates_of_device(&self, device: &str) -> Result<Vec<DeviceUpdate>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM updates WHERE device = ? ORDER BY id DESC LIMIT ?"
        ))?;
        let mut rows = statement.query(params![device, SHOWN])?;
        let mut updates = Vec::new();
        while let Some(row) = rows.next()? {
            updates.push(self.assemble_update(row)?);
        }
        Ok(updates)
    }

    /// One device of a deployment.
    pub fn update(&self, deployment: u64, device: &str) -> Result<Option<DeviceProgress>, StoreError> {
        let Ok(deployment) = i64::try_from(deployment) else {
            return Ok(None);
        };
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM updates WHERE deployment = ? AND device = ?"
        ))?;
        statement
            .query_row(params![deployment, device], |row| Ok(self.assemble_progress(row)))
            .optional()?
            .transpose()
    }

    /// Records that an update entered a state.
    pub fn enter(
        &self,
        now_ms: i64,
        deployment: u64,
        device: &str,
        transition: &Transition,
    ) -> Result<(), StoreError> {
        let reason = transition
            .reason
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?;
        let id: i64 = self
            .0
            .prepare_cached(
                "UPDATE updates SET state = ?1, final = ?2, reason = ?3, bytes_fetched = max(bytes_fetched, ?4), updated_ms = ?5 \
                 WHERE deployment = ?6 AND device = ?7 RETURNING id",
            )?
            .query_row(
                params![
                    transition.state.as_str(),
                    transition.state.is_final(),
                    reason,
                    clamp(transition.bytes_fetched),
                    now_ms,
                    deployment,
                    device
                ],
                |row| row.get(0),
            )?;
        self.insert_state(now_ms, id, transition)
    }

    /// Notes that the device may know of the update from now on.
    pub fn mark_sent(&self, deployment: u64, device: &str) -> Result<(), StoreError> {
        self.0
            .prepare_cached("UPDATE updates SET sent = 1 WHERE deployment = ? AND device = ?")?
            .execute(params![deployment, device])?;
        Ok(())
    }

    /// Notes that an operator wants it cancelled.
    pub fn mark_cancel(&self, deployment: u64, device: &str) -> Result<(), StoreError> {
        self.0
            .prepare_cached("UPDATE updates SET cancel = 1 WHERE deployment = ? AND device = ?")?
            .execute(params![deployment, device])?;
        Ok(())
    }

    /// Adds an update that did not come through this server, and forgets the device's oldest of that kind beyond [`LOCAL_INSTALLS`].
    /// One that is known already is left as it is.
    pub fn insert_local_install(
        &self,
        now_ms: i64,
        device: &str,
        install: &LocalInstall,
        transition: &Transition,
    ) -> Result<(), StoreError> {
        // Without a transaction id, what happened when and where names it well enough.
        let key = if install.transaction.is_empty() {
            format!("{} {} {}", install.slot, install.version, install.at_ms)
        } else {
            install.transaction.clone()
        };
        let reason = transition
            .reason
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?;
        let id: Option<i64> = self
            .0
            .prepare_cached(
                "INSERT INTO updates (device, version, state, final, reason, started_ms, updated_ms, local_key) \
                 VALUES (?1, ?2, ?3, 1, ?4, ?5, ?5, ?6) ON CONFLICT DO NOTHING RETURNING id",
            )?
            .query_row(
                params![
                    device,
                    install.version,
                    transition.state.as_str(),
                    reason,
                    now_ms,
                    key
                ],
                |row| row.get(0),
            )
            .optional()?;
        let Some(id) = id else {
            return Ok(());
        };
        self.0
            .prepare_cached(
                "DELETE FROM updates WHERE device = ?1 AND deployment IS NULL AND id <= \
                 (SELECT id FROM updates WHERE device = ?1 AND deployment IS NULL ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![device, LOCAL_INSTALLS])?;
        self.insert_state(now_ms, id, transition)
    }

    pub(super) fn insert_offer(
        &self,
        now_ms: i64,
        deployment: u64,
        device: &str,
        bundle: &Bundle,
    ) -> Result<(), StoreError> {
        let transition = Transition {
            state: DeploymentState::Offered,
            reason: None,
            running_version: String::new(),
            running_slot: String::new(),
            bytes_fetched: 0,
        };
        self.0
            .prepare_cached(
                "INSERT INTO updates (device, deployment, version, state, final, bundle_size, started_ms, updated_ms) \
                 VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?6)",
            )?
            .execute(params![
                device,
                deployment,
                bundle.version,
                transition.state.as_str(),
                bundle.size,
                now_ms
            ])?;
        self.insert_state(now_ms, self.0.last_insert_rowid(), &transition)
    }

    pub(super) fn latest_update(&self, device: &str) -> Result<Option<DeviceUpdate>, StoreError> {
        // The one that runs, else the newest.
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM updates WHERE device = ? ORDER BY final, id DESC LIMIT 1"
        ))?;
        statement
            .query_row([device], |row| Ok(self.assemble_update(row)))
            .optional()?
            .transpose()
    }

    pub(super) fn updates_of_deployment(&self, deployment: u64) -> Result<Vec<DeviceProgress>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM updates WHERE deployment = ? ORDER BY id"
        ))?;
        let mut rows = statement.query([deployment])?;
        let mut devices = Vec::new();
        while let Some(row) = rows.next()? {
            devices.push(self.assemble_progress(row)?);
        }
        Ok(devices)
    }

    fn insert_state(&self, now_ms: i64, id: i64, transition: &Transition) -> Result<(), StoreError> {
        let reason = transition
            .reason
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?;
        self.0
            .prepare_cached(
                "INSERT INTO update_states (update_id, state, at_ms, running_version, running_slot, reason) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6 \
                 WHERE ?7 OR (SELECT count(*) FROM update_states WHERE update_id = ?1) < ?8",
            )?
            .execute(params![
                id,
                transition.state.as_str(),
                now_ms,
                transition.running_version,
                transition.running_slot,
                reason,
                transition.state.is_final(),
                STATES
            ])?;
        Ok(())
    }

    fn assemble_progress(&self, row: &Row<'_>) -> Result<DeviceProgress, StoreError> {
        let device: String = row.get(9)?;
        Ok(DeviceProgress {
            device_name: self.device_name(&device)?,
            device,
            update: self.assemble_update(row)?,
        })
    }

    fn assemble_update(&self, row: &Row<'_>) -> Result<DeviceUpdate, StoreError> {
        let deployment: Option<u64> = row.get(1)?;
        let name: String = row.get(3)?;
        Ok(DeviceUpdate {
            origin: match deployment {
                Some(_) => UpdateOrigin::Deployment,
                None => UpdateOrigin::Local,
            },
            deployment,
            version: row.get(2)?,
            state: state(&name),
            reason: why(row.get(4)?)?,
            percent: 0,
            message: String::new(),
            bytes_fetched: row.get(5)?,
            bundle_size: row.get(6)?,
            started_ms: row.get(7)?,
            updated_ms: row.get(8)?,
            history: self.history(row.get(0)?)?,
        })
    }

    fn history(&self, update: i64) -> Result<Vec<StateChange>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT state, at_ms, running_version, running_slot, reason FROM update_states WHERE update_id = ? ORDER BY id",
        )?;
        let mut rows = statement.query([update])?;
        let mut history = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            history.push(StateChange {
                state: state(&name),
                at_ms: row.get(1)?,
                running_version: row.get(2)?,
                running_slot: row.get(3)?,
                reason: why(row.get(4)?)?,
            });
        }
        Ok(history)
    }
}

/// The state of this name; [`DeploymentState::Unknown`] for names that are none.
pub(super) fn state(name: &str) -> DeploymentState {
    let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    DeploymentState::deserialize(name).unwrap_or(DeploymentState::Unknown)
}

fn why(json: Option<String>) -> Result<Option<Why>, StoreError> {
    json.map(|json| serde_json::from_str(&json).map_err(StoreError::from))
        .transpose()
}

/// What the database's signed numbers can hold.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn a_device_s_oldest_local_installs_give_way() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let transition = Transition {
            state: DeploymentState::Installed,
            reason: None,
            running_version: String::new(),
            running_slot: String::new(),
            bytes_fetched: 0,
        };
        let (newest, rows, states) = store
            .write(move |tx| {
                for device in ["a", "b"] {
                    tx.insert_device(0, device, device, None)?;
                }
                let install = |number: u32| LocalInstall {
                    transaction: format!("t{number}"),
                    version: number.to_string(),
                    slot: "rootfs.1".into(),
                    succeeded: true,
                    detail: String::new(),
                    at_ms: 0,
                };
                tx.insert_local_install(0, "b", &install(0), &transition)?;
                for number in 0..3 * LOCAL_INSTALLS {
                    tx.insert_local_install(0, "a", &install(number), &transition)?;
                }
                let count = |query: &str| tx.0.query_row(query, [], |row| row.get::<_, u32>(0));
                Ok::<_, StoreError>((
                    tx.updates_of_device("a")?[0].version.clone(),
                    count("SELECT count(*) FROM updates")?,
                    count("SELECT count(*) FROM update_states")?,
                ))
            })
            .await
            .unwrap();
        assert_eq!(newest, (3 * LOCAL_INSTALLS - 1).to_string());
        assert_eq!(
            (rows, states),
            (LOCAL_INSTALLS + 1, LOCAL_INSTALLS + 1),
            "those of `a`, and the one of `b`"
        );
    }
}
