//! The life of an update as an explicit, persisted state machine.

mod core;
mod install;
mod local;
#[cfg(test)]
mod tests;
mod trial;

use std::{io, sync::Arc};

use homeport_protocol::{DeploymentState, FailureCode, Reason, Report, Slot, command::Deploy};
use homeport_system::file::{self, blocking};
use serde::Serialize;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

use self::core::Core;
use crate::{
    Backend, EngineConfig, ReportSink, Upstream, durable,
    relay::Relay,
    state::{Current, Outgoing, Persisted, boot_id},
};

/// Orders that may wait. More make the sender wait.
const MAX_ORDERS: usize = 16;

/// Starts the engine's tasks; see [`Engine::start`].
#[derive(Debug)]
pub struct Engine;

/// Talks to a running engine. Cheap to clone; the engine stops when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<EngineStatus>,
    network_up: Arc<Notify>,
}

/// What the engine is doing, for people and for the inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    /// The backend and its version, e.g. `rauc 1.13`; empty until it could be reached.
    pub updater: String,
    /// `compatible` of the backend.
    pub compatible: String,
    /// The slots when they were last looked at.
    pub slots: Vec<Slot>,
    /// The deployment being worked on.
    pub deployment: Option<DeploymentStatus>,
}

/// See [`EngineStatus::deployment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentStatus {
    /// Its number.
    pub deployment: u64,
    /// Where it stands.
    pub state: DeploymentState,
    /// The version it brings.
    pub version: String,
    /// Bytes fetched from the server so far.
    pub bytes_fetched: u64,
    /// What is wrong with the link to the server, while it waits for it.
    pub trouble: Option<String>,
}

#[derive(Debug)]
enum Order {
    Deploy(Deploy),
    Cancel(u64),
}

// === impl Engine ===

impl Engine {
    /// Resumes what was going on when the device lost power, and waits for orders. Spawns onto the current tokio runtime.
    ///
    /// An unreachable backend is no error: that shows in [`EngineStatus`] and is tried again.
    pub async fn start<B: Backend, S: ReportSink>(
        config: EngineConfig,
        backend: B,
        upstream: watch::Receiver<Option<Upstream>>,
        sink: S,
    ) -> io::Result<EngineHandle> {
        let (dir, boot_id_path) = (config.state_dir.clone(), config.boot_id_path.clone());
        let (persisted, boot_id) = blocking(move || {
            file::create_private_directory(&dir)?;
            Ok((Persisted::load(&dir)?, boot_id(&boot_id_path)?))
        })
        .await?;
        let core = Arc::new(Core::new(config, backend, sink, upstream, boot_id, persisted));
        let (orders, inbox) = mpsc::channel(MAX_ORDERS);
        let status = core.status.subscribe();
        let network_up = Arc::new(Notify::new());
        tokio::spawn(run(core, inbox, network_up.clone()));
        Ok(EngineHandle {
            orders,
            status,
            network_up,
        })
    }
}

// === impl EngineHandle ===

impl EngineHandle {
    /// Starts a deployment. Idempotent: one that is being worked on, or is among the last finished ones, is answered by
    /// reporting its state again.
    pub async fn deploy(&self, deploy: Deploy) {
        self.send(Order::Deploy(deploy)).await;
    }

    /// Stops a deployment if that is still possible; reports its state again if it is not.
    pub async fn cancel(&self, deployment: u64) {
        self.send(Order::Cancel(deployment)).await;
    }

    /// The link to the server has just come up: a download that waits for its next try goes on at once. Orders that wait
    /// do not hold this up.
    pub fn network_up(&self) {
        self.network_up.notify_one();
    }

    /// What the engine is doing now.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        self.status.borrow().clone()
    }

    async fn send(&self, order: Order) {
        if self.orders.send(order).await.is_err() {
            tracing::error!("the update engine has stopped");
        }
    }
}

/// Runs until the last handle is dropped, and its tasks with it.
async fn run<B: Backend, S: ReportSink>(
    core: Arc<Core<B, S>>,
    mut inbox: mpsc::Receiver<Order>,
    network_up: Arc<Notify>,
) {
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let core = core.clone();
        async move { core.work_on().await }
    });
    tasks.spawn({
        let core = core.clone();
        async move { core.watch_local_installs().await }
    });
    tasks.spawn({
        let core = core.clone();
        async move {
            loop {
                network_up.notified().await;
                if let Some(relay) = core.relay() {
                    relay.network_up();
                }
            }
        }
    });
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Deploy(deploy) => core.deploy(deploy).await,
            Order::Cancel(deployment) => core.cancel(deployment).await,
        }
    }
}

