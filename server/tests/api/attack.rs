//! Attacks on the permissions: ways by which somebody got, kept or learnt more than the roles say.

use std::io::{BufRead as _, Read as _};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    matrix::{Things, encode, id, pair, person, project, upload},
    support::{Device, Person, Server, bundle, enrol, json, problem, program, sql},
    world::World,
};

fn admin_of(admin: &Person, name: &str, path: &str) -> Person {
    person(
        admin,
        name,
        path,
        &[json!({"role": "administrator", "project": path})],
    )
}

fn move_to(person: &Person, device: &Device, path: &str) {
    let body = json!({"project": path}).to_string();
    let moved = person.send("PATCH", &format!("/api/v1/devices/{}", device.id), body);
    assert_eq!(moved.status(), 200);
}

fn fetch(server: &Server, device: &Device, bundle: &Value) -> u16 {
    let url = format!("{}/device/v1/bundles/{}", server.url(), bundle.as_str().unwrap());
    device.new_agent().get(url).call().unwrap().status().as_u16()
}

#[test]
fn a_token_of_the_old_project_does_not_open_a_moved_device() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    let old = person(
        &admin,
        "old",
        "acme",
        &[json!({"role": "maintainer", "project": "acme"})],
    );
    let device = pair(&admin, &server, "acme", "gate");
    let (_, kept) = old.token(&json!({"device": device.id.as_str(), "ttl_seconds": 2_592_000}));
    move_to(&admin, &device, "beta");
    let secret = id(&mut upload(&admin, "beta", "secret"));
    assert_eq!(fetch(&server, &device, &secret), 200);
    match enrol(&server, &server.agent(), &kept) {
        Err(status) => assert!(status == 401 || status == 403, "{status}"),
        Ok(intruder) => panic!(
            "acme's maintainer is now beta's device {}: fetches beta's firmware: {}; the real device works: {}",
            intruder.id,
            fetch(&server, &intruder, &secret),
            device.works(&server)
        ),
    }
}

#[test]
fn a_project_that_is_made_again_is_new() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let device = pair(&admin, &server, "acme", "oldgate");
    let former = person(
        &admin,
        "formerboss",
        "",
        &[json!({"role": "maintainer", "project": "acme"})],
    );
    assert_eq!(
        former.post("/api/v1/groups", &json!({"name": "acme/g"})).status(),
        201
    );
    let join = format!("/api/v1/groups/acme%2Fg/devices/{}", device.id);
    assert_eq!(former.send("PUT", &join, ()).status(), 204);
    let file = id(&mut upload(&former, "acme", "1"));
    let deploy = json!({"bundle": file, "target": {"group": "acme/g"}});
    assert_eq!(former.post("/api/v1/deployments", &deploy).status(), 201);
    for path in [
        format!("/devices/{}", device.id),
        "/groups/acme%2Fg".into(),
        format!("/bundles/{}?force=true", file.as_str().unwrap()),
        "/projects/acme".into(),
    ] {
        let status = admin.send("DELETE", &format!("/api/v1{path}"), ()).status();
        assert_eq!(status, 204, "{path}");
    }
    project(&admin, "acme");
    let new = admin_of(&admin, "newboss", "acme");
    let mut seen = Vec::new();
    for path in ["deployments", "pairing-tokens", "audit?limit=200"] {
        let text = new.get(&format!("/api/v1/{path}")).to_string();
        if text.contains("formerboss") || text.contains(device.id.as_str()) {
            seen.push((path, text.matches("formerboss").count()));
        }
    }
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn a_limited_token_sees_nothing_else_of_its_user() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    let roles = ["acme", "beta"].map(|path| json!({"role": "administrator", "project": path}));
    let user = person(&admin, "user", "", &roles);
    let make = |name: &str, role: &str, path: &str| {
        let body = json!({"name": name, "role": role, "project": path, "days": 1});
        json(&mut user.post("/api/v1/users/user/tokens", &body))
    };
    make("betas-robot", "administrator", "beta");
    let ours = make("acmes", "administrator", "acme");
    let token = admin.with(ours["secret"].as_str().unwrap());
    let mut leaks = Vec::new();
    for path in ["/api/v1/users/user", "/api/v1/users/user/tokens"] {
        let text = token.send("GET", path, ()).body_mut().read_to_string().unwrap();
        if text.contains("beta") {
            leaks.push(format!("{path}: {text}"));
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_viewers_token_changes_nothing() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let make = |name: &str, role: &str, path: &str| {
        let body = json!({"name": name, "role": role, "project": path, "days": 1});
        json(&mut admin.post("/api/v1/users/admin/tokens", &body))
    };
    let production = make("production", "administrator", "");
    let leaked = make("leaked-from-ci", "viewer", "acme");
    let leaked = admin.with(leaked["secret"].as_str().unwrap());
    let path = format!("/api/v1/users/admin/tokens/{}", production["token"]["id"]);
    assert_ne!(
        leaked.send("DELETE", &path, ()).status(),
        204,
        "it revoked an administrator's token"
    );
}

#[test]
fn an_access_token_becomes_no_password() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let boss = admin_of(&admin, "boss", "acme");
    let body = json!({"name": "one-day", "role": "administrator", "project": "acme", "days": 1});
    let made = json(&mut boss.post("/api/v1/users/boss/tokens", &body));
    let token = admin.with(made["secret"].as_str().unwrap());
    let mut reset = token.post("/api/v1/users/boss/password", &json!({}));
    if reset.status() == 200 {
        let password = json(&mut reset)["password"].as_str().unwrap().to_owned();
        let session = admin.log_in_as("boss", &password);
        let body = json!({"name": "year", "role": "administrator", "days": 366});
        let status = session.post("/api/v1/users/boss/tokens", &body).status();
        panic!(
            "a token of one day became a login, the owner is out ({}), and made a token for a year: {status}",
            boss.send("GET", "/api/v1/session", ()).status()
        );
    }
}

