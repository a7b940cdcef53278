//! Issues certificates to devices.
//!
//! One transaction decides on a certificate, signs it and activates it: a revocation comes before or after it, never in between.

use std::time::Duration;

use homeport_api::Permission;
use homeport_protocol::DeviceId;

use super::Token;
use crate::{
    ca::{CaError, DeviceCertificate, Fingerprint},
    devices::check_name,
    est::{Enrolment, Hints, IssueError, Sign},
    fleet::{
        Fleet,
        effects::{Effect, Effects},
    },
    now_ms, random, sha256,
    store::{StoreError, Tx, device_id},
};

/// Random bytes in a device's id, which make 16 characters.
const ID_LEN: usize = 10;

/// Certificates that one device gets within [`ISSUE_WINDOW`] without a new pairing token. A renewal needs one, but answers may be lost.
const MAX_ISSUED: u32 = 10;

/// The time that [`MAX_ISSUED`] counts.
const ISSUE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Renewed certificates of a device that may wait for their first use. An older one came in an answer that was lost.
const MAX_UNUSED: u32 = 3;

/// How long the server remembers a certificate that was revoked or has expired, in milliseconds.
const CERTIFICATE_MEMORY: i64 = 90 * 24 * 60 * 60 * 1000;

/// Certificates that one transaction forgets.
const FORGET_STEP: u32 = 1000;

// === impl Fleet ===

impl Fleet {
    /// Forgets revoked and expired certificates, some at a time.
    pub(crate) async fn prune_certificates(&self) -> Result<(), StoreError> {
        self.change(|tx, effects| {
            let gone = tx.prune_certificates(now_ms() - CERTIFICATE_MEMORY, FORGET_STEP)?;
            effects.push(Effect::Deactivate(gone));
            Ok(())
        })
        .await
    }
}

impl Enrolment for Fleet {
    async fn enrol(
        &self,
        secret: &[u8],
        key: &[u8; 32],
        hints: &Hints,
        sign: impl Sign,
    ) -> Result<(DeviceId, DeviceCertificate), IssueError> {
        let (hash, key, hints) = (sha256(secret), *key, hints.clone());
        // A wrong secret costs no turn of the writer.
        if self.0.store.read(move |tx| tx.token(&hash)).await?.is_none() {
            return Err(IssueError::Unknown);
        }
        self.change(move |tx, effects| {
            let now_ms = now_ms();
            let device = redeem(tx, now_ms, &hash, &key, &hints)?;
            let certificate = sign(&device)?;
            let revoked = tx.revoke_certificates(now_ms, device.as_str(), None)?;
            if !revoked.is_empty() {
                effects.push(Effect::Deactivate(revoked));
                effects.push(Effect::Disconnect(device.clone()));
            }
            record(tx, effects, now_ms, &device, &certificate, None)?;
            Ok((device, certificate))
        })
        .await
    }

    async fn renew(
        &self,
        certificate: &Fingerprint,
        sign: impl Sign,
    ) -> Result<(DeviceId, DeviceCertificate), IssueError> {
        let asked_with = *certificate;
        self.change(move |tx, effects| {
            let now_ms = now_ms();
            let device = tx
                .certificate_holder(now_ms, &asked_with)?
                .ok_or(IssueError::NotActive)?;
            check_rate(tx, now_ms, &device)?;
            let certificate = sign(&device)?;
            let superseded = tx.revoke_unused(now_ms, device.as_str(), &asked_with, MAX_UNUSED - 1)?;
            effects.push(Effect::Deactivate(superseded));
            record(tx, effects, now_ms, &device, &certificate, Some(&asked_with))?;
            Ok((device, certificate))
        })
        .await
    }

    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId> {
        self.0.certificates.identify(certificate)
    }
}

/// Uses up the token, and returns the device that it is for.
fn redeem(
    tx: &Tx,
    now_ms: i64,
    hash: &[u8; 32],
    key: &[u8; 32],
    hints: &Hints,
) -> Result<DeviceId, IssueError> {
    let token = tx.token(hash)?.ok_or(IssueError::Unknown)?;
    if let Some(id) = &token.info.used_by {
        let device = tx.device(id)?.ok_or(IssueError::Used)?;
        let connected = device.last_seen_ms.is_some_and(|at_ms| at_ms >= device.paired_ms);
        if token.used_key != Some(*key) || connected || device.revoked {
            return Err(IssueError::Used);
        }
    }
    if token.revoked || token.info.expires_ms <= now_ms || !still_stands(tx, &token)? {
        return Err(IssueError::Expired);
    }
    if let Some(id) = token.info.used_by {
        let id = device_id(&id)?;
        check_rate(tx, now_ms, &id)?;
        return Ok(id);
    }
    let id = if let Some(id) = token.device {
        // An older token must not give an older key another certificate, now that the device counts as new.
        tx.forget_token_keys(&id)?;
        tx.set_paired(&id, now_ms)?;
        device_id(&id)?
    } else {
        let id = random_id()?;
        let name = first_name(token.info.device_name.as_deref(), hints, &id);
        let project = token.info.project.as_deref().unwrap_or_default();
        tx.insert_device(now_ms, id.as_str(), name, hints.serial.as_deref(), project)?;
        id
    };
    tx.use_token(token.info.id, id.as_str(), key)?;
    Ok(id)
}

