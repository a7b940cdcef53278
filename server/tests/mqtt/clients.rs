//! Clients that we did not write for this, and the older version of MQTT.

use std::process::Stdio;

use homeport_protocol::{Command, command::Envelope};
use homeport_testkit::patiently;
use mqtt_proto::{QoS, TopicFilter, TopicName, v3};
use rumqttc::{AsyncClient, Incoming, MqttOptions, TlsConfiguration, Transport};

use crate::support::{Event, Server, inventory, level_1, pid, telemetry};

#[tokio::test]
async fn clients_of_3_1_1_are_served() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut device = server.reach(&identity).await.unwrap();
    let mut connect = v3::Connect::new("a".into(), 60);
    connect.last_will = Some(v3::LastWill {
        topic_name: TopicName::try_from("hp1/b/telemetry").unwrap(),
        message: "will".into(),
        qos: QoS::Level1,
        retain: true,
    });
    device.send_v3(connect).await;
    let accepted = v3::Connack::new(false, v3::ConnectReturnCode::Accepted);
    assert_eq!(device.receive_v3().await, Some(accepted.into()));
    server.expect(&Event::Connected(identity.id.clone())).await;

    let filter = |filter| TopicFilter::try_from(filter).unwrap();
    let filters = vec![
        (filter("hp1/a/command"), QoS::Level2),
        (filter("hp1/b/command"), QoS::Level0),
    ];
    device.send_v3(v3::Subscribe::new(pid(1), filters)).await;
    let suback = v3::Suback {
        pid: pid(1),
        topics: vec![
            v3::SubscribeReturnCode::MaxLevel1,
            v3::SubscribeReturnCode::Failure,
        ],
    };
    assert_eq!(device.receive_v3().await, Some(suback.into()));

    let publish = v3::Publish::new(level_1(2), device.topic("report"), inventory(1).into());
    device.send_v3(publish).await;
    server.expect(&Event::Report(identity.id.clone(), 1)).await;
    assert_eq!(device.receive_v3().await, Some(v3::Packet::Puback(pid(2))));

    assert!(server.registry.send(&identity.id, &Command::Inventory.into()));
    let Some(v3::Packet::Publish(publish)) = device.receive_v3().await else {
        panic!("no command");
    };
    assert_eq!(
        Envelope::decode(&publish.payload).unwrap().command,
        Command::Inventory
    );
    device
        .send_v3(v3::Packet::Puback(publish.qos_pid.pid().unwrap()))
        .await;

    let foreign = TopicName::try_from("hp1/b/telemetry").unwrap();
    device
        .send_v3(v3::Publish::new(level_1(3), foreign, telemetry(1)))
        .await;
    // A client of 3.1.1 cannot be told no (section 3.3.5).
    assert_eq!(device.receive_v3().await, None);
    // And the will is nobody's.
    server.expect(&Event::Disconnected(identity.id)).await;
}

#[tokio::test]
async fn the_agent_s_client_library_gets_along() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let mut options = MqttOptions::new("a", ("localhost", server.address.port()));
    let config = server.tls(&identity, rustls::DEFAULT_VERSIONS);
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    options.set_keep_alive(60);
    let (client, mut events) = AsyncClient::new(options, 8);
    let qos = rumqttc::mqttbytes::QoS::AtLeastOnce;
    client.subscribe("hp1/a/command", qos).await.unwrap();
    client
        .publish("hp1/a/report", qos, false, inventory(1))
        .await
        .unwrap();
    server.fleet.miss(Command::Inventory);
    let command = async {
        loop {
            if let rumqttc::Event::Incoming(Incoming::Publish(publish)) = events.poll().await.unwrap() {
                return Envelope::decode(&publish.payload).unwrap().command;
            }
        }
    };
    assert_eq!(patiently(command).await, Command::Inventory);
    server.expect(&Event::Connected(identity.id.clone())).await;
    server.expect(&Event::Report(identity.id, 1)).await;
}

/// Needs Debian's `mosquitto-clients`.
#[tokio::test]
async fn mosquitto_s_clients_get_along() {
    let mut server = Server::start().await;
    let identity = server.pair("a");
    let [ca, certificate, key] = server.files(&identity);
    let port = server.address.port().to_string();
    for (version, sequence) in [("mqttv311", 1), ("mqttv5", 2)] {
        let payload = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(payload.path(), telemetry(sequence)).unwrap();
        let common = [
            "-h",
            "localhost",
            "-p",
            &port,
            "-i",
            "a",
            "-V",
            version,
            "-q",
            "1",
            "--cafile",
            &ca,
            "--cert",
            &certificate,
            "--key",
            &key,
        ];
        let published = tokio::process::Command::new("mosquitto_pub")
            .args(common)
            .args(["-t", "hp1/a/telemetry", "-f"])
            .arg(payload.path())
            .status();
        assert!(patiently(published).await.expect("mosquitto_pub runs").success());
        server.expect(&Event::Connected(identity.id.clone())).await;
        server
            .expect(&Event::Telemetry(identity.id.clone(), sequence))
            .await;
        server.expect(&Event::Disconnected(identity.id.clone())).await;

        let subscriber = tokio::process::Command::new("mosquitto_sub")
            .args(common)
            .args(["-t", "hp1/a/command", "-C", "1", "-N"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        server.expect(&Event::Connected(identity.id.clone())).await;
        assert!(server.registry.send(&identity.id, &Command::Inventory.into()));
        let output = patiently(subscriber.wait_with_output()).await.unwrap();
        assert_eq!(
            Envelope::decode(&output.stdout).unwrap().command,
            Command::Inventory
        );
        server.expect(&Event::Disconnected(identity.id.clone())).await;
    }
}
