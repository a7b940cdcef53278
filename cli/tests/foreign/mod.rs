//! Text that devices and other people chose, through every command that prints some.

use homeport_api::text::is_hidden;
use serde_json::json;

use super::*;

/// Stands for foreign text in what follows.
const MARK: &str = "§";
const HARMLESS: &str = "x";
/// Sets colours and the title, clears the screen, moves the cursor, begins lines, turns the direction, and cannot be seen.
const EVIL: &str = "\u{1b}[31mred\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}1m\r\nb\n\tc\u{8}\u{7f}\u{85}\u{202e}\u{2028}\u{200b}\u{e0041}";
/// What of it can be seen.
const SEEN: &str = "]0;t";

/// Command lines that end well.
const GO_WELL: &[&str] = &[
    "whoami",
    "devices",
    "devices --group §",
    "devices --project §",
    "device show aa",
    "device rename aa §",
    "device move aa §",
    "device move aa --none",
    "device revoke aa --yes",
    "device delete aa --yes",
    "device updates aa",
    "device telemetry aa",
    "groups",
    "group create §",
    "group show §",
    "group add § aa bb",
    "group remove § aa bb",
    "group delete §",
    "tokens",
    "token create --name § --device aa",
    "token create --name § --project §",
    "bundles",
    "bundle show bb",
    "bundle delete bb",
    "bundle delete bb --project §",
    "bundle upload ./§.raucb --project §",
    "bundle upload ./§.raucb",
    "deploy bb --device aa",
    "deploy ./§.raucb --group §",
    "deployments",
    "deployment show 7",
    "deployment cancel 7",
    "run aa ps",
    "run aa ps --json",
    "run aa ps --no-wait",
    "run --group § ps",
    "logs aa --unit § --grep §",
    "commands",
    "commands aa",
    "command kinds aa",
    "command show 12",
    "command show 12 --json",
    "command watch 12",
    "command cancel 12",
    "projects",
    "project create §",
    "project delete §",
    "users",
    "user show §",
    "user create §",
    "user create § --project §",
    "user enable §",
    "user disable §",
    "user delete § --yes",
    "user reset-password §",
    "user grant § operator",
    "user grant § operator --project §",
    "user grant § operator --group §",
    "access-tokens",
    "access-token list --user §",
    "access-token create --name § --role viewer --project §",
    "access-token create --name § --role viewer --user §",
    "access-token revoke 1",
    "access-token revoke 1 --user §",
    "audit",
    "login --user § --password-file -",
    "devices --json",
    "device show aa --json",
    "deployment show 7 --json",
    "users --json",
    "user show § --json",
    "projects --json",
    "access-tokens --json",
];

