//! Tables that one device can grow: three times what there may be goes in. `store::schema` names each, and its end.

use homeport_api::NewPairingToken;
use homeport_protocol::{
    DeploymentState::{Downloading, Failed, Waiting},
    Inventory, Record, Report, Sequenced,
    limits::MAX_SERIES,
    report::LocalInstall,
    senml::Pack,
};
use homeport_server::{
    est::IssueError,
    mqtt::{Handler as _, HandlerError},
    store::Paging,
};

use crate::world::{Device, KEY, SAMPLES_PER_DAY, World};

async fn telemetry(
    world: &World,
    device: &Device,
    queue: u64,
    records: Vec<Record>,
) -> Result<(), HandlerError> {
    let batch = Sequenced {
        queue,
        sequence: 1,
        message: Pack(records),
    };
    world.fleet.telemetry(&device.id, batch).await
}

// The clock jumps over the time for which reports wait.

#[tokio::test(start_paused = true)]
async fn local_installs() {
    const MOST: usize = 100;

    let world = World::new().await;
    let mut device = world.pair().await;
    for number in 0..3 * MOST {
        let install = LocalInstall {
            slot: "B".into(),
            version: number.to_string(),
            succeeded: true,
            detail: String::new(),
            transaction: number.to_string(),
            at_ms: 0,
        };
        world.report(&mut device, Report::LocalInstall(install)).await;
    }
    assert_eq!((world.rows("updates"), world.rows("update_states")), (MOST, MOST));
    let shown = world
        .fleet
        .updates(&world.admin, device.id.to_string(), Paging::first(1))
        .await
        .unwrap();
    assert_eq!(
        shown.items[0].version,
        (3 * MOST - 1).to_string(),
        "the newest stay"
    );
}

#[tokio::test(start_paused = true)]
async fn states_of_an_update() {
    const MOST: usize = 256;

    let world = World::new().await;
    let mut device = world.pair().await;
    let deployment = world.deploy(&device).await.unwrap().id;
    for _ in 0..3 * MOST / 2 {
        world.state(&mut device, deployment, Downloading).await;
        world.state(&mut device, deployment, Waiting).await;
    }
    assert_eq!(world.rows("update_states"), MOST);
    world.state(&mut device, deployment, Failed).await;
    assert_eq!(world.rows("update_states"), MOST + 1, "how it ended is kept");
}

#[tokio::test]
async fn queues() {
    const MOST: usize = 4;

    let world = World::new().await;
    let device = world.pair().await;
    for queue in 0..3 * MOST as u64 {
        let report = Sequenced {
            queue,
            sequence: 1,
            message: Report::Inventory(Inventory::default()),
        };
        world.fleet.report(&device.id, report).await.unwrap();
        let records = vec![Record::number("a", "", 1.0)];
        telemetry(&world, &device, queue, records).await.unwrap();
    }
    assert_eq!(world.rows("queues"), 2 * MOST);
}

#[tokio::test]
async fn series() {
    let world = World::new().await;
    let device = world.pair().await;
    for queue in 0..3 {
        let names = (0..MAX_SERIES).map(|number| format!("{queue}.{number}"));
        let records = names.map(|name| Record::number(name, "", 1.0)).collect();
        telemetry(&world, &device, queue, records).await.unwrap();
    }
    // And the one that counts what there was no room for.
    assert_eq!(world.rows("series"), MAX_SERIES + 1);
}

#[tokio::test]
async fn samples() {
    let world = World::new().await;
    let device = world.pair().await;
    let mut refused = 0;
    for queue in 0_u32..6 {
        let at = |number: u32| f64::from(1_700_000_000 + queue * 1000 + number);
        let records = (0..1000).map(|number| Record {
            time: Some(at(number)),
            ..Record::number("a", "", 1.0)
        });
        let sent = telemetry(&world, &device, queue.into(), records.collect()).await;
        refused += usize::from(matches!(sent, Err(HandlerError::Quota(_))));
    }
    assert_eq!(world.rows("samples"), SAMPLES_PER_DAY as usize);
    assert_eq!(refused, 4);
}

#[tokio::test]
async fn certificates_and_their_audit_entries() {
    const MOST: u8 = 10;

    let world = World::new().await;
    let token = world.token(NewPairingToken::default()).await;
    let before = world.rows("audit");
    for number in 0..3 * MOST {
        let answer = world.enrol(&token, &KEY, [number; 32]).await;
        let limited = matches!(answer, Err(IssueError::Limited(_)));
        assert_eq!(limited, number >= MOST, "{number}: {answer:?}");
    }
    // The newest is active, and may ask for no more.
    for number in 0..3 * MOST {
        let renewed = world.renew(&[MOST - 1; 32], [100 + number; 32]).await;
        assert!(matches!(renewed, Err(IssueError::Limited(_))), "{renewed:?}");
    }
    assert_eq!(world.rows("certificates"), usize::from(MOST));
    assert_eq!(world.rows("audit") - before, usize::from(MOST));
}
