//! Who gets in, and who is sent away.

use std::time::Duration;

use homeport_protocol::{Command, limits};
use homeport_server::limits::Limits;
use homeport_testkit::patiently;
use mqtt_proto::{QoS, v3, v5};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::support::{Event, Server};

#[tokio::test]
async fn connack_says_what_the_server_offers() {
    let server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.reach(&identity).await.unwrap();
    let mut connect = v5::Connect::new("".into(), 3600);
    connect.properties.session_expiry_interval = Some(60);
    connect.clean_start = false;
    device.send(connect).await;
    let connack = device.connack().await;
    assert!(!connack.session_present);
    let properties = connack.properties;
    assert_eq!(properties.session_expiry_interval, Some(0));
    assert_eq!(properties.receive_max, Some(limits::RECEIVE_MAXIMUM));
    assert_eq!(properties.max_qos, Some(QoS::Level1));
    assert_eq!(properties.retain_available, Some(false));
    assert_eq!(
        properties.max_packet_size,
        Some(u32::try_from(limits::MAX_PACKET).unwrap())
    );
    assert_eq!(properties.topic_alias_max, None);
    assert_eq!(properties.assigned_client_id.as_deref(), Some("a"));
    assert_eq!(properties.server_keep_alive, Some(900));
}

#[tokio::test]
async fn a_second_connection_takes_over() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut first = server.connect(&identity).await;
    let mut second = server.connect(&identity).await;
    assert_eq!(
        first.closed().await,
        Some(v5::DisconnectReasonCode::SessionTakenOver)
    );
    second.subscribe().await;
    assert!(server.registry.send(&identity.id, &Command::Inventory.into()));
    assert_eq!(second.command().await.1, Command::Inventory);
    assert_eq!(server.registry.connected(), 1);
    drop(second);
    // The first one's end was not the device's.
    server.expect(&Event::Disconnected(identity.id)).await;
}

#[tokio::test]
async fn a_silent_device_is_given_up() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.reach(&identity).await.unwrap();
    device.send(v5::Connect::new("a".into(), 1)).await;
    device.connack().await;
    server.expect(&Event::Connected(identity.id.clone())).await;
    assert_eq!(
        device.closed().await,
        Some(v5::DisconnectReasonCode::KeepAliveTimeout)
    );
    server.expect(&Event::Disconnected(identity.id)).await;
}

#[tokio::test]
async fn only_active_certificates_get_through_the_handshake() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    server.fleet.revoke(&identity);
    server.registry.disconnect(&identity.id);
    assert_eq!(
        device.closed().await,
        Some(v5::DisconnectReasonCode::AdministrativeAction)
    );
    server.expect(&Event::Disconnected(identity.id.clone())).await;

    let never = server.certify("b");
    let stranger = Server::start().await.pair("a");
    for (identity, alert) in [
        (&identity, "CertificateRevoked"),
        (&never, "CertificateRevoked"),
        (&stranger, "DecryptError"),
    ] {
        // With TLS 1.3 the client is done before the server has looked at its certificate.
        let tls12 = server.reach_with(identity, &[&rustls::version::TLS12]).await;
        let error = tls12.err().unwrap().to_string();
        assert!(error.contains(alert) || error.contains("UnknownCA"), "{error}");
        if let Ok(mut device) = server.reach(identity).await {
            assert_eq!(device.receive().await, None);
        }
    }
    assert_eq!(server.registry.connected(), 0);
}

#[tokio::test]
async fn tls_1_2_is_as_good() {
    let server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server
        .reach_with(&identity, &[&rustls::version::TLS12])
        .await
        .unwrap();
    device.send(v5::Connect::new("a".into(), 60)).await;
    assert_eq!(device.connack().await.reason_code, v5::ConnectReasonCode::Success);
}

#[tokio::test]
async fn connect_is_checked() {
    let server = Server::start().await;
    let identity = server.pair("a");

    let mut device = server.reach(&identity).await.unwrap();
    device.send(v5::Connect::new("b".into(), 60)).await;
    let refused = device.connack().await.reason_code;
    assert_eq!(refused, v5::ConnectReasonCode::ClientIdentifierNotValid);
    assert_eq!(device.receive().await, None);

    let mut device = server.reach(&identity).await.unwrap();
    device.send_v3(v3::Connect::new("b".into(), 60)).await;
    let refused = v3::Connack::new(false, v3::ConnectReturnCode::IdentifierRejected);
    assert_eq!(device.receive_v3().await, Some(refused.into()));
    assert_eq!(device.receive_v3().await, None);

    let mut device = server.reach(&identity).await.unwrap();
    let mut connect = v5::Connect::new("a".into(), 60);
    connect.properties.auth_method = Some("SCRAM".into());
    device.send(connect).await;
    assert_eq!(
        device.connack().await.reason_code,
        v5::ConnectReasonCode::BadAuthMethod
    );

    let mut device = server.reach(&identity).await.unwrap();
    device
        .send_bytes(b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a")
        .await;
    let refused = v3::Connack::new(false, v3::ConnectReturnCode::UnacceptableProtocolVersion);
    assert_eq!(device.receive_v3().await, Some(refused.into()));

    for bytes in [
        b"\xc0\x00".as_slice(),
        b"\x10\xff\xff\x7f",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut device = server.reach(&identity).await.unwrap();
        device.send_bytes(bytes).await;
        assert_eq!(device.receive().await, None);
    }
    assert_eq!(server.registry.connected(), 0);
}

#[tokio::test]
async fn the_end_is_announced() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.connect(&identity).await;
    server.shutdown.cancel();
    assert_eq!(
        device.closed().await,
        Some(v5::DisconnectReasonCode::ServerShuttingDown)
    );
    server.expect(&Event::Disconnected(identity.id)).await;
    patiently(&mut server.task).await.unwrap();
    assert_eq!(server.registry.connected(), 0);
}

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let server = Server::start_within(Limits {
        handshake: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(patiently(silent.read(&mut [0])).await.unwrap_or(0), 0);

    let server = Server::start_within(Limits {
        connect: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let identity = server.pair("a");
    let mut device = server.reach(&identity).await.unwrap();
    assert_eq!(device.receive().await, None);
    let mut device = server.reach(&identity).await.unwrap();
    device.send_bytes(b"\x10\x20\x00\x04").await;
    assert_eq!(device.receive().await, None);
}

#[tokio::test]
async fn silent_strangers_keep_no_device_out() {
    let mut server = Server::start_within(Limits {
        strangers: 8,
        strangers_by_network: 4,
        handshake: Duration::from_secs(3600),
        ..Limits::default()
    })
    .await;
    let identity = server.pair("a");
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.connect(&identity).await;
    // The oldest went first.
    assert_eq!(patiently(silent[0].read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_packet_that_never_ends_keeps_nothing_open() {
    let server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.reach(&identity).await.unwrap();
    device.send(v5::Connect::new("a".into(), 1)).await;
    device.connack().await;
    device.send_bytes(b"\x32\x40\x00\x10hp1/a").await;
    assert_eq!(
        device.closed().await,
        Some(v5::DisconnectReasonCode::KeepAliveTimeout)
    );
}
