//! The record of who did what.

use homeport_api::{AuditEntry, Page};

pub(crate) mod http;
mod rows;

pub(crate) use self::rows::{FAILED_LOGIN, UNKNOWN_CERTIFICATE};
use crate::{
    fleet::{Fleet, FleetError},
    store::Paging,
};

// === impl Fleet ===

impl Fleet {
    /// Entries, newest first.
    pub async fn audit_entries(&self, paging: Paging<u64>) -> Result<Page<AuditEntry>, FleetError> {
        Ok(self.0.store.read(move |tx| tx.audit_entries(&paging)).await?)
    }
}
