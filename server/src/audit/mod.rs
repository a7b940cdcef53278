//! The record of who did what.

use homeport_api::{AuditEntry, Page, Permission};

pub(crate) mod http;
mod rows;

pub(crate) use self::rows::{BY_ANYBODY, BY_STRANGERS, FAILED_LOGIN, UNKNOWN_CERTIFICATE};
use crate::{
    access::Actor,
    fleet::{Fleet, FleetError},
    store::Paging,
};

// === impl Fleet ===

impl Fleet {
    /// Entries, newest first.
    pub async fn audit_entries(
        &self,
        actor: &Actor,
        paging: Paging<u64>,
    ) -> Result<Page<AuditEntry>, FleetError> {
        self.ask(actor, move |tx, access| {
            Ok(tx.audit_entries(&access.scope(Permission::AuditRead), &paging)?)
        })
        .await
    }
}
