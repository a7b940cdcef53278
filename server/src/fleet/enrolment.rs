//! Devices get their certificates.

use homeport_protocol::DeviceId;

use super::Fleet;
use crate::{
    est::{Enrolment, Hints, Issued, RecordError, RedeemError},
    mqtt::Fingerprint,
    now_ms, random, sha256,
    store::{StoreError, Tx},
};

/// Random bytes in a device's id: 16 characters.
const ID_LEN: usize = 10;

// === impl Fleet ===

impl Enrolment for Fleet {
    async fn redeem(&self, secret: &[u8], key: &[u8; 32], hints: &Hints) -> Result<DeviceId, RedeemError> {
        let (hash, key, hints) = (sha256(secret), *key, hints.clone());
        self.0
            .store
            .write(move |tx| redeem(tx, &hash, &key, &hints))
            .await
    }

    async fn record(
        &self,
        device: &DeviceId,
        issued: &Issued,
        replaces: Option<&Fingerprint>,
    ) -> Result<(), RecordError> {
        let (id, certificate, replaces) = (device.clone(), issued.clone(), replaces.copied());
        let (revoked, row) = self
            .0
            .store
            .write(move |tx| {
                let (now_ms, id) = (now_ms(), id.as_str());
                let revoked = match replaces {
                    Some(_) => Vec::new(),
                    None => tx.revoke_certificates(now_ms, id, None)?,
                };
                tx.insert_certificate(now_ms, id, &certificate, replaces.as_ref())?;
                let action = if replaces.is_some() {
                    "device.renew"
                } else {
                    "device.pair"
                };
                tx.audit(now_ms, &format!("device:{id}"), action, id, &certificate.serial)?;
                Ok::<_, StoreError>((revoked, tx.device(id)?))
            })
            .await
            .map_err(|error| RecordError(error.to_string()))?;
        self.0.certificates.insert(issued.certificate, device.clone());
        if !revoked.is_empty() {
            self.0.certificates.remove(&revoked);
            self.0.registry.disconnect(device);
        }
        if let Some(row) = row {
            self.0.publish_device(row);
        }
        Ok(())
    }

    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId> {
        self.0.certificates.identify(certificate)
    }
}

fn redeem(tx: &Tx, hash: &[u8; 32], key: &[u8; 32], hints: &Hints) -> Result<DeviceId, RedeemError> {
    let now_ms = now_ms();
    let token = tx.token(hash)?.ok_or(RedeemError::Unknown)?;
    if let Some(id) = &token.info.used_by {
        let device = tx.device(id)?.ok_or(RedeemError::Used)?;
        let connected = device.last_seen_ms.is_some_and(|at_ms| at_ms >= device.paired_ms);
        if token.used_key != Some(*key) || connected || device.revoked {
            return Err(RedeemError::Used);
        }
    }
    if token.revoked || token.info.expires_ms <= now_ms {
        return Err(RedeemError::Expired);
    }
    if let Some(id) = token.info.used_by {
        return Ok(device_id(&id)?);
    }
    let id = if let Some(id) = token.device {
        tx.set_paired(&id, now_ms)?;
        device_id(&id)?
    } else {
        let id = random_id()?;
        let name = token.info.device_name.as_deref().or(hints.hostname.as_deref());
        let name = name.unwrap_or(id.as_str());
        tx.insert_device(now_ms, id.as_str(), name, hints.serial.as_deref())?;
        id
    };
    tx.use_token(token.info.id, id.as_str(), key)?;
    Ok(id)
}

/// Base32 (RFC 4648) in lower case: safe wherever a device id goes.
fn random_id() -> Result<DeviceId, StoreError> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bytes: [u8; ID_LEN] = random();
    let bit = |index: usize| usize::from(bytes[index / 8] >> (7 - index % 8) & 1);
    let id: String = (0..ID_LEN * 8)
        .step_by(5)
        .map(|start| (start..start + 5).fold(0, |value, index| value << 1 | bit(index)))
        .map(|value| char::from(ALPHABET[value]))
        .collect();
    device_id(&id)
}

fn device_id(id: &str) -> Result<DeviceId, StoreError> {
    id.parse()
        .map_err(|_| StoreError::Corrupt(format!("{id} is no device id")))
}

// === impl RedeemError ===

impl From<StoreError> for RedeemError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_16_characters_and_differ() {
        let ids: std::collections::HashSet<_> = (0..100).map(|_| random_id().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.as_str().len() == 16));
    }
}
