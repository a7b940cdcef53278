//! Commands: what devices are told of them, what their reports do, and what operators see.

use std::io::{BufRead as _, BufReader};

use homeport_api::{Command, CommandRun, NewCommand, RunState, Target};
use homeport_protocol::{
    Command as Message, CommandOffer, Inventory, Policy, Report, Sequenced,
    command::{Call, Envelope, Stop},
    limits::{MAX_OPEN_CALLS, MAX_OUTPUT},
    report::{CallBegun, CallEnded, CallOutput, Cause, NotRun, Outcome, Stream},
};
use homeport_server::{fleet::FleetError, mqtt::Handler as _, store::Paging};
use mqtt_proto::v5;
use serde_json::{Value, json};

use crate::support::{Server, json as body, problem};
use crate::world::{Device, World};

/// Runs that may wait for one device.
const MOST: usize = 64;

const PS: &str = r#"{"processes":[],"left_out":0}"#;

fn begun(id: &str, run: u64) -> Report {
    Report::CallBegun(CallBegun {
        id: id.to_owned(),
        run,
        at_ms: 0,
    })
}

fn output(id: &str, run: u64, data: &[u8]) -> Report {
    Report::CallOutput(CallOutput {
        id: id.to_owned(),
        run,
        stream: Stream::Stdout,
        data: data.to_vec(),
    })
}

fn ended(id: &str, outcome: Outcome, result: Option<&str>) -> Report {
    Report::CallEnded(CallEnded {
        id: id.to_owned(),
        run: Some(1),
        outcome,
        detail: String::new(),
        exit_status: None,
        result: result.map(str::to_owned),
        dropped_bytes: 0,
        at_ms: 0,
    })
}

fn on(device: &Device) -> Target {
    Target::Device(device.id.to_string())
}

fn ids(messages: &[Envelope]) -> Vec<&str> {
    messages
        .iter()
        .map(|envelope| envelope.id.as_deref().unwrap())
        .collect()
}

fn call_of(run: &CommandRun) -> String {
    format!("call-{}", run.id)
}

// === impl World ===

impl World {
    async fn request(&self, name: &str, arguments: Value, target: Target) -> Result<Command, FleetError> {
        let new = NewCommand {
            name: name.to_owned(),
            arguments: Some(arguments),
            target,
            timeout_s: None,
            expires_s: None,
        };
        self.fleet.run_command(&self.admin, new).await
    }

    async fn ps(&self, device: &Device) -> CommandRun {
        let command = self.request("ps", json!({}), on(device)).await.unwrap();
        self.run(&command, device).await
    }

    async fn run(&self, command: &Command, device: &Device) -> CommandRun {
        self.run_of(command.id, device).await
    }

    async fn run_of(&self, command: u64, device: &Device) -> CommandRun {
        let id = device.id.to_string();
        self.fleet.command_run(&self.admin, command, id).await.unwrap()
    }

    async fn again(&self, run: &CommandRun) -> CommandRun {
        let device = run.device.clone();
        self.fleet
            .command_run(&self.admin, run.command, device)
            .await
            .unwrap()
    }

    /// What the server tells a device that connects.
    async fn told(&self, device: &mut Device) -> Vec<Envelope> {
        let peer = ([127, 0, 0, 1], 1).into();
        self.fleet.connected(&device.id, &device.certificate, peer).await;
        self.answers(device, Report::Inventory(Inventory::default()))
            .await
    }

    async fn audited(&self, action: &str) -> Vec<String> {
        let entries = self.fleet.audit_entries(&self.admin, Paging::first(200));
        let entries = entries.await.unwrap().items.into_iter();
        entries
            .filter(|entry| entry.action == action)
            .map(|entry| entry.detail)
            .collect()
    }
}

