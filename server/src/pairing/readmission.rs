//! Certificates that our authority signed and the database does not know, because it is older than they are.
//!
//! The server refuses them. An administrator can allow them for a time (`homeport-server restore --readmit`, or `readmit`). Then the server
//! looks at each refused one, and its device gets in with its next attempt. A transaction decides, as for every other certificate.

use std::{collections::HashSet, sync::Weak};

use homeport_protocol::DeviceId;
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;

use crate::{
    audit::UNKNOWN_CERTIFICATE,
    ca::{DEVICE_BACKDATE, DeviceCertificate, fingerprint},
    fleet::{Fleet, Inner, effects::Effect},
    hex, now_ms,
    store::{Store, StoreError, Tx},
};

/// Devices that the log names once while the server runs, and the audit log once a day. Neither names further devices.
const NAMED: usize = 10_000;

/// The name in the audit record.
const ACTOR: &str = "system";

/// How long unknown certificates are readmitted, in milliseconds. Shorter than the server remembers revoked ones: it must not take a
/// forgotten one for an unknown one.
pub(crate) const READMISSION: i64 = 30 * DAY;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Readmits unknown certificates that were issued in the last `days` days: an administrator has put a database of that age in place.
pub async fn readmit(store: &Store, days: u16) -> Result<(), StoreError> {
    store
        .write(move |tx| {
            let now_ms = now_ms();
            tx.insert_readmission(now_ms - i64::from(days) * DAY, now_ms, now_ms + READMISSION)?;
            tx.audit(
                now_ms,
                "",
                ACTOR,
                "certificates.readmit",
                "",
                &format!("{days} day(s)"),
            )
        })
        .await
}

/// The fate of a refused certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is active or revoked: nothing to do.
    Known,
    /// It is active from now on.
    Readmitted,
    /// It stays out for good, for this reason.
    Refused(&'static str),
    /// It stays out until somebody decides: the device itself may connect.
    Unknown,
}

/// A device certificate, and when it was issued.
struct Shown {
    device: DeviceId,
    certificate: DeviceCertificate,
    issued_ms: i64,
}

/// Looks at refused certificates until the fleet is gone.
pub(crate) async fn follow(inner: Weak<Inner>, mut refused: mpsc::Receiver<CertificateDer<'static>>) {
    let (mut named, mut unknown) = (HashSet::new(), 0_usize);
    let noted = noted(&inner).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot tell which devices the audit log names");
        HashSet::new()
    });
    while let Some(certificate) = refused.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        let Some(shown) = Shown::read(&certificate) else {
            continue;
        };
        let device = shown.device.clone();
        let fleet = Fleet(inner);
        match look_at(&fleet, shown).await {
            Ok(Verdict::Known) => {}
            Ok(Verdict::Readmitted) => tracing::info!(%device, "readmitted a certificate"),
            Ok(Verdict::Refused(reason)) => {
                if named.len() < NAMED && named.insert(device.clone()) {
                    tracing::info!(%device, "refused a certificate: {reason}");
                }
            }
            Ok(Verdict::Unknown) => {
                if named.len() < NAMED && named.insert(device.clone()) {
                    unknown += 1;
                    tracing::warn!(
                        %device,
                        devices = unknown,
                        "refused a certificate that the authority signed and the database does not know: pair the device again, or see \
                         `homeport-server readmit --help`"
                    );
                    if !noted.contains(device.as_str()) {
                        if let Err(error) = note(&fleet, device).await {
                            tracing::warn!(%error, "cannot note a refused certificate");
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(%device, %error, "cannot check a refused certificate"),
        }
    }
}

/// Devices that the audit log already names, so that a server that keeps restarting does not fill it.
async fn noted(inner: &Weak<Inner>) -> Result<HashSet<String>, StoreError> {
    let Some(inner) = inner.upgrade() else {
        return Ok(HashSet::new());
    };
    let read = inner
        .store
        .read(|tx| tx.audited_since(UNKNOWN_CERTIFICATE, now_ms() - DAY, NAMED));
    read.await
}

/// Shows operators that a device is locked out.
async fn note(fleet: &Fleet, device: DeviceId) -> Result<(), StoreError> {
    fleet
        .change(move |tx, _| {
            let project = tx.device_place(device.as_str())?.unwrap_or_default().project;
            tx.audit(
                now_ms(),
                &project,
                ACTOR,
                UNKNOWN_CERTIFICATE,
                device.as_str(),
                "pair it again, or see `homeport-server readmit --help`",
            )
        })
        .await
}

async fn look_at(fleet: &Fleet, shown: Shown) -> Result<Verdict, StoreError> {
    let certificate = shown.certificate.fingerprint;
    // Revoked devices keep trying: that must not cost writes.
    if fleet
        .0
        .store
        .read(move |tx| tx.has_certificate(&certificate))
        .await?
    {
        return Ok(Verdict::Known);
    }
    fleet
        .change(move |tx, effects| {
            let now_ms = now_ms();
            let verdict = judge(tx, now_ms, &shown)?;
            if verdict == Verdict::Readmitted {
                let id = shown.device.as_str();
                let replaces = tx.newest_certificate(id)?.map(|(newest, _)| newest);
                tx.insert_certificate(shown.issued_ms, id, &shown.certificate, replaces.as_ref())?;
                let project = tx.device_place(id)?.unwrap_or_default().project;
                tx.audit(
                    now_ms,
                    &project,
                    ACTOR,
                    "device.readmit",
                    id,
                    &shown.certificate.serial,
                )?;
                let row = tx.device(id)?;
                effects.push(Effect::Activate(certificate, shown.device.clone()));
                effects.device(row);
            }
            Ok(verdict)
        })
        .await
}

fn judge(tx: &Tx, now_ms: i64, shown: &Shown) -> Result<Verdict, StoreError> {
    let id = shown.device.as_str();
    if tx.has_certificate(&shown.certificate.fingerprint)? {
        return Ok(Verdict::Known);
    }
    let Some(device) = tx.device(id)? else {
        return Ok(Verdict::Refused("there is no such device"));
    };
    if device.revoked {
        return Ok(Verdict::Refused("the device is revoked"));
    }
    if !tx.is_readmitted(now_ms, shown.issued_ms)? {
        return Ok(Verdict::Unknown);
    }
    let newest = tx.newest_certificate(id)?;
    // Times in certificates have whole seconds.
    if newest.is_some_and(|(_, issued_ms)| issued_ms / 1000 > shown.issued_ms / 1000) {
        return Ok(Verdict::Refused("the device has a newer one"));
    }
    Ok(Verdict::Readmitted)
}

// === impl Shown ===

impl Shown {
    /// Reads a certificate that [`crate::ca::Authority::issue_device`] made.
    fn read(der: &CertificateDer<'static>) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
        let validity = parsed.validity();
        let backdate = i64::try_from(DEVICE_BACKDATE.as_secs()).ok()?;
        Some(Self {
            device: name.parse().ok()?,
            issued_ms: (validity.not_before.timestamp() + backdate) * 1000,
            certificate: DeviceCertificate {
                fingerprint: fingerprint(der),
                serial: hex(parsed.raw_serial()),
                expires_ms: validity.not_after.timestamp() * 1000,
                der: der.clone(),
            },
        })
    }
}
