//! Updates: one row for each device of a deployment and for each local install, and one for every state that an update entered.

use std::collections::HashMap;

use homeport_api::{
    Bundle, DeviceProgress, DeviceUpdate, Page, StateChange, UpdateHistory, UpdateOrigin, Why,
};
use homeport_protocol::{DeploymentState, report::LocalInstall};
use serde::Deserialize as _;
use serde::de::{IntoDeserializer as _, value::StrDeserializer};

use crate::access::{DEVICE_SEEN, limited};
use crate::store::{Paging, Row, StoreError, Tx};

/// Local installs of a device that are kept.
const LOCAL_INSTALLS: u32 = 100;

/// States of one update that are kept, and its final one: a device that goes back and forth does not fill the database.
const STATES: u32 = 256;

/// A state that an update enters.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The state.
    pub state: DeploymentState,
    /// The reason.
    pub reason: Option<Why>,
    /// Version that runs.
    pub running_version: String,
    /// Slot that runs.
    pub running_slot: String,
    /// Bytes fetched so far.
    pub bytes_fetched: u64,
}

const COLUMNS: &str = "updates.id, deployment, version, state, previous, steps, reason, running_version, running_slot, \
     bytes_fetched, bundle_size, started_ms, updated_ms, device";

/// Place of the device's id in it.
const DEVICE: usize = 13;

// === impl Tx ===

impl Tx {
    /// Newest first.
    pub fn updates_of_device(
        &self,
        device: &str,
        paging: &Paging<u64>,
    ) -> Result<Page<DeviceUpdate>, StoreError> {
        let after = paging.below();
        let updates = self.rows(
            &format!("SELECT {COLUMNS} FROM updates WHERE device = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"),
            &[&device, &after, &paging.rows()],
            update,
        )?;
        Ok(paging.page(updates, |update| update.id)?)
    }

    /// Devices of a deployment that are in a scope, or those of them that are in `state`, in the order in which the deployment listed them.
    pub fn updates_of_deployment(
        &self,
        scope: &str,
        deployment: u64,
        state: Option<DeploymentState>,
        paging: &Paging<u64>,
    ) -> Result<Page<DeviceProgress>, StoreError> {
        let after = paging.above();
        let devices = if let Some(state) = state {
            self.rows(
                &format!(
                    "SELECT {COLUMNS}, name FROM updates JOIN devices ON devices.id = device WHERE \
                     {DEVICE_SEEN} AND deployment = ?2 AND state = ?5 AND updates.id > ?3 ORDER BY \
                     updates.id LIMIT ?4",
                    DEVICE_SEEN = limited(scope, DEVICE_SEEN)
                ),
                &[&scope, &deployment, &after, &paging.rows(), &state.as_str()],
                progress,
            )?
        } else {
            self.rows(
                &format!(
                    "SELECT {COLUMNS}, name FROM updates JOIN devices ON devices.id = device \
                 WHERE {DEVICE_SEEN} AND deployment = ?2 AND updates.id > ?3 ORDER BY updates.id LIMIT ?4",
                    DEVICE_SEEN = limited(scope, DEVICE_SEEN)
                ),
                &[&scope, &deployment, &after, &paging.rows()],
                progress,
            )?
        };
        Ok(paging.page(devices, |device| device.update.id)?)
    }

