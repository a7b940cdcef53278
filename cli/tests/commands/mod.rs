//! Commands that devices run.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use homeport_api::{CommandRun, RunState};
use homeport_protocol::builtin;
use serde_json::json;

use super::*;

/// The built-in commands as the server tells of them.
pub(crate) fn kinds() -> Value {
    let kinds = builtin::ALL.iter().map(|builtin| {
        json!({
            "name": builtin.name, "about": builtin.about, "timeout_s": builtin.timeout_s, "policy": "allowed",
            "arguments": (builtin.arguments)().to_value(), "result": (builtin.result)().to_value(),
        })
    });
    kinds.collect()
}

fn run(state: RunState, output_end: u64) -> Value {
    json!({
        "id": 1, "command": 12, "name": "run", "arguments": {}, "device": "aaaa", "device_name": "gate", "created_ms": 0,
        "created_by": "admin", "state": state, "cancelling": false, "detail": "", "exit_status": null, "result": null,
        "output_start": 0, "output_end": output_end, "dropped_bytes": 0, "begun_ms": 0, "updated_ms": 0,
    })
}

fn command(target: &Value, states: &Value, finished: bool) -> Value {
    json!({
        "id": 12, "name": "run", "arguments": {}, "target": target, "project": null, "device_name": "gate", "created_ms": 0,
        "created_by": "admin", "expires_ms": 0, "timeout_s": 60, "finished": finished, "states": states, "updated_ms": 0,
    })
}

fn told(run: &Value) -> String {
    format!("{}\n", json!({ "type": "run", "run": run }))
}

fn written(at: u64, stream: &str, bytes: &[u8]) -> String {
    let data = BASE64_STANDARD.encode(bytes);
    format!(
        "{}\n\n",
        json!({ "type": "output", "at": at, "stream": stream, "data": data })
    )
}

/// A server with the device `gate`, which runs command 12 with this output.
fn with_output(lines: &[String]) -> (Double, Home) {
    let double = Double::start();
    let home = Home::logged_in(&double);
    {
        let mut state = double.state();
        state.devices = vec![device("aaaa", "gate")];
        let on_gate = command(&json!({ "device": "aaaa" }), &json!({ "waiting": 1 }), false);
        state.answers = vec![
            ("GET command-kinds", 200, kinds().to_string()),
            ("POST commands", 201, on_gate.to_string()),
            ("POST commands/12/cancel", 200, on_gate.to_string()),
            ("GET commands/12/devices/aaaa/output", 200, lines.concat()),
        ];
    }
    (double, home)
}

fn sent(double: &Double) -> Value {
    let state = double.state();
    let mut newest = state.bodies.iter().rev();
    let (_, body) = newest.find(|(path, _)| path == "/api/v1/commands").unwrap();
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_program_writes_to_the_streams_that_it_wrote_to() {
    let (double, home) = with_output(&[
        told(&run(RunState::Running, 0)),
        written(0, "stdout", b"one\n\xff\x1b[2J"),
        written(9, "stderr", b"two\n"),
        told(&run(RunState::Succeeded, 13)),
    ]);
    let output = home.run(
        &[
            "run",
            "gate",
            "run",
            "--timeout",
            "5s",
            "--",
            "selftest",
            "--quick",
        ],
        "",
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        output.stdout, b"one\n\xff\x1b[2J",
        "a pipe gets the bytes as they are"
    );
    assert_eq!(stderr(&output), "two\n");
    assert_eq!(
        sent(&double),
        json!({
            "name": "run", "arguments": { "program": "selftest", "arguments": ["--quick"] }, "target": { "device": "aaaa" },
            "timeout_s": 5, "expires_s": null,
        })
    );
    let output = home.run(&["run", "gate", "run", "selftest", "--json"], "");
    let shown: CommandRun = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(shown.state, RunState::Succeeded);
    assert!(output.stderr.starts_with(b"one\n"));
}

#[test]
fn a_result_is_a_table_on_stdout_unless_the_command_wrote_something() {
    let mut done = run(RunState::Succeeded, 0);
    done["name"] = json!("disk");
    done["result"] =
        json!({ "file_systems": [{ "mount": "/", "source": "/dev/mmcblk0p2", "size_bytes": 1000 }] });
    let (double, home) = with_output(&[told(&done)]);
    let shown = home.ok(&["run", "gate", "disk"]);
    assert_eq!(
        shown,
        "MOUNT  SOURCE          SIZE\n/      /dev/mmcblk0p2  1.0 kB\n"
    );
    done["output_end"] = json!(2);
    double.state().answers[3].2 = [written(0, "stdout", b"a\n"), told(&done)].concat();
    let output = home.run(&["run", "gate", "disk"], "");
    assert_eq!(stdout(&output), "a\n");
    assert!(stderr(&output).contains("/dev/mmcblk0p2"), "{}", stderr(&output));
}

#[test]
fn what_did_not_succeed_is_exit_code_1_with_the_reason() {
    let mut failed = run(RunState::Failed, 0);
    failed["exit_status"] = json!(3);
    failed["detail"] = json!("no space left");
    let (double, home) = with_output(&[told(&failed)]);
    let error = home.fails(&["run", "gate", "run", "selftest"], 1);
    assert!(
        error.contains("run on gate: failed, exit status 3: no space left"),
        "{error}"
    );
    let error = home.fails(&["run", "gate", "service", "force=1"], 2);
    assert!(
        error.contains("no argument `force`") && error.contains("status|logs|start"),
        "{error}"
    );
    home.fails(&["run", "gate", "fly"], 2);
    home.fails(&["run", "gate", "ps", "--arguments", "[]"], 2);
    let refusal = json!({ "type": "device-queue-full", "title": "T", "status": 409, "detail": "too many" });
    double.state().answers[1] = ("POST commands", 409, refusal.to_string());
    assert!(home.fails(&["run", "gate", "ps"], 1).contains("too many"));
}

#[test]
fn a_broken_stream_goes_on_where_it_broke() {
    let cut_off = written(3, "stdout", b"lost").trim_end().to_owned();
    let (double, home) = with_output(&[
        told(&run(RunState::Running, 0)),
        written(0, "stdout", b"one"),
        cut_off,
    ]);
    let rest = [
        told(&run(RunState::Running, 8)),
        written(6, "stdout", b"ab"),
        told(&run(RunState::Succeeded, 8)),
    ];
    let again = "GET commands/12/devices/aaaa/output?from=3&follow=true";
    double.state().answers.insert(0, (again, 200, rest.concat()));
    let output = home.run(&["run", "gate", "run", "selftest"], "");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output), "oneab");
    assert!(
        stderr(&output).contains("3 B of the output are no longer there"),
        "{}",
        stderr(&output)
    );
}