type Answers = Vec<(&'static str, u16, Value)>;

/// A command line, its exit code, and the answers that differ from [`answers`].
type Case = (Vec<&'static str>, i32, Answers);

/// Lines on stdout and stderr.
type Lines = (usize, usize);

fn update(state: DeploymentState) -> Value {
    json!({
        "id": 1, "origin": "deployment", "deployment": 7, "version": "§", "state": state, "previous": "offered", "steps": 2,
        "reason": { "code": "health_check", "detail": "§" }, "running_version": "§", "running_slot": "§", "percent": 40, "message": "§",
        "bytes_fetched": 1, "bundle_size": 2, "started_ms": 0, "updated_ms": 0,
    })
}

fn device() -> Value {
    json!({
        "id": "aa§", "name": "§", "online": false, "last_seen_ms": 0, "paired_ms": 0, "revoked": false, "certificate_sha256": "§",
        "certificate_expires_ms": 0, "address": "§", "serial": "§", "model": "§", "os_version": "§", "os": "§", "agent_version": "§",
        "kernel": "§", "architecture": "§", "hostname": "§", "updater": "§", "compatible": "§", "project": "§", "groups": ["§", "§"],
        "update": update(RolledBack),
        "slots": [{
            "name": "§", "bootname": "§", "state": "§", "boot_status": "§", "version": "§", "installed_at": "§",
        }],
    })
}

fn bundle() -> Value {
    json!({
        "id": "bb§", "project": "§", "size": 1, "created_ms": 0, "created_by": "§", "compatible": "§", "version": "§", "description": "§", "build": "§",
        "format": "§", "manifest_hash": "§",
        "images": [{ "slot_class": "§", "filename": "§", "size": 1, "adaptive": ["§", "§"] }],
    })
}

fn grant() -> Value {
    json!({ "id": 1, "role": "operator", "project": "§", "group": "§" })
}

fn user() -> Value {
    json!({
        "name": "§", "kind": "person", "project": "§", "disabled": true, "created_ms": 0, "last_login_ms": 0, "grants": [grant(), grant()],
    })
}

/// A user without a role on a project.
fn with_a_role_on_a_group() -> Value {
    let mut user = user();
    user["grants"] = json!([{ "id": 1, "role": "operator", "project": null, "group": "§" }]);
    user
}

/// A service as it is made.
fn service() -> Value {
    json!({ "user": user(), "password": null })
}

fn access_token() -> Value {
    json!({
        "id": 1, "name": "§", "role": "viewer", "project": "§", "created_ms": 0, "expires_ms": 0, "last_used_ms": 0,
    })
}

/// Another one, whose id begins the same.
fn another_bundle() -> Value {
    let mut bundle = bundle();
    bundle["id"] = json!("bbb§");
    bundle
}

fn deployment(finished: bool) -> Value {
    json!({
        "id": 7, "bundle": "§", "version": "§", "target": { "device": "aa§" }, "device_name": "§", "project": "§", "created_ms": 0, "created_by": "§",
        "finished": finished, "states": { "§": 1 }, "updated_ms": 0,
    })
}

/// A command that succeeded, without output: what a pipe gets of that are the bytes.
fn command() -> Value {
    json!({
        "id": 12, "name": "§", "arguments": { "§": "§" }, "target": { "group": "§" }, "project": "§", "device_name": "§", "created_ms": 0,
        "created_by": "§", "expires_ms": 0, "timeout_s": 1, "finished": true, "states": { "succeeded": 1 }, "updated_ms": 0,
    })
}

fn command_run() -> Value {
    json!({
        "id": 1, "command": 12, "name": "§", "arguments": { "§": ["§"] }, "device": "aa§", "device_name": "§", "created_ms": 0,
        "created_by": "§", "state": "succeeded", "cancelling": false, "detail": "§", "exit_status": 0,
        "result": { "§": "§", "list": [{ "§": "§" }], "texts": ["§"] },
        "output_start": 0, "output_end": 0, "dropped_bytes": 0, "begun_ms": 0, "updated_ms": 0,
    })
}

/// The device of the deployment.
fn progressed(state: DeploymentState) -> Value {
    let mut progress = update(state);
    progress["device"] = json!("aa§");
    progress["device_name"] = json!("§");
    progress
}

fn series() -> Value {
    json!({ "name": "§", "unit": "§", "points": [{ "at_ms": 0, "value": 1.0 }] })
}

fn page(items: &[Value]) -> Value {
    json!({ "items": items, "next": null })
}

fn problem(status: u16, detail: &str) -> Value {
    json!({ "type": "§", "title": "§", "status": status, "detail": detail })
}

/// What the stand-in answers, unless a case says otherwise.
fn answers() -> Answers {
    let token = json!({
        "id": 1, "created_ms": 0, "created_by": "§", "expires_ms": 0, "project": "§", "device_name": "§", "used_by": "§", "token": "§",
    });
    let mut history = update(RolledBack);
    history["history"] = json!([
        { "state": "offered", "at_ms": 0, "running_version": "§", "running_slot": "§", "reason": null },
        {
            "state": "rolled_back", "at_ms": 0, "running_version": "§", "running_slot": "§",
            "reason": { "code": "health_check", "detail": "§" },
        },
    ]);
    let group = json!({ "name": "§", "project": "§", "devices": 1 });
    let entry = json!({ "id": 1, "at_ms": 0, "actor": "§", "project": "§", "action": "§", "subject": "§", "detail": "§" });
    let project = json!({ "path": "§", "devices": 1 });
    let created_user = json!({ "user": user(), "password": "§" });
    let me = json!({ "name": "§", "grants": [grant()], "permissions": [] });
    let session = json!({ "token": TOKEN, "user": me, "expires_ms": 0 });
    [
        ("GET health", json!({ "status": "§", "version": "§" })),
        ("GET session", me),
        ("POST session", session),
        ("GET devices", page(&[device()])),
        ("PATCH devices/*", device()),
        ("POST devices/*/revoke", device()),
        (
            "GET devices/*/updates",
            page(&[update(RolledBack), update(Installing)]),
        ),
        ("GET devices/*/updates/1", history),
        ("GET devices/*/telemetry", json!([series(), series()])),
        ("GET groups", page(std::slice::from_ref(&group))),
        ("POST groups", group.clone()),
        ("GET groups/*", group),
        ("GET pairing-tokens", page(std::slice::from_ref(&token))),
        ("POST pairing-tokens", token),
        ("GET bundles", page(&[bundle()])),
        ("POST bundles", bundle()),
        ("GET deployments", page(&[deployment(true)])),
        ("POST deployments", deployment(true)),
        ("GET deployments/7", deployment(true)),
        ("POST deployments/7/cancel", deployment(false)),
        ("GET deployments/7/devices", page(&[progressed(RolledBack)])),
        (
            "GET command-kinds",
            json!([
                { "name": "ps", "about": "§", "timeout_s": 1, "arguments": { "properties": { "§": { "type": "string" } } }, "result": {} },
            ]),
        ),
        ("GET commands", page(&[command()])),
        ("POST commands", command()),
        ("GET commands/12", command()),
        ("POST commands/12/cancel", command()),
        ("GET commands/12/devices", page(&[command_run()])),
        ("GET commands/12/devices/*", command_run()),
        (
            "GET commands/12/devices/*/output",
            json!({ "type": "run", "run": command_run() }),
        ),
        ("GET devices/*/commands", page(&[command_run()])),
        ("GET users", page(&[user()])),
        ("POST users", created_user.clone()),
        ("GET users/*", user()),
        ("PATCH users/*", user()),
        ("POST users/*/password", created_user),
        ("POST users/*/grants", grant()),
        ("DELETE users/*", json!(null)),
        ("DELETE users/*/grants/1", json!(null)),
        ("GET users/*/tokens", page(&[access_token()])),
        (
            "POST users/*/tokens",
            json!({ "secret": "§", "token": access_token() }),
        ),
        ("DELETE users/*/tokens/1", json!(null)),
        ("GET projects", page(std::slice::from_ref(&project))),
        ("POST projects", project),
        ("GET audit", page(&[entry])),
    ]
    .map(|(request, body)| (request, 200, body))
    .into()
}

fn cases() -> Vec<Case> {
    let well = |line: &'static str| (line.split(' ').collect(), 0, Vec::new());
    let fails = |line: &'static str, code, answers| (line.split(' ').collect(), code, answers);
    let none = || page(&[]);
    let mut cases: Vec<Case> = GO_WELL.iter().copied().map(well).collect();
    cases.extend([
        // A watch, to its end and not.
        fails("deployment watch 7", 1, Vec::new()),
        fails("deploy bb --device aa --watch", 1, Vec::new()),
        fails("deploy bb --device aa --watch --json", 1, Vec::new()),
        fails(
            "deployment watch 7 --timeout 1s",
            1,
            vec![
                ("GET deployments/7", 200, deployment(false)),
                ("GET deployments/7/devices", 200, page(&[progressed(Installing)])),
            ],
        ),
        // Nothing that fits, or too much.
        fails("device show §", 1, vec![("GET devices", 200, none())]),
        fails("bundle show no-§", 1, Vec::new()),
        fails(
            "device show aa",
            1,
            vec![("GET devices", 200, page(&[device(), device()]))],
        ),
        fails(
            "bundle show bb",
            1,
            vec![("GET bundles", 200, page(&[bundle(), another_bundle()]))],
        ),
        fails(
            "bundle delete bb",
            2,
            vec![("GET bundles", 200, page(&[bundle(), bundle()]))],
        ),
        fails("bundle delete bb --project other", 1, Vec::new()),
        fails("run aa §", 2, Vec::new()),
        fails("run aa ps §=1 other=§", 2, Vec::new()),
        fails("logs aa --priority §", 2, Vec::new()),
        fails("user revoke §", 1, Vec::new()),
        fails("user revoke § --project §", 1, Vec::new()),
        fails(
            "user revoke § --group §",
            0,
            vec![("GET users/*", 200, with_a_role_on_a_group())],
        ),
        fails("user create § --service", 0, vec![("POST users", 200, service())]),
        // Questions and files.
        fails("user delete §", 2, Vec::new()),
        fails("device revoke aa", 2, Vec::new()),
        fails("device delete aa", 2, Vec::new()),
        fails("bundle upload missing-§", 1, Vec::new()),
        fails("login --ca missing-§", 1, Vec::new()),
        // What is typed, or put there by a script.
        fails("login /§", 2, Vec::new()),
        fails("login --ca-fingerprint §", 2, Vec::new()),
        fails("devices --§", 2, Vec::new()),
        fails("§", 2, Vec::new()),
        fails("device telemetry aa --since §", 2, Vec::new()),
        fails("deployment show §", 2, Vec::new()),
        fails("user grant mia §", 2, Vec::new()),
        fails("access-token create --name ci --role §", 2, Vec::new()),
        fails("access-token revoke §", 2, Vec::new()),
        // Answers that are none.
        fails("devices", 1, vec![("GET devices", 200, json!({ "items": "§" }))]),
        fails(
            "deployments",
            1,
            vec![(
                "GET deployments",
                200,
                page(&[json!({ "id": 7, "target": { "§": 1 } })]),
            )],
        ),
    ]);
    for (status, code) in [(400, 1), (401, 4), (403, 4), (409, 1), (429, 1), (503, 1)] {
        for detail in ["", "§"] {
            let answer = vec![("GET devices", status, problem(status, detail))];
            cases.push(fails("devices", code, answer));
        }
    }
    let forbidden = json!({ "type": "forbidden", "title": "§", "status": 403, "detail": "§" });
    cases.push(fails("devices", 4, vec![("GET devices", 403, forbidden)]));
    let refused = || problem(401, "§");
    cases.push(fails(
        "login --password-file -",
        4,
        vec![("POST session", 401, refused())],
    ));
    // The last one: nobody is logged in after it.
    let unreachable = vec![("DELETE session", 503, problem(503, "§"))];
    cases.push(fails("logout", 0, unreachable));
    cases
}

/// With `text` in every place that the mark holds.
fn fill(answers: Answers, text: &str) -> Vec<(&'static str, u16, String)> {
    let text = serde_json::to_string(text).unwrap();
    let text = text.trim_matches('"');
    answers
        .into_iter()
        .map(|(request, status, body)| (request, status, format!("{body}\n").replace(MARK, text)))
        .collect()
}

/// Runs every case with `text`, and counts lines.
fn run(text: &str) -> Vec<(String, Lines)> {
    let double = Double::start();
    let home = Home::logged_in(&double);
    fs::write(home.0.path().join(format!("{text}.raucb")), "bundle").unwrap();
    let each = |(arguments, expected, mut answered): Case| {
        answered.extend(answers());
        double.state().answers = fill(answered, text);
        let line = arguments.join(" ");
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.replace(MARK, text))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = home.run(&arguments, PASSWORD);
        let (out, err) = (stdout(&output), stderr(&output));
        assert_eq!(code(&output), expected, "{line}: {err:?}");
        (line.clone(), check(&line, text, &out, &err))
    };
    cases().into_iter().map(each).collect()
}

/// Nothing hidden but line breaks, and the text itself is there.
fn check(line: &str, text: &str, out: &str, err: &str) -> Lines {
    for shown in [out, err] {
        let hidden = shown.chars().find(|c| *c != '\n' && is_hidden(*c));
        assert_eq!(hidden, None, "{line}: {shown:?}");
    }
    assert!(
        text != EVIL || out.contains(SEEN) || err.contains(SEEN),
        "{line} shows none of it: {out:?} {err:?}"
    );
    (out.lines().count(), err.lines().count())
}

/// Every command below `command`, as `--help` lists them.
fn commands(command: &str) -> Vec<String> {
    let line: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
    let help = Home::new().ok(&line);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "help");
    let below: Vec<String> = names
        .flat_map(|name| commands(format!("{command} {name}").trim_start()))
        .collect();
    if below.is_empty() {
        vec![command.to_owned()]
    } else {
        below
    }
}

