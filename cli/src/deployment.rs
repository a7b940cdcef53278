//! Deployments.

use homeport_api::{Deployment, NewDeployment, Target};
use homeport_protocol::DeploymentState;

use crate::{
    args::{self, DeploymentCommand},
    bundle,
    client::Client,
    error::Result,
    find, human,
    output::{Output, Table, Tone, cell, clean},
    stored_login::StoredLogin,
    update, watch,
};

const DEPLOYMENTS: &str = "/api/v1/deployments";
const BUNDLE_SUFFIX: &str = ".raucb";

/// `homeport deploy`
pub(crate) fn deploy(deploy: args::Deploy, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    // The target is looked up first: nobody wants to upload gigabytes for a misspelt name.
    let target = match (deploy.target.device, deploy.target.group) {
        (Some(device), _) => Target::Device(find::device(&client, &device)?.id),
        (None, group) => Target::Group(group.unwrap_or_default()),
    };
    let bundle = if is_file(&deploy.bundle) {
        bundle::upload(&client, deploy.bundle.as_ref(), output)?
    } else {
        find::bundle(&client, &deploy.bundle)?
    };
    let new = NewDeployment {
        bundle: bundle.id,
        target,
    };
    let deployment: Deployment = client.post(DEPLOYMENTS, &new)?;
    if deploy.watch {
        return watch::run(&client, deployment.id, deploy.limit.timeout, output);
    }
    if output.json {
        return output.json(&deployment);
    }
    output.line(format_args!(
        "Deployment {}: {} to {}",
        deployment.id,
        clean(&deployment.version),
        clean(&whom(&deployment))
    ))?;
    output.note(format_args!(
        "Watch it with `homeport deployment watch {}`.",
        deployment.id
    ));
    Ok(())
}

/// `homeport deployment`
pub(crate) fn run(command: Option<DeploymentCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(DeploymentCommand::List) {
        DeploymentCommand::List => list(&client.get::<Vec<_>>(DEPLOYMENTS)?, output),
        DeploymentCommand::Show { id } => show(&fetch(&client, id)?, output),
        DeploymentCommand::Cancel { id } => {
            let deployment: Deployment = client.post_empty(&format!("{DEPLOYMENTS}/{id}/cancel"))?;
            if output.json {
                return output.json(&deployment);
            }
            show(&deployment, output)?;
            if !deployment.finished {
                output.note("Devices that have written the update already go on: see their state above.");
            }
            Ok(())
        }
        DeploymentCommand::Watch { id, limit } => watch::run(&client, id, limit.timeout, output),
    }
}

/// A deployment as it is now.
pub(crate) fn fetch(client: &Client, id: u64) -> Result<Deployment> {
    client.get(&format!("{DEPLOYMENTS}/{id}"))
}

/// Who a deployment is for.
pub(crate) fn whom(deployment: &Deployment) -> String {
    match &deployment.target {
        Target::Device(id) => deployment
            .devices
            .iter()
            .find(|device| device.device == *id)
            .map_or_else(|| id.clone(), |device| device.device_name.clone()),
        Target::Group(name) => match deployment.devices.len() {
            1 => format!("group {name} (1 device)"),
            count => format!("group {name} ({count} devices)"),
        },
    }
}

fn list(deployments: &[Deployment], output: Output) -> Result<()> {
    if output.json {
        return output.json(&deployments);
    }
    let mut table = Table::new(&["ID", "VERSION", "TO", "STATE", "VERIFIED", "CREATED", "BY"]);
    for deployment in deployments {
        let verified = deployment
            .devices
            .iter()
            .filter(|device| device.update.state == DeploymentState::Verified)
            .count();
        let all = deployment.devices.len();
        let state = match (deployment.finished, verified == all) {
            (false, _) => ("running", Tone::Busy),
            (true, true) => ("done", Tone::Good),
            (true, false) => ("done, not all verified", Tone::Bad),
        };
        table.row([
            cell(deployment.id.to_string()),
            (deployment.version.clone(), Tone::Strong),
            cell(whom(deployment)),
            (state.0.to_owned(), state.1),
            cell(format!("{verified} of {all}")),
            cell(human::relative(Some(deployment.created_ms))),
            cell(&deployment.created_by),
        ]);
    }
    output.table(&table, "No deployments. Make one with `homeport deploy`.")
}

fn show(deployment: &Deployment, output: Output) -> Result<()> {
    if output.json {
        return output.json(deployment);
    }
    output.line(format_args!(
        "Deployment {}: {} to {}, made {} by {}",
        deployment.id,
        output.paint(&clean(&deployment.version), Tone::Strong),
        clean(&whom(deployment)),
        human::relative(Some(deployment.created_ms)),
        clean(&deployment.created_by)
    ))?;
    for device in &deployment.devices {
        let update = &device.update;
        output.line("")?;
        let line = format!(
            "{}  {}  {}",
            output.paint(&clean(&device.device_name), Tone::Strong),
            output.paint(&update::state(update), update::tone(update.state)),
            clean(&update::reason(update.reason.as_ref()))
        );
        output.line(line.trim_end())?;
        for change in &update.history {
            output.line(format_args!("  {}", clean(&update::change(change))))?;
        }
        let fetched = update::fetched(update);
        if !fetched.is_empty() {
            output.line(format_args!("  {fetched}"))?;
        }
    }
    Ok(())
}

/// Only what looks like a file is one, whatever lies in the working directory.
fn is_file(bundle: &str) -> bool {
    bundle.contains(std::path::is_separator) || bundle.ends_with(BUNDLE_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_versions() {
        assert!(is_file("./x"));
        assert!(is_file("update.raucb"));
        assert!(!is_file("1.4.0"));
        assert!(!is_file("3fa9"));
    }
}
