//! What the server is asked about deployments.

use homeport_api::{Deployment, DeviceProgress, StateChange, Target, UpdateHistory};

use crate::{
    client::{Client, encode},
    error::Result,
};

/// The deployments of the REST API.
pub(super) const DEPLOYMENTS: &str = "/api/v1/deployments";

/// A deployment as it is now.
pub(crate) fn fetch(client: &Client, id: u64) -> Result<Deployment> {
    client.get(&format!("{DEPLOYMENTS}/{id}"))
}

/// Its devices.
pub(crate) fn devices(client: &Client, id: u64) -> Result<Vec<DeviceProgress>> {
    client.list(&format!("{DEPLOYMENTS}/{id}/devices"))
}

/// What a device went through.
pub(crate) fn history(client: &Client, device: &DeviceProgress) -> Result<Vec<StateChange>> {
    let path = format!(
        "/api/v1/devices/{}/updates/{}",
        encode(&device.device),
        device.update.id
    );
    Ok(client.get::<UpdateHistory>(&path)?.history)
}

/// Who a deployment is for.
pub(crate) fn whom(deployment: &Deployment) -> String {
    match &deployment.target {
        Target::Device(id) => deployment.device_name.clone().unwrap_or_else(|| id.clone()),
        Target::Group(name) => match deployment.states.values().sum::<u64>() {
            1 => format!("group {name} (1 device)"),
            count => format!("group {name} ({count} devices)"),
        },
    }
}
