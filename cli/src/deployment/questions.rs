//! What the server is asked about deployments.

use homeport_api::{Deployment, DeviceProgress, StateChange, Target, UpdateHistory};

use crate::{api_path::ApiPath, client::Client, error::Result};

/// The deployments of the REST API.
pub(super) fn deployments() -> ApiPath {
    ApiPath::new("deployments")
}

/// A deployment as it is now.
pub(crate) fn fetch(client: &Client, id: u64) -> Result<Deployment> {
    client.get(&deployments().join(id))
}

/// Its devices.
pub(crate) fn devices(client: &Client, id: u64) -> Result<Vec<DeviceProgress>> {
    client.list(&deployments().join(id).join("devices"))
}

/// What a device went through.
pub(crate) fn history(client: &Client, device: &DeviceProgress) -> Result<Vec<StateChange>> {
    let path = ApiPath::new("devices")
        .join(&device.device)
        .join("updates")
        .join(device.update.id);
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
