//! The record of who did what.

use homeport_api::{AuditEntry, Page};
use rusqlite::params;

use super::{Paging, StoreError, Tx};

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

    /// Newest first.
    pub fn audit_entries(&self, paging: &Paging<u64>) -> Result<Page<AuditEntry>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT id, at_ms, actor, action, subject, detail FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![paging.below(), paging.rows()], |row| {
            Ok(AuditEntry {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                actor: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
                detail: row.get(5)?,
            })
        })?;
        let rows = rows.collect::<Result<_, _>>()?;
        Ok(paging.page(rows, |entry: &AuditEntry| entry.id)?)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Paging, Store};

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
                tx.audit_entries(&Paging::first(10))
            })
            .await
            .unwrap();
        let left: Vec<_> = left.items.into_iter().map(|entry| entry.at_ms).collect();
        assert_eq!(left, [9, 2]);
    }
}