#[tokio::test]
async fn a_command_waits_for_its_device_and_ends_with_a_result() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let run = world.ps(&device).await;
    assert_eq!(run.state, RunState::Waiting);
    let id = call_of(&run);

    let told = world.told(&mut device).await;
    let [
        Envelope {
            expires_ms, command, ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    let call = Call {
        name: "ps".into(),
        arguments: "{}".into(),
        timeout_s: 30,
    };
    assert_eq!(command, &Message::Call(call));
    assert!(expires_ms.unwrap() > run.created_ms);
    assert_eq!(world.again(&run).await.state, RunState::Sent);
    assert_eq!(
        world.told(&mut device).await,
        told,
        "until the device has ended it"
    );

    world.answers(&mut device, begun(&id, 1)).await;
    assert_eq!(world.again(&run).await.state, RunState::Running);
    assert_eq!(ids(&world.told(&mut device).await), [&id]);
    world.answers(&mut device, output(&id, 1, b"one ")).await;
    world.answers(&mut device, output(&id, 1, b"two")).await;
    let last = ended(&id, Outcome::Succeeded, Some(PS));
    world.answers(&mut device, last).await;
    let after = world.again(&run).await;
    assert_eq!((after.state, after.output_end), (RunState::Succeeded, 7));
    assert_eq!(after.result, Some(serde_json::from_str(PS).unwrap()));
    assert_eq!(world.told(&mut device).await, []);

    // What comes too late changes nothing.
    for report in [
        begun(&id, 2),
        output(&id, 1, b"three"),
        ended(&id, Outcome::Failed, None),
    ] {
        world.answers(&mut device, report).await;
    }
    assert_eq!(world.again(&run).await, after);
    assert_eq!(world.audited("command.run").await, ["ps on 1 device(s)"]);
    assert_eq!(world.audited("command.end").await, ["ps succeeded"]);
}

#[tokio::test]
async fn a_repeated_report_counts_once() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let run = world.ps(&device).await;
    world.told(&mut device).await;
    let id = call_of(&run);
    for message in [begun(&id, 1), output(&id, 1, b"once")] {
        device.sequence += 1;
        for _ in 0..3 {
            let report = Sequenced {
                queue: 1,
                sequence: device.sequence,
                message: message.clone(),
            };
            world.fleet.report(&device.id, report).await.unwrap();
        }
    }
    assert_eq!(world.again(&run).await.output_end, 4);
}

#[tokio::test]
async fn a_device_reports_on_its_own_runs_only() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let mut other = world.pair().await;
    let run = world.ps(&device).await;
    world.told(&mut device).await;
    let id = call_of(&run);
    let before = world.again(&run).await;
    for id in [
        id.as_str(),
        "call-999",
        "call-",
        "call--1",
        "call-x",
        "deploy-1",
        "",
    ] {
        for report in [
            begun(id, 1),
            output(id, 1, b"x"),
            ended(id, Outcome::Failed, None),
            Report::Unsupported {
                command: "call".into(),
                id: Some(id.to_owned()),
            },
        ] {
            world.answers(&mut other, report).await;
        }
    }
    assert_eq!(world.again(&run).await, before);
}

#[tokio::test]
async fn a_device_gets_few_at_a_time_and_the_rest_in_their_turn() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let mut runs = Vec::new();
    for _ in 0..MOST {
        runs.push(world.ps(&device).await);
    }
    let full = world.request("ps", json!({}), on(&device)).await.unwrap_err();
    assert!(
        matches!(
            &full,
            FleetError::Conflict {
                kind: "device-queue-full",
                ..
            }
        ),
        "{full}"
    );
    let told = world.told(&mut device).await;
    let names: Vec<_> = runs.iter().map(call_of).collect();
    assert_eq!(ids(&told), names[..MAX_OPEN_CALLS]);
    for (index, name) in names.iter().enumerate() {
        world.answers(&mut device, begun(name, 1)).await;
        let told = world
            .answers(&mut device, ended(name, Outcome::Succeeded, Some(PS)))
            .await;
        let next: Vec<_> = names.iter().skip(index + MAX_OPEN_CALLS).take(1).collect();
        assert_eq!(ids(&told), next);
    }
    for run in &runs {
        assert_eq!(world.again(run).await.state, RunState::Succeeded);
    }
}

