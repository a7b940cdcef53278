//! Whole updates on a simulated device, with the real relay and a real server, killed at every point where the engine
//! touches the outside world.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex as StdMutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use homeport_protocol::{Report, deployment::Progress};
use http::StatusCode;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::*;
use crate::{
    BackendError, BootCheckConfig, ReportSink,
    backend::{BundleInfo, InstallEnded, InstallRequest, Mark, SlotStatus},
    boot_check, run_files,
    testing::{Faults, Server, eventually, get},
};

const DEPLOYMENT: u64 = 7;
const SIZE: usize = 600_000;
/// What RAUC asks for at a time.
const READ: usize = 100_000;
/// For one run from start to final report, with as many reboots as it takes.
const POLL: Duration = Duration::from_millis(10);
const RUN_TIMEOUT: Duration = Duration::from_secs(90);

/// What outlives the agent: slots, bootloader, RAUC's service, the reports that were queued.
#[derive(Debug)]
struct Device {
    dir: tempfile::TempDir,
    server: Server,
    state: StdMutex<DeviceState>,
    installing: StdMutex<Option<Installing>>,
    ended: watch::Sender<(u32, Option<String>)>,
    /// Counts what the engine does to the outside world; it dies at `kill_at`.
    steps: AtomicUsize,
    kill_at: usize,
    killed: watch::Sender<bool>,
    /// Which run of the agent this is. What is left of an earlier one is dead: it touches nothing any more.
    life: AtomicUsize,
    traits: Traits,
}

#[derive(Debug, Clone, Copy)]
struct Traits {
    /// RAUC since 1.10 has transactions, since 1.9 it inspects.
    modern: bool,
    /// Whether the new system starts at all.
    boots: bool,
    /// Exit code of the new system's health check.
    health: u8,
    /// How long the kernel waits for a read from the relay.
    read_timeout: Duration,
    kill: Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Agent,
    Power,
}

#[derive(Debug)]
struct DeviceState {
    slots: BTreeMap<&'static str, SlotStatus>,
    primary: &'static str,
    booted: &'static str,
    boots: u32,
    reports: Vec<Report>,
}

#[derive(Debug)]
struct Installing {
    task: JoinHandle<()>,
    result: watch::Receiver<Option<Result<(), BackendError>>>,
}

// === impl Device ===

