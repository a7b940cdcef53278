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

    /// Forgets the oldest failed logins from before `before_ms`, at most `limit`: strangers made them.
    pub fn prune_failed_logins(&self, before_ms: i64, limit: u32) -> Result<usize, StoreError> {
        Ok(self
            .0
            .prepare_cached(
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE action = 'session.fail' ORDER BY id LIMIT ?) AND at_ms < ?",
            )?
            .execute(params![limit, before_ms])?)
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

#[cfg(test)]
mod tests {
    use crate::store::Store;

    #[tokio::test]
    async fn only_old_failed_logins_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let left = store
            .write(|tx| {
                for (at_ms, action) in [
                    (1, "session.fail"),
                    (2, "device.delete"),
                    (3, "session.fail"),
                    (9, "session.fail"),
                ] {
                    tx.audit(at_ms, "a", action, "b", "")?;
                }
                assert_eq!(tx.prune_failed_logins(9, 1)?, 1, "in steps");
                assert_eq!(tx.prune_failed_logins(9, 100)?, 1);
                tx.audit_entries(None, 10)
            })
            .await
            .unwrap();
        let left: Vec<_> = left.into_iter().map(|entry| entry.at_ms).collect();
        assert_eq!(left, [9, 2]);
    }
}