#[test]
fn every_command_is_in_the_table() {
    // They print nothing that is foreign; events have a test of their own.
    let without = ["completions", "events", "password", "token delete"];
    let cases = cases();
    for command in commands("") {
        let words: Vec<&str> = command.split(' ').collect();
        let in_table = cases.iter().any(|(line, ..)| {
            line.starts_with(&words) || words[1..] == ["list"] && line[0] == format!("{}s", words[0])
        });
        assert!(
            in_table || without.contains(&command.as_str()),
            "`homeport {command}` prints who knows what"
        );
    }
}

#[test]
fn foreign_text_is_only_text_in_every_command() {
    assert_eq!(run(EVIL), run(HARMLESS));
}

/// The events that `homeport events` prints of `published`, up to the last, with `text` in them.
fn follow(text: &str, published: &[Value]) -> Lines {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let mut events = home.start(&["events"]);
    double.wait_until("a subscription", double::State::has_subscriber);
    for (_, _, event) in fill(
        published.iter().map(|event| ("", 200, event.clone())).collect(),
        text,
    ) {
        double.publish(&serde_json::from_str(&event).unwrap());
    }
    double.publish(&Event::DeviceRemoved {
        id: "the-end".to_owned(),
    });
    let mut out = String::new();
    let mut lines = std::io::BufReader::new(events.stdout.take().unwrap());
    while !out.contains("the-end") {
        let length = std::io::BufRead::read_line(&mut lines, &mut out).unwrap();
        assert_ne!(length, 0, "it ended: {out}");
    }
    events.kill().unwrap();
    check("events", text, &out, &stderr(&events.wait_with_output().unwrap()))
}