#[test]
fn a_pairing_token_ends_with_the_right_of_its_maker() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let fired = person(
        &admin,
        "fired",
        "acme",
        &[json!({"role": "maintainer", "project": "acme"})],
    );
    let victim = pair(&admin, &server, "acme", "gate");
    let (_, fresh) = fired.token(&json!({"project": "acme", "ttl_seconds": 2_592_000}));
    let (_, again) = fired.token(&json!({"device": victim.id.as_str(), "ttl_seconds": 2_592_000}));
    let secret = id(&mut upload(&admin, "acme", "secret"));
    assert_eq!(admin.send("DELETE", "/api/v1/users/fired", ()).status(), 204);
    let mut holes = Vec::new();
    for (what, token) in [("a new device", fresh), ("the device of another", again)] {
        if let Ok(device) = enrol(&server, &server.agent(), &token) {
            holes.push((what, fetch(&server, &device, &secret)));
        }
    }
    assert!(
        holes.is_empty(),
        "deleted, and pairs: {holes:?}; the real one works: {}",
        victim.works(&server)
    );
}

#[test]
fn nobody_learns_that_others_have_or_use_the_same_bundle() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    let (acme, beta) = (admin_of(&admin, "a", "acme"), admin_of(&admin, "b", "beta"));
    let gate = pair(&admin, &server, "acme", "gate");
    let file = id(&mut upload(&acme, "acme", "1"));
    assert_eq!(upload(&beta, "beta", "1").status(), 201);
    let deploy = json!({"bundle": file, "target": {"device": gate.id.as_str()}});
    assert_eq!(acme.post("/api/v1/deployments", &deploy).status(), 201);
    let path = format!("/api/v1/bundles/{}", file.as_str().unwrap());
    // Alone, acme would be refused: a device needs it.
    let first = acme.send("DELETE", &path, ()).status().as_u16();
    let mut second = beta.send("DELETE", &path, ());
    let text = second.body_mut().read_to_string().unwrap();
    let forced = beta
        .send("DELETE", &format!("{path}?force=true"), ())
        .status()
        .as_u16();
    assert!(
        first == 409 && second.status() == 204,
        "acme in use: {first} (so another project has it); beta: {} {text}; forced: {forced}, acme's device gets {}",
        second.status(),
        fetch(&server, &gate, &file)
    );
}

