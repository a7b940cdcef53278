//! Deployments.

use homeport_api::{Deployment, DeviceProgress, Group, NewDeployment, StateChange, Target};
use homeport_protocol::DeploymentState;
use serde::Serialize;

pub(crate) mod questions;
mod view;
mod watch;

use self::questions::{deployments, devices, fetch, history, whom};
use crate::{
    api_path::ApiPath,
    args::{self, DeploymentCommand},
    bundle,
    client::Client,
    error::Result,
    find, human,
    output::{Line, Output, Table, Tone, cell},
    stored_login::StoredLogin,
    update,
};

const BUNDLE_SUFFIX: &str = ".raucb";

/// Devices of a deployment that are shown with what they went through.
const WITH_HISTORY: usize = 20;

/// A deployment with its devices.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    deployment: Deployment,
    devices: Vec<ShownDevice>,
}

#[derive(Debug, Serialize)]
struct ShownDevice {
    #[serde(flatten)]
    progress: DeviceProgress,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<StateChange>>,
}

/// `homeport deploy`
pub(crate) fn deploy(deploy: args::Deploy, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    // The target is looked up first: nobody wants to upload gigabytes for a misspelt name.
    let (target, project) = match (deploy.target.device, deploy.target.group) {
        (Some(device), _) => {
            let device = find::device(&client, &device)?;
            (Target::Device(device.id), device.project)
        }
        (None, group) => {
            let group: Group = client.get(&ApiPath::new("groups").join(group.unwrap_or_default()))?;
            (Target::Group(group.name), group.project)
        }
    };
    let bundle = if is_file(&deploy.bundle) {
        bundle::upload_for(&client, deploy.bundle.as_ref(), project.as_deref(), output)?
    } else {
        find::bundle_for(&client, &deploy.bundle, project.as_deref())?
    };
    let new = NewDeployment {
        bundle: bundle.id,
        target,
    };
    let deployment: Deployment = client.post(&deployments(), &new)?;
    if deploy.watch {
        return watch::run(&client, deployment.id, deploy.limit.timeout, output);
    }
    if output.json {
        return output.json(&deployment);
    }
    output.line(format_args!(
        "Deployment {}: {} to {}",
        deployment.id,
        deployment.version,
        whom(&deployment)
    ))?;
    output.note(format_args!(
        "Watch it with `homeport deployment watch {}`.",
        deployment.id
    ));
    Ok(())
}

/// `homeport deployment`
pub(crate) fn run(wanted: args::Deployment, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match wanted.command.unwrap_or(DeploymentCommand::List(wanted.list)) {
        DeploymentCommand::List(newest) => {
            let (newest, more) = client.first(&deployments(), newest.limit)?;
            list(&newest, output)?;
            output.note_more(more);
            Ok(())
        }
        DeploymentCommand::Show { id } => show(&with_devices(&client, fetch(&client, id)?)?, output),
        DeploymentCommand::Cancel { id } => {
            let deployment: Deployment = client.post_empty(&deployments().join(id).join("cancel"))?;
            let finished = deployment.finished;
            show(&with_devices(&client, deployment)?, output)?;
            if !finished {
                output.note("Devices that have written the update already go on: see their state above.");
            }
            Ok(())
        }
        DeploymentCommand::Watch { id, limit } => watch::run(&client, id, limit.timeout, output),
    }
}

fn with_devices(client: &Client, deployment: Deployment) -> Result<Shown> {
    let devices = devices(client, deployment.id)?;
    let few = devices.len() <= WITH_HISTORY;
    let devices = devices.into_iter().map(|progress| {
        let history = few.then(|| history(client, &progress)).transpose()?;
        Ok(ShownDevice { progress, history })
    });
    Ok(Shown {
        devices: devices.collect::<Result<_>>()?,
        deployment,
    })
}

fn list(deployments: &[Deployment], output: Output) -> Result<()> {
    if output.json {
        return output.json(&deployments);
    }
    let mut table = Table::new(&[
        "ID", "VERSION", "TO", "PROJECT", "STATE", "VERIFIED", "CREATED", "BY",
    ]);
    for deployment in deployments {
        let verified = deployment.states.get(DeploymentState::Verified.as_str());
        let verified = verified.copied().unwrap_or_default();
        let all: u64 = deployment.states.values().sum();
        let state = match (deployment.finished, verified == all) {
            (false, _) => ("running", Tone::Busy),
            (true, true) => ("done", Tone::Good),
            (true, false) => ("done, not all verified", Tone::Bad),
        };
        table.row([
            cell(deployment.id.to_string()),
            (deployment.version.clone(), Tone::Strong),
            cell(whom(deployment)),
            cell(deployment.project.clone().unwrap_or_default()),
            (state.0.to_owned(), state.1),
            cell(format!("{verified} of {all}")),
            cell(human::relative(Some(deployment.created_ms))),
            cell(&deployment.created_by),
        ]);
    }
    output.table(
        &table.without_empty("PROJECT"),
        "No deployments. Make one with `homeport deploy`.",
    )
}

fn show(shown: &Shown, output: Output) -> Result<()> {
    if output.json {
        return output.json(shown);
    }
    let Shown { deployment, devices } = shown;
    let made = format!(
        " to {}, made {} by {}",
        whom(deployment),
        human::relative(Some(deployment.created_ms)),
        deployment.created_by
    );
    output.line(
        Line::from(format_args!("Deployment {}: ", deployment.id))
            .and(&deployment.version, Tone::Strong)
            .and(made, Tone::Plain),
    )?;
    for ShownDevice { progress, history } in devices {
        let update = &progress.update;
        if history.is_some() {
            output.line("")?;
        }
        output.line(
            Line::default()
                .column(&progress.device_name, Tone::Strong)
                .column(update::state(update), update::tone(update.state))
                .column(update::reason(update.reason.as_ref()), Tone::Plain),
        )?;
        for change in history.iter().flatten() {
            output.line(format_args!("  {}", update::change(change)))?;
        }
        let fetched = update::fetched(update);
        if history.is_some() && !fetched.is_empty() {
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
