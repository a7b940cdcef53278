//! The record of who did what.

use std::collections::HashSet;

use homeport_api::{AuditEntry, Page};

use crate::access::{self, AUDIT_SEEN, limited};
use crate::store::{Paging, StoreError, Tx};

/// Somebody failed to log in.
pub(crate) const FAILED_LOGIN: &str = "session.fail";

/// A device showed a certificate that the database does not know.
pub(crate) const UNKNOWN_CERTIFICATE: &str = "device.unknown-certificate";

/// Entries that strangers and devices cause.
pub(crate) const BY_STRANGERS: &[&str] = &[FAILED_LOGIN, UNKNOWN_CERTIFICATE];

/// Entries that people cause with no permission: they change the own account.
pub(crate) const BY_ANYBODY: &[&str] = &[
    "session.create",
    "session.delete",
    "user.change-password",
    "access-token.create",
    "access-token.revoke",
];

// === impl Tx ===

impl Tx {
    /// Adds an entry, in the transaction that does the action. Those who may read the audit record of `project` see it; of an empty path,
    /// those who may read everything.
    pub fn audit(
        &self,
        now_ms: i64,
        project: &str,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO audit (at_ms, project, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5, \
             ?6)",
            &[&now_ms, &project, &actor, &action, &subject, &detail],
        )?;
        Ok(())
    }

    /// Deletes the oldest entries of these kinds from before `before_ms`, at most `limit` of a kind, and counts them.
    pub fn prune_audit(&self, actions: &[&str], before_ms: i64, limit: u32) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        for action in actions {
            forgotten += self.execute(
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE action = ?1 ORDER BY id LIMIT \
                 ?2) AND at_ms < ?3",
                &[action, &limit, &before_ms],
            )?;
        }
        Ok(forgotten)
    }

    /// Subjects of the newest entries of this kind, from `since_ms` on, at most `limit`.
    pub fn audited_since(
        &self,
        action: &str,
        since_ms: i64,
        limit: usize,
    ) -> Result<HashSet<String>, StoreError> {
        self.rows(
            "SELECT subject FROM audit WHERE action = ?1 AND at_ms >= ?2 ORDER BY id DESC LIMIT ?3",
            &[&action, &since_ms, &limit],
            |row| row.get(0),
        )
    }

    /// Entries of a scope, newest first.
    pub fn audit_entries(&self, scope: &str, paging: &Paging<u64>) -> Result<Page<AuditEntry>, StoreError> {
        let rows = self.rows(
            &format!(
                "SELECT id, at_ms, actor, action, subject, detail, project FROM audit \
             WHERE {AUDIT_SEEN} AND id < ?2 ORDER BY id DESC LIMIT ?3",
                AUDIT_SEEN = limited(scope, AUDIT_SEEN)
            ),
            &[&scope, &paging.below(), &paging.rows()],
            |row| {
                Ok(AuditEntry {
                    id: row.get(0)?,
                    at_ms: row.get(1)?,
                    actor: row.get(2)?,
                    action: row.get(3)?,
                    subject: row.get(4)?,
                    detail: row.get(5)?,
                    project: access::path(row.get(6)?),
                })
            },
        )?;
        Ok(paging.page(rows, |entry: &AuditEntry| entry.id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{BY_ANYBODY, BY_STRANGERS, FAILED_LOGIN, UNKNOWN_CERTIFICATE};
    use crate::access::EVERYTHING;
    use crate::store::{Paging, Store};

    #[tokio::test]
    async fn only_what_needs_no_permission_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let left = store
            .write(|tx| {
                for (at_ms, action) in [
                    (1, FAILED_LOGIN),
                    (2, "device.delete"),
                    (3, FAILED_LOGIN),
                    (4, UNKNOWN_CERTIFICATE),
                    (9, FAILED_LOGIN),
                    (10, UNKNOWN_CERTIFICATE),
                    (5, "session.create"),
                ] {
                    tx.audit(at_ms, "", "a", action, "b", "")?;
                }
                assert_eq!(tx.prune_audit(BY_STRANGERS, 9, 1)?, 2, "in steps");
                assert_eq!(tx.prune_audit(BY_STRANGERS, 9, 100)?, 1);
                assert_eq!(tx.prune_audit(BY_ANYBODY, 5, 100)?, 0);
                assert_eq!(tx.prune_audit(BY_ANYBODY, 6, 100)?, 1);
                tx.audit_entries(EVERYTHING, &Paging::first(10))
            })
            .await
            .unwrap();
        let left: Vec<_> = left.items.into_iter().map(|entry| entry.at_ms).collect();
        assert_eq!(left, [10, 9, 2]);
    }
}