#[test]
#[cfg(unix)]
fn ctrl_c_cancels_and_waits_for_the_end() {
    let (double, home) = with_output(&[told(&run(RunState::Running, 0))]);
    let child = home.start(&["run", "gate", "run", "selftest"]);
    let output = "GET /api/v1/commands/12/devices/aaaa/output";
    double.wait_until("the output is read", |state| state.count(output) > 0);
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    double.wait_until("it is cancelled", |state| {
        state.count("POST /api/v1/commands/12/cancel") > 0
    });
    double.state().answers[3].2 = told(&run(RunState::Cancelled, 0));
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("run on gate: cancelled"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn logs_are_the_journal() {
    let (double, home) = with_output(&[
        written(0, "stdout", b"line\n"),
        told(&run(RunState::Succeeded, 5)),
    ]);
    let line = [
        "logs", "gate", "-u", "app", "-p", "warning", "-n", "5", "--since", "10m", "--grep", "x",
    ];
    assert_eq!(home.ok(&line), "line\n");
    assert_eq!(sent(&double)["name"], "journal");
    assert_eq!(
        sent(&double)["arguments"],
        json!({ "unit": "app", "priority": 4, "lines": 5, "since_s": 600, "contains": "x", "follow": false })
    );
    home.ok(&["logs", "gate", "-f"]);
    assert_eq!(sent(&double)["timeout_s"], 86_400);
}

#[test]
fn a_group_is_done_when_every_device_is() {
    let (double, home) = with_output(&[]);
    let target = json!({ "group": "canary" });
    let mut done = run(RunState::Succeeded, 0);
    done["result"] = json!({ "agent": "0.1.0" });
    let mut denied = run(RunState::Denied, 0);
    denied["device"] = json!("bbbb");
    denied["device_name"] = json!("pump");
    double.state().answers = vec![
        ("GET command-kinds", 200, kinds().to_string()),
        (
            "GET groups/canary",
            200,
            json!({ "name": "canary", "devices": 2 }).to_string(),
        ),
        (
            "POST commands",
            201,
            command(&target, &json!({ "waiting": 2 }), false).to_string(),
        ),
        (
            "GET commands/12",
            200,
            command(&target, &json!({}), true).to_string(),
        ),
        (
            "GET commands/12/devices",
            200,
            json!({ "items": [done, denied] }).to_string(),
        ),
        ("GET commands/12/devices/aaaa", 200, done.to_string()),
        ("GET commands/12/devices/bbbb", 200, denied.to_string()),
    ];
    let output = home.run(&["run", "--group", "canary", "get_version"], "");
    assert_eq!(code(&output), 1);
    assert_eq!(stdout(&output), "gate  succeeded  agent=0.1.0\npump  denied\n");
    let error = stderr(&output);
    assert!(
        error.contains("1 of 2 devices did not succeed: 1 succeeded, 1 denied"),
        "{error}"
    );
    let lines = home.run(&["run", "--group", "canary", "get_version", "--json"], "");
    for line in stdout(&lines).lines() {
        serde_json::from_str::<CommandRun>(line).unwrap();
    }
    assert_eq!(stdout(&lines).lines().count(), 2);
}
