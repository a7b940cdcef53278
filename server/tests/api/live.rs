//! A device that is connected, and somebody who watches.

use std::io::{BufRead as _, BufReader};

use homeport_protocol::{
    Command, DeploymentState, Inventory, Record, Report, Sequenced, command::Envelope, deployment::Progress,
    report::DeploymentReport, senml::Pack,
};
use mqtt_proto::{QosPid, v5};
use serde_json::{Value, json};

use crate::support::{Link, Person, Server, bundle, json, problem, until};

/// Server-sent events. The stream ends when this is dropped.
struct Watch(BufReader<ureq::BodyReader<'static>>);

impl Watch {
    fn begin(person: &Person) -> Self {
        let response = person.send("GET", "/api/v1/events", ());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(BufReader::new(response.into_body().into_reader()))
    }

    /// The next event of this kind.
    fn next(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the stream has ended");
            let Some(data) = line.strip_prefix("data:") else {
                continue;
            };
            let event: Value = serde_json::from_str(data).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }
}

fn report(link: &mut Link, sequence: u64, message: Report) {
    let payload = Sequenced {
        queue: 1,
        sequence,
        message,
    };
    let id = u16::try_from(sequence).unwrap();
    assert!(link.publish("report", id, payload.encode()));
}

fn puback(link: &mut Link) {
    match link.receive() {
        Some(v5::Packet::Puback(puback)) => {
            assert_eq!(puback.reason_code, v5::PubackReasonCode::Success);
        }
        other => panic!("not PUBACK: {other:?}"),
    }
}

fn command(link: &mut Link) -> Command {
    match link.receive() {
        Some(v5::Packet::Publish(publish)) => {
            if let QosPid::Level1(id) = publish.qos_pid {
                link.acknowledge(id);
            }
            Envelope::decode(&publish.payload).unwrap().command
        }
        other => panic!("not PUBLISH: {other:?}"),
    }
}

fn state(deployment: u64, state: DeploymentState) -> Report {
    Report::Deployment(DeploymentReport {
        deployment,
        state,
        reason: None,
        running_version: "2".into(),
        running_slot: "A".into(),
        bytes_fetched: 10,
        at_ms: 0,
    })
}

#[test]
fn who_watches_sees_an_update_from_start_to_end() {
    let server = Server::start();
    let person = server.log_in();
    let device = person.pair(&server);
    let mut watch = Watch::begin(&person);

    let mut link = device.connect(&server);
    link.subscribe();
    let came = watch.next("device");
    assert_eq!(
        (&came["device"]["online"], &came["device"]["address"]),
        (&true.into(), &"127.0.0.1".into())
    );
    let inventory = Inventory {
        os_version: "1".into(),
        ..Inventory::default()
    };
    report(&mut link, 1, Report::Inventory(inventory));
    puback(&mut link);
    assert_eq!(watch.next("device")["device"]["os_version"], "1");

    let batch = Sequenced {
        queue: 2,
        sequence: 1,
        message: Pack(vec![Record::number("cpu.busy", "/", 0.5)]),
    };
    assert!(link.publish("telemetry", 9, batch.encode()));
    puback(&mut link);
    let telemetry = watch.next("telemetry");
    assert_eq!(telemetry["series"][0]["name"], "cpu.busy");
    assert_eq!(telemetry["series"][0]["points"][0]["value"], 0.5);

    let file = bundle("2", 100);
    let uploaded = json(&mut person.send("POST", "/api/v1/bundles", &file[..]));
    assert_eq!(watch.next("bundle")["bundle"]["id"], uploaded["id"]);
    person.post("/api/v1/groups", &json!({"name": "all"}));
    let join = format!("/api/v1/groups/all/devices/{}", device.id);
    assert_eq!(person.send("PUT", &join, ()).status(), 204);
    let mut created = person.post(
        "/api/v1/deployments",
        &json!({"bundle": uploaded["id"], "target": {"group": "all"}}),
    );
    assert_eq!(created.status(), 201);
    let deployment = json(&mut created)["id"].as_u64().unwrap();
    match command(&mut link) {
        Command::Deploy(deploy) => assert_eq!(deploy.deployment, deployment),
        other => panic!("not a deployment: {other:?}"),
    }
    assert_eq!(watch.next("update")["update"]["state"], "offered");

    report(&mut link, 2, state(deployment, DeploymentState::Installing));
    puback(&mut link);
    assert_eq!(watch.next("update")["update"]["state"], "installing");
    let progress = Progress {
        deployment,
        state: DeploymentState::Installing,
        percent: 40,
        bytes_fetched: 50,
        message: "Copying image".into(),
    };
    assert!(link.publish_once("progress", progress.encode()));
    let moved = watch.next("update")["update"].clone();
    assert_eq!(
        (&moved["percent"], &moved["message"]),
        (&40.into(), &"Copying image".into())
    );
    let shown = person.list(&format!("/api/v1/deployments/{deployment}/devices"));
    assert_eq!(shown[0]["percent"], 40);
    assert_eq!(shown[0]["bytes_fetched"], 50);

    report(&mut link, 3, state(deployment, DeploymentState::Trial));
    puback(&mut link);
    report(&mut link, 4, state(deployment, DeploymentState::Verified));
    puback(&mut link);
    assert_eq!(watch.next("update")["update"]["state"], "trial");
    let done = watch.next("update")["update"].clone();
    assert_eq!(
        (&done["state"], &done["percent"]),
        (&"verified".into(), &100.into())
    );

    drop(link);
    while watch.next("device")["device"]["online"] == true {}
}

#[test]
fn one_person_has_so_many_streams_and_no_more() {
    const MOST: usize = 16;

    let server = Server::start();
    let person = server.log_in();
    let mut watches: Vec<_> = (0..MOST).map(|_| Watch::begin(&person)).collect();
    let mut refused = person.send("GET", "/api/v1/events", ());
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(&mut refused), (429, "too-many-streams".into()));
    assert!(person.list("/api/v1/devices").is_empty(), "all else goes on");
    // Another login is the same person.
    assert_eq!(server.log_in().send("GET", "/api/v1/events", ()).status(), 429);

    watches.pop();
    until(|| person.send("GET", "/api/v1/events", ()).status() == 200);
    let device = person.pair(&server);
    for watch in &mut watches {
        assert_eq!(watch.next("device")["device"]["id"], device.id.as_str());
    }
}

#[test]
fn a_revoked_device_is_gone_at_once() {
    let server = Server::start();
    let person = server.log_in();
    let device = person.pair(&server);
    let mut link = device.connect(&server);
    link.subscribe();
    let path = format!("/api/v1/devices/{}", device.id);
    until(|| person.get(&path)["online"] == true);
    assert_eq!(person.send("POST", &format!("{path}/revoke"), ()).status(), 200);
    while let Some(packet) = link.receive() {
        assert!(matches!(packet, v5::Packet::Disconnect(_)), "{packet:?}");
    }
    until(|| person.get(&path)["online"] == false);
    let mut deploy = person.post(
        "/api/v1/deployments",
        &json!({"bundle": "0".repeat(64), "target": {"device": device.id.as_str()}}),
    );
    assert_eq!(problem(&mut deploy), (404, "not-found".into()));
    assert_eq!(person.send("DELETE", &path, ()).status(), 204);
    assert!(person.list("/api/v1/devices").is_empty());
}
