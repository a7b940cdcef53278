//! Users, roles, projects and access tokens.

use double::access::{SECRET, USER_PASSWORD, user};
use homeport_api::{
    AccessToken, CreatedAccessToken, CreatedUser, Grant, NewAccessToken, NewUser, Permission, Role, UserInfo,
    UserKind,
};
use serde_json::json;

use super::*;

/// The body of the newest request to a path.
fn sent(double: &Double, path: &str) -> Value {
    let state = double.state();
    let mut newest = state.bodies.iter().rev();
    let found = newest.find(|(to, _)| to == path);
    let (_, body) = found.unwrap_or_else(|| panic!("nothing was sent to {path}"));
    serde_json::from_str(body).unwrap()
}

fn grant(id: u64, role: Role, project: Option<&str>, group: Option<&str>) -> Grant {
    Grant {
        id,
        role,
        project: project.map(str::to_owned),
        group: group.map(str::to_owned),
    }
}

// === Roles ===

#[test]
fn the_documentation_has_the_roles_that_the_api_has() {
    let page = include_str!("../../../docs/usage/access.md");
    let documented: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains('✓'))
        .collect();
    let expected: Vec<String> = Permission::ALL
        .iter()
        .map(|permission| {
            let marks = Role::ALL.map(|role| if role.allows(*permission) { " ✓ |" } else { " |" });
            format!("| `{permission}` | {} |{}", permission.words(), marks.concat())
        })
        .collect();
    assert_eq!(documented, expected);
}

// === Users ===

#[test]
fn a_new_user_gets_a_password_that_is_alone_on_stdout() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let made = home.run(&["user", "create", "mia", "--project", "acme/plant-1"], "");
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert_eq!(stdout(&made), format!("{USER_PASSWORD}\n"));
    assert!(!stderr(&made).contains(USER_PASSWORD));
    let new: NewUser = serde_json::from_value(sent(&double, "/api/v1/users")).unwrap();
    assert_eq!(
        (new.name.as_str(), new.kind, new.project.as_deref()),
        ("mia", UserKind::Person, Some("acme/plant-1"))
    );

    assert_eq!(
        home.ok(&["user", "reset-password", "mia"]),
        format!("{USER_PASSWORD}\n")
    );
    assert_eq!(double.state().count("POST /api/v1/users/mia/password"), 1);
    let made: CreatedUser = serde_json::from_str(&home.ok(&["user", "create", "tom", "--json"])).unwrap();
    assert_eq!(made.password.as_deref(), Some(USER_PASSWORD));

    let service = home.run(&["user", "create", "ci", "--service"], "");
    assert_eq!((code(&service), stdout(&service).as_str()), (0, ""));
    assert!(
        stderr(&service).contains("access-token create --user ci"),
        "{}",
        stderr(&service)
    );
    assert_eq!(sent(&double, "/api/v1/users")["kind"], "service");
}

#[test]
fn users_are_listed_shut_out_and_deleted_after_a_question() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let mia = UserInfo {
        grants: vec![
            grant(1, Role::Operator, Some("acme"), None),
            grant(2, Role::Viewer, None, Some("beta/pilot")),
        ],
        ..user("mia@example.com")
    };
    let tom = UserInfo {
        grants: vec![grant(3, Role::Administrator, None, None)],
        ..user("tom")
    };
    double.state().users = vec![mia, tom];
    let table = home.ok(&["users"]);
    for shown in [
        "operator on project acme, viewer on group beta/pilot",
        "administrator on everything",
    ] {
        assert!(table.contains(shown), "{table}");
    }
    assert!(
        !table.contains("PROJECT"),
        "nobody is in a project, so there is no such column: {table}"
    );
    let users: Vec<UserInfo> = serde_json::from_str(&home.ok(&["user", "list", "--json"])).unwrap();
    assert_eq!(users, double.state().users);

    home.ok(&["user", "disable", "mia@example.com"]);
    assert_eq!(double.state().count("PATCH /api/v1/users/mia%40example.com"), 1);
    let mia = home.ok(&["user", "show", "mia@example.com"]);
    assert!(
        mia.contains("disabled") && mia.contains("group beta/pilot"),
        "{mia}"
    );
    home.ok(&["user", "enable", "mia@example.com"]);
    assert!(!double.state().users[0].disabled);

    assert!(home.fails(&["user", "delete", "tom"], 2).contains("--yes"));
    assert_eq!(double.state().users.len(), 2);
    home.ok(&["user", "delete", "tom", "--yes"]);
    assert_eq!(double.state().users.len(), 1);
    assert!(
        home.fails(&["user", "show", "tom"], 1)
            .contains("There is no such user.")
    );
}

