//! Logging in, tokens, and what is told to whom.

use std::process::Command;

use serde_json::json;

use crate::support::{Server, is_on_postgres, json, problem, program};

#[test]
fn only_who_is_logged_in_gets_in() {
    let server = Server::start();
    let (agent, url) = (server.agent(), server.url());
    for path in [
        "devices",
        "bundles",
        "deployments",
        "events",
        "audit",
        "session",
        "pairing-tokens",
    ] {
        let mut response = agent.get(format!("{url}/api/v1/{path}")).call().unwrap();
        assert_eq!(problem(&mut response), (401, "not-logged-in".into()), "{path}");
    }
    let health = json(&mut agent.get(format!("{url}/api/v1/health")).call().unwrap());
    assert_eq!(health["status"], "ok");

    let mut wrong = agent
        .post(format!("{url}/api/v1/session"))
        .send_json(json!({"user": "admin", "password": "wrong"}))
        .unwrap();
    assert_eq!(problem(&mut wrong), (401, "wrong-credentials".into()));

    let person = server.log_in();
    assert_eq!(person.get("/api/v1/session")["name"], "admin");
    assert_eq!(person.send("DELETE", "/api/v1/session", ()).status(), 204);
    let mut gone = person.send("GET", "/api/v1/session", ());
    assert_eq!(problem(&mut gone), (401, "not-logged-in".into()));
}

/// Tries to log in from 127.0.0.2, and returns the status and whether the answer says when to try again.
fn guess(server: &Server, user: &str, password: &str) -> (u16, bool) {
    let answer = Command::new("curl")
        .args([
            "-sS",
            "-i",
            "--max-time",
            "60",
            "--interface",
            "127.0.0.2",
            "--cacert",
        ])
        .arg(server.data_dir().join("ca-certificate.pem"))
        .args(["-H", "content-type: application/json", "--data"])
        .arg(json!({"user": user, "password": password}).to_string())
        .arg(format!(
            "https://127.0.0.1:{}/api/v1/session",
            server.https.port()
        ))
        .output()
        .unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap().to_lowercase();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.contains("retry-after: "))
}

/// How many of 60 guesses at the same time are checked. All others have to be told when to try again.
fn checked(server: &Server, user: impl Fn(usize) -> String + Sync) -> usize {
    std::thread::scope(|scope| {
        let user = &user;
        let guesses: Vec<_> = (0..60)
            .map(|number| scope.spawn(move || guess(server, &user(number), "wrong")))
            .collect();
        let answers = guesses.into_iter().map(|guess| guess.join().unwrap());
        answers
            .filter(|answer| match answer {
                (401, _) => true,
                (429, true) => false,
                other => panic!("{other:?}"),
            })
            .count()
    })
}

#[test]
fn guesses_at_the_same_time_have_one_budget() {
    let server = Server::start();
    let count = checked(&server, |_| "admin".to_owned());
    assert!((1..=11).contains(&count), "{count}");
    // Whoever guesses keeps nobody else out.
    server.log_in();
}

#[test]
fn a_new_name_is_no_new_budget() {
    let server = Server::start();
    let count = checked(&server, |number| format!("user{number}"));
    assert!((1..=11).contains(&count), "{count}");
    server.log_in();
}

#[test]
fn failed_logins_are_audited() {
    let server = Server::start();
    for _ in 0..30 {
        guess(&server, "adm\u{1b}in", "wrong");
    }
    let person = server.log_in();
    let audit = person.list("/api/v1/audit");
    let failed: Vec<_> = audit
        .iter()
        .filter(|entry| entry["action"] == "session.fail")
        .collect();
    // The others are counted.
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["subject"], "admin");
    assert_eq!(failed[0]["detail"], "127.0.0.2");
}

#[test]
fn the_cookie_works_for_the_own_page_only() {
    let server = Server::start();
    let (agent, url) = (server.agent(), server.url());
    let response = agent
        .post(format!("{url}/api/v1/session"))
        .send_json(json!({"user": "admin", "password": server.password()}))
        .unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{attribute}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let create = |header: (&str, &str)| {
        agent
            .post(format!("{url}/api/v1/groups"))
            .header("cookie", cookie)
            .header(header.0, header.1)
            .send_json(json!({"name": "a"}))
            .unwrap()
    };
    assert_eq!(
        problem(&mut create(("origin", "https://evil.example"))),
        (403, "cross-site".into())
    );
    assert_eq!(
        problem(&mut create(("sec-fetch-site", "cross-site"))),
        (403, "cross-site".into())
    );
    assert_eq!(
        problem(&mut create(("accept", "*/*"))),
        (403, "cross-site".into())
    );
    assert_eq!(create(("sec-fetch-site", "same-origin")).status(), 201);
}

