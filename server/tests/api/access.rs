//! Who may do what, and where.

use std::{
    io::Read as _,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::{
    matrix::{Things, encode, id, pair, person, project, upload},
    support::{Device, Person, Server, json, problem, until},
};

#[test]
fn somebody_without_a_role_sees_nothing() {
    let server = Server::start();
    let admin = server.log_in();
    let device = admin.pair(&server);
    let nobody = person(&admin, "nobody", "", &[]);
    let me = nobody.get("/api/v1/session");
    assert_eq!((&me["permissions"], &me["grants"]), (&json!([]), &json!([])));
    for path in [
        "/api/v1/devices".to_owned(),
        format!("/api/v1/devices/{}", device.id),
    ] {
        let mut refused = nobody.send("GET", &path, ());
        assert_eq!(problem(&mut refused), (403, "forbidden".into()), "{path}");
    }
    // One's own account and tokens, and nobody else's.
    let token = json!({"name": "mine", "role": "administrator", "days": 1});
    assert_eq!(nobody.post("/api/v1/users/nobody/tokens", &token).status(), 201);
    let mut others = nobody.post("/api/v1/users/admin/tokens", &token);
    assert_eq!(problem(&mut others), (404, "not-found".into()));
    let mut others = nobody.send("GET", "/api/v1/users/admin/tokens", ());
    assert_eq!(problem(&mut others), (404, "not-found".into()));
}

#[test]
fn a_role_on_a_group_is_for_its_devices() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let things = Things::make(&admin, &server, "acme", "pilot");
    let other = pair(&admin, &server, "acme", "other");
    assert_eq!(
        admin
            .post("/api/v1/groups", &json!({"name": "acme/rest"}))
            .status(),
        201
    );
    let join = format!("/api/v1/groups/acme%2Frest/devices/{}", things.device.id);
    assert_eq!(admin.send("PUT", &join, ()).status(), 204);
    let user = person(
        &admin,
        "contractor",
        "",
        &[json!({"role": "maintainer", "group": things.group})],
    );

    let seen = user.list("/api/v1/devices");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["id"], things.device.id.as_str());
    assert_eq!(seen[0]["groups"], json!([things.group]), "not the other group");
    let mut hidden = user.send("GET", &format!("/api/v1/devices/{}", other.id), ());
    assert_eq!(problem(&mut hidden).0, 404);
    assert_eq!(user.list("/api/v1/groups").len(), 1);
    assert_eq!(user.list("/api/v1/bundles").len(), 1, "it can be deployed");
    assert_eq!(user.list("/api/v1/deployments").len(), 1);
    let cancel = format!("/api/v1/deployments/{}/cancel", things.deployment);
    assert_eq!(user.post(&cancel, &json!({})).status(), 200);
    let again = json!({"bundle": things.bundle, "target": {"group": things.group}});
    assert_eq!(user.post("/api/v1/deployments", &again).status(), 201);
    // A role on a group does not let its holder take in other devices, or change what belongs to the project.
    let path = format!(
        "/api/v1/groups/{}/devices/{}",
        encode(&things.group),
        things.device.id
    );
    let mut refused = user.send("DELETE", &path, ());
    assert_eq!(problem(&mut refused), (403, "forbidden".into()));
    let mut refused = upload(&user, "acme", "9");
    assert_eq!(problem(&mut refused), (403, "forbidden".into()));
    assert_eq!(user.list("/api/v1/audit").len(), 0);
    assert_eq!(user.list("/api/v1/pairing-tokens").len(), 0);
}

