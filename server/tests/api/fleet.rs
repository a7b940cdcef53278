//! Deployments and reports.

use std::{net::SocketAddr, time::Duration};

use homeport_api::{DevicePatch, NewDeployment, NewPairingToken, Target};
use homeport_protocol::{
    Command, DeploymentState, DeviceId, FailureCode, Inventory, PairingToken, Record, Report, Sequenced,
    report::LocalInstall, senml::Pack,
};
use homeport_server::{
    devices::Part,
    est::{Enrolment as _, Hints, IssueError},
    fleet::FleetError,
    mqtt::{Handler as _, HandlerError},
    store::Paging,
    telemetry::Range,
};
use proptest::prelude::*;

use crate::world::{Device, KEY, World, hints, signed, state_report};

#[tokio::test]
async fn a_token_pairs_one_device_however_many_ask() {
    let world = World::new().await;
    let token = world.token(NewPairingToken::default()).await;
    let keys: Vec<_> = (0..20).map(|key| [key; 32]).collect();
    let asked = keys.iter().map(|key| world.enrol(&token, key, *key));
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == Err(IssueError::Used))
            .count(),
        19
    );
    let unknown = PairingToken {
        secret: [0; 20],
        ..token
    };
    assert_eq!(
        world.enrol(&unknown, &KEY, [40; 32]).await,
        Err(IssueError::Unknown)
    );

    let taken_back = world.token(NewPairingToken::default()).await;
    let id = world
        .fleet
        .tokens(&world.admin, Paging::first(1))
        .await
        .unwrap()
        .items[0]
        .id;
    world.fleet.revoke_token(&world.admin, id).await.unwrap();
    assert_eq!(
        world.enrol(&taken_back, &KEY, [41; 32]).await,
        Err(IssueError::Expired)
    );
}

#[tokio::test]
async fn a_device_without_a_readable_host_name_begins_with_its_serial_or_id() {
    let world = World::new().await;
    for (certificate, hostname, serial, name) in [
        (1, Some("\u{fffd}\u{fffd}"), Some("0815"), Some("0815")),
        (2, None, Some("0815"), Some("0815")),
        (3, Some(""), Some(" "), None),
    ] {
        let token = world.token(NewPairingToken::default()).await;
        let hints = Hints {
            hostname: hostname.map(str::to_owned),
            serial: serial.map(str::to_owned),
            ..hints()
        };
        let sign = move |_: &DeviceId| Ok(signed([certificate; 32]));
        let enrolled = world.fleet.enrol(&token.secret, &KEY, &hints, sign).await;
        let id = enrolled.unwrap().0.to_string();
        let device = world.fleet.device(&world.admin, id.clone()).await.unwrap();
        assert_eq!(device.name, name.unwrap_or(&id));
    }
}

#[tokio::test]
async fn a_device_that_lost_the_answer_asks_again_with_its_key() {
    let world = World::new().await;
    let token = world.token(NewPairingToken::default()).await;
    let enrol = async |key: u8, certificate: u8| world.enrol(&token, &[key; 32], [certificate; 32]).await;
    let id = enrol(1, 8).await.unwrap();
    assert_eq!(enrol(2, 7).await, Err(IssueError::Used), "another key");
    assert_eq!(enrol(1, 9).await.as_ref(), Ok(&id), "after the answer was lost");
    assert!(!world.is_active(&[8; 32]), "the lost certificate is of no use");
    assert!(world.is_active(&[9; 32]));

    let mut device = Device {
        id: id.clone(),
        certificate: [9; 32],
        sequence: 0,
    };
    world.connect(&mut device).await;
    assert_eq!(enrol(1, 10).await, Err(IssueError::Used), "once it has connected");

    let other = world.token(NewPairingToken::default()).await;
    let id = world.enrol(&other, &KEY, [7; 32]).await.unwrap();
    world
        .fleet
        .revoke_device(&world.admin, id.to_string())
        .await
        .unwrap();
    let again = world.enrol(&other, &KEY, [6; 32]).await;
    assert_eq!(again, Err(IssueError::Used), "once it was revoked");
}