#[test]
fn foreign_text_is_only_text_in_events() {
    let events = [
        json!({ "type": "device", "device": device() }),
        json!({ "type": "device_removed", "id": "§" }),
        json!({ "type": "deployment", "deployment": deployment(false) }),
        json!({ "type": "update", "update": progressed(RolledBack) }),
        json!({ "type": "command", "run": command_run() }),
        json!({ "type": "telemetry", "device": "§", "series": [series()] }),
        json!({ "type": "bundle", "bundle": bundle() }),
        json!({ "type": "bundle_removed", "id": "§", "project": "§" }),
        json!({ "type": "resync" }),
    ];
    assert_eq!(follow(EVIL, &events), (events.len() + 1, 0));
}

#[test]
fn foreign_text_is_only_text_in_the_name_of_a_server() {
    // A DNS name in a certificate is ASCII.
    let double = Double::start_as("fleet\u{1b}[31m\u{7}\r\nb.example");
    let fingerprint = double.ca_fingerprint.as_str();
    let login = [
        "login",
        &double.url(),
        "--ca-fingerprint",
        fingerprint,
        "--password-file",
        "-",
    ];
    let output = Home::new().run(&login, PASSWORD);
    assert_eq!(code(&output), 3);
    let (_, lines) = check("login", HARMLESS, &stdout(&output), &stderr(&output));
    assert_eq!(lines, 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("example"), "{}", stderr(&output));
}
