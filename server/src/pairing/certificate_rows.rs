//! Certificates of devices.

use homeport_protocol::DeviceId;

use crate::ca::{DeviceCertificate, Fingerprint};
use crate::store::{StoreError, Tx, device_id};

// === impl Tx ===

impl Tx {
    /// Adds an active certificate.
    pub fn insert_certificate(
        &self,
        now_ms: i64,
        device: &str,
        certificate: &DeviceCertificate,
        replaces: Option<&Fingerprint>,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO certificates (hash, device, serial, issued_ms, expires_ms, replaces) VALUES (?1, \
             ?2, ?3, ?4, ?5, ?6)",
            &[
                &certificate.fingerprint,
                &device,
                &certificate.serial,
                &now_ms,
                &certificate.expires_ms,
                &replaces,
            ],
        )?;
        Ok(())
    }

    /// The device that holds this certificate, if it is neither revoked nor expired.
    pub fn certificate_holder(
        &self,
        now_ms: i64,
        certificate: &Fingerprint,
    ) -> Result<Option<DeviceId>, StoreError> {
        self.row(
            "SELECT device FROM certificates WHERE hash = ?1 AND revoked_ms IS NULL AND expires_ms > ?2",
            &[&certificate, &now_ms],
            |row| row.get::<String>(0),
        )?
        .map(|id| device_id(&id))
        .transpose()
    }

    /// Whether the device has a certificate that is not revoked.
    pub fn has_active_certificate(&self, device: &str) -> Result<bool, StoreError> {
        self.value(
            "SELECT EXISTS (SELECT 1 FROM certificates WHERE device = ?1 AND revoked_ms IS NULL)",
            &[&device],
        )
    }

    /// The number of certificates that the device got after `since_ms`, and when it got the first of them.
    pub fn certificates_since(&self, device: &str, since_ms: i64) -> Result<(u32, i64), StoreError> {
        self.one(
            "SELECT count(*), coalesce(min(issued_ms), 0) FROM certificates WHERE device = ?1 AND issued_ms \
             > ?2",
            &[&device, &since_ms],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Revokes renewed certificates that were never used, except `asked_with` and the newest `keep`, and returns the revoked ones.
    pub fn revoke_unused(
        &self,
        now_ms: i64,
        device: &str,
        asked_with: &Fingerprint,
        keep: u32,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        self.rows(
            "UPDATE certificates SET revoked_ms = ?1 WHERE hash IN ( SELECT hash FROM certificates WHERE \
             device = ?2 AND revoked_ms IS NULL AND replaces IS NOT NULL AND hash <> ?3 ORDER BY issued_ms \
             DESC, hash LIMIT 9223372036854775807 OFFSET ?4) RETURNING hash",
            &[&now_ms, &device, &asked_with, &keep],
            |row| row.get(0),
        )
    }

    /// Revokes the device's certificates except `keep`, and returns the revoked ones.
    pub fn revoke_certificates(
        &self,
        now_ms: i64,
        device: &str,
        keep: Option<&Fingerprint>,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        self.rows(
            "UPDATE certificates SET revoked_ms = ?1 WHERE device = ?2 AND revoked_ms IS NULL AND hash IS \
             DISTINCT FROM ?3 RETURNING hash",
            &[&now_ms, &device, &keep],
            |row| row.get(0),
        )
    }

    /// Notes that a renewed certificate is in use, and returns those that it made superfluous.
    pub fn certificate_used(
        &self,
        now_ms: i64,
        device: &str,
        certificate: &Fingerprint,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let settled = self.execute(
            "UPDATE certificates SET replaces = NULL WHERE hash = ?1 AND replaces IS NOT NULL",
            &[&certificate],
        )?;
        if settled == 0 {
            return Ok(Vec::new());
        }
        self.revoke_certificates(now_ms, device, Some(certificate))
    }

    /// Every certificate that may connect, with its device.
    pub fn active_certificates(&self) -> Result<Vec<(Fingerprint, DeviceId)>, StoreError> {
        self.rows(
            "SELECT hash, device FROM certificates WHERE revoked_ms IS NULL",
            &[],
            |row| Ok((row.get(0)?, device_id(&row.get::<String>(1)?)?)),
        )
    }

    /// Whether the database has a row for this certificate.
    pub fn has_certificate(&self, certificate: &Fingerprint) -> Result<bool, StoreError> {
        self.value(
            "SELECT EXISTS (SELECT 1 FROM certificates WHERE hash = ?1)",
            &[&certificate],
        )
    }

    /// The device's newest certificate, and when it was issued.
    pub fn newest_certificate(&self, device: &str) -> Result<Option<(Fingerprint, i64)>, StoreError> {
        self.row(
            "SELECT hash, issued_ms FROM certificates WHERE device = ?1 ORDER BY issued_ms DESC, hash DESC \
             LIMIT 1",
            &[&device],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Readmits unknown certificates that were issued from `from_ms` to `to_ms`, until `ends_ms`.
    pub fn insert_readmission(&self, from_ms: i64, to_ms: i64, ends_ms: i64) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO readmissions (from_ms, to_ms, ends_ms) VALUES (?1, ?2, ?3)",
            &[&from_ms, &to_ms, &ends_ms],
        )?;
        Ok(())
    }

    /// Whether an unknown certificate that was issued at `issued_ms` may be readmitted.
    pub fn is_readmitted(&self, now_ms: i64, issued_ms: i64) -> Result<bool, StoreError> {
        self.value(
            "SELECT EXISTS (SELECT 1 FROM readmissions WHERE ?2 BETWEEN from_ms AND to_ms AND ends_ms > ?1)",
            &[&now_ms, &issued_ms],
        )
    }

    /// Deletes at most `limit` certificates that were revoked or expired before `before_ms`, and returns the deleted ones. The newest one
    /// of each device stays: it shows that the device is revoked.
    pub fn prune_certificates(&self, before_ms: i64, limit: u32) -> Result<Vec<Fingerprint>, StoreError> {
        self.rows(
            "DELETE FROM certificates WHERE hash IN ( SELECT old.hash FROM certificates AS old WHERE \
             (old.revoked_ms < ?1 OR old.expires_ms < ?1) AND EXISTS ( SELECT 1 FROM certificates AS newer \
             WHERE newer.device = old.device AND (newer.issued_ms, newer.hash) > (old.issued_ms, old.hash)) \
             LIMIT ?2) RETURNING hash",
            &[&before_ms, &limit],
            |row| row.get(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn certificate(number: u8, expires_ms: i64) -> DeviceCertificate {
        DeviceCertificate {
            der: vec![number].into(),
            fingerprint: [number; 32],
            serial: number.to_string(),
            expires_ms,
        }
    }

    #[tokio::test]
    async fn certificates_that_are_over_are_forgotten_and_a_device_stays_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::for_test(directory.path());
        let job = |tx: &Tx| {
            tx.insert_device(0, "a", "a", None, "")?;
            tx.insert_device(0, "b", "b", None, "")?;
            for number in 1..=3 {
                tx.insert_certificate(number.into(), "a", &certificate(number, i64::MAX), None)?;
            }
            tx.revoke_certificates(50, "a", None)?;
            tx.insert_certificate(0, "b", &certificate(4, 50), None)?;
            tx.insert_certificate(1, "b", &certificate(5, i64::MAX), None)?;
            assert!(tx.prune_certificates(50, 100)?.is_empty(), "not yet");
            assert_eq!(tx.prune_certificates(51, 1)?.len(), 1, "in steps");
            assert_eq!(tx.prune_certificates(51, 100)?.len(), 2);
            assert!(tx.prune_certificates(51, 100)?.is_empty(), "the newest stays");
            assert_eq!(tx.active_certificates()?.len(), 1);
            let revoked = |id| Ok::<_, StoreError>(tx.device(id)?.map(|device| device.revoked));
            assert_eq!((revoked("a")?, revoked("b")?), (Some(true), Some(false)));
            Ok::<_, StoreError>(())
        };
        store.write(job).await.unwrap();
    }
}