#[test]
fn a_device_that_moves_takes_its_things_along() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "acme/plant", "beta"] {
        project(&admin, path);
    }
    let things = Things::make(&admin, &server, "acme", "ours");
    let staying = pair(&admin, &server, "acme", "staying");
    let join = format!("/api/v1/groups/{}/devices/{}", encode(&things.group), staying.id);
    assert_eq!(admin.send("PUT", &join, ()).status(), 204);
    let single = json!({"bundle": things.bundle, "target": {"device": things.loose.id.as_str()}});
    let single = id(&mut admin.post("/api/v1/deployments", &single));
    let old = person(
        &admin,
        "old",
        "",
        &[json!({"role": "administrator", "project": "acme"})],
    );
    let new = person(
        &admin,
        "new",
        "",
        &[json!({"role": "administrator", "project": "beta"})],
    );
    let path = |device: &Device| format!("/api/v1/devices/{}", device.id);
    things.cancel(&admin);
    let cancel = format!("/api/v1/deployments/{single}/cancel");
    assert_eq!(admin.post(&cancel, &json!({})).status(), 200);

    // Nobody pushes a device into a project, or pulls one out of it, without the permission there.
    for (mover, project) in [(&old, "beta"), (&old, ""), (&new, "beta")] {
        let mut refused = mover.send(
            "PATCH",
            &path(&things.loose),
            json!({"project": project}).to_string(),
        );
        let (status, _) = problem(&mut refused);
        assert!(status == 404 || status == 403, "{status}");
    }
    let below = old.send(
        "PATCH",
        &path(&things.device),
        json!({"project": "acme/plant"}).to_string(),
    );
    assert_eq!(below.status(), 200);
    assert_eq!(
        old.get(&path(&things.device))["groups"],
        json!([things.group]),
        "the group reaches there"
    );

    for device in [&things.loose, &things.device] {
        let moved = admin.send("PATCH", &path(device), json!({"project": "beta"}).to_string());
        assert_eq!(moved.status(), 200);
        assert_eq!(old.send("GET", &path(device), ()).status(), 404);
        let seen = new.get(&path(device));
        assert_eq!((&seen["groups"], &seen["project"]), (&json!([]), &json!("beta")));
    }
    // The deployment of one device went along; the one of the group stayed, and counts what is left.
    let deployments = new.list("/api/v1/deployments");
    assert_eq!((deployments.len(), &deployments[0]["id"]), (1, &single));
    let deployments = old.list("/api/v1/deployments");
    assert_eq!(
        (deployments.len(), &deployments[0]["id"]),
        (1, &things.deployment.into())
    );
    assert_eq!(deployments[0]["states"], json!({}));
    let devices = format!("/api/v1/deployments/{}/devices", things.deployment);
    assert!(old.list(&devices).is_empty());
    assert_eq!(admin.list(&devices).len(), 1);
    let tokens = new.list("/api/v1/pairing-tokens");
    assert_eq!(tokens.len(), 2, "those that paired the two devices");
    // Neither project learns of the other from the record.
    for (reader, other) in [(&old, "beta"), (&new, "acme")] {
        let record = reader.get("/api/v1/audit?limit=200").to_string();
        assert!(!record.contains(other), "{record}");
    }
}

