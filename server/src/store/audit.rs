//! The record of who did what.

use homeport_api::AuditEntry;
use rusqlite::params;

use super::{StoreError, Tx};

// === impl Tx ===

impl Tx {
    /// Adds an entry, in the transaction that does what it tells of.
    pub fn audit(
        &self,
        now_ms: i64,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        self.0
            .prepare_cached(
                "INSERT INTO audit (at_ms, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![now_ms, actor, action, subject, detail])?;
        Ok(())
    }

    /// Newest first, only those before entry `before`.
    pub fn audit_entries(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let before = before.and_then(|before| i64::try_from(before).ok());
        let mut statement = self.0.prepare_cached(
            "SELECT id, at_ms, actor, action, subject, detail FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![before.unwrap_or(i64::MAX), limit], |row| {
            Ok(AuditEntry {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                actor: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
                detail: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