#[test]
fn a_device_does_not_move_in_the_middle_of_an_update() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    let things = Things::make(&admin, &server, "acme", "ours");
    let path = format!("/api/v1/devices/{}", things.device.id);
    let mut refused = admin.send("PATCH", &path, json!({"project": "beta"}).to_string());
    assert_eq!(problem(&mut refused), (409, "device-busy".into()));
    things.cancel(&admin);
    move_to(&admin, &things.device, "beta");
    assert_eq!(fetch(&server, &things.device, &things.bundle.clone().into()), 404);
}

#[tokio::test]
async fn a_refused_upload_leaves_no_file() {
    let world = World::new().await;
    world
        .fleet
        .create_project(&world.admin, "acme".into())
        .await
        .unwrap();
    let file = Bytes::from(bundle("lost", 1000));
    let mut sent = world.fleet.bundles().begin(file.len() as u64).unwrap();
    sent.write(&file).unwrap();
    world
        .fleet
        .check_upload(&world.admin, Some("acme".into()))
        .await
        .unwrap();
    // While the bytes come. A role that is taken away does the same.
    world
        .fleet
        .delete_project(&world.admin, "acme".into())
        .await
        .unwrap();
    let refused = world
        .fleet
        .add_bundle(&world.admin, sent, "acme".into(), None)
        .await;
    assert!(refused.is_err());
    let mut known = world.fleet.bundles().path(&world.bundle);
    assert!(known.exists());
    known.pop();
    let files = std::fs::read_dir(known).unwrap().count();
    assert_eq!(files, 1, "a file that no list shows and nobody can delete");
}

#[test]
fn names_are_checked_as_the_docs_say() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let boss = admin_of(&admin, "boss", "acme");
    let mut made = Vec::new();
    let group = admin.post("/api/v1/groups", &json!({"name": "/g"}));
    if group.status() == 201 {
        made.push("the group `/g`".to_owned());
    }
    // Names of the audit record's own actors, names that clients normalise away, and twins.
    for name in ["system", "stranger", "..", ".", "Admin"] {
        let user = json!({"name": name, "kind": "service", "project": "acme"});
        if boss.post("/api/v1/users", &user).status() == 201 {
            made.push(format!("acme's administrator made the user `{name}`"));
        }
    }
    assert!(made.is_empty(), "{made:#?}");
}

#[test]
fn a_group_that_is_made_again_is_new() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let things = Things::make(&admin, &server, "acme", "pilot");
    let cancel = format!("/api/v1/deployments/{}/cancel", things.deployment);
    assert_eq!(admin.post(&cancel, &json!({})).status(), 200);
    let path = format!("/api/v1/groups/{}", encode(&things.group));
    assert_eq!(admin.send("DELETE", &path, ()).status(), 204);
    assert_eq!(
        admin
            .post("/api/v1/groups", &json!({"name": things.group}))
            .status(),
        201
    );
    let user = person(
        &admin,
        "contractor",
        "",
        &[json!({"role": "operator", "group": things.group})],
    );
    assert!(user.list("/api/v1/devices").is_empty());
    let seen = user.list("/api/v1/deployments");
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn a_watcher_is_told_that_a_device_left_its_view() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let things = Things::make(&admin, &server, "acme", "pilot");
    let user = person(
        &admin,
        "contractor",
        "",
        &[json!({"role": "viewer", "group": things.group})],
    );
    let stream = user.send("GET", "/api/v1/events", ());
    let path = format!(
        "/api/v1/groups/{}/devices/{}",
        encode(&things.group),
        things.device.id
    );
    assert_eq!(admin.send("DELETE", &path, ()).status(), 204);
    assert_eq!(admin.send("DELETE", "/api/v1/users/contractor", ()).status(), 204);
    let mut told = String::new();
    let _ = stream.into_body().into_reader().read_to_string(&mut told);
    assert!(
        told.contains("device_removed") || told.contains("resync"),
        "{told:?}"
    );
}

