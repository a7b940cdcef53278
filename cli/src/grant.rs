//! Roles, and where they hold.

use homeport_api::Grant;

use crate::output::{Table, Tone, cell};

/// The roles of a user, a row for each.
pub(crate) fn table(grants: &[Grant]) -> Table {
    let mut table = Table::new(&["ROLE", "ON"]);
    for grant in grants {
        table.row([
            (grant.role.to_string(), Tone::Strong),
            cell(place(grant.project.as_deref(), grant.group.as_deref())),
        ]);
    }
    table
}

/// The roles of a user on one line.
pub(crate) fn summary(grants: &[Grant]) -> String {
    let grants: Vec<String> = grants
        .iter()
        .map(|grant| {
            let place = place(grant.project.as_deref(), grant.group.as_deref());
            format!("{} on {place}", grant.role)
        })
        .collect();
    grants.join(", ")
}

/// Where a role holds, after "on".
pub(crate) fn place(project: Option<&str>, group: Option<&str>) -> String {
    match (project, group) {
        (Some(project), _) => format!("project {project}"),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "everything".to_owned(),
    }
}
