//! The certificates that may connect now, in memory: every TLS handshake looks one up.

use std::collections::HashMap;

use homeport_protocol::DeviceId;
use parking_lot::RwLock;

use crate::ca::Fingerprint;

/// Only effects change it, in the order of commits: it follows the database a moment later. A transaction that relies on a certificate asks
/// the database again.
#[derive(Debug)]
pub(crate) struct Certificates(RwLock<HashMap<Fingerprint, DeviceId>>);

// === impl Certificates ===

impl Certificates {
    pub(crate) fn new(active: Vec<(Fingerprint, DeviceId)>) -> Self {
        Self(RwLock::new(active.into_iter().collect()))
    }

    pub(crate) fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId> {
        self.0.read().get(certificate).cloned()
    }

    pub(crate) fn insert(&self, certificate: Fingerprint, device: DeviceId) {
        self.0.write().insert(certificate, device);
    }

    pub(crate) fn remove(&self, certificates: &[Fingerprint]) {
        let mut active = self.0.write();
        for certificate in certificates {
            active.remove(certificate);
        }
    }
}