#[test]
fn a_filter_by_project_keeps_a_groups_devices() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "acme/plant"] {
        project(&admin, path);
    }
    let things = Things::make(&admin, &server, "acme", "pilot");
    things.cancel(&admin);
    move_to(&admin, &things.device, "acme/plant");
    let user = person(
        &admin,
        "contractor",
        "",
        &[json!({"role": "viewer", "group": things.group})],
    );
    let all = user.list("/api/v1/devices");
    assert_eq!((all.len(), &all[0]["project"]), (1, &json!("acme/plant")));
    assert_eq!(user.list("/api/v1/devices?project=acme%2Fplant").len(), 1);
}

#[test]
fn a_reset_password_ends_access_tokens_of_a_thief() {
    let server = Server::start();
    let admin = server.log_in();
    let thief = person(&admin, "victim", "", &[json!({"role": "maintainer"})]);
    let body = json!({"name": "backdoor", "role": "administrator", "days": 366});
    let made = json(&mut thief.post("/api/v1/users/victim/tokens", &body));
    let token = admin.with(made["secret"].as_str().unwrap());
    assert_eq!(
        admin.post("/api/v1/users/victim/password", &json!({})).status(),
        200
    );
    assert_eq!(thief.send("GET", "/api/v1/session", ()).status(), 401);
    assert_eq!(token.send("GET", "/api/v1/devices", ()).status(), 401);
}

#[test]
fn a_project_administrator_gains_nothing_from_a_user_who_rises() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    pair(&admin, &server, "beta", "gate");
    let boss = admin_of(&admin, "boss", "acme");
    let made = json(&mut boss.post(
        "/api/v1/users",
        &json!({"name": "worker", "kind": "person", "project": "acme"}),
    ));
    let password = made["password"].as_str().unwrap();
    let robot = json!({"name": "robot", "kind": "service", "project": "acme"});
    assert_eq!(boss.post("/api/v1/users", &robot).status(), 201);
    let token = json!({"name": "x", "role": "administrator", "days": 366});
    let token = json(&mut boss.post("/api/v1/users/robot/tokens", &token));
    // Later, the administrator of everything trusts these two with more.
    for user in ["worker", "robot"] {
        let role = json!({"role": "administrator", "project": "beta"});
        let granted = admin.post(&format!("/api/v1/users/{user}/grants"), &role);
        if granted.status() != 201 {
            return;
        }
    }
    let as_robot = admin
        .with(token["secret"].as_str().unwrap())
        .list("/api/v1/devices")
        .len();
    let as_worker = admin.log_in_as("worker", password).list("/api/v1/devices").len();
    assert_eq!((as_robot, as_worker), (0, 0), "boss of acme sees beta's devices");
}

#[test]
fn a_role_can_be_replaced_when_a_user_has_many() {
    let server = Server::start();
    let admin = server.log_in();
    person(&admin, "user", "", &[]);
    let grant = |name: &str, role: &str| {
        let body = json!({"role": role, "group": name});
        admin.post("/api/v1/users/user/grants", &body).status().as_u16()
    };
    for number in 0..100 {
        let name = format!("g{number}");
        assert_eq!(admin.post("/api/v1/groups", &json!({"name": name})).status(), 201);
        assert_eq!(grant(&name, "administrator"), 201);
    }
    assert_eq!(grant("g0", "viewer"), 201, "to lower a role");
}

#[test]
fn a_project_administrator_sees_and_ends_roles_in_the_project() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let boss = admin_of(&admin, "boss", "acme");
    let contractor = person(
        &admin,
        "contractor",
        "",
        &[json!({"role": "maintainer", "project": "acme"})],
    );
    let grant = contractor.get("/api/v1/session")["grants"][0]["id"].clone();
    let names: Vec<_> = boss
        .list("/api/v1/users")
        .iter()
        .map(|user| user["name"].clone())
        .collect();
    let ended = boss
        .send("DELETE", &format!("/api/v1/users/contractor/grants/{grant}"), ())
        .status();
    assert!(
        names.contains(&json!("contractor")) && ended == 204,
        "{names:?}, {ended}; the audit record names the user all the same: {}",
        boss.get("/api/v1/audit").to_string().contains("contractor")
    );
}

