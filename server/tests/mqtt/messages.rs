//! What connected devices may say, and what they are told.

use std::sync::Arc;

use homeport_protocol::{
    Command, DeploymentState, Sequenced, command::Cancel, deployment::Progress, limits, senml::Pack,
};
use mqtt_proto::{QoS, QosPid, TopicFilter, TopicName, v3, v5};

use crate::support::{Event, Server, inventory, level_1, pid, telemetry};

#[tokio::test]
async fn a_device_reports_and_is_told_what_it_missed() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    server.fleet.miss(Command::Cancel(Cancel { deployment: 7 }));
    let mut device = server.connect(&identity).await;
    device.subscribe().await;
    device.publish("report", 1, inventory(1)).await;
    server.expect(&Event::Report(identity.id.clone(), 1)).await;
    assert_eq!(device.puback().await, (1, v5::PubackReasonCode::Success));
    let (id, command) = device.command().await;
    assert_eq!(command, Command::Cancel(Cancel { deployment: 7 }));
    device.send(v5::Puback::new_success(id.pid().unwrap())).await;

    assert!(server.registry.send(&identity.id, &Command::Inventory.into()));
    assert_eq!(device.command().await.1, Command::Inventory);
    assert_eq!(server.registry.connected(), 1);

    device.send(v5::Disconnect::new_normal()).await;
    server.expect(&Event::Disconnected(identity.id.clone())).await;
    assert!(!server.registry.send(&identity.id, &Command::Inventory.into()));
    assert!(
        !server
            .registry
            .send(&"b".parse().unwrap(), &Command::Inventory.into())
    );
}

#[tokio::test]
async fn puback_waits_for_the_commit_and_messages_keep_their_order() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    server.fleet.hold_commits();
    for id in 1..=3 {
        device
            .publish("telemetry", id, telemetry(u64::from(id)).to_vec())
            .await;
    }
    // The answer to a ping overtakes what is not committed.
    device.send(v5::Packet::Pingreq).await;
    assert_eq!(device.receive().await, Some(v5::Packet::Pingresp));
    for id in 1..=3 {
        server.fleet.commit(1);
        server.expect(&Event::Telemetry(identity.id.clone(), id)).await;
        assert_eq!(u64::from(device.puback().await.0), id);
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    server.fleet.break_store();
    device.publish("report", 1, inventory(1)).await;
    assert_eq!(device.closed().await, Some(v5::DisconnectReasonCode::ServerBusy));
}

#[tokio::test]
async fn what_is_no_message_is_acknowledged_once_and_for_all() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    let empty = Sequenced {
        queue: 1,
        sequence: 1,
        message: Pack(Vec::new()),
    };
    for (channel, payload) in [
        ("telemetry", b"not CBOR".to_vec()),
        ("report", vec![0xff; 100]),
        ("progress", Vec::new()),
        ("telemetry", empty.encode()),
    ] {
        device.publish(channel, 5, payload).await;
        let puback = device.puback().await;
        assert_eq!(
            puback,
            (5, v5::PubackReasonCode::PayloadFormatInvalid),
            "{channel}"
        );
    }
    device.publish("report", 6, inventory(1)).await;
    assert_eq!(device.puback().await, (6, v5::PubackReasonCode::Success));
    server.expect(&Event::Report(identity.id, 1)).await;
}

#[tokio::test]
async fn the_log_names_one_message_of_a_connection_that_is_none() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap()));
    // The server runs on this thread.
    let _logging = tracing::subscriber::set_default(subscriber.finish());
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    let empty = Sequenced {
        queue: 1,
        sequence: 1,
        message: Pack(Vec::new()),
    };
    for _ in 0..50 {
        for payload in [b"not CBOR".to_vec(), empty.encode()] {
            device.publish("telemetry", 5, payload).await;
            let puback = device.puback().await;
            assert_eq!(puback, (5, v5::PubackReasonCode::PayloadFormatInvalid));
        }
    }
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(log.matches("refused a message").count(), 1, "{log}");
}

#[tokio::test]
async fn topics_of_others_are_out_of_reach() {
    let mut server = Server::start().await;
    let (a, b) = (server.pair("a"), server.pair("b"));
    let mut other = server.connect(&b).await;
    other.subscribe().await;
    for topic in [
        "hp1/b/telemetry",
        "hp1/a/command",
        "hp1/b/command",
        "hp2/a/report",
        "x",
    ] {
        let mut device = server.connect(&a).await;
        let topic = TopicName::try_from(topic).unwrap();
        device
            .send(v5::Publish::new(level_1(1), topic.clone(), telemetry(1)))
            .await;
        assert_eq!(device.puback().await, (1, v5::PubackReasonCode::NotAuthorized));
        let reason = device.closed().await;
        assert_eq!(reason, Some(v5::DisconnectReasonCode::NotAuthorized), "{topic}");
        server.expect(&Event::Disconnected(a.id.clone())).await;
    }
    for filter in ["hp1/b/command", "hp1/+/command", "#", "$share/g/hp1/b/command"] {
        let mut device = server.connect(&a).await;
        let filter = TopicFilter::try_from(filter).unwrap();
        let options = v5::SubscriptionOptions::new(QoS::Level1);
        device
            .send(v5::Subscribe::new(pid(1), vec![(filter.clone(), options)]))
            .await;
        match device.receive().await {
            Some(v5::Packet::Suback(suback)) => {
                assert_eq!(
                    suback.topics,
                    [v5::SubscribeReasonCode::NotAuthorized],
                    "{filter:?}"
                );
            }
            packet => panic!("{packet:?}"),
        }
        assert_eq!(
            device.closed().await,
            Some(v5::DisconnectReasonCode::NotAuthorized)
        );
        server.expect(&Event::Disconnected(a.id.clone())).await;
    }
    // Nothing of it came through.
    assert!(server.registry.send(&b.id, &Command::Inventory.into()));
    assert_eq!(other.command().await.1, Command::Inventory);
}