/// Whether whoever made the token may still pair devices where it pairs one.
fn still_stands(tx: &Tx, token: &Token) -> Result<bool, StoreError> {
    let Some(maker) = token.maker else {
        return Ok(true);
    };
    let access = tx.user_access(maker)?;
    let project = token.info.project.as_deref().unwrap_or_default();
    Ok(access.is_some_and(|access| access.allows_in(Permission::PairingChange, project)))
}

/// The first name of a device: the one in its token, else the first hint that people can read, else its id.
fn first_name<'a>(wanted: Option<&'a str>, hints: &'a Hints, id: &'a DeviceId) -> &'a str {
    let hints = [&hints.hostname, &hints.serial].into_iter().flatten();
    let mut readable = hints
        .map(String::as_str)
        .filter(|name| check_name(name).is_ok() && name.contains(char::is_alphanumeric));
    wanted.or_else(|| readable.next()).unwrap_or(id.as_str())
}

/// Limits how many certificates the server signs and stores for one device.
fn check_rate(tx: &Tx, now_ms: i64, device: &DeviceId) -> Result<(), IssueError> {
    let window_ms = i64::try_from(ISSUE_WINDOW.as_millis()).unwrap_or(i64::MAX);
    let (count, oldest_ms) = tx.certificates_since(device.as_str(), now_ms - window_ms)?;
    if count < MAX_ISSUED {
        return Ok(());
    }
    let wait_ms = u64::try_from(oldest_ms + window_ms - now_ms).unwrap_or_default();
    Err(IssueError::Limited(
        Duration::from_millis(wait_ms).min(ISSUE_WINDOW),
    ))
}

fn record(
    tx: &Tx,
    effects: &mut Effects,
    now_ms: i64,
    device: &DeviceId,
    certificate: &DeviceCertificate,
    replaces: Option<&Fingerprint>,
) -> Result<(), StoreError> {
    let id = device.as_str();
    tx.insert_certificate(now_ms, id, certificate, replaces)?;
    // Renewals would fill the audit record, and the rows of certificates show them anyway.
    if replaces.is_none() {
        let project = tx.device_place(id)?.unwrap_or_default().project;
        tx.audit(
            now_ms,
            &project,
            &format!("device:{id}"),
            "device.pair",
            id,
            &certificate.serial,
        )?;
    }
    effects.push(Effect::Activate(certificate.fingerprint, device.clone()));
    effects.device(tx.device(id)?);
    Ok(())
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

// === impl IssueError ===

impl From<StoreError> for IssueError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<CaError> for IssueError {
    fn from(error: CaError) -> Self {
        Self::Sign(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::text::clean;

    #[test]
    fn a_device_begins_with_a_name_that_people_can_read() {
        let id: DeviceId = "theid".parse().unwrap();
        let name = |wanted, hostname: Option<&str>, serial: Option<&str>| {
            let hints = Hints {
                hostname: hostname.map(clean),
                serial: serial.map(clean),
                peer: Ipv4Addr::LOCALHOST.into(),
            };
            first_name(wanted, &hints, &id).to_owned()
        };
        assert_eq!(name(Some("gate"), Some("board"), Some("SN1")), "gate");
        assert_eq!(name(None, Some("board"), Some("SN1")), "board");
        assert_eq!(name(None, Some("a\u{1b}[2Jb"), Some("SN1")), "a\u{fffd}[2Jb");
        assert_eq!(name(None, Some("می\u{200c}خواهم"), None), "می\u{200c}خواهم");
        let long = "x".repeat(129);
        for unreadable in [
            None,
            Some(""),
            Some("  "),
            Some(" board"),
            Some("\u{1b}\u{202e}\u{200d}"),
            Some("---"),
            Some("\u{3164}\u{115f}"),
            Some(long.as_str()),
        ] {
            assert_eq!(name(None, unreadable, Some("SN1")), "SN1", "{unreadable:?}");
            assert_eq!(name(None, Some("board"), unreadable), "board", "{unreadable:?}");
            assert_eq!(name(None, unreadable, unreadable), "theid", "{unreadable:?}");
        }
    }

    #[test]
    fn ids_are_16_characters_and_differ() {
        let ids: std::collections::HashSet<_> = (0..100).map(|_| random_id().unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.as_str().len() == 16));
    }
}