#[test]
fn a_role_is_granted_and_taken_away_where_it_was_granted() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    double.state().users = vec![user("mia")];
    let grant = ["user", "grant", "mia"];
    let revoke = ["user", "revoke", "mia"];
    let with = |command: [&'static str; 3], more: &[&'static str]| [&command, more].concat();
    home.ok(&with(grant, &["viewer"]));
    home.ok(&with(grant, &["operator", "--project", "acme"]));
    let shown = home.ok(&with(grant, &["maintainer", "--group", "acme/pilot", "--json"]));
    let granted: Grant = serde_json::from_str(&shown).unwrap();
    assert_eq!(granted.group.as_deref(), Some("acme/pilot"));
    assert_eq!(double.state().users[0].grants.len(), 3);

    home.ok(&with(revoke, &["--project", "acme"]));
    assert_eq!(double.state().count("DELETE /api/v1/users/mia/grants/41"), 1);
    home.ok(&with(revoke, &["--group", "acme/pilot"]));
    assert_eq!(double.state().count("DELETE /api/v1/users/mia/grants/42"), 1);
    // The role above does not count as one below it.
    let error = home.fails(&with(revoke, &["--project", "acme/plant-1"]), 1);
    assert!(error.contains("no role on project acme/plant-1"), "{error}");
    home.ok(&revoke);
    assert!(double.state().users[0].grants.is_empty());
}

#[test]
fn whoami_shows_ones_roles() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let nobody = home.run(&["whoami"], "");
    assert!(stderr(&nobody).contains("no role yet"), "{}", stderr(&nobody));
    let me = json!({
        "name": "mia", "permissions": ["device.read"],
        "grants": [{ "id": 1, "role": "operator", "project": "acme", "group": null }],
    });
    double.state().answers = vec![("GET session", 200, me.to_string())];
    let shown = home.ok(&["whoami"]);
    assert!(
        shown.contains("operator") && shown.contains("project acme"),
        "{shown}"
    );
    let shown: Value = serde_json::from_str(&home.ok(&["whoami", "--json"])).unwrap();
    assert_eq!(shown["user"], me);
}

#[test]
fn what_is_forbidden_is_told_in_the_servers_words() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let detail = "you may not see users: that needs `user.read`, which administrators have";
    let refusal = json!({ "type": "forbidden", "title": "Forbidden", "status": 403, "detail": detail });
    double.state().answers = vec![("GET users", 403, refusal.to_string())];
    let error = home.fails(&["users"], 4);
    assert!(error.contains(detail), "{error}");
    assert!(error.contains("homeport whoami"), "{error}");
    assert!(!error.contains("homeport login"), "{error}");
}

// === Access tokens ===

#[test]
fn an_access_token_is_alone_on_stdout_and_ones_own_unless_a_service_is_named() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    double.state().users = vec![user("admin"), user("ci")];
    let create = ["access-token", "create", "--name", "laptop", "--role", "viewer"];
    let made = home.run(&create, "");
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert_eq!(stdout(&made), format!("{SECRET}\n"));
    assert!(!stderr(&made).contains(SECRET));
    let for_service = [
        &create[..],
        &["--user", "ci", "--days", "7", "--project", "acme", "--json"],
    ]
    .concat();
    let made: CreatedAccessToken = serde_json::from_str(&home.ok(&for_service)).unwrap();
    assert_eq!(made.secret, SECRET);
    let new: NewAccessToken = serde_json::from_value(sent(&double, "/api/v1/users/ci/tokens")).unwrap();
    let expected = NewAccessToken {
        name: "laptop".to_owned(),
        role: Role::Viewer,
        project: Some("acme".to_owned()),
        days: 7,
    };
    assert_eq!(new, expected);
    assert_eq!(sent(&double, "/api/v1/users/admin/tokens")["days"], 90);

    let table = home.ok(&["access-tokens"]);
    assert!(
        table.contains("laptop") && table.contains("project acme"),
        "{table}"
    );
    let tokens: Vec<AccessToken> =
        serde_json::from_str(&home.ok(&["access-token", "list", "--user", "ci", "--json"])).unwrap();
    assert_eq!(tokens, double.state().access_tokens);
    home.ok(&["access-token", "revoke", "2", "--user", "ci"]);
    home.ok(&["access-token", "revoke", "1"]);
    let state = double.state();
    assert_eq!(state.count("DELETE /api/v1/users/ci/tokens/2"), 1);
    assert_eq!(state.count("DELETE /api/v1/users/admin/tokens/1"), 1);
}

// === Projects ===