#[test]
fn a_resync_is_for_those_who_missed_something() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let devices: Vec<_> = (0..101)
        .map(|n| pair(&admin, &server, "acme", &format!("d{n}")))
        .collect();
    assert_eq!(
        admin.post("/api/v1/groups", &json!({"name": "acme/g"})).status(),
        201
    );
    for device in &devices {
        let join = format!("/api/v1/groups/acme%2Fg/devices/{}", device.id);
        assert_eq!(admin.send("PUT", &join, ()).status(), 204);
    }
    let nobody = person(&admin, "nobody", "", &[]);
    let stream = nobody.send("GET", "/api/v1/events", ());
    let file = id(&mut upload(&admin, "acme", "1"));
    let deploy = json!({"bundle": file, "target": {"group": "acme/g"}});
    assert_eq!(admin.post("/api/v1/deployments", &deploy).status(), 201);
    assert_eq!(admin.send("DELETE", "/api/v1/users/nobody", ()).status(), 204);
    let mut told = String::new();
    let _ = stream.into_body().into_reader().read_to_string(&mut told);
    assert!(
        !told.contains("resync"),
        "somebody without a role learns of a large deployment: {told:?}"
    );
}

#[test]
fn expired_access_tokens_take_no_place() {
    let server = Server::start();
    let admin = server.log_in();
    let body = json!({"name": "x", "role": "viewer", "days": 1});
    for _ in 0..100 {
        assert_eq!(admin.post("/api/v1/users/admin/tokens", &body).status(), 201);
    }
    sql(server.data_dir(), "UPDATE access_tokens SET expires_ms = 1");
    let mut made = admin.post("/api/v1/users/admin/tokens", &body);
    assert_eq!(made.status(), 201, "{:?}", json(&mut made));
}

#[test]
fn a_contractor_deploys_only_bundles_that_are_shown() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let gate = pair(&admin, &server, "acme", "gate");
    assert_eq!(
        admin.post("/api/v1/groups", &json!({"name": "field"})).status(),
        201
    );
    let join = format!("/api/v1/groups/field/devices/{}", gate.id);
    assert_eq!(admin.send("PUT", &join, ()).status(), 204);
    let secret = id(&mut upload(&admin, "acme", "secret"));
    let user = person(
        &admin,
        "contractor",
        "",
        &[json!({"role": "operator", "group": "field"})],
    );
    let path = format!("/api/v1/bundles/{}", secret.as_str().unwrap());
    let shown = user.send("GET", &path, ()).status();
    let deploy = json!({"bundle": secret, "target": {"device": gate.id.as_str()}});
    let deployed = user.post("/api/v1/deployments", &deploy).status();
    assert_eq!(
        shown == 200,
        deployed == 201,
        "shown: {shown}, deployed: {deployed}"
    );
}