#[tokio::test]
async fn one_that_waits_is_cancelled_at_once_and_one_that_runs_by_its_device() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let run = world.ps(&device).await;
    let cancelled = world
        .fleet
        .cancel_command(&world.admin, run.command)
        .await
        .unwrap();
    assert!(cancelled.finished);
    let run = world.again(&run).await;
    assert_eq!(run.state, RunState::Cancelled);
    assert!(run.detail.contains("cancelled by admin"), "{}", run.detail);
    assert_eq!(world.told(&mut device).await, []);
    let again = world.fleet.cancel_command(&world.admin, run.command).await;
    assert!(matches!(
        again,
        Err(FleetError::Conflict {
            kind: "command-finished",
            ..
        })
    ));

    let run = world.ps(&device).await;
    world.told(&mut device).await;
    let id = call_of(&run);
    world.answers(&mut device, begun(&id, 1)).await;
    let cancelled = world
        .fleet
        .cancel_command(&world.admin, run.command)
        .await
        .unwrap();
    assert!(!cancelled.finished);
    let told = world.told(&mut device).await;
    assert_eq!(told[0].command, Message::Stop(Stop { call: id.clone() }));
    assert_eq!(told.len(), 1, "it is not sent again");
    assert!(world.again(&run).await.cancelling);
    assert_eq!(world.audited("command.cancel").await.len(), 2);
    // It may have ended by itself before.
    let last = ended(&id, Outcome::Succeeded, Some(PS));
    world.answers(&mut device, last).await;
    assert_eq!(world.again(&run).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn how_it_ended_is_told_as_it_was() {
    let world = World::new().await;
    let mut device = world.pair().await;
    for (outcome, state) in [
        (Outcome::Succeeded, RunState::Succeeded),
        (Outcome::Failed, RunState::Failed),
        (Outcome::Denied, RunState::Denied),
        (Outcome::Invalid, RunState::Invalid),
        (Outcome::UnknownCommand, RunState::UnknownCommand),
        (Outcome::Cancelled, RunState::Cancelled),
        (Outcome::TimedOut, RunState::TimedOut),
        (Outcome::Interrupted, RunState::Interrupted),
        (Outcome::Other, RunState::Failed),
    ] {
        let run = world.ps(&device).await;
        world.told(&mut device).await;
        let report = Report::CallEnded(CallEnded {
            id: call_of(&run),
            run: None,
            outcome,
            detail: "because\u{1b}[31m\nof it".into(),
            exit_status: Some(-3),
            result: None,
            dropped_bytes: u64::MAX,
            at_ms: 0,
        });
        world.answers(&mut device, report).await;
        let run = world.again(&run).await;
        assert_eq!((run.state, run.exit_status), (state, Some(-3)));
        assert_eq!(run.detail, "because\u{fffd}[31m of it", "made safe");
    }
    for (cause, state) in [
        (Cause::Expired, RunState::Expired),
        (Cause::Other, RunState::Failed),
    ] {
        let run = world.ps(&device).await;
        world.told(&mut device).await;
        let report = Report::NotRun(NotRun {
            command: "call".into(),
            id: Some(call_of(&run)),
            cause,
            detail: "late".into(),
            at_ms: 0,
        });
        world.answers(&mut device, report).await;
        assert_eq!(world.again(&run).await.state, state);
    }
    let run = world.ps(&device).await;
    world.told(&mut device).await;
    let unsupported = Report::Unsupported {
        command: "call".into(),
        id: Some(call_of(&run)),
    };
    world.answers(&mut device, unsupported).await;
    let run = world.again(&run).await;
    assert_eq!(run.state, RunState::Unsupported);
    assert!(run.detail.contains("does not run commands"), "{}", run.detail);
}

#[tokio::test]
async fn one_for_which_the_device_had_no_room_comes_again() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let run = world.ps(&device).await;
    let told = world.told(&mut device).await;
    let report = Report::NotRun(NotRun {
        command: "call".into(),
        id: Some(call_of(&run)),
        cause: Cause::TooMany,
        detail: String::new(),
        at_ms: 0,
    });
    world.answers(&mut device, report).await;
    assert_eq!(world.again(&run).await.state, RunState::Waiting);
    assert_eq!(world.told(&mut device).await, told);
}

