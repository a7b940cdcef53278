//! A fleet moves to PostgreSQL, and back. Needs a PostgreSQL: `scripts/with-postgres`.

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use homeport_protocol::{Record, Sequenced, senml::Pack};
use homeport_testkit::postgres;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Person, Server, bundle, problem, until};

fn directory() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

/// The program with this data directory, and nothing said of a database.
fn program(data_dir: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_homeport-server"));
    program.arg("--data-dir").arg(data_dir);
    program
}

fn copy(data_dir: &Path, database: &str, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_homeport-server"))
        .args(["database", "copy", "--database", database, "--data-dir"])
        .arg(data_dir)
        .args(options)
        .output()
        .unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Everything that lists show, but for what only a running server knows.
fn lists(person: &Person) -> Vec<Value> {
    let paths = [
        "devices",
        "groups",
        "projects",
        "users",
        "bundles",
        "deployments",
        "pairing-tokens",
        "audit",
        "users/admin/tokens",
    ];
    let mut found: Vec<_> = paths
        .iter()
        .flat_map(|path| person.list(&format!("/api/v1/{path}")))
        .collect();
    for item in &mut found {
        if let Some(item) = item.as_object_mut() {
            item.retain(|name, _| {
                !["online", "last_seen_ms", "address", "last_used_ms"].contains(&name.as_str())
            });
        }
    }
    found
}

/// What a fleet has after a while.
fn fill(server: &Server, start: u32) -> (Person, crate::support::Device, crate::support::Device) {
    let person = server.log_in();
    let (device, revoked) = (person.pair(server), person.pair(server));
    person.revoke(&revoked);
    assert_eq!(
        person.post("/api/v1/projects", &json!({"path": "acme"})).status(),
        201
    );
    assert_eq!(
        person
            .post("/api/v1/groups", &json!({"name": "acme/all"}))
            .status(),
        201
    );
    assert_eq!(
        person
            .post("/api/v1/users", &json!({"name": "mia", "kind": "service"}))
            .status(),
        201
    );
    let grant = json!({"role": "viewer", "project": "acme"});
    assert_eq!(person.post("/api/v1/users/mia/grants", &grant).status(), 201);
    let token = json!({"name": "t", "role": "viewer", "days": 3});
    assert_eq!(person.post("/api/v1/users/admin/tokens", &token).status(), 201);
    let name = json!({"name": "Zürich \u{1f4a1}"}).to_string();
    let path = format!("/api/v1/devices/{}", device.id);
    assert_eq!(person.send("PATCH", &path, name).status(), 200);
    let uploaded = person.send("POST", "/api/v1/bundles", bundle("1", 100_000).as_slice());
    assert_eq!(uploaded.status(), 201);
    // The newest token is gone: its number must not come again.
    let (id, _) = person.token(&json!({}));
    assert_eq!(
        person
            .send("DELETE", &format!("/api/v1/pairing-tokens/{id}"), ())
            .status(),
        204
    );
    let mut link = device.connect(server);
    for id in 1..=20 {
        let record = Record {
            base_time: Some(f64::from(id) * 60.0 + f64::from(start)),
            ..Record::number("n", "Cel", f64::from(id) / 3.0)
        };
        let message = Sequenced {
            queue: u64::MAX - 5,
            sequence: u64::from(id),
            message: Pack(vec![record]),
        };
        assert!(link.publish("telemetry", id, message.encode()));
        link.receive().unwrap();
    }
    (person, device, revoked)
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn a_fleet_moves_to_postgresql_and_back_and_no_device_notices() {
    let (data, back) = (directory(), directory());
    let database = postgres::database(data.path()).unwrap();
    let server = Server::start_as(program(data.path()), Arc::clone(&data));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let start = u32::try_from(now.unwrap().as_secs() - 7200).unwrap();
    let (person, device, revoked) = fill(&server, start);
    let telemetry = format!(
        "/api/v1/devices/{}/telemetry?from_ms={start}000&to_ms={}000&points=5000",
        device.id,
        start + 7200
    );
    let (before, samples) = (lists(&person), person.get(&telemetry));
    assert_eq!(samples[0]["points"].as_array().unwrap().len(), 20);
    assert!(
        refusal(&copy(data.path(), &database, &[])).contains("in use"),
        "the server runs"
    );
    server.kill();

    let other = postgres::database(back.path()).unwrap();
    let refused = program(data.path())
        .args(["--database", &other])
        .output()
        .unwrap();
    assert!(
        refusal(&refused).contains("database copy"),
        "nobody begins a new fleet by mistake"
    );

    let said = succeeded(&copy(data.path(), &database, &[]));
    assert!(said.contains("          20 samples"), "{said}");
    assert!(said.contains("the same"), "{said}");
    assert!(data.path().join("homeport.db.copied").exists() && !data.path().join("homeport.db").exists());
    assert!(refusal(&copy(data.path(), &database, &[])).contains("there is no"));

    let mut moved = program(data.path());
    moved.args(["--database", &database]);
    let server = Server::start_as(moved, Arc::clone(&data));
    let person = Person::of(&server, &person);
    assert_eq!(lists(&person), before, "the session goes on as well");
    assert_eq!(person.get(&telemetry), samples);
    assert!(device.works(&server) && !revoked.works(&server));
    let numbers = |entries: &[Value]| entries.iter().filter_map(|entry| entry["id"].as_u64()).max();
    let highest = numbers(&person.list("/api/v1/pairing-tokens")).unwrap();
    let (next, _) = person.token(&json!({}));
    assert!(
        next > highest + 1,
        "the number of the revoked token is not used again"
    );
    drop(device.connect(&server));
    let before = lists(&person);
    server.kill();

    // What is there already is not overwritten.
    let third = directory();
    std::fs::write(third.path().join("homeport.db"), "").unwrap();
    assert!(refusal(&copy(third.path(), &database, &["--back"])).contains("exists already"));

    for name in ["ca-certificate.pem", "ca-key.pem", "server.pem"] {
        std::fs::copy(data.path().join(name), back.path().join(name)).unwrap();
    }
    succeeded(&copy(back.path(), &database, &["--back"]));
    let server = Server::start_as(program(back.path()), Arc::clone(&back));
    let person = Person::of(&server, &person);
    assert_eq!(lists(&person), before);
    assert_eq!(person.get(&telemetry), samples);
    assert!(device.works(&server) && !revoked.works(&server));
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn a_fleet_is_not_copied_over_another() {
    let (one, two) = (directory(), directory());
    for data in [&one, &two] {
        Server::start_as(program(data.path()), Arc::clone(data)).kill();
    }
    let database = postgres::database(one.path()).unwrap();
    succeeded(&copy(one.path(), &database, &[]));
    assert!(refusal(&copy(two.path(), &database, &[])).contains("holds a fleet already"));
    assert!(two.path().join("homeport.db").exists(), "nothing is lost");
}

/// A leftover file, or a restore that was cut short, must not cost the rows of either database.
#[test]
#[ignore = "needs a PostgreSQL"]
fn a_restore_keeps_the_rows_that_it_replaces_and_is_finished_first() {
    let data = directory();
    let database = postgres::database(data.path()).unwrap();
    let run = |action: &str, options: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_homeport-server"));
        program
            .arg(action)
            .args(options)
            .args(["--database", &database, "--data-dir"]);
        program.arg(data.path()).output().unwrap()
    };
    let start = || {
        let mut program = program(data.path());
        program.args(["--database", &database]);
        Server::start_as(program, Arc::clone(&data))
    };
    let files = directory();
    let backup = files.path().join("backup.tar");
    let server = start();
    let person = server.log_in();
    assert_eq!(
        person.post("/api/v1/groups", &json!({"name": "old"})).status(),
        201
    );
    succeeded(&run("backup", &[backup.to_str().unwrap()]));
    assert_eq!(
        person.post("/api/v1/groups", &json!({"name": "new"})).status(),
        201
    );
    server.kill();

    std::fs::write(data.path().join("homeport.db"), "left over").unwrap();
    let said = succeeded(&run("restore", &["--replace", backup.to_str().unwrap()]));
    let aside = said
        .lines()
        .find_map(|line| line.strip_prefix("The previous files are in "));
    let aside = Path::new(aside.unwrap().trim_end_matches('.'));
    let kept = rusqlite::Connection::open(aside.join("postgresql.db")).unwrap();
    let count: u32 = kept
        .query_row("SELECT count(*) FROM groups", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 2, "the rows of PostgreSQL");
    assert_eq!(std::fs::read(aside.join("homeport.db")).unwrap(), b"left over");

    // As after a power cut between the files and the rows.
    std::fs::copy(aside.join("postgresql.db"), data.path().join("restored.db")).unwrap();
    for refused in [
        program(data.path()).output().unwrap(),
        run("backup", &[files.path().join("other.tar").to_str().unwrap()]),
        copy(data.path(), &database, &[]),
        copy(data.path(), &database, &["--back"]),
    ] {
        assert!(refusal(&refused).contains("not finished"));
    }
    let server = start();
    assert_eq!(
        server.log_in().list("/api/v1/groups").len(),
        2,
        "the start finishes it"
    );
    assert!(!data.path().join("restored.db").exists());
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn a_database_that_goes_away_is_told_apart_and_comes_back() {
    let data = directory();
    let database = postgres::database(data.path()).unwrap();
    let (cluster, name) = database.rsplit_once('/').unwrap();
    let admin = |statement: String| {
        postgres::with(&format!("{cluster}/postgres"), move |client| {
            client.batch_execute(&statement)
        })
        .unwrap();
    };
    let mut program = program(data.path());
    program.args(["--database", &database]);
    let server = Server::start_as(program, Arc::clone(&data));
    let person = server.log_in();
    let device = person.pair(&server);
    let health = || {
        let answer = server
            .agent()
            .get(format!("{}/api/v1/health", server.url()))
            .call();
        answer.unwrap().status().as_u16()
    };
    assert_eq!(health(), 200);

    admin(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    admin(format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    ));
    let mut refused = person.send("GET", "/api/v1/devices", ());
    assert_eq!(problem(&mut refused), (503, "database".to_owned()));
    assert!(refused.headers().contains_key("retry-after"));
    until(|| health() == 503);
    let refused = person.post("/api/v1/groups", &json!({"name": "g"}));
    assert_eq!(
        refused.status(),
        503,
        "a change waits for a while, and is refused"
    );

    admin(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    until(|| health() == 200);
    assert_eq!(person.post("/api/v1/groups", &json!({"name": "g"})).status(), 201);
    assert!(
        device.works(&server),
        "the session and the device are as they were"
    );
}