#[test]
fn a_restore_lets_nobody_back_in() {
    let server = Server::start();
    let admin = server.log_in();
    let made = json(&mut admin.post("/api/v1/users", &json!({"name": "fired", "kind": "person"})));
    let password = made["password"].as_str().unwrap().to_owned();
    assert_eq!(
        admin
            .post("/api/v1/users/fired/grants", &json!({"role": "administrator"}))
            .status(),
        201
    );
    let files = tempfile::tempdir().unwrap();
    let backup = files.path().join("backup");
    let run = |action: &str, options: &[&str], data: &std::path::Path| {
        let output = program(data)
            .arg(action)
            .args(options)
            .arg(&backup)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run("backup", &[], server.data_dir());
    assert_eq!(admin.send("DELETE", "/api/v1/users/fired", ()).status(), 204);
    let data = server.kill();
    let said = run("restore", &["--replace"], data.path());
    let server = Server::start_in(data);
    let login = json!({"user": "fired", "password": password});
    let mut answer = server
        .agent()
        .post(format!("{}/api/v1/session", server.url()))
        .send_json(login)
        .unwrap();
    let status = answer.status();
    assert!(
        status == 401 || said.contains("user"),
        "{status} {}; the restore said: {said}",
        json(&mut answer)
    );
}

#[test]
fn two_administrators_cannot_shut_each_other_out() {
    let server = Server::start();
    let admin = server.log_in();
    let everything = [json!({"role": "administrator"})];
    for round in 0..8 {
        let names = [format!("a{round}"), format!("b{round}")];
        let people = [&names[0], &names[1]].map(|name| person(&admin, name, "", &everything));
        std::thread::scope(|scope| {
            for (who, victim) in [(0, 1), (1, 0)] {
                let (who, victim) = (&people[who], &names[victim]);
                scope.spawn(move || {
                    who.send("DELETE", "/api/v1/users/admin/grants/1", ());
                    who.send("DELETE", &format!("/api/v1/users/{victim}"), ())
                });
            }
        });
        let left = people
            .iter()
            .filter(|person| person.send("GET", "/api/v1/users", ()).status() == 200);
        let left = left.count();
        assert_eq!(left, 1);
        // The first administrator is no longer one: start again.
        let survivor = people
            .iter()
            .find(|person| person.send("GET", "/api/v1/users", ()).status() == 200);
        let back = survivor
            .unwrap()
            .post("/api/v1/users/admin/grants", &everything[0]);
        assert_eq!(back.status(), 201);
        for name in &names {
            admin.send("DELETE", &format!("/api/v1/users/{name}"), ());
        }
    }
}

/// Other people's logouts and revoked tokens must not cost a watcher an event.
#[test]
fn no_event_is_lost_beside_changes_of_rights() {
    let server = Server::start();
    let admin = server.log_in();
    let device = admin.pair(&server);
    let watcher = person(&admin, "watcher", "", &[json!({"role": "viewer"})]);
    let people: Vec<_> = (0..4)
        .map(|n| person(&admin, &format!("p{n}"), "", &[]))
        .collect();
    let stream = watcher.send("GET", "/api/v1/events", ());
    let over = std::sync::atomic::AtomicBool::new(false);
    let count = 200;
    let told = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut told = String::new();
            let body = stream.into_body().into_with_config().limit(1 << 30).reader();
            // Until the last change: what is on its way when a user is deleted is not told any more.
            let last = format!("name-{}-", count - 1);
            for line in std::io::BufReader::new(body).lines().map_while(Result::ok) {
                told.push_str(&line);
                if line.contains(&last) {
                    break;
                }
            }
            told
        });
        for (n, person) in people.iter().enumerate() {
            let over = &over;
            scope.spawn(move || {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let path = format!("/api/v1/users/p{n}/tokens");
                    let mut made = person.post(&path, &json!({"name": "x", "role": "viewer", "days": 1}));
                    if made.status() == 429 {
                        break;
                    }
                    let made = json(&mut made);
                    person.send("DELETE", &format!("{path}/{}", made["token"]["id"]), ());
                }
            });
        }
        for number in 0..count {
            let body = json!({"name": format!("name-{number}-")}).to_string();
            assert_eq!(
                admin
                    .send("PATCH", &format!("/api/v1/devices/{}", device.id), body)
                    .status(),
                200
            );
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap()
    });
    let lost: Vec<_> = (0..count)
        .filter(|number| !told.contains(&format!("name-{number}-")))
        .collect();
    assert!(
        lost.is_empty(),
        "lost {} of {count}: {lost:?}; resyncs: {}",
        lost.len(),
        told.matches("resync").count()
    );
}

/// Everybody with an account may log in and make access tokens, without any role; nobody fills the audit record with that.
#[test]
fn nobody_fills_the_audit_record_with_the_own_account() {
    let server = Server::start();
    let admin = server.log_in();
    let (eve, mia) = (person(&admin, "eve", "", &[]), person(&admin, "mia", "", &[]));
    let new_token = json!({"name": "x", "role": "viewer", "days": 1});
    let token = |person: &Person, user: &str| {
        let path = format!("/api/v1/users/{user}/tokens");
        let mut answer = person.post(&path, &new_token);
        if answer.status() == 201 {
            let made = json(&mut answer);
            person.send("DELETE", &format!("{path}/{}", made["token"]["id"]), ());
        }
        answer
    };
    let (passed, refused) = (0..300)
        .map(|number| (number, token(&eve, "eve")))
        .find(|(_, answer)| answer.status() != 201)
        .expect("there is an end");
    // The login was one.
    assert!(passed >= 199, "{passed}");
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(token(&mia, "mia").status(), 201, "others go on");
    assert_eq!(
        eve.get("/api/v1/session")["name"],
        "eve",
        "and she stays logged in"
    );
}