#[test]
fn bundles_reach_the_projects_below() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "acme/plant", "beta"] {
        project(&admin, path);
    }
    let of = |name: &str, project: &str| {
        person(
            &admin,
            name,
            "",
            &[json!({"role": "maintainer", "project": project})],
        )
    };
    let (acme, plant, beta) = (of("a", "acme"), of("p", "acme/plant"), of("b", "beta"));
    let shared = id(&mut upload(&admin, "", "1"));
    let own = id(&mut upload(&acme, "acme", "2"));
    // The same file in another project is new there, and nobody learns that it is elsewhere too.
    assert_eq!(id(&mut upload(&beta, "beta", "2")), own);
    assert_eq!(upload(&acme, "acme", "2").status(), 200);
    let seen = |person: &Person| -> Vec<(Value, Value)> {
        let bundles = person.list("/api/v1/bundles").into_iter();
        bundles
            .map(|bundle| (bundle["id"].clone(), bundle["created_by"].clone()))
            .collect()
    };
    assert_eq!(
        seen(&acme),
        [(own.clone(), json!("a")), (shared.clone(), json!("admin"))]
    );
    assert_eq!(seen(&plant), seen(&acme));
    assert_eq!(
        seen(&beta),
        [(own.clone(), json!("b")), (shared.clone(), json!("admin"))]
    );
    assert_eq!(admin.list("/api/v1/bundles").len(), 3);

    let (in_plant, in_beta) = (
        pair(&admin, &server, "acme/plant", "p"),
        pair(&admin, &server, "beta", "b"),
    );
    let url = |id: &Value| format!("{}/device/v1/bundles/{}", server.url(), id.as_str().unwrap());
    let fetch = |device: &Device, id| device.new_agent().get(url(id)).call().unwrap().status().as_u16();
    assert_eq!((fetch(&in_plant, &own), fetch(&in_plant, &shared)), (200, 200));
    let secret = id(&mut upload(&acme, "acme", "3"));
    assert_eq!((fetch(&in_plant, &secret), fetch(&in_beta, &secret)), (200, 404));
    let wrong = json!({"bundle": secret, "target": {"device": in_beta.id.as_str()}});
    assert_eq!(
        problem(&mut beta.post("/api/v1/deployments", &wrong)),
        (404, "not-found".into())
    );
    assert_eq!(
        problem(&mut admin.post("/api/v1/deployments", &wrong)),
        (409, "other-project".into())
    );

    // Nobody learns of another project's update, and nobody breaks it: the file stays while the update needs it.
    let update = json!({"bundle": own, "target": {"device": in_beta.id.as_str()}});
    let update = id(&mut beta.post("/api/v1/deployments", &update));
    let path = format!("/api/v1/bundles/{}", own.as_str().unwrap());
    assert_eq!(
        problem(&mut beta.send("DELETE", &path, ())),
        (409, "bundle-in-use".into())
    );
    assert_eq!(
        admin
            .send("DELETE", &format!("{path}?project=beta&force=true"), ())
            .status(),
        204
    );
    assert_eq!(acme.send("DELETE", &path, ()).status(), 204);
    assert_eq!((fetch(&in_plant, &own), fetch(&in_beta, &own)), (404, 200));
    let cancel = format!("/api/v1/deployments/{update}/cancel");
    assert_eq!(beta.post(&cancel, &json!({})).status(), 200);
    for (person, project) in [(&acme, "acme"), (&beta, "beta")] {
        assert_eq!(id(&mut upload(person, project, "2")), own);
    }

    // The file goes with the last project that has it.
    let path = format!("/api/v1/bundles/{}", own.as_str().unwrap());
    assert_eq!(
        problem(&mut plant.send("DELETE", &path, ())),
        (403, "forbidden".into())
    );
    assert_eq!(acme.send("DELETE", &path, ()).status(), 204);
    assert_eq!((fetch(&in_plant, &own), fetch(&in_beta, &own)), (404, 200));
    assert_eq!(beta.send("DELETE", &path, ()).status(), 204);
    assert_eq!(fetch(&in_beta, &own), 404);
}

