//! The real `homeport` against a stand-in for the server.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test stops where it fails"
)]

mod access;
mod commands;
mod double;
mod foreign;

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use double::{Double, PASSWORD, Progressed, TOKEN, bundle};
use homeport_api::{Device, DeviceProgress, DeviceUpdate, Event, StateChange, UpdateOrigin, Why};
use homeport_protocol::{
    DeploymentState::{self, Cancelled, Downloading, Installing, Offered, RolledBack, Trial, Verified},
    FailureCode,
};
use serde_json::Value;

/// A person's home directory, and the command in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn logged_in(double: &Double) -> Self {
        let home = Self::new();
        let login = home.run(
            &[
                "login",
                &double.url(),
                "--ca-fingerprint",
                &double.ca_fingerprint,
                "--password-file",
                "-",
            ],
            PASSWORD,
        );
        assert_eq!(code(&login), 0, "{}", stderr(&login));
        home
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeport"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.start(arguments);
        // It may end before it reads.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "");
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn fails(&self, arguments: &[&str], expected: i32) -> String {
        let output = self.run(arguments, "");
        assert_eq!(code(&output), expected, "{arguments:?}: {}", stderr(&output));
        stderr(&output)
    }

    fn login_file(&self) -> std::path::PathBuf {
        self.0.path().join(".config/homeport/login.json")
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn device(id: &str, name: &str) -> Device {
    Device {
        id: id.to_owned(),
        name: name.to_owned(),
        online: true,
        ..Device::default()
    }
}

fn progress(id: &str, states: &[DeploymentState]) -> Progressed {
    let changes = states.iter().map(|state| StateChange {
        state: *state,
        at_ms: 0,
        running_version: String::new(),
        running_slot: String::new(),
        reason: None,
    });
    let mut newest = states.iter().rev().copied();
    let progress = DeviceProgress {
        device: id.to_owned(),
        device_name: format!("name-of-{id}"),
        update: DeviceUpdate {
            id: 1,
            origin: UpdateOrigin::Deployment,
            deployment: Some(7),
            version: "1.4.0".to_owned(),
            state: newest.next().unwrap(),
            previous: newest.next(),
            steps: states.len() as u64,
            reason: None,
            running_version: String::new(),
            running_slot: String::new(),
            percent: 0,
            message: String::new(),
            bytes_fetched: 0,
            bundle_size: 0,
            started_ms: 0,
            updated_ms: 0,
        },
    };
    Progressed {
        progress,
        history: changes.collect(),
    }
}

fn event(device: &Progressed) -> Event {
    Event::Update {
        update: Box::new(device.progress.clone()),
    }
}

// === Logging in ===

#[test]
fn a_login_is_kept_private_and_used() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let stored = fs::read_to_string(home.login_file()).unwrap();
    assert!(stored.contains(TOKEN) && !stored.contains(PASSWORD));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(home.login_file()).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let me = home.ok(&["whoami"]);
    assert!(me.contains("admin") && me.contains("9.9"), "{me}");
    double.state().full = true;
    let full = home.ok(&["whoami"]);
    assert!(
        full.contains("disk is full"),
        "a server in trouble can be used: {full}"
    );
    double.state().full = false;
    let me: Value = serde_json::from_str(&home.ok(&["whoami", "--json"])).unwrap();
    assert_eq!(me["user"]["name"], "admin");

    home.ok(&["logout"]);
    assert_eq!(double.state().count("DELETE /api/v1/session"), 1);
    assert!(!fs::read_to_string(home.login_file()).unwrap().contains(TOKEN));
    assert!(home.fails(&["whoami"], 4).contains("homeport login"));
    // The server stays known: neither its address nor its CA is asked for again.
    let again = home.run(&["login", "--password-file", "-"], PASSWORD);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
}