#[tokio::test]
async fn what_cannot_be_signed_costs_nothing() {
    let world = World::new().await;
    let token = world.token(NewPairingToken::default()).await;
    let refuse = |_: &DeviceId| Err(rcgen::Error::CouldNotParseCertificate.into());
    let refused = world.fleet.enrol(&token.secret, &KEY, &hints(), refuse).await;
    assert!(matches!(refused, Err(IssueError::Sign(_))), "{refused:?}");
    assert!(
        world
            .fleet
            .devices(&world.admin, Part::default(), Paging::first(1))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    world.enrol(&token, &[2; 32], [9; 32]).await.unwrap();
}

#[tokio::test]
async fn pairing_again_keeps_the_device_and_revokes_its_certificate() {
    let world = World::new().await;
    let first = world.token(NewPairingToken::default()).await;
    let id = world.enrol(&first, &KEY, [1; 32]).await.unwrap();
    let again = || NewPairingToken {
        device: Some(id.to_string()),
        ..NewPairingToken::default()
    };
    let token = world.token(again()).await;
    assert_eq!(world.enrol(&token, &[2; 32], [9; 32]).await.as_ref(), Ok(&id));
    assert!(!world.is_active(&[1; 32]) && world.is_active(&[9; 32]));
    // The device has not connected since: that does not make the first token good again for the first key.
    assert_eq!(world.enrol(&first, &KEY, [3; 32]).await, Err(IssueError::Used));
    assert!(world.is_active(&[9; 32]));

    // Revoked: a token that was made before is no way back, one that is made now is.
    let before = world.token(again()).await;
    world
        .fleet
        .revoke_device(&world.admin, id.to_string())
        .await
        .unwrap();
    assert_eq!(
        world.enrol(&before, &KEY, [4; 32]).await,
        Err(IssueError::Expired)
    );
    let after = world.token(again()).await;
    assert_eq!(world.enrol(&after, &KEY, [5; 32]).await.as_ref(), Ok(&id));
    let device = world.fleet.device(&world.admin, id.to_string()).await.unwrap();
    assert!(!device.revoked && world.is_active(&[5; 32]));
}

#[tokio::test]
async fn a_renewed_certificate_replaces_the_old_one_when_it_is_used() {
    let world = World::new().await;
    let device = world.pair().await;
    world.renew(&device.certificate, [9; 32]).await.unwrap();
    assert!(world.is_active(&device.certificate) && world.is_active(&[9; 32]));
    let mut renewed = Device {
        certificate: [9; 32],
        ..device
    };
    world.connect(&mut renewed).await;
    assert!(!world.is_active(&device.certificate) && world.is_active(&[9; 32]));
    assert_eq!(
        world.renew(&device.certificate, [10; 32]).await,
        Err(IssueError::NotActive)
    );
}

#[tokio::test]
async fn a_certificate_is_asked_for_again_when_a_device_connects() {
    let world = World::new().await;
    let device = world.pair().await;
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    world
        .fleet
        .revoke_device(&world.admin, device.id.to_string())
        .await
        .unwrap();
    assert!(!world.fleet.connected(&device.id, &device.certificate, peer).await);
    let shown = world
        .fleet
        .device(&world.admin, device.id.to_string())
        .await
        .unwrap();
    assert!(shown.revoked && !shown.online);
}

#[tokio::test]
async fn a_connection_that_breaks_off_at_once_has_used_its_certificate() {
    let world = World::new().await;
    let device = world.pair().await;
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    world.renew(&device.certificate, [9; 32]).await.unwrap();
    {
        let mut connected = Box::pin(world.fleet.connected(&device.id, &[9; 32], peer));
        // Dropped after it was polled once. A quick writer may be done by then.
        let _ = futures_util::poll!(&mut connected);
    }
    // Committed after it.
    world
        .fleet
        .change_device(&world.admin, device.id.to_string(), named("b"))
        .await
        .unwrap();
    assert!(!world.is_active(&device.certificate) && world.is_active(&[9; 32]));
}

#[tokio::test]
async fn what_a_revoked_device_still_sends_is_not_taken() {
    let world = World::new().await;
    let mut device = world.pair().await;
    world.connect(&mut device).await;
    let report = |sequence| Sequenced {
        queue: 1,
        sequence,
        message: Report::Inventory(Inventory::default()),
    };
    world.fleet.report(&device.id, report(98)).await.unwrap();
    world
        .fleet
        .revoke_device(&world.admin, device.id.to_string())
        .await
        .unwrap();
    // Not refused for good: it is sent again after the device is paired again.
    assert!(matches!(
        world.fleet.report(&device.id, report(99)).await,
        Err(HandlerError::Unavailable(_))
    ));
}

#[tokio::test]
async fn renewals_have_a_rate_and_few_wait_for_their_use() {
    let world = World::new().await;
    let (device, other) = (world.pair().await, world.pair().await);
    // The pairing was the first of ten.
    for number in 1..10 {
        world.renew(&device.certificate, [number; 32]).await.unwrap();
    }
    let limited = world.renew(&device.certificate, [10; 32]).await;
    let Err(IssueError::Limited(wait)) = limited else {
        panic!("not limited: {limited:?}");
    };
    assert!(wait <= Duration::from_secs(24 * 60 * 60), "{wait:?}");
    assert!(wait > Duration::from_secs(23 * 60 * 60), "{wait:?}");
    let active = (1..=10).filter(|number| world.is_active(&[*number; 32]));
    assert_eq!(active.count(), 3);
    assert!(world.is_active(&device.certificate));
    world.renew(&other.certificate, [11; 32]).await.unwrap();
}

#[tokio::test]
async fn repeats_are_stored_once() {
    let world = World::new().await;
    let device = world.pair().await;
    let send = |queue, sequence, value| {
        let message = Pack(vec![Record {
            time: Some(1_700_000_000.0),
            ..Record::number("a", "", value)
        }]);
        let batch = Sequenced {
            queue,
            sequence,
            message,
        };
        world.fleet.telemetry(&device.id, batch)
    };
    send(u64::MAX, 5, 1.0).await.unwrap();
    send(u64::MAX, 5, 2.0).await.unwrap();
    send(u64::MAX, 4, 3.0).await.unwrap();
    let range = Range {
        name: None,
        from_ms: 0,
        to_ms: i64::MAX,
        points: 10,
    };
    let value = |range| async {
        let series = world.fleet.series(&world.admin, device.id.to_string(), range);
        series.await.unwrap()[0].points[0].value
    };
    assert!((value(range.clone()).await - 1.0).abs() < 1e-9);
    // A new queue starts from one.
    send(8, 1, 4.0).await.unwrap();
    assert!((value(range).await - 4.0).abs() < 1e-9);
    assert!(matches!(
        send(8, u64::MAX, 4.0).await,
        Err(HandlerError::Refused(_))
    ));
}

#[tokio::test]
async fn an_update_goes_its_way_and_its_repeats_change_nothing() {
    use DeploymentState::{Downloading, Installed, Installing, Offered, Rebooting, Trial, Verified};
    let world = World::new().await;
    let mut device = world.pair().await;
    assert_eq!(world.connect(&mut device).await, []);
    let deployment = world.deploy(&device).await.unwrap().id;
    let way = [Downloading, Installing, Installed, Rebooting, Trial, Verified];
    for state in way {
        // After each reconnect the offer comes again.
        assert!(matches!(
            &world.connect(&mut device).await[..],
            [Command::Deploy(deploy)] if deploy.deployment == deployment && deploy.bundle.id == world.bundle
        ));
        world.state(&mut device, deployment, state).await;
        world
            .report_as(
                &device,
                device.sequence,
                state_report(deployment, DeploymentState::Failed),
            )
            .await;
    }
    assert_eq!(world.states(deployment).await[1..], way);
    assert_eq!(world.states(deployment).await[0], Offered);
    assert_eq!(world.connect(&mut device).await, []);
    assert!(
        world
            .fleet
            .deployment(&world.admin, deployment)
            .await
            .unwrap()
            .finished
    );
    let shown = world
        .fleet
        .device(&world.admin, device.id.to_string())
        .await
        .unwrap();
    assert_eq!(shown.update.unwrap().state, Verified);
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let world = World::new().await;
    for _ in 0..5 {
        world.pair().await;
    }
    // All have the same name: they are told apart by their ids.
    let all = world
        .fleet
        .devices(&world.admin, Part::default(), Paging::first(10))
        .await
        .unwrap();
    assert!(all.next.is_none());
    let all: Vec<_> = all.items.into_iter().map(|device| device.id).collect();
    assert!(all.is_sorted() && all.len() == 5);

    let (mut seen, mut paging) = (Vec::new(), Paging::first(2));
    loop {
        let page = world
            .fleet
            .devices(&world.admin, Part::default(), paging)
            .await
            .unwrap();
        seen.extend(page.items.into_iter().map(|device| device.id));
        let Some(next) = page.next else { break };
        // The last device of the page goes, and the list goes on behind it.
        let gone = seen.last().unwrap().clone();
        world.fleet.delete_device(&world.admin, gone).await.unwrap();
        paging = Paging::behind(&next, 2).unwrap();
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn people_find_a_device_by_id_name_or_the_beginning_of_its_id() {
    let world = World::new().await;
    let (one, other) = (world.pair().await, world.pair().await);
    let find = async |text: &str| {
        let found = world
            .fleet
            .find_devices(&world.admin, text.into(), Paging::first(10));
        let found = found.await.unwrap().items.into_iter();
        found.map(|device| device.id).collect::<Vec<_>>()
    };
    let (one, other) = (one.id.to_string(), other.id.to_string());
    assert_eq!(find(&one).await, std::slice::from_ref(&one));
    assert_eq!(find("board").await.len(), 2, "the host name is the name of both");
    assert_eq!(find(&one[..15]).await, std::slice::from_ref(&one));
    for nothing in ["", "boar", "%", "*", "~"] {
        assert!(find(nothing).await.is_empty(), "{nothing}");
    }
    // Somebody else's id for a name: the id goes first.
    world
        .fleet
        .change_device(&world.admin, other, named(&one))
        .await
        .unwrap();
    assert_eq!(find(&one).await, std::slice::from_ref(&one));
}

#[tokio::test]
async fn a_deployment_to_many_is_told_in_one_piece() {
    let world = World::new().await;
    let group = "all".to_owned();
    world
        .fleet
        .create_group(&world.admin, group.clone())
        .await
        .unwrap();
    let mut devices = Vec::new();
    for _ in 0..101 {
        let device = world.pair().await;
        let join = world
            .fleet
            .join_group(&world.admin, group.clone(), device.id.to_string());
        join.await.unwrap();
        devices.push(device);
    }
    let revoked = devices.pop().unwrap().id.to_string();
    world.fleet.revoke_device(&world.admin, revoked).await.unwrap();
    let mut watcher = world.fleet.follow(&world.admin).await.unwrap().unwrap();
    let deploy = async || {
        let new = NewDeployment {
            bundle: world.bundle.clone(),
            target: Target::Group(group.clone()),
        };
        world.fleet.deploy(&world.admin, new).await.unwrap()
    };
    let deployment = deploy().await;
    assert_eq!(deployment.states, [("offered".to_owned(), 100)].into());
    assert!(watcher.next().await.unwrap().contains(r#""type":"deployment""#));
    for _ in 0..100 {
        assert!(watcher.next().await.unwrap().contains(r#""type":"update""#));
    }

    world.connect(&mut devices[0]).await;
    world
        .state(&mut devices[0], deployment.id, DeploymentState::Failed)
        .await;
    let offered = Some(DeploymentState::Offered);
    let page = world
        .fleet
        .deployment_devices(&world.admin, deployment.id, offered, Paging::first(60));
    let page = page.await.unwrap();
    assert_eq!(page.items.len(), 60);
    let rest = Paging::behind(&page.next.unwrap(), 60).unwrap();
    let rest = world
        .fleet
        .deployment_devices(&world.admin, deployment.id, offered, rest);
    assert_eq!(rest.await.unwrap().items.len(), 39);
    let cancelled = world.fleet.cancel(&world.admin, deployment.id).await.unwrap();
    assert_eq!(
        cancelled.states,
        [("cancelled".to_owned(), 99), ("failed".to_owned(), 1)].into()
    );
    assert!(cancelled.finished);

    // One more than is told one by one.
    let one_more = world.pair().await;
    let join = world
        .fleet
        .join_group(&world.admin, group.clone(), one_more.id.to_string());
    join.await.unwrap();
    let mut watcher = world.fleet.follow(&world.admin).await.unwrap().unwrap();
    assert_eq!(deploy().await.states["offered"], 101);
    assert!(watcher.next().await.unwrap().contains(r#""type":"deployment""#));
    assert_eq!(&*watcher.next().await.unwrap(), r#"{"type":"resync"}"#);
    assert!(
        futures_util::FutureExt::now_or_never(watcher.next()).is_none(),
        "nothing else"
    );
    let newest = world
        .fleet
        .deployments(&world.admin, Paging::first(1))
        .await
        .unwrap();
    assert_eq!(newest.items[0].states["offered"], 101);
    assert!(newest.next.is_some());
}

#[tokio::test]
async fn done_means_that_the_new_version_runs() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let deployment = world.deploy(&device).await.unwrap().id;
    world.connect(&mut device).await;
    world.state(&mut device, deployment, DeploymentState::Trial).await;
    let Report::Deployment(mut report) = state_report(deployment, DeploymentState::Verified) else {
        panic!("no report on a deployment");
    };
    report.running_version = "1".into();
    world.report(&mut device, Report::Deployment(report)).await;
    let (_, update) = world.update(deployment).await;
    assert_eq!(update.state, DeploymentState::RolledBack);
    assert_eq!(update.reason.as_ref().unwrap().code, FailureCode::UnexpectedSlot);
}

#[tokio::test]
async fn one_update_at_a_time() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let first = world.deploy(&device).await.unwrap().id;
    match world.deploy(&device).await {
        Err(FleetError::Conflict { kind, detail }) => {
            assert_eq!(kind, "device-busy");
            assert!(detail.contains(&format!("deployment {first}")), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    world.connect(&mut device).await;
    world.state(&mut device, first, DeploymentState::Failed).await;
    world.deploy(&device).await.unwrap();
}

#[tokio::test]
async fn a_device_that_was_never_told_need_not_agree() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let deployment = world.deploy(&device).await.unwrap().id;
    let cancelled = world.fleet.cancel(&world.admin, deployment).await.unwrap();
    assert!(cancelled.finished);
    assert_eq!(cancelled.states, [("cancelled".to_owned(), 1)].into());
    assert_eq!(world.connect(&mut device).await, []);
}

#[tokio::test]
async fn a_device_that_may_know_is_asked_until_it_answers() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let deployment = world.deploy(&device).await.unwrap().id;
    world.connect(&mut device).await;
    let asked = world.fleet.cancel(&world.admin, deployment).await.unwrap();
    assert!(!asked.finished);
    assert!(matches!(
        &world.connect(&mut device).await[..],
        [Command::Cancel(cancel)] if cancel.deployment == deployment
    ));
    world
        .state(&mut device, deployment, DeploymentState::Cancelled)
        .await;
    assert!(
        world
            .fleet
            .deployment(&world.admin, deployment)
            .await
            .unwrap()
            .finished
    );

    // Too late: the next boot tries the new slot.
    let second = world.deploy(&device).await.unwrap().id;
    world.connect(&mut device).await;
    world.state(&mut device, second, DeploymentState::Installed).await;
    assert!(matches!(
        world.fleet.cancel(&world.admin, second).await,
        Err(FleetError::Conflict { kind: "too-late", .. })
    ));
}

#[tokio::test]
async fn a_device_moves_its_own_updates_only() {
    let world = World::new().await;
    let (device, mut other) = (world.pair().await, world.pair().await);
    let deployment = world.deploy(&device).await.unwrap().id;
    world.connect(&mut other).await;
    world.state(&mut other, deployment, DeploymentState::Failed).await;
    world.state(&mut other, u64::MAX, DeploymentState::Failed).await;
    assert_eq!(world.states(deployment).await, [DeploymentState::Offered]);
}

#[tokio::test]
async fn a_bundle_in_use_is_deleted_by_force_only() {
    let world = World::new().await;
    let device = world.pair().await;
    world.deploy(&device).await.unwrap();
    let delete = |force| {
        world
            .fleet
            .delete_bundle(&world.admin, world.bundle.clone(), None, force)
    };
    assert!(matches!(
        delete(false).await,
        Err(FleetError::Conflict {
            kind: "bundle-in-use",
            ..
        })
    ));
    delete(true).await.unwrap();
    assert!(!world.fleet.bundles().path(&world.bundle).exists());
    assert!(matches!(delete(true).await, Err(FleetError::NotFound { .. })));
}

#[tokio::test]
async fn local_installs_are_in_the_history_once() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let install = Report::LocalInstall(LocalInstall {
        slot: "B".into(),
        version: "3".into(),
        succeeded: false,
        detail: "bad signature".into(),
        transaction: "t1".into(),
        at_ms: 1,
    });
    world.report(&mut device, install.clone()).await;
    world.report(&mut device, install).await;
    let updates = world
        .fleet
        .updates(&world.admin, device.id.to_string(), Paging::first(10));
    let updates = updates.await.unwrap().items;
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].deployment, None);
    assert_eq!(updates[0].reason.as_ref().unwrap().detail, "bad signature");
    // It does not stand in the way of a deployment.
    world.deploy(&device).await.unwrap();
}

#[tokio::test]
async fn a_removed_device_is_gone() {
    let world = World::new().await;
    let mut device = world.pair().await;
    world.connect(&mut device).await;
    world.deploy(&device).await.unwrap();
    world
        .fleet
        .delete_device(&world.admin, device.id.to_string())
        .await
        .unwrap();
    assert!(homeport_server::mqtt::Handler::identify(&world.fleet, &device.certificate).is_none());
    let report = Sequenced {
        queue: 1,
        sequence: 99,
        message: Report::Inventory(Inventory::default()),
    };
    assert!(matches!(
        world.fleet.report(&device.id, report).await,
        Err(HandlerError::Refused(_))
    ));
    assert!(
        world
            .fleet
            .devices(&world.admin, Part::default(), Paging::first(1))
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

fn any_state() -> impl Strategy<Value = DeploymentState> {
    use DeploymentState::{
        Cancelled, Downloading, Failed, Installed, Installing, Offered, Rebooting, RolledBack, Trial,
        Unknown, Verified, Waiting,
    };
    proptest::sample::select(vec![
        Offered,
        Waiting,
        Downloading,
        Installing,
        Installed,
        Rebooting,
        Trial,
        Verified,
        RolledBack,
        Failed,
        Cancelled,
        Unknown,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever a device reports, with repeats: at most one final state, and it is the last.
    #[test]
    fn no_report_makes_nonsense(reports in proptest::collection::vec((any_state(), any::<bool>()), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut device = world.pair().await;
            world.connect(&mut device).await;
            let deployment = world.deploy(&device).await.unwrap().id;
            for (state, again) in reports {
                world.state(&mut device, deployment, state).await;
                if again {
                    world.report_as(&device, device.sequence, state_report(deployment, state)).await;
                }
            }
            let states = world.states(deployment).await;
            let finals = states.iter().filter(|state| state.is_final()).count();
            assert!(finals <= 1);
            let finished = world.fleet.deployment(&world.admin, deployment).await.unwrap().finished;
            assert_eq!(finished, states.last().unwrap().is_final());
            assert_eq!(finished, finals == 1);
            // A device that is done can be updated again, and only then.
            assert_eq!(world.deploy(&device).await.is_ok(), finished);
        });
    }
}

fn named(name: &str) -> DevicePatch {
    DevicePatch {
        name: Some(name.to_owned()),
        project: None,
    }
}
