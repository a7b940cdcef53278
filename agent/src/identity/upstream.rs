//! The server as the update engine needs it: that of the present identity.

use homeport_ota::Upstream;
use tokio::sync::watch;

use super::Membership;
use crate::config::{self, authority_of};

/// Keeps the update engine's idea of the server that of the identity.
#[derive(Debug)]
pub(crate) struct Upstreams {
    server: config::Server,
    membership: watch::Receiver<Membership>,
    sender: watch::Sender<Option<Upstream>>,
}

// === impl Upstreams ===

impl Upstreams {
    pub(crate) fn new(
        server: config::Server,
        membership: watch::Receiver<Membership>,
    ) -> (Self, watch::Receiver<Option<Upstream>>) {
        let (sender, receiver) = watch::channel(upstream(&server, &membership.borrow()));
        let upstreams = Self {
            server,
            membership,
            sender,
        };
        (upstreams, receiver)
    }

    /// Runs for as long as the membership can change.
    pub(crate) async fn run(mut self) {
        while self.membership.changed().await.is_ok() {
            let upstream = upstream(&self.server, &self.membership.borrow_and_update());
            self.sender.send_replace(upstream);
        }
    }
}

fn upstream(server: &config::Server, membership: &Membership) -> Option<Upstream> {
    let identity = membership.identity.as_ref()?;
    let configured = server.url.as_deref().and_then(authority_of);
    Some(Upstream {
        authority: configured.unwrap_or(&identity.authority).to_owned(),
        tls: identity.tls.clone(),
    })
}