#[tokio::test]
async fn within_its_prefix_a_device_subscribes_to_commands_only() {
    use v5::SubscribeReasonCode as Code;

    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    let filters = ["hp1/a/command", "hp1/a/#", "hp1/a/telemetry"];
    let options = v5::SubscriptionOptions::new(QoS::Level2);
    let filters = filters.map(|filter| (TopicFilter::try_from(filter).unwrap(), options));
    device.send(v5::Subscribe::new(pid(1), filters.to_vec())).await;
    let Some(v5::Packet::Suback(suback)) = device.receive().await else {
        panic!("no SUBACK");
    };
    let expected = [
        Code::GrantedQoS1,
        Code::WildcardSubscriptionsNotSupported,
        Code::NotAuthorized,
    ];
    assert_eq!(suback.topics, expected);
    let unsubscribe = |filter| v5::Unsubscribe::new(pid(2), vec![TopicFilter::try_from(filter).unwrap()]);
    for expected in [
        v5::UnsubscribeReasonCode::Success,
        v5::UnsubscribeReasonCode::NoSubscriptionExisted,
    ] {
        device.send(unsubscribe("hp1/a/command")).await;
        let Some(v5::Packet::Unsuback(unsuback)) = device.receive().await else {
            panic!("no UNSUBACK");
        };
        assert_eq!(unsuback.topics, [expected]);
    }
}

#[tokio::test]
async fn what_is_not_offered_is_refused() {
    use v5::DisconnectReasonCode as Code;

    let mut server = Server::start().await;
    let identity = server.pair("a");
    let id = identity.id.clone();
    for case in [
        "qos 2",
        "retain",
        "alias",
        "too large",
        "malformed",
        "connect again",
        "auth",
    ] {
        let mut device = server.connect(&identity).await;
        let mut publish = v5::Publish::new(level_1(1), device.topic("telemetry"), telemetry(1));
        let expected = match case {
            "qos 2" => {
                publish.qos_pid = QosPid::Level2(pid(1));
                device.send(publish).await;
                Code::QoSNotSupported
            }
            "retain" => {
                publish.retain = true;
                device.send(publish).await;
                Code::RetainNotSupported
            }
            "alias" => {
                publish.properties.topic_alias = Some(1);
                device.send(publish).await;
                Code::TopicAliasInvalid
            }
            "too large" => {
                // The header is enough.
                device.send_bytes(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await;
                Code::PacketTooLarge
            }
            "malformed" => {
                device.send_bytes(b"\x32\x07\x00\x03a/b\x00\x00").await;
                Code::MalformedPacket
            }
            "connect again" => {
                device.send(v5::Connect::new("a".into(), 60)).await;
                Code::ProtocolError
            }
            _ => {
                device.send(v5::Auth::new_success()).await;
                Code::ProtocolError
            }
        };
        assert_eq!(device.closed().await, Some(expected), "{case}");
        server.expect(&Event::Disconnected(id.clone())).await;
    }
}

#[tokio::test]
async fn a_device_may_have_so_many_messages_unacknowledged_and_no_more() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    server.fleet.hold_commits();
    for id in 1..=limits::RECEIVE_MAXIMUM {
        device
            .publish("telemetry", id, telemetry(u64::from(id)).to_vec())
            .await;
    }
    device.send(v5::Packet::Pingreq).await;
    assert_eq!(device.receive().await, Some(v5::Packet::Pingresp));
    device.publish("telemetry", 100, telemetry(100).to_vec()).await;
    let reason = device.closed().await;
    assert_eq!(reason, Some(v5::DisconnectReasonCode::ReceiveMaximumExceeded));
}

