//! The certificates that may connect now, in memory: they are asked for in every TLS handshake.

use std::collections::HashMap;

use homeport_protocol::DeviceId;
use parking_lot::RwLock;

use crate::ca::Fingerprint;

/// Changed only by effects, in the order of commits: what is here is what the database says, a moment later. A transaction that relies on
/// a certificate asks the database again.
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