#[tokio::test]
async fn a_result_that_is_none_of_the_command_is_refused() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    for result in [
        "{",
        "null",
        "7",
        r#"{"processes":[{"pid":-1}],"left_out":0}"#,
        &deep,
    ] {
        let run = world.ps(&device).await;
        world.told(&mut device).await;
        world
            .answers(
                &mut device,
                ended(&call_of(&run), Outcome::Succeeded, Some(result)),
            )
            .await;
        let run = world.again(&run).await;
        assert_eq!((run.state, &run.result), (RunState::Failed, &None), "{result}");
        assert!(run.detail.contains("not one of `ps`"), "{}", run.detail);
    }
    let run = world.ps(&device).await;
    world.told(&mut device).await;
    let newer = r#"{"processes":[],"left_out":0,"new":true}"#;
    world
        .answers(
            &mut device,
            ended(&call_of(&run), Outcome::Succeeded, Some(newer)),
        )
        .await;
    let run = world.again(&run).await;
    assert_eq!(run.state, RunState::Succeeded, "a newer agent says more");
    assert_eq!(run.result.unwrap()["new"], true);
}

#[tokio::test]
async fn what_was_begun_anew_begins_with_no_output() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let run = world.ps(&device).await;
    world.told(&mut device).await;
    let id = call_of(&run);
    world.answers(&mut device, begun(&id, 1)).await;
    world.answers(&mut device, output(&id, 1, b"before")).await;
    world.answers(&mut device, begun(&id, 2)).await;
    world.answers(&mut device, output(&id, 1, b"of the first")).await;
    world.answers(&mut device, output(&id, 2, b"after")).await;
    let run = world.again(&run).await;
    assert_eq!((run.output_start, run.output_end), (0, 5));
    assert_eq!(world.rows("command_output"), 1);
}

#[tokio::test]
async fn output_without_bytes_is_nothing() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let run = world.ps(&device).await;
    world.told(&mut device).await;
    let id = call_of(&run);
    world.answers(&mut device, begun(&id, 1)).await;
    for part in [&b""[..], b"", b"a", b"", b"b"] {
        world.answers(&mut device, output(&id, 1, part)).await;
    }
    assert_eq!(world.again(&run).await.output_end, 2);
}

