//! Groups of devices.

use homeport_api::{Device, Group, NewGroup};

use crate::{
    api_path::ApiPath,
    args::{DeviceList, GroupCommand},
    client::Client,
    device,
    error::Result,
    find,
    output::{Output, Table, cell},
    stored_login::StoredLogin,
};

/// `homeport group`
pub(crate) fn run(command: Option<GroupCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(GroupCommand::List) {
        GroupCommand::Create { name } => {
            let group: Group = client.post(&groups(), &NewGroup { name })?;
            if output.json {
                return output.json(&group);
            }
            output.note(format_args!("Group {} is made.", group.name));
            Ok(())
        }
        GroupCommand::List => list(&client, output),
        GroupCommand::Show { name } => {
            let group: Group = client.get(&groups().join(&name))?;
            if output.json {
                return output.json(&group);
            }
            let devices = DeviceList {
                group: Some(group.name),
                project: None,
            };
            device::list(&client, &devices, output)
        }
        GroupCommand::Delete { name } => {
            client.delete(&groups().join(&name))?;
            output.note(format_args!("Group {name} is deleted."));
            Ok(())
        }
        GroupCommand::Add { group, devices } => {
            for device in resolve(&client, &devices)? {
                client.put_empty(&member(&group, &device))?;
                output.note(format_args!("{} is in {group}.", device.name));
            }
            Ok(())
        }
        GroupCommand::Remove { group, devices } => {
            for device in resolve(&client, &devices)? {
                client.delete(&member(&group, &device))?;
                output.note(format_args!("{} is no longer in {group}.", device.name));
            }
            Ok(())
        }
    }
}

fn list(client: &Client, output: Output) -> Result<()> {
    let groups: Vec<Group> = client.list(&groups())?;
    if output.json {
        return output.json(&groups);
    }
    let mut table = Table::new(&["NAME", "DEVICES"]);
    for group in &groups {
        table.row([cell(&group.name), cell(group.devices.to_string())]);
    }
    output.table(&table, "No groups. Make one with `homeport group create`.")
}

/// Every name is looked up before anything is changed.
fn resolve(client: &Client, devices: &[String]) -> Result<Vec<Device>> {
    devices
        .iter()
        .map(|device| find::device(client, device))
        .collect()
}

fn groups() -> ApiPath {
    ApiPath::new("groups")
}

fn member(group: &str, device: &Device) -> ApiPath {
    groups().join(group).join("devices").join(&device.id)
}
