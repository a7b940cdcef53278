//! Groups of devices.

use homeport_api::{Device, Group, NewGroup};

use crate::{
    args::GroupCommand,
    client::{Client, encode},
    device,
    error::Result,
    find,
    output::{Output, Table, cell},
    stored_login::StoredLogin,
};

const GROUPS: &str = "/api/v1/groups";

/// `homeport group`
pub(crate) fn run(command: Option<GroupCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(GroupCommand::List) {
        GroupCommand::Create { name } => {
            let group: Group = client.post(GROUPS, &NewGroup { name })?;
            if output.json {
                return output.json(&group);
            }
            output.note(format_args!("Group {} is made.", group.name));
            Ok(())
        }
        GroupCommand::List => list(&client, output),
        GroupCommand::Show { name } => {
            let group: Group = client.get(&format!("{GROUPS}/{}", encode(&name)))?;
            if output.json {
                return output.json(&group);
            }
            device::list(&client, Some(&group.name), output)
        }
        GroupCommand::Delete { name } => {
            client.delete(&format!("{GROUPS}/{}", encode(&name)))?;
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
    let groups: Vec<Group> = client.list(GROUPS)?;
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

fn member(group: &str, device: &Device) -> String {
    format!("{GROUPS}/{}/devices/{}", encode(group), encode(&device.id))
}
