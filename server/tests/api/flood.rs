//! One device that sends without end.

use std::{net::SocketAddr, time::Duration};

use homeport_protocol::{
    DeploymentState::Downloading, Inventory, Report, Sequenced, deployment::Progress, senml::Pack,
};
use homeport_server::mqtt::{Handler as _, HandlerError};
use tokio::time::Instant;

use crate::{
    support::PATIENCE,
    world::{SAMPLES_PER_DAY, World},
};

/// Reports and connections of one device at once.
const REPORTS: u64 = 300;

/// News on progress of one device at once.
const PROGRESS: usize = 120;

#[tokio::test(start_paused = true)]
async fn reports_come_at_a_rate_and_none_is_lost() {
    let world = World::new().await;
    let (mut device, mut other) = (world.pair().await, world.pair().await);
    let start = Instant::now();
    for _ in 0..REPORTS {
        world
            .report(&mut device, Report::Inventory(Inventory::default()))
            .await;
    }
    assert_eq!(start.elapsed().as_secs(), 0);
    for sequence in REPORTS + 1..=REPORTS + 30 {
        let inventory = Inventory {
            os_version: sequence.to_string(),
            ..Inventory::default()
        };
        world.report(&mut device, Report::Inventory(inventory)).await;
        let shown = world
            .fleet
            .device(&world.admin, device.id.to_string())
            .await
            .unwrap();
        assert_eq!(shown.os_version, sequence.to_string());
    }
    // A repeat costs the writer as much.
    world
        .report_as(&device, 1, Report::Inventory(Inventory::default()))
        .await;
    let elapsed = start.elapsed().as_secs();
    assert!((30..=32).contains(&elapsed), "one each second: {elapsed}");
    let start = Instant::now();
    world
        .report(&mut other, Report::Inventory(Inventory::default()))
        .await;
    assert_eq!(start.elapsed().as_secs(), 0, "others do not wait");
}

#[tokio::test(start_paused = true)]
async fn connections_come_at_the_same_rate() {
    let world = World::new().await;
    let device = world.pair().await;
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let start = Instant::now();
    for _ in 0..REPORTS + 30 {
        assert!(world.fleet.connected(&device.id, &device.certificate, peer).await);
    }
    let elapsed = start.elapsed().as_secs();
    assert!((29..=31).contains(&elapsed), "one each second: {elapsed}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_a_report_waits_takes_nothing() {
    let world = World::new().await;
    let mut device = world.pair().await;
    for _ in 0..REPORTS {
        world
            .report(&mut device, Report::Inventory(Inventory::default()))
            .await;
    }
    for _ in 0..100 {
        let report = world.report(&mut device, Report::Inventory(Inventory::default()));
        let waited = tokio::time::timeout(Duration::from_millis(1), report).await;
        assert!(waited.is_err());
    }
    let start = Instant::now();
    world
        .report(&mut device, Report::Inventory(Inventory::default()))
        .await;
    assert!(start.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn telemetry_that_stores_nothing_is_not_free() {
    let world = World::new().await;
    let device = world.pair().await;
    let send = |sequence| {
        let batch = Sequenced {
            queue: 1,
            sequence,
            message: Pack(Vec::new()),
        };
        world.fleet.telemetry(&device.id, batch)
    };
    let mut taken = 0;
    // Empty, and the same again.
    while send(taken / 2 + 1).await.is_ok() {
        taken += 1;
        assert!(taken <= u64::from(SAMPLES_PER_DAY), "the samples of a day");
    }
    assert_eq!(taken, u64::from(SAMPLES_PER_DAY));
    assert!(matches!(send(3000).await, Err(HandlerError::Quota(_))));
}

#[tokio::test]
async fn news_on_progress_leave_room_for_those_of_others() {
    let world = World::new().await;
    let (mut device, mut other) = (world.pair().await, world.pair().await);
    let (deployment, others) = (
        world.deploy(&device).await.unwrap().id,
        world.deploy(&other).await.unwrap().id,
    );
    world.state(&mut device, deployment, Downloading).await;
    world.state(&mut other, others, Downloading).await;
    let mut watcher = world.fleet.follow(&world.admin).await.unwrap().unwrap();
    let progress = |deployment| Progress {
        deployment,
        state: Downloading,
        percent: 7,
        bytes_fetched: 0,
        message: String::new(),
    };
    for _ in 0..100 * PROGRESS {
        world.fleet.progress(&device.id, progress(deployment));
    }
    world.fleet.progress(&other.id, progress(others));
    let mut told = 0;
    loop {
        let event = tokio::time::timeout(PATIENCE, watcher.next())
            .await
            .unwrap()
            .unwrap();
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["type"], "update");
        if event["update"]["device"] == other.id.as_str() {
            break;
        }
        told += 1;
    }
    assert_eq!(told, PROGRESS);
}