#[test]
fn a_path_with_a_slash_is_one_element_of_the_address() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    double.state().devices = vec![device("aaaa", "gate")];
    home.ok(&["project", "create", "acme/plant-1"]);
    assert_eq!(sent(&double, "/api/v1/projects")["path"], "acme/plant-1");
    home.ok(&["project", "delete", "acme/plant-1"]);
    home.ok(&["group", "show", "acme/pilot"]);
    home.ok(&["group", "add", "acme/pilot", "gate"]);
    home.ok(&["group", "delete", "acme/pilot"]);
    let state = double.state();
    for request in [
        "DELETE /api/v1/projects/acme%2Fplant-1",
        "GET /api/v1/groups/acme%2Fpilot",
        "GET /api/v1/devices?group=acme%2Fpilot",
        "PUT /api/v1/groups/acme%2Fpilot/devices/aaaa",
        "DELETE /api/v1/groups/acme%2Fpilot",
    ] {
        assert_eq!(state.count(request), 1, "{request}: {:?}", state.requests);
    }
}

#[test]
fn a_device_is_moved_and_its_project_shown() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    double.state().devices = vec![device("aaaa", "gate")];
    assert!(!home.ok(&["devices"]).contains("PROJECT"));
    home.fails(&["device", "move", "gate"], 2);
    home.fails(&["device", "move", "gate", "acme", "--none"], 2);
    let moved: Device =
        serde_json::from_str(&home.ok(&["device", "move", "gate", "acme/plant-1", "--json"])).unwrap();
    assert_eq!(moved.project.as_deref(), Some("acme/plant-1"));
    for command in [&["devices"][..], &["device", "show", "gate"]] {
        assert!(home.ok(command).contains("acme/plant-1"));
    }
    home.ok(&["devices", "--project", "acme"]);
    assert_eq!(double.state().count("GET /api/v1/devices?project=acme"), 1);
    home.ok(&["device", "move", "gate", "--none"]);
    assert_eq!(double.state().devices[0].project, None);
    let sent = sent(&double, "/api/v1/devices/aaaa");
    assert_eq!(sent, json!({ "name": null, "project": "" }));
}

#[test]
fn a_pairing_token_is_for_a_project() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    double.state().devices = vec![device("aaaa", "gate")];
    let token = json!({ "token": "t", "id": 1, "created_ms": 0, "created_by": "a", "expires_ms": 0, "project": "acme" });
    double.state().answers = vec![("POST pairing-tokens", 200, token.to_string())];
    home.ok(&["token", "create", "--project", "acme"]);
    assert_eq!(sent(&double, "/api/v1/pairing-tokens")["project"], "acme");
    // A device that is paired again stays where it is.
    home.fails(&["token", "create", "--project", "acme", "--device", "gate"], 2);
}

#[test]
fn a_bundle_goes_to_the_project_that_it_is_for() {
    let double = Double::start();
    let home = Home::logged_in(&double);
    let (mut gate, other) = (device("aaaa", "gate"), device("bbbb", "other"));
    gate.project = Some("acme/plant-1".to_owned());
    {
        let mut state = double.state();
        state.devices = vec![gate, other];
        state.deployment = Some(Vec::new());
    }
    fs::write(home.0.path().join("update.raucb"), "bundle").unwrap();
    let places = || {
        let bundles = double.state().bundles.clone();
        bundles
            .into_iter()
            .map(|bundle| bundle.project)
            .collect::<Vec<_>>()
    };
    // Others are not to see what is deployed to one customer.
    home.ok(&["deploy", "update.raucb", "--group", "acme/pilot"]);
    assert_eq!(places(), [Some("acme".to_owned())]);
    // A project below gets it too, so nothing is sent again.
    home.ok(&["deploy", "update.raucb", "--device", "gate"]);
    assert_eq!(places().len(), 1);
    home.ok(&["deploy", "update.raucb", "--device", "other"]);
    assert_eq!(places(), [Some("acme".to_owned()), None]);
    for _ in 0..2 {
        home.ok(&["bundle", "upload", "update.raucb", "--project", "beta"]);
    }
    assert_eq!(places().len(), 3);

    // One file in three places is one bundle, and is deleted from one of them.
    let shown = home.ok(&["bundle", "show", "1.4.0"]);
    assert!(shown.contains("acme, every project, beta"), "{shown}");
    let error = home.fails(&["bundle", "delete", "1.4.0"], 2);
    assert!(error.contains("--project"), "{error}");
    assert_eq!(double.state().count("DELETE"), 0);
    home.ok(&["bundle", "delete", "1.4.0", "--project", "beta", "--force"]);
    home.ok(&["bundle", "delete", "1.4.0", "--none"]);
    let state = double.state();
    let id = &state.bundles[0].id;
    for query in ["project=beta&force=true", "project="] {
        let request = format!("DELETE /api/v1/bundles/{id}?{query}");
        assert!(state.requests.contains(&request), "{:?}", state.requests);
    }
}
