//! The record of who did what.

use homeport_api::AuditEntry;

use crate::{
    api_path::ApiPath,
    args,
    error::Result,
    human,
    output::{Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

/// `homeport audit`
pub(crate) fn run(wanted: &args::Newest, output: Output) -> Result<()> {
    let (entries, more) = StoredLogin::client()?.first::<AuditEntry>(&ApiPath::new("audit"), wanted.limit)?;
    if output.json {
        return output.json(&entries);
    }
    let mut table = Table::new(&["ID", "TIME", "WHO", "ACTION", "PROJECT", "SUBJECT", "DETAIL"]);
    for entry in entries {
        table.row([
            (entry.id.to_string(), Tone::Faint),
            cell(human::absolute(entry.at_ms)),
            cell(entry.actor),
            cell(entry.action),
            cell(entry.project.unwrap_or_default()),
            cell(entry.subject),
            cell(entry.detail),
        ]);
    }
    output.table(&table.without_empty("PROJECT"), "No entries.")?;
    output.note_more(more);
    Ok(())
}