#[test]
fn administrators_of_a_project_stay_in_it() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    let boss = person(
        &admin,
        "boss",
        "acme",
        &[json!({"role": "administrator", "project": "acme"})],
    );
    person(&admin, "outsider", "beta", &[]);
    // Belongs to no project, and has one role that the boss may see and take away.
    let roles = [
        json!({"role": "viewer"}),
        json!({"role": "viewer", "project": "acme"}),
    ];
    person(&admin, "auditor", "", &roles);
    let worker = person(
        &boss,
        "worker",
        "acme",
        &[json!({"role": "operator", "project": "acme"})],
    );
    assert_eq!(worker.list("/api/v1/projects").len(), 1);
    let names: Vec<_> = boss
        .list("/api/v1/users")
        .iter()
        .map(|user| user["name"].clone())
        .collect();
    assert_eq!(names, ["auditor", "boss", "worker"]);
    let seen = boss.get("/api/v1/users/auditor")["grants"].clone();
    assert_eq!(
        (seen.as_array().unwrap().len(), &seen[0]["project"]),
        (1, &json!("acme"))
    );
    let taken = format!("/api/v1/users/auditor/grants/{}", seen[0]["id"]);
    assert_eq!(boss.send("DELETE", &taken, ()).status(), 204);
    assert_eq!(boss.send("GET", "/api/v1/users/auditor", ()).status(), 404);
    // A user of a project gets no role outside: those who manage the user would get it too.
    let mut outside = admin.post(
        "/api/v1/users/worker/grants",
        &json!({"role": "viewer", "project": "beta"}),
    );
    assert_eq!(problem(&mut outside), (409, "other-project".into()));
    let role = json!({"role": "administrator", "project": "acme"});
    for (method, path, body, expected) in [
        ("POST", "/users/boss/grants", json!({"role": "viewer"}), 403),
        (
            "POST",
            "/users/boss/grants",
            json!({"role": "viewer", "project": "beta"}),
            404,
        ),
        ("POST", "/users/outsider/grants", role.clone(), 404),
        ("POST", "/users/admin/grants", role, 404),
        ("POST", "/users/auditor/password", json!({}), 404),
        ("DELETE", "/users/auditor", json!({}), 404),
        ("DELETE", "/users/admin", json!({}), 404),
        (
            "POST",
            "/users",
            json!({"name": "x", "kind": "person", "project": "beta"}),
            404,
        ),
        ("POST", "/projects", json!({"path": "mine"}), 403),
        ("DELETE", "/projects/acme", json!({}), 403),
        ("DELETE", "/projects/beta", json!({}), 404),
        ("POST", "/groups", json!({"name": "mine"}), 403),
        (
            "POST",
            "/users/worker/tokens",
            json!({"name": "x", "role": "viewer", "days": 1}),
            409,
        ),
    ] {
        let answer = boss.send(method, &format!("/api/v1{path}"), body.to_string());
        assert_eq!(answer.status(), expected, "{method} {path} {body}");
    }
    // What the administrator of everything cannot do: leave nobody.
    for (method, path) in [
        ("DELETE", "/users/admin"),
        ("PATCH", "/users/admin"),
        ("DELETE", "/users/admin/grants/1"),
    ] {
        let mut refused = admin.send(
            method,
            &format!("/api/v1{path}"),
            json!({"disabled": true}).to_string(),
        );
        assert_eq!(
            problem(&mut refused),
            (409, "last-administrator".into()),
            "{method} {path}"
        );
    }
    let mut refused = admin.post("/api/v1/users/admin/grants", &json!({"role": "viewer"}));
    assert_eq!(problem(&mut refused), (409, "last-administrator".into()));
    let mut full = admin.send("DELETE", "/api/v1/projects/acme", ());
    assert_eq!(problem(&mut full), (409, "project-in-use".into()));
}

#[test]
fn an_access_token_takes_away_and_never_adds() {
    let server = Server::start();
    let admin = server.log_in();
    project(&admin, "acme");
    let device = pair(&admin, &server, "acme", "gate");
    let other = admin.pair(&server);
    let make = |user: &str, body: &Value| {
        let mut made = admin.post(&format!("/api/v1/users/{user}/tokens"), body);
        assert_eq!(made.status(), 201);
        let made = json(&mut made);
        let token = admin.with(made["secret"].as_str().unwrap());
        (made["token"]["id"].as_u64().unwrap(), token)
    };
    let (number, token) = make(
        "admin",
        &json!({"name": "ci", "role": "operator", "project": "acme", "days": 30}),
    );
    assert_eq!(token.list("/api/v1/devices").len(), 1);
    assert_eq!(
        token
            .send("GET", &format!("/api/v1/devices/{}", other.id), ())
            .status(),
        404
    );
    let mut refused = token.post(&format!("/api/v1/devices/{}/revoke", device.id), &json!({}));
    assert_eq!(problem(&mut refused), (403, "forbidden".into()));
    let me = token.get("/api/v1/session");
    assert_eq!(
        (&me["grants"][0]["role"], &me["grants"][0]["project"]),
        (&json!("operator"), &json!("acme"))
    );
    for (method, path, body) in [
        (
            "POST",
            "/users/admin/tokens",
            json!({"name": "x", "role": "viewer", "days": 1}),
        ),
        ("DELETE", "/session", json!({})),
        (
            "PUT",
            "/session/password",
            json!({"current": "x", "new": "correct horse battery"}),
        ),
    ] {
        let mut refused = token.send(method, &format!("/api/v1{path}"), body.to_string());
        assert_eq!(problem(&mut refused), (409, "no-session".into()), "{path}");
    }
    // Noted after the answer.
    let listed = || admin.list("/api/v1/users/admin/tokens").remove(0);
    until(|| listed()["last_used_ms"].is_i64());
    assert!(listed().get("secret").is_none());
    let path = format!("/api/v1/users/admin/tokens/{number}");
    assert_eq!(admin.send("DELETE", &path, ()).status(), 204);
    assert_eq!(token.send("GET", "/api/v1/devices", ()).status(), 401);

    // A service has tokens and no password, and is shut out with its tokens.
    let robot = json!({"name": "robot", "kind": "service"});
    assert_eq!(admin.post("/api/v1/users", &robot).status(), 201);
    let (_, robot) = make("robot", &json!({"name": "a", "role": "administrator", "days": 1}));
    assert_eq!(robot.send("GET", "/api/v1/devices", ()).status(), 403);
    let role = json!({"role": "viewer", "project": "acme"});
    assert_eq!(admin.post("/api/v1/users/robot/grants", &role).status(), 201);
    assert_eq!(robot.list("/api/v1/devices").len(), 1);
    let off = |disabled: bool| {
        let body = json!({"disabled": disabled}).to_string();
        assert_eq!(admin.send("PATCH", "/api/v1/users/robot", body).status(), 200);
    };
    off(true);
    assert_eq!(robot.send("GET", "/api/v1/devices", ()).status(), 401);
    off(false);
    assert_eq!(robot.list("/api/v1/devices").len(), 1);
}