#[tokio::test]
async fn the_device_s_receive_maximum_is_honoured() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.reach(&identity).await.unwrap();
    let mut connect = v5::Connect::new("a".into(), 60);
    connect.properties.receive_max = Some(2);
    connect.properties.max_packet_size = Some(200);
    device.send(connect).await;
    device.connack().await;
    server.expect(&Event::Connected(identity.id.clone())).await;
    // Waits for the subscription.
    for deployment in 1..=4 {
        assert!(
            server
                .registry
                .send(&identity.id, &Command::Cancel(Cancel { deployment }).into())
        );
    }
    let large = Command::Unknown {
        kind: "x".repeat(200),
    };
    assert!(server.registry.send(&identity.id, &large.into()));
    device.subscribe().await;
    let (first, command) = device.command().await;
    assert_eq!(command, Command::Cancel(Cancel { deployment: 1 }));
    let (second, _) = device.command().await;
    assert_ne!(first, second);
    // The next one comes only after an acknowledgement.
    device.send(v5::Packet::Pingreq).await;
    assert_eq!(device.receive().await, Some(v5::Packet::Pingresp));
    device.send(v5::Puback::new_success(second.pid().unwrap())).await;
    let (third, command) = device.command().await;
    assert_eq!(command, Command::Cancel(Cancel { deployment: 3 }));
    for id in [first, third] {
        device.send(v5::Puback::new_success(id.pid().unwrap())).await;
    }
    assert_eq!(
        device.command().await.1,
        Command::Cancel(Cancel { deployment: 4 })
    );
    // What is larger than the device takes is not sent at all.
    device.send(v5::Packet::Pingreq).await;
    assert_eq!(device.receive().await, Some(v5::Packet::Pingresp));
}

#[tokio::test]
async fn commands_that_nobody_takes_are_refused() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let _device = server.connect(&identity).await;
    let sent = (0..1000).take_while(|_| server.registry.send(&identity.id, &Command::Inventory.into()));
    assert_eq!(sent.count(), 64);
}

#[tokio::test]
async fn packets_may_come_in_pieces_and_many_at_once() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.reach(&identity).await.unwrap();
    let topic = device.topic("telemetry");
    let mut bytes = v5::Packet::from(v5::Connect::new("a".into(), 60))
        .encode()
        .unwrap()
        .as_ref()
        .to_vec();
    // More than Receive Maximum, but of QoS 0: the server takes its time and loses none.
    for sequence in 1..=100 {
        let publish = v5::Publish::new(QosPid::Level0, topic.clone(), telemetry(sequence));
        bytes.extend_from_slice(v5::Packet::from(publish).encode().unwrap().as_ref());
    }
    for piece in bytes.chunks(97) {
        device.send_bytes(piece).await;
    }
    device.connack().await;
    server.expect(&Event::Connected(identity.id.clone())).await;
    for sequence in 1..=100 {
        server
            .expect(&Event::Telemetry(identity.id.clone(), sequence))
            .await;
    }
}

#[tokio::test]
async fn a_burst_that_needs_no_commit_is_taken_whole() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    let mut bytes = Vec::new();
    for percent in 0..100 {
        let progress = Progress {
            deployment: 1,
            state: DeploymentState::Installing,
            percent,
            bytes_fetched: 0,
            message: String::new(),
        };
        let publish = v5::Publish::new(QosPid::Level0, device.topic("progress"), progress.encode().into());
        bytes.extend_from_slice(v5::Packet::from(publish).encode().unwrap().as_ref());
    }
    device.send_bytes(&bytes).await;
    for percent in 0..100 {
        server
            .expect(&Event::Progress(identity.id.clone(), percent))
            .await;
    }
}

#[tokio::test]
async fn telemetry_without_room_waits_and_what_follows_waits_behind_it() {
    let mut server = Server::start().await;
    let identity = server.pair("d1");
    let mut device = server.connect(&identity).await;
    server.fleet.crowd(true);
    device.publish("telemetry", 1, telemetry(1).to_vec()).await;
    assert_eq!(device.puback().await, (1, v5::PubackReasonCode::QuotaExceeded));
    device.publish("report", 2, inventory(1)).await;
    assert_eq!(
        device.puback().await,
        (2, v5::PubackReasonCode::Success),
        "reports go on"
    );
    // There is room again, but the first has not come back: taking the second now would make a repeat of it.
    server.fleet.crowd(false);
    device.publish("telemetry", 3, telemetry(2).to_vec()).await;
    assert_eq!(device.puback().await, (3, v5::PubackReasonCode::QuotaExceeded));
    for (id, sequence) in [(4, 1), (5, 2), (6, 3)] {
        device
            .publish("telemetry", id, telemetry(sequence).to_vec())
            .await;
        assert_eq!(device.puback().await, (id, v5::PubackReasonCode::Success));
    }
}

#[tokio::test]
async fn a_device_of_3_1_1_is_sent_away_when_there_is_no_room() {
    let server = Server::start().await;
    let identity = server.pair("d1");
    let mut device = server.reach(&identity).await.unwrap();
    device.send_v3(v3::Connect::new("d1".into(), 30)).await;
    assert!(matches!(device.receive_v3().await, Some(v3::Packet::Connack(_))));
    server.fleet.crowd(true);
    let publish = v3::Publish::new(level_1(1), device.topic("telemetry"), telemetry(1));
    device.send_v3(publish).await;
    assert_eq!(device.receive_v3().await, None);
}