#[test]
fn every_error_is_a_problem() {
    let server = Server::start();
    let person = server.log_in();
    let cases = [
        ("GET", "/api/v1/nothing", "", 404),
        ("GET", "/device/v1/nothing", "", 404),
        ("PUT", "/api/v1/devices", "", 405),
        ("POST", "/", "", 405),
        ("POST", "/api/v1/groups", "{", 400),
        ("POST", "/api/v1/groups", "{}", 422),
        ("POST", "/api/v1/groups", r#"{"name": "A b"}"#, 422),
        ("GET", "/api/v1/devices/none", "", 404),
        ("GET", "/api/v1/devices?group=none", "", 404),
        ("GET", "/api/v1/deployments/x", "", 400),
        ("GET", "/api/v1/deployments/18446744073709551615", "", 404),
        ("GET", "/api/v1/audit?after=x", "", 400),
        // The cursor of another list.
        ("GET", "/api/v1/devices?after=MQ", "", 400),
        ("GET", "/api/v1/devices?limit=0", "", 400),
        ("GET", "/api/v1/devices?limit=201", "", 400),
        ("GET", "/api/v1/devices?find=a&group=b", "", 400),
        ("GET", "/api/v1/devices/none/updates/1", "", 404),
        ("GET", "/api/v1/deployments/1/devices", "", 404),
        ("GET", "/api/v1/deployments/1/devices?state=odd", "", 400),
        ("DELETE", "/api/v1/pairing-tokens/4", "", 404),
        ("POST", "/api/v1/pairing-tokens", r#"{"ttl_seconds": 0}"#, 422),
        ("POST", "/api/v1/pairing-tokens", r#"{"device": "none"}"#, 404),
        (
            "PUT",
            "/api/v1/session/password",
            r#"{"current": "x", "new": "short"}"#,
            422,
        ),
    ];
    for (method, path, body, status) in cases {
        let mut response = person.send(method, path, body);
        assert_eq!(problem(&mut response).0, status, "{method} {path} {body}");
    }
    let huge = format!(r#"{{"name": "{}"}}"#, "a".repeat(100_000));
    let mut response = person.send("POST", "/api/v1/groups", huge);
    assert_eq!(problem(&mut response), (413, "too-large".into()));
}

#[test]
fn pairing_tokens_work_once_and_are_seen() {
    let server = Server::start();
    let person = server.log_in();
    let device = person.pair(&server);
    let tokens = person.list("/api/v1/pairing-tokens");
    assert_eq!(tokens[0]["used_by"], device.id.as_str());
    let shown = person.get(&format!("/api/v1/devices/{}", device.id));
    assert_eq!(shown["online"], false);
    assert_eq!(shown["revoked"], false);
    assert_eq!(shown["certificate_sha256"].as_str().unwrap().len(), 64);
    let url = format!("{}/device/v1/config", server.url());
    let config = json(&mut device.agent.get(&url).call().unwrap());
    assert_eq!(config["device_id"], device.id.as_str());
    assert_eq!(
        config["mqtt_authority"],
        format!("localhost:{}", server.mqtt.port())
    );

    let revoke = format!("/api/v1/devices/{}/revoke", device.id);
    let revoked = json(&mut person.send("POST", &revoke, ()));
    assert_eq!(revoked["revoked"], true);
    // The connection that is open, and a new one.
    let answer = device.agent.get(&url).call();
    assert!(!answer.is_ok_and(|answer| answer.status() == 200));

    let actions: Vec<_> = person
        .list("/api/v1/audit")
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        actions,
        [
            "device.revoke",
            "device.pair",
            "token.create",
            "session.create",
            "user.create"
        ]
    );
}

#[test]
fn passwords_change_and_are_reset() {
    let server = Server::start();
    let (person, other) = (server.log_in(), server.log_in());
    let change = json!({"current": server.password(), "new": "correct horse battery"});
    let changed = person.send("PUT", "/api/v1/session/password", change.to_string());
    assert_eq!(changed.status(), 204);
    assert_eq!(person.get("/api/v1/session")["name"], "admin");
    assert_eq!(other.send("GET", "/api/v1/session", ()).status(), 401);

    let directory = server.kill();
    let reset = program(directory.path())
        .args(["reset-password", "admin"])
        .output()
        .unwrap();
    assert!(reset.status.success());
    let password = String::from_utf8(reset.stdout).unwrap();
    std::fs::write(directory.path().join("first-admin-password"), password).unwrap();
    let server = Server::start_in(directory);
    server.log_in();
    // The old login ended with the old password.
    let url = server.url();
    let old = server
        .agent()
        .get(format!("{url}/api/v1/session"))
        .header("authorization", format!("Bearer {}", person.token))
        .call()
        .unwrap();
    assert_eq!(old.status(), 401);
}

#[test]
fn secrets_are_not_readable_for_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start();
    let database = if is_on_postgres() { "lock" } else { "homeport.db" };
    for file in ["first-admin-password", database, "ca-key.pem", "server.pem"] {
        let mode = std::fs::metadata(server.data_dir().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}