    /// An update of a device, with every state that it went through.
    pub fn update_history(&self, device: &str, id: u64) -> Result<Option<UpdateHistory>, StoreError> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(None);
        };
        let found = self.row(
            &format!("SELECT {COLUMNS} FROM updates WHERE id = ?1 AND device = ?2"),
            &[&id, &device],
            update,
        )?;
        let Some(update) = found else {
            return Ok(None);
        };
        let history = self.rows(
            "SELECT state, at_ms, running_version, running_slot, reason FROM update_states WHERE update_id \
             = ?1 ORDER BY id",
            &[&id],
            |row| {
                let name: String = row.get(0)?;
                Ok(StateChange {
                    state: state(&name),
                    at_ms: row.get(1)?,
                    running_version: row.get(2)?,
                    running_slot: row.get(3)?,
                    reason: why(row.get(4)?)?,
                })
            },
        )?;
        Ok(Some(UpdateHistory { update, history }))
    }

    /// One device of a deployment.
    pub fn update(&self, deployment: u64, device: &str) -> Result<Option<DeviceProgress>, StoreError> {
        let Ok(deployment) = i64::try_from(deployment) else {
            return Ok(None);
        };
        self.row(
            &format!(
                "SELECT {COLUMNS}, name FROM updates JOIN devices ON devices.id = device WHERE deployment = \
                 ?1 AND device = ?2"
            ),
            &[&deployment, &device],
            progress,
        )
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
        let id: i64 = self.value(
            "UPDATE updates SET state = ?1, final = ?2, reason = ?3, bytes_fetched = CASE WHEN \
             bytes_fetched < ?4 THEN ?4 ELSE bytes_fetched END, updated_ms = ?5, previous = state, steps = \
             steps + 1, running_version = ?6, running_slot = ?7 WHERE deployment = ?8 AND device = ?9 \
             RETURNING id",
            &[
                &transition.state.as_str(),
                &transition.state.is_final(),
                &reason,
                &clamp(transition.bytes_fetched),
                &now_ms,
                &transition.running_version,
                &transition.running_slot,
                &deployment,
                &device,
            ],
        )?;
        self.insert_state(now_ms, id, transition)
    }

    /// Notes that the device may know of the update from now on.
    pub fn mark_sent(&self, deployment: u64, device: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE updates SET sent = 1 WHERE deployment = ?1 AND device = ?2",
            &[&deployment, &device],
        )?;
        Ok(())
    }

    /// Notes that an operator wants it cancelled.
    pub fn mark_cancel(&self, deployment: u64, device: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE updates SET cancel = 1 WHERE deployment = ?1 AND device = ?2",
            &[&deployment, &device],
        )?;
        Ok(())
    }

    /// Adds an update that did not come through this server, and forgets the device's oldest of that kind beyond [`LOCAL_INSTALLS`]. A
    /// known one stays as it is.
    pub fn insert_local_install(
        &self,
        now_ms: i64,
        device: &str,
        install: &LocalInstall,
        transition: &Transition,
    ) -> Result<(), StoreError> {
        // Without a transaction id, the version, time and slot identify it well enough.
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
        let id: Option<i64> = self.row(
            "INSERT INTO updates (device, version, state, final, reason, started_ms, updated_ms, local_key, \
             running_version, running_slot) VALUES (?1, ?2, ?3, 1, ?4, ?5, ?5, ?6, ?7, ?8) ON CONFLICT DO \
             NOTHING RETURNING id",
            &[
                &device,
                &install.version,
                &transition.state.as_str(),
                &reason,
                &now_ms,
                &key,
                &transition.running_version,
                &transition.running_slot,
            ],
            |row| row.get(0),
        )?;
        let Some(id) = id else {
            return Ok(());
        };
        self.execute(
            "DELETE FROM updates WHERE device = ?1 AND deployment IS NULL AND id <= (SELECT id FROM updates \
             WHERE device = ?1 AND deployment IS NULL ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            &[&device, &LOCAL_INSTALLS],
        )?;
        self.insert_state(now_ms, id, transition)
    }

    pub(crate) fn insert_offer(
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
        let id = self.value(
            "INSERT INTO updates (device, deployment, version, state, final, bundle_size, started_ms, \
             updated_ms) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?6) RETURNING id",
            &[
                &device,
                &deployment,
                &bundle.version,
                &transition.state.as_str(),
                &bundle.size,
                &now_ms,
            ],
        )?;
        self.insert_state(now_ms, id, &transition)
    }

    /// Of each of these devices, a JSON list of ids, the running update, else the newest.
    pub(crate) fn latest_updates(&self, devices: &str) -> Result<HashMap<String, DeviceUpdate>, StoreError> {
        self.rows(
            &format!(
                "SELECT {COLUMNS} FROM json_each(?1, '$') CROSS JOIN updates WHERE updates.id = (SELECT \
                 latest.id FROM updates AS latest WHERE latest.device = value ORDER BY latest.final, \
                 latest.id DESC LIMIT 1)"
            ),
            &[&devices],
            |row| Ok((row.get(DEVICE)?, update(row)?)),
        )
    }

    fn insert_state(&self, now_ms: i64, id: i64, transition: &Transition) -> Result<(), StoreError> {
        let reason = transition
            .reason
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?;
        self.execute(
            "INSERT INTO update_states (update_id, state, at_ms, running_version, running_slot, reason) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6 \
                 WHERE ?7 <> 0 OR (SELECT count(*) FROM update_states WHERE update_id = ?1) < ?8",
            &[
                &id,
                &transition.state.as_str(),
                &now_ms,
                &transition.running_version,
                &transition.running_slot,
                &reason,
                &transition.state.is_final(),
                &STATES,
            ],
        )?;
        Ok(())
    }
}

/// Reads a row of `COLUMNS`, followed by the device's name.
fn progress(row: Row<'_>) -> Result<DeviceProgress, StoreError> {
    Ok(DeviceProgress {
        device: row.get(DEVICE)?,
        device_name: row.get(DEVICE + 1)?,
        update: update(row)?,
    })
}

fn update(row: Row<'_>) -> Result<DeviceUpdate, StoreError> {
    let deployment: Option<u64> = row.get(1)?;
    let (name, previous): (String, Option<String>) = (row.get(3)?, row.get(4)?);
    Ok(DeviceUpdate {
        id: row.get(0)?,
        origin: match deployment {
            Some(_) => UpdateOrigin::Deployment,
            None => UpdateOrigin::Local,
        },
        deployment,
        version: row.get(2)?,
        state: state(&name),
        previous: previous.as_deref().map(state),
        steps: row.get(5)?,
        reason: why(row.get(6)?)?,
        running_version: row.get(7)?,
        running_slot: row.get(8)?,
        percent: 0,
        message: String::new(),
        bytes_fetched: row.get(9)?,
        bundle_size: row.get(10)?,
        started_ms: row.get(11)?,
        updated_ms: row.get(12)?,
    })
}

/// The state of this name; [`DeploymentState::Unknown`] for an unknown name.
pub(crate) fn state(name: &str) -> DeploymentState {
    let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    DeploymentState::deserialize(name).unwrap_or(DeploymentState::Unknown)
}

fn why(json: Option<String>) -> Result<Option<Why>, StoreError> {
    json.map(|json| serde_json::from_str(&json).map_err(StoreError::from))
        .transpose()
}

/// The number, cut to the largest that the database's signed numbers hold.
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
        let store = Store::for_test(directory.path());
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
                    tx.insert_device(0, device, device, None, "")?;
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
                let count = |query: &str| tx.value::<u32>(query, &[]);
                Ok::<_, StoreError>((
                    tx.updates_of_device("a", &Paging::first(1))?.items[0]
                        .version
                        .clone(),
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
