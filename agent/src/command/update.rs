//! Updates: what the server asks of the update engine.

use std::sync::Arc;

use homeport_ota::EngineHandle;
use homeport_protocol::{
    DeploymentState, FailureCode, Reason, Report,
    command::{Cancel, Deploy},
    report::DeploymentReport,
};
use homeport_system::clock::now_ms;

use super::Runner;
use crate::{inventory, link::Outbox};

/// A command about updates. A deployment and its end stand in one line, so that they keep their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Update {
    Deploy(Deploy),
    Cancel(Cancel),
}

/// Passes them on to the engine, which makes them durable and reports on them.
#[derive(Debug)]
pub(crate) struct Updates {
    engine: Option<EngineHandle>,
    outbox: Arc<Outbox>,
}

// === impl Updates ===

impl Updates {
    pub(crate) fn new(engine: Option<EngineHandle>, outbox: Arc<Outbox>) -> Self {
        Self { engine, outbox }
    }

    async fn refuse(&self, deployment: u64) {
        let reason = Reason::new(
            FailureCode::Backend,
            "this device has no system bus through which an update backend could be reached",
        );
        let report = DeploymentReport {
            deployment,
            state: DeploymentState::Failed,
            reason: Some(reason),
            running_version: inventory::os_version(),
            running_slot: String::new(),
            bytes_fetched: 0,
            at_ms: now_ms(),
        };
        self.outbox.report(Report::Deployment(report)).await;
    }
}

impl Runner for Updates {
    type Order = Update;

    async fn run(&self, update: Update) {
        match (update, &self.engine) {
            (Update::Deploy(deploy), Some(engine)) => engine.deploy(deploy).await,
            (Update::Cancel(cancel), Some(engine)) => engine.cancel(cancel.deployment).await,
            (Update::Deploy(Deploy { deployment, .. }) | Update::Cancel(Cancel { deployment }), None) => {
                self.refuse(deployment).await;
            }
        }
    }
}