#[test]
fn a_login_by_ca_file_and_environment_works() {
    let double = Double::start();
    let home = Home::new();
    fs::write(home.0.path().join("ca.pem"), &double.ca_pem).unwrap();
    let login = home
        .command(&["login", &double.address.to_string(), "--ca", "ca.pem", "--json"])
        .env("HOMEPORT_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert_eq!(code(&login), 0, "{}", stderr(&login));
    assert!(!stdout(&login).contains(TOKEN) && !stderr(&login).contains(PASSWORD));

    let elsewhere = Home::new();
    let whoami = elsewhere
        .command(&["whoami"])
        .env("HOMEPORT_URL", double.url())
        .env("HOMEPORT_TOKEN", TOKEN)
        .env("HOMEPORT_CA", home.0.path().join("ca.pem"))
        .output()
        .unwrap();
    assert_eq!(code(&whoami), 0, "{}", stderr(&whoami));
}

/// What a pipeline sets, which has no home directory.
fn in_a_pipeline(double: &Double, variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_homeport"))
        .args(["device", "list"])
        .env_clear()
        .env("HOMEPORT_URL", double.url())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_pipeline_needs_no_login_but_a_token_and_a_fingerprint() {
    let double = Double::start();
    double.state().devices = vec![device("aaaa", "gate")];
    let fingerprint = ("HOMEPORT_CA_FINGERPRINT", double.ca_fingerprint.as_str());
    // As `cat` gives it.
    let token = format!("{TOKEN}\n");
    let listed = in_a_pipeline(&double, &[fingerprint, ("HOMEPORT_TOKEN", &token)]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    assert!(stdout(&listed).contains("gate"));

    double.state().requests.clear();
    let wrong = "0f".repeat(32);
    let impostor = in_a_pipeline(
        &double,
        &[("HOMEPORT_CA_FINGERPRINT", &wrong), ("HOMEPORT_TOKEN", TOKEN)],
    );
    assert_eq!(code(&impostor), 3, "{}", stderr(&impostor));
    let both = in_a_pipeline(
        &double,
        &[fingerprint, ("HOMEPORT_CA", "ca.pem"), ("HOMEPORT_TOKEN", TOKEN)],
    );
    assert_eq!(code(&both), 2, "{}", stderr(&both));
    for no_token in ["two words", " ", "g\u{e4}st"] {
        let refused = in_a_pipeline(&double, &[fingerprint, ("HOMEPORT_TOKEN", no_token)]);
        assert_eq!(code(&refused), 2, "{}", stderr(&refused));
        assert!(
            stderr(&refused).contains("HOMEPORT_TOKEN holds no token"),
            "{}",
            stderr(&refused)
        );
    }
    assert!(double.state().requests.is_empty());
}

#[test]
fn a_token_that_ended_is_not_answered_with_log_in() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let refused = home
        .command(&["devices"])
        .env("HOMEPORT_TOKEN", "revoked")
        .output()
        .unwrap();
    assert_eq!(code(&refused), 4);
    let error = stderr(&refused);
    assert!(error.contains("expired or was revoked"), "{error}");
    assert!(
        !error.contains("homeport login") && !error.contains("There is no such session"),
        "{error}"
    );

    let stored = fs::read_to_string(home.login_file()).unwrap();
    fs::write(home.login_file(), stored.replace(TOKEN, "ended")).unwrap();
    assert!(
        home.fails(&["devices"], 4)
            .contains("log in again with `homeport login`")
    );
}

#[test]
fn no_password_goes_to_a_server_with_another_fingerprint() {
    let double = Double::start();
    let home = Home::new();
    let login = home.run(
        &[
            "login",
            &double.url(),
            "--ca-fingerprint",
            &"0f".repeat(32),
            "--password-file",
            "-",
        ],
        PASSWORD,
    );
    assert_eq!(code(&login), 3, "{}", stderr(&login));
    assert!(stderr(&login).contains("fingerprint"));
    assert!(double.state().requests.is_empty());
    assert!(!home.login_file().exists());
}

#[test]
fn an_unknown_server_is_not_trusted_without_asking() {
    let double = Double::start();
    let home = Home::new();
    let login = home.run(&["login", &double.url(), "--password-file", "-"], PASSWORD);
    assert_eq!(code(&login), 2, "{}", stderr(&login));
    assert!(stderr(&login).contains("--ca-fingerprint"));
    assert!(double.state().requests.is_empty());
}

#[test]
fn a_server_that_took_the_place_of_a_known_one_gets_nothing() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let impostor = Double::start();
    let stored = fs::read_to_string(home.login_file()).unwrap();
    fs::write(home.login_file(), stored.replace(&double.url(), &impostor.url())).unwrap();
    assert!(home.fails(&["devices"], 3).contains("not from the CA"));
    assert!(impostor.state().requests.is_empty());
}

#[test]
fn the_session_of_one_server_is_not_shown_to_another() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let other = Double::start();
    fs::write(home.0.path().join("other.pem"), &other.ca_pem).unwrap();
    let whoami = home
        .command(&["whoami"])
        .env("HOMEPORT_URL", other.url())
        .env("HOMEPORT_CA", "other.pem")
        .output()
        .unwrap();
    assert_eq!(code(&whoami), 4, "{}", stderr(&whoami));
    assert!(other.state().requests.is_empty());
}

#[test]
fn a_wrong_password_is_exit_code_4() {
    let double = Double::start();
    let home = Home::new();
    let login = home.run(
        &[
            "login",
            &double.url(),
            "--ca-fingerprint",
            &double.ca_fingerprint,
            "--password-file",
            "-",
        ],
        "wrong",
    );
    assert_eq!(code(&login), 4);
    assert!(stderr(&login).contains("User or password is wrong."));
}