#[tokio::test]
async fn the_server_gives_up_in_time_and_learns_later() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let waits = world.ps(&device).await;
    world.sql("UPDATE command_runs SET due_ms = 1");
    world.fleet.settle_commands().await.unwrap();
    assert_eq!(world.again(&waits).await.state, RunState::Expired);

    let late = world.ps(&device).await;
    world.sql(&format!(
        "UPDATE commands SET expires_ms = 1 WHERE id = {}",
        late.command
    ));
    assert_eq!(world.told(&mut device).await, [], "not even sent");
    assert_eq!(world.again(&late).await.state, RunState::Expired);

    let sent = world.ps(&device).await;
    world.told(&mut device).await;
    world.fleet.settle_commands().await.unwrap();
    assert_eq!(world.again(&sent).await.state, RunState::Sent, "not yet");
    world.sql("UPDATE command_runs SET due_ms = 1");
    world.fleet.settle_commands().await.unwrap();
    assert_eq!(world.again(&sent).await.state, RunState::Unanswered);
    assert_eq!(world.told(&mut device).await, []);
    let id = call_of(&sent);
    world.answers(&mut device, begun(&id, 1)).await;
    assert_eq!(world.again(&sent).await.state, RunState::Running);
    world.sql("UPDATE command_runs SET due_ms = 1 WHERE final = 0");
    world.fleet.settle_commands().await.unwrap();
    world.answers(&mut device, begun(&id, 2)).await;
    assert_eq!(
        world.again(&sent).await.state,
        RunState::Unanswered,
        "a device cannot keep a run going for ever"
    );
    let last = ended(&id, Outcome::Interrupted, None);
    world.answers(&mut device, last).await;
    assert_eq!(world.again(&sent).await.state, RunState::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn runs_and_output_of_a_device_have_an_end() {
    const RUNS: usize = 100;
    const KEPT: usize = 1024 * 1024;

    let world = World::new().await;
    let mut device = world.pair().await;
    world.told(&mut device).await;
    for number in 0..2 * RUNS {
        let run = world.ps(&device).await;
        let id = call_of(&run);
        world.told(&mut device).await;
        world.answers(&mut device, begun(&id, 1)).await;
        world.answers(&mut device, output(&id, 1, b"x")).await;
        if number > 0 {
            world
                .answers(&mut device, ended(&id, Outcome::Succeeded, Some(PS)))
                .await;
        }
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
    }
    // The oldest has not ended.
    assert_eq!(world.rows("command_runs"), RUNS + 1);
    let first = world.run_of(1, &device).await;
    assert_eq!(first.state, RunState::Running);
    assert!(world.rows("command_output") <= 21);

    let part = vec![b'x'; MAX_OUTPUT];
    for _ in 0..3 * KEPT / MAX_OUTPUT {
        world.answers(&mut device, output("call-1", 1, &part)).await;
    }
    let first = world.again(&first).await;
    assert_eq!(first.output_end, 3 * KEPT as u64 + 1);
    let kept = first.output_end - first.output_start;
    assert!(kept <= KEPT as u64 && kept > (KEPT - MAX_OUTPUT) as u64, "{kept}");
    assert!(world.rows("command_output") <= 20 + KEPT / MAX_OUTPUT);

    assert_eq!(world.rows("commands"), 2 * RUNS);
    world.sql("UPDATE command_runs SET updated_ms = 1 WHERE id > 1");
    world.fleet.prune_commands().await.unwrap();
    assert_eq!((world.rows("command_runs"), world.rows("commands")), (1, 1));
}

#[tokio::test]
async fn a_group_gets_one_command_and_a_summary() {
    let world = World::new().await;
    let (mut one, mut two) = (world.pair().await, world.pair().await);
    world
        .fleet
        .create_group(&world.admin, "line".into())
        .await
        .unwrap();
    let group = || Target::Group("line".into());
    let empty = world.request("ps", json!({}), group()).await;
    assert!(matches!(
        empty,
        Err(FleetError::Conflict {
            kind: "group-empty",
            ..
        })
    ));
    for device in [&one, &two] {
        let (name, id) = ("line".to_owned(), device.id.to_string());
        world.fleet.join_group(&world.admin, name, id).await.unwrap();
    }
    let command = world.request("ps", json!({}), group()).await.unwrap();
    assert_eq!(command.states["waiting"], 2);
    for (device, outcome) in [(&mut one, Outcome::Succeeded), (&mut two, Outcome::Denied)] {
        world.told(device).await;
        let run = world.run(&command, device).await;
        world.answers(device, ended(&call_of(&run), outcome, None)).await;
    }
    let command = world.fleet.command(&world.admin, command.id).await.unwrap();
    assert!(command.finished);
    assert_eq!(json!(command.states), json!({"succeeded": 1, "denied": 1}));
    let denied = Some(RunState::Denied);
    let runs = world
        .fleet
        .command_runs(&world.admin, command.id, denied, Paging::first(9))
        .await
        .unwrap();
    assert_eq!(runs.items.len(), 1);
    assert_eq!(runs.items[0].device, two.id.to_string());
    assert_eq!(world.audited("command.end").await, ["ps: 1 denied, 1 succeeded"]);
}

#[tokio::test]
async fn what_a_device_allows_is_told_with_the_commands() {
    let world = World::new().await;
    let mut device = world.pair().await;
    let kinds = |device: Option<&Device>| {
        let device = device.map(|device| device.id.to_string());
        world.fleet.command_kinds(&world.admin, device)
    };
    assert!(
        kinds(None)
            .await
            .unwrap()
            .iter()
            .all(|kind| kind.policy.is_none())
    );
    let inventory = Inventory {
        commands: Some(vec![CommandOffer {
            name: "reboot".into(),
            policy: Policy::Denied,
        }]),
        ..Inventory::default()
    };
    world.answers(&mut device, Report::Inventory(inventory)).await;
    let kinds = kinds(Some(&device)).await.unwrap();
    let policy = |name: &str| kinds.iter().find(|kind| kind.name == name).unwrap().policy;
    assert_eq!((policy("reboot"), policy("ps")), (Some(Policy::Denied), None));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_commands_is_slowed_down() {
    let world = World::new().await;
    let devices = [world.pair().await, world.pair().await, world.pair().await];
    let mut refused = None;
    for number in 0..200 {
        let device = &devices[number % 3];
        match world.request("ps", json!({}), on(device)).await {
            Ok(_) => {}
            Err(FleetError::TooManyCommands(wait)) => {
                refused = Some((number, wait));
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let (number, wait) = refused.expect("somebody is refused");
    assert!((120..200).contains(&number), "{number}");
    tokio::time::advance(wait).await;
    assert!(world.request("ps", json!({}), on(&devices[0])).await.is_ok());
}

/// Lines of a stream, as they come.
fn lines(person: &crate::support::Person, path: &str) -> impl Iterator<Item = Value> + use<> {
    let answer = person.send("GET", path, ());
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let lines = BufReader::new(answer.into_body().into_reader()).lines();
    lines
        .map(Result::unwrap)
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(&line).unwrap())
}

#[test]
fn output_comes_while_the_command_runs() {
    let server = Server::start();
    let admin = server.log_in();
    let device = admin.pair(&server);
    let mut link = device.connect(&server);
    link.subscribe();
    let mut sequence = 0;
    let mut report = |link: &mut crate::support::Link, message: Report| {
        sequence += 1;
        let report = Sequenced {
            queue: 1,
            sequence,
            message,
        };
        assert!(link.publish("report", u16::try_from(sequence).unwrap(), report.encode()));
        assert!(matches!(link.receive(), Some(v5::Packet::Puback(_))));
    };
    report(&mut link, Report::Inventory(Inventory::default()));
    let new = json!({"name": "journal", "arguments": {"follow": true}, "target": {"device": device.id}});
    let mut made = admin.post("/api/v1/commands", &new);
    assert_eq!(made.status(), 201);
    let command = body(&mut made)["id"].as_u64().unwrap();
    // The device is told at once.
    let Some(v5::Packet::Publish(publish)) = link.receive() else {
        panic!("no command");
    };
    let envelope = Envelope::decode(&publish.payload).unwrap();
    assert!(matches!(&envelope.command, Message::Call(call) if call.name == "journal"));
    link.acknowledge(publish.qos_pid.pid().unwrap());
    let id = envelope.id.unwrap();

    let path = format!("/api/v1/commands/{command}/devices/{}/output", device.id);
    let mut stream = lines(&admin, &format!("{path}?follow=true"));
    assert_eq!(stream.next().unwrap()["run"]["state"], "sent");
    report(&mut link, begun(&id, 1));
    assert_eq!(stream.next().unwrap()["run"]["state"], "running");
    report(&mut link, output(&id, 1, b"\xff\x1b[31mred\n"));
    let part = stream.next().unwrap();
    assert_eq!(
        (&part["type"], &part["at"], &part["stream"], &part["data"]),
        (
            &json!("output"),
            &json!(0),
            &json!("stdout"),
            &json!("/xtbMzFtcmVkCg==")
        )
    );
    report(&mut link, output(&id, 1, b"second"));
    assert_eq!(stream.next().unwrap()["at"], 10);
    report(&mut link, ended(&id, Outcome::Succeeded, Some(r#"{"lines":2}"#)));
    let rest: Vec<_> = stream.collect();
    assert_eq!(rest.last().unwrap()["run"]["result"]["lines"], 2);

    // Somebody who comes later, or goes on in the middle, gets the same.
    let later: Vec<_> = lines(&admin, &format!("{path}?from=12&follow=true")).collect();
    assert_eq!(later[1]["at"], 12);
    assert_eq!(later[1]["data"], "Y29uZA==");
    assert_eq!(later.len(), 3);
    let none: Vec<_> = lines(&admin, &format!("{path}?from={}", u64::MAX)).collect();
    assert!(none.iter().all(|line| line["type"] == "run"));
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let server = Server::start();
    let admin = server.log_in();
    let device = admin.pair(&server);
    let request = |new: Value| {
        let mut answer = admin.post("/api/v1/commands", &new);
        problem(&mut answer)
    };
    let target = json!({"device": device.id});
    let invalid = (422, "invalid".to_owned());
    assert_eq!(request(json!({"name": "fly", "target": target})), invalid);
    let arguments = json!({"name": "ps", "arguments": {"a": 1}, "target": target});
    assert_eq!(request(arguments), invalid);
    let nobody = json!({"name": "ps", "target": {"device": "nobody"}});
    assert_eq!(request(nobody), (404, "not-found".to_owned()));
    admin.revoke(&device);
    let revoked = request(json!({"name": "ps", "target": target}));
    assert_eq!(revoked, (409, "device-revoked".to_owned()));
}