// === impl Core ===

impl<B: Backend, S: ReportSink> Core<B, S> {
    /// Works on the current deployment, whenever there is one.
    async fn work_on(&self) {
        self.find_local_installs().await;
        self.leave_local_install().await;
        loop {
            self.hand_over().await;
            let Some(current) = self.current().await else {
                self.tidy_up().await;
                self.work.notified().await;
                continue;
            };
            match current.state {
                DeploymentState::Installed | DeploymentState::Rebooting => self.reboot(&current).await,
                DeploymentState::Trial => self.trial(&current).await,
                _ => self.install(current).await,
            }
        }
    }

    /// Between two updates.
    async fn tidy_up(&self) {
        if let Err(error) = Relay::remove(&self.config.state_dir.join("cache")).await {
            tracing::warn!(%error, "the bundle cache cannot be removed");
        }
        let dir = self.config.state_dir.clone();
        if let Err(error) = blocking(move || durable::keep_ballast(&dir)).await {
            tracing::warn!(%error, "there is no room for a reserve");
        }
    }

    async fn deploy(&self, deploy: Deploy) {
        if let Err(error) = self.try_store().await {
            return self.refuse_unwritten(&deploy, &error).await;
        }
        self.update(|persisted| {
            if again(persisted, deploy.deployment) {
                return;
            }
            let Some(current) = &persisted.current else {
                persisted.current = Some(Current::new(deploy));
                return;
            };
            let detail = format!(
                "this device still works on deployment {}",
                current.deploy.deployment
            );
            let reason = Reason::new(FailureCode::Busy, detail);
            persisted.announce(self.compose(deploy.deployment, 0, DeploymentState::Failed, Some(reason)));
        })
        .await;
        self.work.notify_one();
        self.hand_over().await;
    }

    /// Refuses a new deployment that could not be remembered. Nothing was begun, so nothing needs to be: the server asks
    /// again if this report is lost.
    async fn refuse_unwritten(&self, deploy: &Deploy, error: &io::Error) {
        if !self.read(|persisted| is_new(persisted, deploy.deployment)).await {
            return;
        }
        let detail = format!("the update state cannot be written: {error}");
        let reason = Reason::new(FailureCode::DiskFull, detail);
        let report = self.compose(deploy.deployment, 0, DeploymentState::Failed, Some(reason));
        if let Err(error) = self.sink.report(Report::Deployment(report)).await {
            tracing::error!(%error, "a report cannot be queued");
        }
    }

    async fn cancel(&self, deployment: u64) {
        self.update(|persisted| {
            let current = persisted
                .current
                .as_mut()
                .filter(|current| current.deploy.deployment == deployment);
            if let Some(current) = current.filter(|current| current.state.is_cancellable()) {
                current.cancel = true;
            } else if !again(persisted, deployment) {
                // It was cancelled before it came here, and must not start if it still comes.
                let reason = Reason::new(FailureCode::Cancelled, "cancelled before it began");
                persisted.announce(self.compose(deployment, 0, DeploymentState::Cancelled, Some(reason)));
            }
        })
        .await;
        self.cancelled.notify_waiters();
        self.hand_over().await;
    }
}

fn is_new(persisted: &Persisted, deployment: u64) -> bool {
    let is_current = |current: &Current| current.deploy.deployment == deployment;
    !persisted.current.as_ref().is_some_and(is_current) && persisted.final_report(deployment).is_none()
}

/// Sends the last report on `deployment` again; whether there was one to send, or one will come.
fn again(persisted: &mut Persisted, deployment: u64) -> bool {
    if let Some(current) = persisted
        .current
        .as_ref()
        .filter(|current| current.deploy.deployment == deployment)
    {
        if let Some(report) = current.report.clone() {
            persisted.send(Outgoing::Deployment(report));
        }
        return true;
    }
    let Some(report) = persisted.final_report(deployment).cloned() else {
        return false;
    };
    persisted.send(Outgoing::Deployment(report));
    true
}
