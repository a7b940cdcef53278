//! Certificates that a handshake refused, on their way to whoever decides whether they may come back.

use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;

/// Refused certificates that may wait. The server drops further ones: their devices come again.
const WAITING: usize = 64;

/// The queue of certificates that were refused in a handshake.
#[derive(Debug)]
pub(crate) struct Refused(mpsc::Sender<CertificateDer<'static>>);

// === impl Refused ===

impl Refused {
    pub(crate) fn new() -> (Self, mpsc::Receiver<CertificateDer<'static>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Queues a refused certificate. Never blocks, because handshakes call it.
    pub(crate) fn push(&self, certificate: &CertificateDer<'_>) {
        if let Ok(place) = self.0.try_reserve() {
            place.send(certificate.clone().into_owned());
        }
    }
}
