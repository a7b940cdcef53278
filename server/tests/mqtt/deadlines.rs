//! Devices that keep the server waiting.

use std::time::Duration;

use homeport_protocol::{Command, Record, Sequenced, senml::Pack};
use homeport_server::limits::Limits;
use homeport_testkit::Device;
use mqtt_proto::{QosPid, v5};

use crate::support::{Event, Identity, Server, level_1, telemetry};

/// Far from what the tests wait for.
const KEEP_ALIVE: u16 = 900;

/// Nothing may be late. The sweep sees whole seconds.
fn strict() -> Limits {
    Limits {
        body_grace: Duration::ZERO,
        stall: Duration::ZERO,
        acknowledge: Duration::ZERO,
        ..Limits::default()
    }
}

async fn connect(server: &mut Server, identity: &Identity) -> Device {
    let mut device = server.reach(identity).await.unwrap();
    let id = identity.id.as_str().into();
    device.send(v5::Connect::new(id, KEEP_ALIVE)).await;
    device.connack().await;
    server.expect(&Event::Connected(identity.id.clone())).await;
    device
}

/// A packet of some 40 kB.
fn large(device: &Device) -> Vec<u8> {
    let records = (0..1000).map(|number| Record::number(format!("{number:032}"), "", 1.0));
    let batch = Sequenced {
        queue: 1,
        sequence: 1,
        message: Pack(records.collect()),
    };
    let publish = v5::Publish::new(level_1(1), device.topic("telemetry"), batch.encode().into());
    v5::Packet::from(publish).encode().unwrap().as_ref().to_vec()
}

#[tokio::test]
async fn a_packet_that_trickles_ends_the_connection() {
    let mut server = Server::start_within(strict()).await;
    let identity = server.pair("a");
    let mut device = connect(&mut server, &identity).await;
    let packet = large(&device);
    device.trickle(&packet).await;
    server.expect(&Event::Disconnected(identity.id)).await;
}

#[tokio::test]
async fn a_slow_packet_passes_at_the_minimum_rate() {
    let mut server = Server::start_within(strict()).await;
    let (slow, trickling) = (server.pair("a"), server.pair("b"));
    let mut device = connect(&mut server, &slow).await;
    let packet = large(&device);
    let (most, rest) = packet.split_at(packet.len() - 1);
    device.send_bytes(most).await;
    // Its deadline passes meanwhile.
    let mut other = connect(&mut server, &trickling).await;
    other.trickle(&packet).await;
    server.expect(&Event::Disconnected(trickling.id)).await;
    device.send_bytes(rest).await;
    assert_eq!(device.puback().await, (1, v5::PubackReasonCode::Success));
}

#[tokio::test]
async fn time_in_which_the_server_does_not_read_is_not_the_device_s() {
    let mut server = Server::start_within(Limits {
        // What has come makes up for nothing.
        body_rate: u32::MAX,
        ..strict()
    })
    .await;
    let (patient, trickling) = (server.pair("a"), server.pair("b"));
    let mut device = connect(&mut server, &patient).await;
    let mut other = connect(&mut server, &trickling).await;
    server.fleet.hold_commits();
    // More than the server takes in before it has stored the first.
    let mut bytes = Vec::new();
    for sequence in 1..=100 {
        let publish = v5::Publish::new(QosPid::Level0, device.topic("telemetry"), telemetry(sequence));
        bytes.extend_from_slice(v5::Packet::from(publish).encode().unwrap().as_ref());
    }
    let last = bytes.split_off(bytes.len() - 1);
    device.send_bytes(&bytes).await;
    let packet = large(&other);
    other.trickle(&packet).await;
    server.expect(&Event::Disconnected(trickling.id)).await;
    device.send_bytes(&last).await;
    server.fleet.commit(100);
    for sequence in 1..=100 {
        server
            .expect(&Event::Telemetry(patient.id.clone(), sequence))
            .await;
    }
}

#[tokio::test]
async fn a_device_that_reads_nothing_is_closed() {
    let mut server = Server::start_within(strict()).await;
    let identity = server.pair("a");
    let mut device = connect(&mut server, &identity).await;
    let pings = [0xc0, 0].repeat(8 * 1024);
    device.flood(&pings).await;
    server.expect(&Event::Disconnected(identity.id)).await;
}

#[tokio::test]
async fn a_device_that_acknowledges_no_command_is_closed() {
    let mut server = Server::start_within(strict()).await;
    let identity = server.pair("a");
    let mut device = connect(&mut server, &identity).await;
    device.subscribe().await;
    assert!(server.registry.send(&identity.id, &Command::Inventory.into()));
    assert_eq!(device.command().await.1, Command::Inventory);
    let reason = device.closed().await;
    assert_eq!(reason, Some(v5::DisconnectReasonCode::UnspecifiedError));
    server.expect(&Event::Disconnected(identity.id)).await;
}