#[test]
fn a_wrong_name_in_the_certificate_is_explained() {
    let double = Double::start_as("fleet.example");
    let home = Home::new();
    let login = home.run(
        &[
            "login",
            &double.url(),
            "--ca-fingerprint",
            &double.ca_fingerprint,
            "--password-file",
            "-",
        ],
        PASSWORD,
    );
    assert_eq!(code(&login), 3);
    assert!(stderr(&login).contains("fleet.example"), "{}", stderr(&login));
    assert!(stderr(&login).contains("127.0.0.1"));
}

// === Exit codes ===

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    double.state().devices = vec![device("aaaa", "gate")];
    home.fails(&["no-such-command"], 2);
    home.fails(&["deploy", "1.4.0"], 2);
    assert!(home.fails(&["device", "delete", "gate"], 2).contains("--yes"));
    assert_eq!(double.state().count("DELETE"), 0);
    home.ok(&["device", "delete", "gate", "--yes"]);
    assert_eq!(double.state().count("DELETE /api/v1/devices/aaaa"), 1);
    home.fails(&["device", "show", "nobody"], 1);
    assert!(
        home.fails(&["deployment", "show", "7"], 1)
            .contains("There is no such deployment. (not-found, HTTP 404)")
    );
    home.fails(&["deployment", "watch", "7"], 1);
    double.set_down(true);
    assert!(home.fails(&["devices"], 3).contains("cannot be reached"));
    home.fails(&["deployment", "watch", "7"], 3);
    assert!(Home::new().fails(&["devices"], 4).contains("homeport login"));
}

#[test]
fn a_certificate_that_seems_expired_names_the_clock() {
    let double = Double::start_expired();
    let home = Home::new();
    fs::write(home.0.path().join("ca.pem"), &double.ca_pem).unwrap();
    let error = home.fails(&["login", &double.url(), "--user", "admin", "--ca", "ca.pem"], 3);
    assert!(error.contains("was valid until 200"), "{error}");
    assert!(error.contains("the clock of this machine says 2"), "{error}");
}

// === Devices, groups, tokens, bundles ===

#[test]
fn devices_are_listed_for_people_and_programs() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    double.state().devices = vec![device("aaaa", "gate\u{1b}[31m"), device("aabb", "pump")];
    let table = home.ok(&["devices"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("online") && !table.contains('\u{1b}'), "{table}");
    let json: Vec<Device> = serde_json::from_str(&home.ok(&["--json", "devices"])).unwrap();
    assert_eq!(json, double.state().devices);
    home.ok(&["devices", "--group", "a b"]);
    assert_eq!(double.state().count("GET /api/v1/devices?group=a%20b"), 1);

    // A list that is longer than a page is fetched to its end.
    let more = (0..5)
        .map(|number| device(&format!("c{number}"), "many"))
        .collect();
    double.state().devices = more;
    assert_eq!(home.ok(&["devices"]).lines().count(), 1 + 5);
    assert_eq!(double.state().count("GET /api/v1/devices?limit=200&after="), 2);
    double.state().devices = vec![device("aaaa", "gate"), device("aabb", "pump")];

    assert!(home.ok(&["device", "show", "aab"]).contains("pump"));
    assert!(home.fails(&["device", "show", "aa"], 1).contains("aabb"));
    home.ok(&["group", "add", "canary", "pump", "aaaa"]);
    assert_eq!(double.state().count("PUT /api/v1/groups/canary/devices/aa"), 2);
}

#[test]
fn a_bundle_is_uploaded_once() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(home.0.path().join("update.raucb"), &content).unwrap();
    let shown = home.ok(&["bundle", "upload", "update.raucb", "--json"]);
    let uploaded: homeport_api::Bundle = serde_json::from_str(&shown).unwrap();
    assert_eq!(uploaded.size, content.len() as u64);
    assert!(home.ok(&["bundle", "upload", "update.raucb"]).contains("1.4.0"));
    assert_eq!(double.state().uploads.len(), 1);
    assert!(double.state().uploads[0] == content);
    assert!(
        home.fails(&["bundle", "upload", "missing.raucb"], 1)
            .contains("missing.raucb")
    );
}

// === Watching ===

fn watched(double: &Double, devices: Vec<Progressed>) {
    let mut state = double.state();
    state.devices = devices
        .iter()
        .map(|Progressed { progress, .. }| device(&progress.device, &progress.device_name))
        .collect();
    state.bundles = vec![bundle(&"b".repeat(64), "1.4.0", 1)];
    state.deployment = Some(devices);
}