impl Device {
    async fn new(kill_at: usize, traits: Traits) -> Arc<Self> {
        let slot = |name: &str, bootname: &str, version: &str| SlotStatus {
            slot: Slot {
                name: name.to_owned(),
                bootname: bootname.to_owned(),
                boot_status: "good".to_owned(),
                version: version.to_owned(),
                ..Slot::default()
            },
            class: "rootfs".to_owned(),
            installed_ok: true,
            ..SlotStatus::default()
        };
        let slots = BTreeMap::from([("a", slot("a", "A", "1.0.0")), ("b", slot("b", "B", "0.9.0"))]);
        let device = Arc::new(Self {
            dir: tempfile::tempdir().unwrap(),
            server: Server::start(SIZE).await,
            state: StdMutex::new(DeviceState {
                slots,
                primary: "a",
                booted: "a",
                boots: 0,
                reports: Vec::new(),
            }),
            installing: StdMutex::new(None),
            ended: watch::Sender::new((0, None)),
            steps: AtomicUsize::new(0),
            kill_at,
            killed: watch::Sender::new(false),
            life: AtomicUsize::new(0),
            traits,
        });
        device.boot();
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The bootloader's part, and an empty /run.
    fn boot(&self) {
        if let Some(installing) = self.installing.lock().unwrap().take() {
            installing.task.abort();
        }
        let mut state = self.state.lock().unwrap();
        let other = if state.primary == "a" { "b" } else { "a" };
        let new = state.primary == "b";
        let starts = self.traits.boots || !new;
        let good = state.slots[state.primary].slot.boot_status == "good";
        if !good || !starts {
            state.primary = other;
        }
        state.booted = state.primary;
        let booted = state.booted;
        for (name, slot) in &mut state.slots {
            slot.slot.state = if *name == booted {
                "booted".into()
            } else {
                "inactive".into()
            };
        }
        state.boots += 1;
        fs::write(self.path("boot_id"), format!("boot-{}\n", state.boots)).unwrap();
        let run = self.path("run");
        let _ = fs::remove_dir_all(&run);
        fs::create_dir(&run).unwrap();
        run_files::mark_server_reached(&run).unwrap();
        let health = self.path("health.d");
        fs::create_dir_all(&health).unwrap();
        let code = if booted == "b" { self.traits.health } else { 0 };
        // The kernel may still be starting the one of the life before: that one cannot be written, and can be replaced.
        let check = self.path("check");
        fs::write(&check, format!("#!/bin/sh\necho says {code}\nexit {code}\n")).unwrap();
        fs::set_permissions(&check, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::rename(&check, health.join("10-test")).unwrap();
    }

    /// One step of the engine in this life; it goes no further if this is where it is killed.
    async fn step(&self, life: usize) {
        self.alive(life).await;
        if self.steps.fetch_add(1, Ordering::SeqCst) + 1 == self.kill_at {
            self.killed.send_replace(true);
            std::future::pending::<()>().await;
        }
    }

    async fn alive(&self, life: usize) {
        if self.life.load(Ordering::SeqCst) != life {
            std::future::pending::<()>().await;
        }
    }

    fn is_installing(&self) -> bool {
        let installing = self.installing.lock().unwrap();
        installing
            .as_ref()
            .is_some_and(|installing| installing.result.borrow().is_none())
    }

    fn reports(&self) -> Vec<(DeploymentState, Option<Reason>)> {
        let state = self.state.lock().unwrap();
        let deployments = state.reports.iter().filter_map(|report| match report {
            Report::Deployment(report) => Some((report.state, report.reason.clone())),
            _ => None,
        });
        deployments.collect()
    }

    fn config(&self) -> EngineConfig {
        EngineConfig {
            reserve_bytes: 0,
            max_backoff: Duration::from_millis(20),
            boot_id_path: self.path("boot_id"),
            ..EngineConfig::new(self.path("ota"), self.path("run"))
        }
    }

    fn deploy(&self) -> Deploy {
        Deploy {
            deployment: DEPLOYMENT,
            bundle: self.server.offer.clone(),
        }
    }

    async fn start(self: &Arc<Self>) -> EngineHandle {
        let upstream = self.server.upstream.subscribe();
        let life = self.life.fetch_add(1, Ordering::SeqCst) + 1;
        let sink = Sink {
            device: self.clone(),
            life,
        };
        Engine::start(self.config(), Fake::new(self.clone(), Some(life)), upstream, sink)
            .await
            .unwrap()
    }

    /// Ends the engine as the end of its process would.
    fn stop(&self, handle: EngineHandle) {
        self.life.fetch_add(1, Ordering::SeqCst);
        drop(handle);
    }

    /// Runs the device until the deployment is final, through reboots and the one kill.
    async fn run(self: &Arc<Self>) {
        loop {
            let check = tokio::spawn(self.clone().boot_check());
            let handle = self.start().await;
            handle.deploy(self.deploy()).await;
            let mut killed = self.killed.subscribe();
            killed.mark_unchanged();
            let end = tokio::select! {
                _ = killed.changed() => Some(self.traits.kill),
                () = self.reboot_requested() => Some(Kill::Power),
                () = self.final_report() => None,
            };
            self.stop(handle);
            match end {
                None => return,
                Some(Kill::Agent) => {}
                Some(Kill::Power) => {
                    check.abort();
                    self.boot();
                }
            }
        }
    }

    async fn boot_check(self: Arc<Self>) {
        let config = BootCheckConfig {
            deadline: Duration::from_secs(20),
            health_dirs: vec![self.path("health.d")],
            ignored_units: vec!["*".to_owned()],
            boot_id_path: self.path("boot_id"),
            ..BootCheckConfig::new(self.path("ota"), self.path("run"))
        };
        // It is not the one that is killed at a step.
        let backend = Fake::new(self.clone(), None);
        boot_check::run(&config, &Immortal(backend)).await.unwrap();
    }

    async fn reboot_requested(&self) {
        let file = self.path("run").join(run_files::REBOOT);
        while !file.exists() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Until then an agent that ends says the same again when it starts: reports are delivered at least once.
    async fn handed_over(&self) {
        eventually("an empty outbox", async || {
            let state = Persisted::peek(&self.path("ota")).unwrap();
            state.outbox.is_empty()
        })
        .await;
    }

    async fn final_report(&self) {
        while !self.reports().last().is_some_and(|(state, _)| state.is_final()) {
            tokio::time::sleep(POLL).await;
        }
    }

    async fn install_task(
        self: Arc<Self>,
        request: InstallRequest,
        result: watch::Sender<Option<Result<(), BackendError>>>,
    ) {
        let outcome = self.install(&request).await;
        let error = outcome.as_ref().err().map(ToString::to_string);
        result.send_replace(Some(outcome));
        self.ended
            .send_modify(|(count, last)| (*count, *last) = (*count + 1, error));
    }

    /// What RAUC does: marks the target bad, reads everything, writes, activates.
    async fn install(&self, request: &InstallRequest) -> Result<(), BackendError> {
        let target = if self.state.lock().unwrap().booted == "a" {
            "b"
        } else {
            "a"
        };
        self.state
            .lock()
            .unwrap()
            .slots
            .get_mut(target)
            .unwrap()
            .slot
            .boot_status = "bad".to_owned();
        let mut content = Vec::new();
        let mut errors = 0;
        while content.len() < SIZE {
            let last = (content.len() + READ).min(SIZE) - 1;
            let range = format!("bytes={}-{last}", content.len());
            let read = timeout(self.traits.read_timeout, get(&request.source, Some(&range))).await;
            // RAUC 1.13 dies of the kernel's timeout (SIGBUS).
            match read.map_err(|_| BackendError::Interrupted("killed".to_owned()))? {
                Ok((StatusCode::PARTIAL_CONTENT, part)) => content.extend_from_slice(&part),
                Ok((StatusCode::NOT_FOUND, _)) => {
                    return Err(BackendError::Source("Input/output error".into()));
                }
                _ if errors >= 5 => return Err(BackendError::Source("Input/output error".into())),
                _ => {
                    errors += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        assert_eq!(content, self.server.bundle[..]);
        self.write(target, &self.server.offer.version, &request.transaction);
        Ok(())
    }

    fn write(&self, target: &'static str, version: &str, transaction: &str) {
        let mut state = self.state.lock().unwrap();
        let slot = state.slots.get_mut(target).unwrap();
        slot.slot.version = version.to_owned();
        slot.slot.boot_status = "good".to_owned();
        slot.slot.installed_at = "2026-11-21T20:47:00Z".to_owned();
        slot.installed_count += 1;
        slot.transaction = if self.traits.modern {
            transaction.to_owned()
        } else {
            String::new()
        };
        state.primary = target;
    }
}

/// RAUC as the engine sees it.
#[derive(Debug)]
struct Fake {
    device: Arc<Device>,
    /// The life of the agent that uses it; none for the boot check.
    life: Option<usize>,
    ended: tokio::sync::Mutex<watch::Receiver<(u32, Option<String>)>>,
}

// === impl Fake ===

impl Fake {
    fn new(device: Arc<Device>, life: Option<usize>) -> Self {
        let ended = tokio::sync::Mutex::new(device.ended.subscribe());
        Self { device, life, ended }
    }

    async fn step(&self) {
        if let Some(life) = self.life {
            self.device.step(life).await;
        }
    }
}

impl Backend for Fake {
    fn name(&self) -> String {
        "fake 1".to_owned()
    }

    async fn compatible(&self) -> Result<String, BackendError> {
        Ok("board".to_owned())
    }

    async fn slots(&self) -> Result<Vec<SlotStatus>, BackendError> {
        if self.device.is_installing() {
            return Err(BackendError::Busy("installing".to_owned()));
        }
        Ok(self
            .device
            .state
            .lock()
            .unwrap()
            .slots
            .values()
            .cloned()
            .collect())
    }

    async fn primary(&self) -> Result<String, BackendError> {
        Ok(self.device.state.lock().unwrap().primary.to_owned())
    }

    async fn inspect(&self, source: &str) -> Result<Option<BundleInfo>, BackendError> {
        self.step().await;
        let (status, magic) = get(source, Some("bytes=0-3"))
            .await
            .map_err(BackendError::Source)?;
        assert_eq!((status, magic.len()), (StatusCode::PARTIAL_CONTENT, 4));
        let offer = &self.device.server.offer;
        let info = BundleInfo {
            compatible: offer.compatible.clone(),
            version: offer.version.clone(),
            ..BundleInfo::default()
        };
        Ok(self.device.traits.modern.then_some(info))
    }

    async fn install(
        &self,
        request: &InstallRequest,
        progress: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> Result<(), BackendError> {
        self.step().await;
        assert!(!self.device.is_installing(), "two installations at once");
        let (sender, result) = watch::channel(None);
        let task = tokio::spawn(self.device.clone().install_task(request.clone(), sender));
        *self.device.installing.lock().unwrap() = Some(Installing { task, result });
        self.step().await;
        let ended = self.reattach(progress).await.unwrap_or(Ok(()));
        self.step().await;
        ended
    }

    async fn reattach(
        &self,
        progress: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> Option<Result<(), BackendError>> {
        progress(10, "working");
        let mut result = self.device.installing.lock().unwrap().as_ref()?.result.clone();
        let ended = result.wait_for(Option::is_some).await.ok()?;
        ended.clone()
    }

    async fn mark(&self, slot: &str, mark: Mark) -> Result<(), BackendError> {
        if let Some(life) = self.life {
            self.device.alive(life).await;
        }
        let mut state = self.device.state.lock().unwrap();
        match mark {
            Mark::Active => state.primary = if slot == "a" { "a" } else { "b" },
            mark => {
                let status = if mark == Mark::Good { "good" } else { "bad" };
                state.slots.get_mut(slot).unwrap().slot.boot_status = status.to_owned();
            }
        }
        Ok(())
    }

    async fn changed(&self) -> Result<InstallEnded, BackendError> {
        let mut ended = self.ended.lock().await;
        ended
            .changed()
            .await
            .map_err(|error| BackendError::Interrupted(error.to_string()))?;
        let error = ended.borrow().1.clone();
        Ok(InstallEnded { error })
    }
}

/// The boot check's view of the backend.
struct Immortal(Fake);

impl Backend for Immortal {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn compatible(&self) -> Result<String, BackendError> {
        self.0.compatible().await
    }

    async fn slots(&self) -> Result<Vec<SlotStatus>, BackendError> {
        self.0.slots().await
    }

    async fn primary(&self) -> Result<String, BackendError> {
        self.0.primary().await
    }

    async fn inspect(&self, _: &str) -> Result<Option<BundleInfo>, BackendError> {
        unreachable!("the boot check inspects nothing")
    }

    async fn install(
        &self,
        _: &InstallRequest,
        _: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> Result<(), BackendError> {
        unreachable!("the boot check installs nothing")
    }

    async fn reattach(&self, _: &(dyn Fn(u8, &str) + Send + Sync)) -> Option<Result<(), BackendError>> {
        None
    }

    async fn mark(&self, slot: &str, mark: Mark) -> Result<(), BackendError> {
        self.0.mark(slot, mark).await
    }

    async fn changed(&self) -> Result<InstallEnded, BackendError> {
        std::future::pending().await
    }
}

#[derive(Debug)]
struct Sink {
    device: Arc<Device>,
    life: usize,
}

impl ReportSink for Sink {
    async fn report(&self, report: Report) -> io::Result<()> {
        self.device.step(self.life).await;
        self.device.state.lock().unwrap().reports.push(report);
        self.device.step(self.life).await;
        Ok(())
    }

    fn progress(&self, _: Progress) {}

    fn slots_changed(&self) {}
}

const HEALTHY: Traits = Traits {
    modern: true,
    boots: true,
    health: 0,
    read_timeout: RUN_TIMEOUT,
    kill: Kill::Power,
};

/// The states in the order in which they were reported first.
fn path(device: &Device) -> Vec<DeploymentState> {
    let mut path = Vec::new();
    for (state, _) in device.reports() {
        if !path.contains(&state) {
            path.push(state);
        }
    }
    path
}

/// Runs one update with `traits` for each point where it can be killed, and checks how each ends.
async fn at_every_point(traits: Traits, wanted: &[DeploymentState], code: Option<FailureCode>) {
    use DeploymentState as D;
    let undisturbed = Device::new(usize::MAX, traits).await;
    timeout(RUN_TIMEOUT, undisturbed.run()).await.expect("it ends");
    let states: Vec<_> = undisturbed
        .reports()
        .into_iter()
        .map(|(state, _)| state)
        .collect();
    // A device says again where it stands when it is asked after a reboot; otherwise each state comes once.
    assert_eq!(states.last(), wanted.last(), "{traits:?}: {states:?}");
    assert_eq!(
        undisturbed
            .reports()
            .last()
            .unwrap()
            .1
            .as_ref()
            .map(|reason| reason.code),
        code
    );

    let steps = undisturbed.steps.load(Ordering::SeqCst);
    assert!(steps > 10, "{steps}");
    let mut runs = tokio::task::JoinSet::new();
    for kill_at in 1..=steps {
        let wanted = wanted.to_vec();
        runs.spawn(async move {
            let device = Device::new(kill_at, traits).await;
            let ended = timeout(RUN_TIMEOUT, device.run()).await;
            let reports = device.reports();
            assert!(
                ended.is_ok(),
                "{traits:?} killed at {kill_at} did not end: {reports:?}"
            );
            // A boot check that fails fast is over before the agent has said that the trial began.
            let without_trial: Vec<_> = wanted
                .iter()
                .copied()
                .filter(|state| *state != D::Trial)
                .collect();
            let path = path(&device);
            let short = path == without_trial && path.last() == Some(&D::RolledBack);
            assert!(
                path == wanted || short,
                "{traits:?} killed at {kill_at}: {reports:?}"
            );
            assert_eq!(reports.last().unwrap().1.as_ref().map(|reason| reason.code), code);
            let state = device.state.lock().unwrap();
            let verified = wanted.last() == Some(&D::Verified);
            assert_eq!(
                state.booted,
                if verified { "b" } else { "a" },
                "killed at {kill_at}"
            );
            let left = &state.slots["b"].slot.boot_status;
            assert_eq!(left == "bad", !verified, "killed at {kill_at}: b is {left}");
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

const INSTALLED: [DeploymentState; 4] = [
    DeploymentState::Downloading,
    DeploymentState::Installing,
    DeploymentState::Installed,
    DeploymentState::Rebooting,
];

fn then(states: &[DeploymentState]) -> Vec<DeploymentState> {
    [&INSTALLED, states].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_update_survives_power_cuts() {
    let wanted = then(&[DeploymentState::Trial, DeploymentState::Verified]);
    at_every_point(HEALTHY, &wanted, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_update_survives_kills_of_the_agent() {
    let wanted = then(&[DeploymentState::Trial, DeploymentState::Verified]);
    at_every_point(
        Traits {
            kill: Kill::Agent,
            ..HEALTHY
        },
        &wanted,
        None,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_update_survives_with_an_old_rauc() {
    let wanted = then(&[DeploymentState::Trial, DeploymentState::Verified]);
    at_every_point(
        Traits {
            modern: false,
            ..HEALTHY
        },
        &wanted,
        None,
    )
    .await;
    at_every_point(
        Traits {
            modern: false,
            kill: Kill::Agent,
            ..HEALTHY
        },
        &wanted,
        None,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_update_rolls_back() {
    let wanted = then(&[DeploymentState::Trial, DeploymentState::RolledBack]);
    let unhealthy = Traits { health: 3, ..HEALTHY };
    at_every_point(unhealthy, &wanted, Some(FailureCode::HealthCheck)).await;
    at_every_point(
        Traits {
            kill: Kill::Agent,
            ..unhealthy
        },
        &wanted,
        Some(FailureCode::HealthCheck),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_does_not_start_rolls_back() {
    let wanted = then(&[DeploymentState::RolledBack]);
    let dead = Traits {
        boots: false,
        kill: Kill::Agent,
        ..HEALTHY
    };
    at_every_point(dead, &wanted, Some(FailureCode::BootFailed)).await;
}

async fn failing(faults: Faults) -> Reason {
    let device = Device::new(usize::MAX, HEALTHY).await;
    device.server.set(faults);
    timeout(RUN_TIMEOUT, device.run()).await.expect("it ends");
    let (state, reason) = device.reports().pop().unwrap();
    assert_eq!(state, DeploymentState::Failed);
    assert_eq!(
        device.state.lock().unwrap().slots["b"].installed_count,
        0,
        "nothing was written"
    );
    assert!(!device.path("run").join(run_files::REBOOT).exists());
    reason.unwrap()
}

#[tokio::test]
async fn a_bundle_that_is_gone_or_replaced_fails() {
    let gone = Faults {
        status: Some(StatusCode::NOT_FOUND),
        ..Faults::default()
    };
    assert_eq!(failing(gone).await.code, FailureCode::BundleGone);
    let replaced = Faults {
        etag: Some("\"x\"".to_owned()),
        ..Faults::default()
    };
    assert_eq!(failing(replaced).await.code, FailureCode::Corrupt);
    let shorter = Faults {
        size: Some(17),
        ..Faults::default()
    };
    assert_eq!(failing(shorter).await.code, FailureCode::Truncated);
}

#[tokio::test]
async fn the_wrong_bundle_is_not_even_fetched() {
    for (version, compatible, code, detail) in [
        (
            "2.0.0",
            "other",
            FailureCode::Incompatible,
            "the bundle is for \"other\", this device is \"board\"",
        ),
        (
            "0.1.0",
            "board",
            FailureCode::VersionTooOld,
            "version \"0.1.0\" (from the bundle's manifest) is older than the running \"1.0.0\" (from fake 1's status of slot a)",
        ),
    ] {
        let device = Device::new(usize::MAX, HEALTHY).await;
        let handle = device.start().await;
        let mut deploy = device.deploy();
        version.clone_into(&mut deploy.bundle.version);
        compatible.clone_into(&mut deploy.bundle.compatible);
        handle.deploy(deploy).await;
        device.final_report().await;
        let reason = device.reports().pop().unwrap().1.unwrap();
        assert_eq!(reason.code, code);
        assert!(reason.detail.starts_with(detail), "{}", reason.detail);
        assert_eq!(device.server.seen.requests.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_during_the_installation_only_delays_it() {
    let device = Device::new(usize::MAX, HEALTHY).await;
    device.server.set(Faults {
        cut_after: Some(300_000),
        down_after: Some(300_000),
        ..Faults::default()
    });
    let handle = device.start().await;
    handle.deploy(device.deploy()).await;
    eventually("an outage", async || {
        device.server.seen.refused.load(Ordering::SeqCst) > 5
    })
    .await;
    device.server.set(Faults::default());
    handle.network_up();
    eventually("installed", async || {
        path(&device).contains(&DeploymentState::Rebooting)
    })
    .await;
    let bytes = device.server.seen.bytes.load(Ordering::SeqCst);
    assert!(bytes <= SIZE as u64 * 11 / 10, "{bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_kills_rauc_only_delays_it() {
    let impatient = Traits {
        read_timeout: Duration::from_millis(500),
        ..HEALTHY
    };
    let device = Device::new(usize::MAX, impatient).await;
    device.server.set(Faults {
        down_after: Some(300_000),
        ..Faults::default()
    });
    let handle = device.start().await;
    handle.deploy(device.deploy()).await;
    eventually("the end of RAUC", async || {
        device.ended.borrow().1.as_deref() == Some("killed")
    })
    .await;
    device.server.set(Faults::default());
    eventually("installed", async || {
        path(&device).contains(&DeploymentState::Rebooting)
    })
    .await;
    // Each time that RAUC ended, the answer that it was reading may have been lost.
    let lost = u64::from(device.ended.borrow().0) * READ as u64;
    let bytes = device.server.seen.bytes.load(Ordering::SeqCst);
    assert!(bytes <= SIZE as u64 + lost, "{bytes}, {lost} lost");
}

#[tokio::test]
async fn a_deployment_that_cannot_be_remembered_is_refused() {
    let device = Device::new(usize::MAX, HEALTHY).await;
    let handle = device.start().await;
    // Stands for a full disk: nothing can be written there either.
    fs::remove_dir_all(device.path("ota")).unwrap();
    handle.deploy(device.deploy()).await;
    timeout(RUN_TIMEOUT, device.final_report()).await.unwrap();
    let (state, reason) = device.reports().pop().unwrap();
    assert_eq!(state, DeploymentState::Failed);
    assert_eq!(reason.unwrap().code, FailureCode::DiskFull);
    assert!(!device.is_installing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_installation_leaves_the_running_system_alone() {
    let device = Device::new(usize::MAX, HEALTHY).await;
    device.server.set(Faults {
        down_after: Some(100_000),
        ..Faults::default()
    });
    let handle = device.start().await;
    handle.deploy(device.deploy()).await;
    eventually("installing", async || device.is_installing()).await;
    handle.cancel(DEPLOYMENT).await;
    device.final_report().await;
    let (state, reason) = device.reports().pop().unwrap();
    assert_eq!(state, DeploymentState::Cancelled);
    assert_eq!(reason.unwrap().code, FailureCode::Cancelled);
    assert_eq!(device.state.lock().unwrap().primary, "a");
    assert!(!device.path("run").join(run_files::REBOOT).exists());
}

#[tokio::test]
async fn commands_that_come_again_are_answered() {
    let device = Device::new(usize::MAX, HEALTHY).await;
    device.server.set(Faults {
        status: Some(StatusCode::GONE),
        ..Faults::default()
    });
    let handle = device.start().await;
    handle.deploy(device.deploy()).await;
    device.final_report().await;
    let said = device.reports();
    handle.deploy(device.deploy()).await;
    handle.cancel(DEPLOYMENT).await;
    eventually("answers", async || device.reports().len() == said.len() + 2).await;
    assert!(
        device.reports()[said.len()..]
            .iter()
            .all(|report| Some(report) == said.last())
    );

    // One that was cancelled before it came does not start when it comes.
    handle.cancel(99).await;
    handle
        .deploy(Deploy {
            deployment: 99,
            ..device.deploy()
        })
        .await;
    eventually("answers", async || device.reports().len() == said.len() + 4).await;
    assert!(
        device.reports()[said.len() + 2..]
            .iter()
            .all(|(state, _)| *state == DeploymentState::Cancelled)
    );
}

#[tokio::test]
async fn local_installs_are_reported_once() {
    let locals = |device: &Device| {
        let state = device.state.lock().unwrap();
        let locals = state.reports.iter().filter_map(|report| match report {
            Report::LocalInstall(local) => Some(local.clone()),
            _ => None,
        });
        locals.collect::<Vec<_>>()
    };
    let device = Device::new(usize::MAX, HEALTHY).await;
    let handle = device.start().await;
    eventually("a first look", async || device.path("ota/state.json").exists()).await;
    device.write("b", "1.5.0", "by-hand");
    device.ended.send_modify(|ended| ended.0 += 1);
    eventually("a report", async || locals(&device).len() == 1).await;
    device
        .ended
        .send_modify(|ended| *ended = (ended.0 + 1, Some("bad signature".to_owned())));
    eventually("a failure", async || locals(&device).len() == 2).await;
    let seen = locals(&device);
    assert!(seen[0].succeeded && seen[0].transaction == "by-hand" && seen[0].version == "1.5.0");
    assert_eq!(seen[0].at_ms, 1_795_294_020_000);
    assert!(!seen[1].succeeded && seen[1].detail == "bad signature");
    device.handed_over().await;
    device.stop(handle);

    // One that happened while the agent was away is found at its start, and the boot check knows what to examine.
    device.write("b", "1.6.0", "usb-stick");
    let handle = device.start().await;
    eventually("the missed one", async || locals(&device).len() == 3).await;
    assert_eq!(locals(&device)[2].transaction, "usb-stick");
    device.handed_over().await;
    device.stop(handle);
    device.boot();
    fs::remove_file(device.path("run").join(run_files::SERVER_REACHED)).unwrap();
    let handle = device.start().await;
    device.clone().boot_check().await;
    assert!(
        fs::read_to_string(device.path("ota/verdict.json"))
            .unwrap()
            .contains("\"good\":true")
    );
    device.stop(handle);
    assert_eq!(locals(&device).len(), 3);
}

#[tokio::test]
async fn a_local_install_that_does_not_start_is_not_tried_again() {
    let device = Device::new(
        usize::MAX,
        Traits {
            boots: false,
            ..HEALTHY
        },
    )
    .await;
    let handle = device.start().await;
    eventually("a first look", async || device.path("ota/state.json").exists()).await;
    device.write("b", "1.5.0", "by-hand");
    device.ended.send_modify(|ended| ended.0 += 1);
    let remembered = async || Persisted::peek(&device.path("ota")).unwrap().local.is_some();
    eventually("a local installation", remembered).await;
    device.stop(handle);
    let handle = device.start().await;
    let status = || device.state.lock().unwrap().slots["b"].slot.boot_status.clone();
    assert_eq!(status(), "good", "the boot that installed it does not judge it");
    device.stop(handle);
    device.boot();
    let handle = device.start().await;
    eventually("the slot to be marked", async || status() == "bad").await;
    device.stop(handle);
}

#[tokio::test]
async fn damaged_state_is_put_aside() {
    let device = Device::new(usize::MAX, HEALTHY).await;
    fs::create_dir(device.path("ota")).unwrap();
    fs::write(device.path("ota/state.json"), "{ torn").unwrap();
    let handle = device.start().await;
    eventually("slots", async || handle.status().slots.len() == 2).await;
    assert!(device.path("ota/state.damaged").exists());
    assert_eq!(handle.status().compatible, "board");
}
