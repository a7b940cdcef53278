//! Certificates of devices.

use homeport_protocol::DeviceId;
use rusqlite::params;

use super::{StoreError, Tx};
use crate::{est::Issued, mqtt::Fingerprint};

// === impl Tx ===

impl Tx {
    /// Adds an active certificate.
    pub fn insert_certificate(
        &self,
        now_ms: i64,
        device: &str,
        issued: &Issued,
        replaces: Option<&Fingerprint>,
    ) -> Result<(), StoreError> {
        self.0
            .prepare_cached(
                "INSERT INTO certificates (hash, device, serial, issued_ms, expires_ms, replaces) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                issued.certificate,
                device,
                issued.serial,
                now_ms,
                issued.expires_ms,
                replaces
            ])?;
        Ok(())
    }

    /// Revokes the device's certificates except `keep`, and returns which.
    pub fn revoke_certificates(
        &self,
        now_ms: i64,
        device: &str,
        keep: Option<&Fingerprint>,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "UPDATE certificates SET revoked_ms = ?1 WHERE device = ?2 AND revoked_ms IS NULL AND hash IS NOT ?3 RETURNING hash",
        )?;
        let rows = statement.query_map(params![now_ms, device, keep], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that a renewed certificate is in use, and returns those that it made superfluous.
    pub fn certificate_used(
        &self,
        now_ms: i64,
        device: &str,
        certificate: &Fingerprint,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let settled = self
            .0
            .prepare_cached(
                "UPDATE certificates SET replaces = NULL WHERE hash = ? AND replaces IS NOT NULL",
            )?
            .execute([certificate])?;
        if settled == 0 {
            return Ok(Vec::new());
        }
        self.revoke_certificates(now_ms, device, Some(certificate))
    }

    /// Every certificate that may connect, and whose it is.
    pub fn active_certificates(&self) -> Result<Vec<(Fingerprint, DeviceId)>, StoreError> {
        let mut statement = self
            .0
            .prepare_cached("SELECT hash, device FROM certificates WHERE revoked_ms IS NULL")?;
        let mut rows = statement.query([])?;
        let mut certificates = Vec::new();
        while let Some(row) = rows.next()? {
            let device: String = row.get(1)?;
            let device = device
                .parse()
                .map_err(|_| StoreError::Corrupt(format!("{device} is no device id")))?;
            certificates.push((row.get(0)?, device));
        }
        Ok(certificates)
    }
}
