//! Devices.

use homeport_api::{Device, DevicePatch, DeviceUpdate, UpdateOrigin};

use crate::{
    api_path::ApiPath,
    args::{self, DeviceCommand, DeviceList},
    ask,
    client::Client,
    error::Result,
    find, human,
    output::{Line, Output, Table, Tone, cell},
    stored_login::StoredLogin,
    telemetry, update,
};

/// `homeport device`
pub(crate) fn run(device: args::Device, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match device.command.unwrap_or(DeviceCommand::List(device.list)) {
        DeviceCommand::List(wanted) => list(&client, &wanted, output),
        DeviceCommand::Show { device } => show(&find::device(&client, &device)?, output),
        DeviceCommand::Rename { device, name } => {
            let device = find::device(&client, &device)?;
            let renamed: Device = client.patch(
                &path(&device),
                &DevicePatch {
                    name: Some(name),
                    ..DevicePatch::default()
                },
            )?;
            done(
                &renamed,
                &format!("{} is now called {}.", device.name, renamed.name),
                output,
            )
        }
        DeviceCommand::Move { device, project, .. } => {
            let device = find::device(&client, &device)?;
            let change = DevicePatch {
                // An empty one takes it out.
                project: Some(project.unwrap_or_default()),
                ..DevicePatch::default()
            };
            let moved: Device = client.patch(&path(&device), &change)?;
            let message = match &moved.project {
                Some(project) => format!("{} is in project {project}.", moved.name),
                None => format!("{} is in no project.", moved.name),
            };
            done(&moved, &message, output)
        }
        DeviceCommand::Revoke { device, sure } => {
            let device = find::device(&client, &device)?;
            let question = format!(
                "Revoke {} ({})? It is cut off until it is paired again.",
                device.name, device.id
            );
            ask::confirm(&question, sure.yes)?;
            let revoked: Device = client.post_empty(&path(&device).join("revoke"))?;
            let next = format!(
                "{} is revoked. `homeport token create --device {}` lets it pair again.",
                revoked.name, revoked.id
            );
            done(&revoked, &next, output)
        }
        DeviceCommand::Delete { device, sure } => {
            let device = find::device(&client, &device)?;
            let question = format!("Delete {} ({}) and its history?", device.name, device.id);
            ask::confirm(&question, sure.yes)?;
            client.delete(&path(&device))?;
            output.note(format_args!("{} is deleted.", device.name));
            Ok(())
        }
        DeviceCommand::Telemetry(wanted) => telemetry::run(&wanted, output),
        DeviceCommand::Updates { device } => {
            let device = find::device(&client, &device)?;
            updates(&client.list(&path(&device).join("updates"))?, output)
        }
    }
}

/// Lists all devices, or those of a group or project.
pub(crate) fn list(client: &Client, wanted: &DeviceList, output: Output) -> Result<()> {
    let mut path = ApiPath::new("devices");
    if let Some(group) = &wanted.group {
        path = path.query("group", group);
    }
    if let Some(project) = &wanted.project {
        path = path.query("project", project);
    }
    let devices: Vec<Device> = client.list(&path)?;
    if output.json {
        return output.json(&devices);
    }
    let mut table = Table::new(&[
        "ID", "NAME", "STATE", "SEEN", "VERSION", "MODEL", "PROJECT", "GROUPS", "UPDATE",
    ]);
    for device in &devices {
        table.row([
            (device.id.clone(), Tone::Faint),
            (device.name.clone(), Tone::Strong),
            presence(device),
            cell(seen(device)),
            cell(&device.os_version),
            cell(device.model.clone().unwrap_or_default()),
            cell(device.project.clone().unwrap_or_default()),
            cell(device.groups.join(", ")),
            device.update.as_ref().map_or_else(
                || cell(""),
                |update| {
                    let text = format!("{} {}", update.version, update::state(update));
                    (text, update::tone(update.state))
                },
            ),
        ]);
    }
    let empty = match (&wanted.group, &wanted.project) {
        (Some(_), _) => "No devices in this group. Add some with `homeport group add`.",
        (None, Some(_)) => "No devices in this project. Move some there with `homeport device move`.",
        (None, None) => {
            "No devices yet. `homeport token create` makes a token; on the device: homeport-agent pair <token>"
        }
    };
    output.table(&table.without_empty("PROJECT"), empty)
}