#[test]
fn a_watched_deployment_ends_well_when_every_device_is_verified() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    watched(
        &double,
        vec![progress("aa", &[Offered]), progress("bb", &[Offered])],
    );
    let watch = home.start(&["deploy", "1.4.0", "--group", "canary", "--watch", "--json"]);
    double.wait_until("a subscription", double::State::has_subscriber);
    double.publish(&event(&progress("aa", &[Offered, Downloading])));
    let done = [
        progress("aa", &[Offered, Downloading, Installing, Trial, Verified]),
        progress("bb", &[Offered, Trial, Verified]),
    ];
    double.state().deployment = Some(done.to_vec());
    for device in &done {
        double.publish(&event(device));
    }
    let output = watch.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<DeviceProgress> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for device in done {
        assert_eq!(lines.iter().filter(|line| **line == device.progress).count(), 1);
    }
    let (_, body) = double
        .state()
        .bodies
        .iter()
        .find(|(path, _)| path == "/api/v1/deployments")
        .cloned()
        .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["target"]["group"],
        "canary"
    );
}

#[test]
fn one_device_that_rolled_back_is_a_failure_with_its_reason() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let mut failed = progress("bb", &[Offered, Installing, Trial, RolledBack]);
    failed.progress.update.reason = Some(Why {
        code: FailureCode::HealthCheck,
        detail: "20-modem exited with 1".to_owned(),
    });
    watched(&double, vec![progress("aa", &[Offered, Verified]), failed]);
    let output = home.run(&["deployment", "watch", "7"], "");
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("1 of 2 devices did not end verified"));
    assert!(stderr(&output).contains("name-of-bb: rolled_back, health_check: 20-modem exited with 1"));
    // Every state is told, also those that passed before anybody looked.
    assert_eq!(stdout(&output).lines().count(), 6, "{}", stdout(&output));
}

#[test]
fn watching_survives_a_restart_of_the_server_and_sees_the_end() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    watched(&double, vec![progress("aa", &[Offered])]);
    let watch = home.start(&["deploy", "1.4.0", "--device", "name-of-aa", "--watch"]);
    double.wait_until("a subscription", double::State::has_subscriber);
    double.publish(&event(&progress("aa", &[Offered, Installing])));
    double.set_down(true);
    // It ends while nobody can be told.
    let end = progress("aa", &[Offered, Installing, Trial, Verified]);
    double.state().deployment = Some(vec![end]);
    double.wait_until("attempts while it is down", |state| state.refused >= 2);
    double.set_down(false);
    let output = watch.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for state in ["offered", "installing", "trial", "verified"] {
        let lines = stdout(&output)
            .lines()
            .filter(|line| line.contains(state))
            .count();
        assert_eq!(lines, 1, "{state}: {}", stdout(&output));
    }
}

#[test]
fn the_end_is_seen_without_any_event() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    watched(&double, vec![progress("aa", &[Offered])]);
    let watch = home.start(&["deployment", "watch", "7"]);
    double.wait_until("a question after the subscription", |state| {
        state.has_subscriber() && state.count("GET /api/v1/deployments/7") >= 2
    });
    double.state().deployment = Some(vec![progress("aa", &[Offered, Verified])]);
    let output = watch.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn a_watch_that_takes_too_long_fails() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    watched(&double, vec![progress("aa", &[Offered])]);
    let error = home.fails(&["deployment", "watch", "7", "--timeout", "1s"], 1);
    assert!(error.contains("name-of-aa: offered"), "{error}");
}

#[test]
fn a_session_that_ends_while_watching_is_exit_code_4() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    watched(&double, vec![progress("aa", &[Cancelled])]);
    let stored = fs::read_to_string(home.login_file()).unwrap();
    fs::write(home.login_file(), stored.replace(TOKEN, "expired")).unwrap();
    home.fails(&["deployment", "watch", "7"], 4);
}

#[test]
fn events_are_lines_of_json() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let mut events = home.start(&["events", "--json"]);
    double.wait_until("a subscription", double::State::has_subscriber);
    double.publish(&Event::DeviceRemoved { id: "aa".to_owned() });
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(events.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(
        serde_json::from_str::<Event>(&line).unwrap(),
        Event::DeviceRemoved { id: "aa".to_owned() }
    );
}

// === The rest ===

#[test]
fn completions_need_no_login() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            Home::new().ok(&["completions", shell]).contains("deployment"),
            "{shell}"
        );
    }
}

#[test]
fn a_home_that_is_missing_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_homeport"))
        .arg("devices")
        .env_clear()
        .current_dir(Path::new("/"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("HOME"));
}
