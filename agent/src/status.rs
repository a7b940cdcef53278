//! How the agent stands: for `homeport-agent status`, the system bus and systemd.

use std::{future::pending, sync::Arc};

use homeport_ota::{EngineHandle, EngineStatus};
use homeport_system::service;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    identity::Membership,
    link::{LinkStatus, Outbox, QueueStatus},
};

/// Where all parts can be looked at.
#[derive(Debug)]
pub(crate) struct Shared {
    link: watch::Receiver<LinkStatus>,
    membership: watch::Receiver<Membership>,
    outbox: Arc<Outbox>,
    engine: Option<EngineHandle>,
}

/// Changes of the link or of the membership.
#[derive(Debug)]
pub(crate) struct Changes {
    link: watch::Receiver<LinkStatus>,
    membership: watch::Receiver<Membership>,
}

/// The agent's state. As JSON it is the answer of the bus method `Status`; keys are only ever added.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Version of the agent.
    pub(crate) version: &'static str,
    pub(crate) pairing: PairingStatus,
    pub(crate) link: LinkStatus,
    pub(crate) queue: QueueStatus,
    /// Absent when there is no system bus, and so no update backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) updates: Option<EngineStatus>,
}

/// Whether the device belongs to a server.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PairingStatus {
    pub(crate) paired: bool,
    /// Empty while not paired.
    pub(crate) device_id: String,
    /// Empty while not paired.
    pub(crate) server_url: String,
    /// End of the certificate's validity, seconds since 1970; 0 while not paired.
    pub(crate) certificate_expires: u64,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The status for people, from its JSON form: the agent that runs may be of another version than this program.
pub(crate) fn render(json: &str) -> Option<String> {
    let status: Value = serde_json::from_str(json).ok()?;
    let text = |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<12}{value}\n"));
        }
    };
    line("Agent", text("/version").to_owned());
    if status.pointer("/pairing/paired")?.as_bool()? {
        line("Device", text("/pairing/device_id").to_owned());
        line("Server", text("/pairing/server_url").to_owned());
        let is_connected = status.pointer("/link/connected")?.as_bool()?;
        line(
            "Link",
            if is_connected {
                "connected"
            } else {
                "not connected"
            }
            .to_owned(),
        );
    } else {
        line("Device", "not paired; see `homeport-agent pair`".to_owned());
    }
    line("Problem", text("/pairing/error").to_owned());
    line("Problem", text("/link/error").to_owned());
    line(
        "Queue",
        format!(
            "{} reports, {} telemetry, {} bytes; dropped {} and {}; series left out {}",
            number("/queue/reports"),
            number("/queue/telemetry"),
            number("/queue/bytes"),
            number("/queue/dropped_reports"),
            number("/queue/dropped_telemetry"),
            number("/queue/left_out_series"),
        ),
    );
    line("Problem", text("/queue/fault").to_owned());
    line("Updates", text("/updates/updater").to_owned());
    if status.pointer("/updates/deployment/deployment").is_some() {
        line(
            "Deployment",
            format!(
                "{} of version {}: {} {}",
                number("/updates/deployment/deployment"),
                text("/updates/deployment/version"),
                text("/updates/deployment/state"),
                text("/updates/deployment/reason/detail"),
            ),
        );
    }
    Some(lines.concat())
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(
        link: watch::Receiver<LinkStatus>,
        membership: watch::Receiver<Membership>,
        outbox: Arc<Outbox>,
        engine: Option<EngineHandle>,
    ) -> Self {
        Self {
            link,
            membership,
            outbox,
            engine,
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pairing: self.pairing_status(),
            link: self.link.borrow().clone(),
            queue: self.outbox.status(),
            updates: self.engine.as_ref().map(EngineHandle::status),
        }
    }

    pub(crate) fn pairing_status(&self) -> PairingStatus {
        PairingStatus::from(&*self.membership.borrow())
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.borrow().connected
    }

    /// What changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            link: self.link.clone(),
            membership: self.membership.clone(),
        }
    }

    /// Keeps the line that `systemctl status` shows up to date, for ever.
    pub(crate) async fn tell_systemd(&self) {
        let mut changes = self.changes();
        loop {
            service::status(&self.summary());
            if changes.next().await.is_none() {
                return pending().await;
            }
        }
    }

    fn summary(&self) -> String {
        let pairing = self.pairing_status();
        let link = self.link.borrow();
        match (pairing.paired, link.connected, &link.error) {
            (false, _, _) => "Not paired".to_owned(),
            (true, true, _) => format!("Connected to {}", pairing.server_url),
            (true, false, Some(error)) => format!("Not connected: {error}"),
            (true, false, None) => "Connecting".to_owned(),
        }
    }
}

// === impl Changes ===

impl Changes {
    /// Waits for the next one; `None` when the parts that change are gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<()> {
        let changed = tokio::select! {
            changed = self.link.changed() => changed,
            changed = self.membership.changed() => changed,
        };
        changed.ok()
    }
}

// === impl PairingStatus ===

impl From<&Membership> for PairingStatus {
    fn from(membership: &Membership) -> Self {
        let error = membership.error.clone();
        match &membership.identity {
            None => Self {
                error,
                ..Self::default()
            },
            Some(identity) => Self {
                paired: true,
                device_id: identity.device.to_string(),
                server_url: format!("https://{}", identity.authority),
                certificate_expires: identity.not_after.as_secs(),
                error,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_readable() {
        let status = Status {
            version: "1.2.3",
            pairing: PairingStatus {
                paired: true,
                device_id: "k2abc".to_owned(),
                server_url: "https://a:1".to_owned(),
                certificate_expires: 1,
                error: None,
            },
            link: LinkStatus {
                error: Some("the cable is out".to_owned()),
                ..LinkStatus::default()
            },
            queue: QueueStatus::default(),
            updates: Some(EngineStatus::default()),
        };
        let text = render(&serde_json::to_string(&status).unwrap()).unwrap();
        for part in [
            "1.2.3",
            "k2abc",
            "https://a:1",
            "not connected",
            "the cable is out",
            "0 reports",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(render("{}"), None);
    }
}