fn show(device: &Device, output: Output) -> Result<()> {
    if output.json {
        return output.json(device);
    }
    let (presence, tone) = presence(device);
    output.line(
        Line::default()
            .column(&device.name, Tone::Strong)
            .column(presence, tone),
    )?;
    output.pairs(&[
        ("id", device.id.clone()),
        ("seen", seen(device)),
        ("address", device.address.clone().unwrap_or_default()),
        ("model", device.model.clone().unwrap_or_default()),
        ("serial", device.serial.clone().unwrap_or_default()),
        ("host name", device.hostname.clone()),
        ("system", device.os.clone()),
        ("system version", device.os_version.clone()),
        (
            "kernel",
            format!("{} {}", device.kernel, device.architecture)
                .trim()
                .to_owned(),
        ),
        ("agent", device.agent_version.clone()),
        ("updater", device.updater.clone()),
        ("compatible", device.compatible.clone()),
        ("project", device.project.clone().unwrap_or_default()),
        ("groups", device.groups.join(", ")),
        ("paired", human::absolute(device.paired_ms)),
        (
            "certificate",
            format!(
                "expires {}, SHA-256 {}",
                human::relative(Some(device.certificate_expires_ms)),
                device.certificate_sha256
            ),
        ),
        ("update", device.update.as_ref().map(summary).unwrap_or_default()),
    ])?;
    if device.slots.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let mut table = Table::new(&["SLOT", "BOOTNAME", "STATE", "STATUS", "VERSION", "INSTALLED"]);
    for slot in &device.slots {
        let status = match slot.boot_status.as_str() {
            "good" => Tone::Good,
            "bad" => Tone::Bad,
            _ => Tone::Plain,
        };
        table.row([
            cell(&slot.name),
            cell(&slot.bootname),
            cell(&slot.state),
            (slot.boot_status.clone(), status),
            cell(&slot.version),
            cell(&slot.installed_at),
        ]);
    }
    output.table(&table, "")
}

fn updates(updates: &[DeviceUpdate], output: Output) -> Result<()> {
    if output.json {
        return output.json(&updates);
    }
    let mut table = Table::new(&["DEPLOYMENT", "VERSION", "STATE", "STARTED", "CHANGED", "REASON"]);
    for update in updates {
        let origin = match (update.origin, update.deployment) {
            (UpdateOrigin::Deployment, Some(number)) => number.to_string(),
            _ => "at the device".to_owned(),
        };
        table.row([
            cell(origin),
            cell(&update.version),
            (update::state(update), update::tone(update.state)),
            cell(human::absolute(update.started_ms)),
            cell(human::relative(Some(update.updated_ms))),
            cell(update::reason(update.reason.as_ref())),
        ]);
    }
    output.table(&table, "No updates yet.")
}

fn done(device: &Device, message: &str, output: Output) -> Result<()> {
    if output.json {
        return output.json(device);
    }
    output.note(message);
    Ok(())
}

fn presence(device: &Device) -> (String, Tone) {
    match device {
        Device { revoked: true, .. } => ("revoked".to_owned(), Tone::Bad),
        Device { online: true, .. } => ("online".to_owned(), Tone::Good),
        _ => ("offline".to_owned(), Tone::Attention),
    }
}

fn seen(device: &Device) -> String {
    if device.online {
        "now".to_owned()
    } else {
        human::relative(device.last_seen_ms)
    }
}

fn summary(update: &DeviceUpdate) -> String {
    let reason = match update::reason(update.reason.as_ref()) {
        reason if reason.is_empty() => reason,
        reason => format!(" ({reason})"),
    };
    format!(
        "{} {}{reason}, {}",
        update.version,
        update::state(update),
        human::relative(Some(update.updated_ms))
    )
}

fn path(device: &Device) -> ApiPath {
    ApiPath::new("devices").join(&device.id)
}
