//! The server as the relay needs it.

use std::{fmt, sync::Arc};

/// How to reach the server for bundles. The identity may be renewed at any time, so it comes through a
/// [`tokio::sync::watch`] channel; `None` while the device is not paired.
#[derive(Clone)]
pub struct Upstream {
    /// Host and port of the server's HTTPS, e.g. `homeport.example.com:8443`.
    pub authority: String,
    /// Trust and identity for it. ALPN is left to the relay, which speaks HTTP/1.1.
    pub tls: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}