#[test]
fn what_is_open_ends_with_the_right_to_it() {
    let server = Server::start();
    let admin = server.log_in();
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    let grant = json!({"role": "viewer", "project": "acme"});
    let user = person(&admin, "user", "", &[grant]);
    let number = user.get("/api/v1/session")["grants"][0]["id"].as_u64().unwrap();
    let stream = user.send("GET", "/api/v1/events", ());
    let (ours, theirs) = (
        pair(&admin, &server, "acme", "ours"),
        pair(&admin, &server, "beta", "theirs"),
    );
    let revoke = format!("/api/v1/users/user/grants/{number}");
    assert_eq!(admin.send("DELETE", &revoke, ()).status(), 204);
    // Comes too late for this user.
    pair(&admin, &server, "acme", "later");
    let mut told = String::new();
    stream
        .into_body()
        .into_reader()
        .read_to_string(&mut told)
        .unwrap();
    assert!(told.contains(ours.id.as_str()), "{told}");
    assert!(
        !told.contains(theirs.id.as_str()) && !told.contains("later"),
        "{told}"
    );

    let other = person(&admin, "other", "", &[json!({"role": "viewer"})]);
    let mut stream = other.send("GET", "/api/v1/events", ()).into_body().into_reader();
    let disable = admin.send(
        "PATCH",
        "/api/v1/users/other",
        json!({"disabled": true}).to_string(),
    );
    assert_eq!(disable.status(), 200);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(other.send("GET", "/api/v1/session", ()).status(), 401);
    let mut again = other.agent.post(format!("{}/api/v1/session", other.url));
    again = again.header("content-type", "application/json");
    let login = json!({"user": "other", "password": "whatever it was"});
    assert_eq!(again.send(login.to_string()).unwrap().status(), 401);
}

/// Requests that are on their way while a role is taken away either came before, or are refused.
#[test]
fn nothing_slips_through_while_a_role_is_taken_away() {
    let server = Server::start();
    let admin = server.log_in();
    let user = person(&admin, "user", "", &[json!({"role": "maintainer"})]);
    let number = user.get("/api/v1/session")["grants"][0]["id"].as_u64().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (over, user) = (&over, &user);
                scope.spawn(move || {
                    let mut made = 0;
                    for group in 0.. {
                        let known = over.load(Ordering::SeqCst);
                        let name = json!({"name": format!("g-{writer}-{group}")});
                        let status = user.post("/api/v1/groups", &name).status().as_u16();
                        assert!(status == 403 || (status == 201 && !known), "{status} {known}");
                        if status == 403 {
                            return made;
                        }
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        let path = format!("/api/v1/users/user/grants/{number}");
        while admin.list("/api/v1/groups").len() < 16 {}
        assert_eq!(admin.send("DELETE", &path, ()).status(), 204);
        let groups = admin.list("/api/v1/groups?limit=200").len();
        over.store(true, Ordering::SeqCst);
        let made: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert_eq!(made.min(200), groups, "none came after the answer");
    });
}
