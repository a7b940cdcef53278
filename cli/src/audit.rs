//! The record of who did what.

use homeport_api::AuditEntry;

use crate::{
    args,
    error::Result,
    human,
    output::{Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

/// `homeport audit`
pub(crate) fn run(audit: &args::Audit, output: Output) -> Result<()> {
    let page = audit
        .before
        .map(|before| format!("?before={before}"))
        .unwrap_or_default();
    let entries: Vec<AuditEntry> = StoredLogin::client()?.get(&format!("/api/v1/audit{page}"))?;
    if output.json {
        return output.json(&entries);
    }
    let mut table = Table::new(&["ID", "TIME", "WHO", "ACTION", "SUBJECT", "DETAIL"]);
    for entry in entries {
        table.row([
            (entry.id.to_string(), Tone::Faint),
            cell(human::absolute(entry.at_ms)),
            cell(entry.actor),
            cell(entry.action),
            cell(entry.subject),
            cell(entry.detail),
        ]);
    }
    output.table(&table, "No entries.")
}
