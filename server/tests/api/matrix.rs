//! Every role on every route, on things of its own project and of another.

use std::collections::BTreeSet;

use homeport_api::{Permission, Role};
use serde_json::{Value, json};
use ureq::{Body, http::Response};

use crate::support::{Device, Person, Server, bundle, enrol, json, problem};

/// One thing of each kind, in one project.
pub(crate) struct Things {
    pub(crate) device: Device,
    /// Is in no group yet.
    pub(crate) loose: Device,
    pub(crate) group: String,
    pub(crate) bundle: String,
    pub(crate) deployment: u64,
    update: u64,
    command: u64,
    token: u64,
    user: String,
    grant: u64,
    below: String,
}

/// A request of the matrix. `permission` is what the description says too.
struct Call {
    method: &'static str,
    /// As in the description.
    route: &'static str,
    path: String,
    body: Value,
    /// Whether it names something that lies in a project.
    placed: bool,
}

pub(crate) fn encode(name: &str) -> String {
    name.replace('/', "%2F")
}

/// Makes a person who has these roles, and logs that person in.
pub(crate) fn person(admin: &Person, name: &str, home: &str, grants: &[Value]) -> Person {
    let home = Some(home).filter(|home| !home.is_empty());
    let new = json!({"name": name, "kind": "person", "project": home});
    let mut made = admin.post("/api/v1/users", &new);
    assert_eq!(made.status(), 201);
    let made = json(&mut made);
    for grant in grants {
        assert_eq!(
            admin
                .post(&format!("/api/v1/users/{name}/grants"), grant)
                .status(),
            201
        );
    }
    admin.log_in_as(name, made["password"].as_str().unwrap())
}

pub(crate) fn project(admin: &Person, path: &str) {
    let made = admin.post("/api/v1/projects", &json!({"path": path}));
    assert_eq!(made.status(), 201);
}

pub(crate) fn pair(admin: &Person, server: &Server, project: &str, name: &str) -> Device {
    let (_, token) = admin.token(&json!({"project": project, "device_name": name}));
    enrol(server, &server.agent(), &token).unwrap()
}

pub(crate) fn upload(person: &Person, project: &str, version: &str) -> Response<Body> {
    person.send(
        "POST",
        &match project {
            "" => "/api/v1/bundles".to_owned(),
            project => format!("/api/v1/bundles?project={}", encode(project)),
        },
        &bundle(version, 10)[..],
    )
}

pub(crate) fn id(response: &mut Response<Body>) -> Value {
    assert_eq!(response.status(), 201);
    json(response)["id"].take()
}

// === impl Things ===

impl Things {
    /// `mark` is part of every name.
    pub(crate) fn make(admin: &Person, server: &Server, project: &str, mark: &str) -> Self {
        let device = pair(admin, server, project, &format!("{mark}-gate"));
        let loose = pair(admin, server, project, &format!("{mark}-loose"));
        let group = format!("{project}/{mark}");
        assert_eq!(
            admin.post("/api/v1/groups", &json!({"name": group})).status(),
            201
        );
        let join = format!("/api/v1/groups/{}/devices/{}", encode(&group), device.id);
        assert_eq!(admin.send("PUT", &join, ()).status(), 204);
        let bundle = id(&mut upload(admin, project, mark)).as_str().unwrap().to_owned();
        let target = json!({"bundle": bundle, "target": {"group": group}});
        let deployment = id(&mut admin.post("/api/v1/deployments", &target))
            .as_u64()
            .unwrap();
        let updates = admin.list(&format!("/api/v1/devices/{}/updates", device.id));
        let look = json!({"name": "ps", "target": {"group": group}});
        let command = id(&mut admin.post("/api/v1/commands", &look)).as_u64().unwrap();
        let (token, _) = admin.token(&json!({"project": project}));
        let user = format!("{mark}-robot");
        let new = json!({"name": user, "kind": "service", "project": project});
        assert_eq!(admin.post("/api/v1/users", &new).status(), 201);
        let of_user = format!("/api/v1/users/{user}");
        let role = json!({"role": "viewer", "project": project});
        let grant = id(&mut admin.post(&format!("{of_user}/grants"), &role))
            .as_u64()
            .unwrap();
        let token_of = json!({"name": "ci", "role": "viewer", "days": 1});
        let made = admin.post(&format!("{of_user}/tokens"), &token_of);
        assert_eq!(made.status(), 201);
        let below = format!("{project}/{mark}-line");
        self::project(admin, &below);
        Self {
            device,
            loose,
            group,
            bundle,
            deployment,
            update: updates[0]["id"].as_u64().unwrap(),
            command,
            token,
            user,
            grant,
            below,
        }
    }

    /// Cancels the deployment: a device that is being updated does not move.
    pub(crate) fn cancel(&self, person: &Person) {
        let path = format!("/api/v1/deployments/{}/cancel", self.deployment);
        assert_eq!(person.post(&path, &json!({})).status(), 200);
    }

    /// A request for every operation that needs a permission, in an order in which each can succeed.
    fn calls(&self, project: &str, mark: &str) -> Vec<Call> {
        let mut calls = self.reads();
        calls.extend(self.changes(project, mark));
        calls.extend(self.ends());
        calls
    }

    fn reads(&self) -> Vec<Call> {
        let (device, bundle, user) = (&self.device.id, &self.bundle, &self.user);
        let (group, deployment, update) = (encode(&self.group), self.deployment, self.update);
        let command = self.command;
        let list = |route: &'static str| Call {
            placed: false,
            ..Call::new("get", route, route)
        };
        let get = |route, path: String| Call::new("get", route, &path);
        vec![
            list("/devices"),
            list("/groups"),
            list("/bundles"),
            list("/deployments"),
            list("/commands"),
            list("/projects"),
            list("/pairing-tokens"),
            list("/audit"),
            list("/users"),
            get("/devices/{id}", format!("/devices/{device}")),
            get("/devices/{id}/telemetry", format!("/devices/{device}/telemetry")),
            get("/devices/{id}/updates", format!("/devices/{device}/updates")),
            get(
                "/devices/{id}/updates/{update}",
                format!("/devices/{device}/updates/{update}"),
            ),
            get("/groups/{name}", format!("/groups/{group}")),
            get("/bundles/{id}", format!("/bundles/{bundle}")),
            get("/deployments/{id}", format!("/deployments/{deployment}")),
            get(
                "/deployments/{id}/devices",
                format!("/deployments/{deployment}/devices"),
            ),
            get("/command-kinds", format!("/command-kinds?device={device}")),
            get("/commands/{id}", format!("/commands/{command}")),
            get("/commands/{id}/devices", format!("/commands/{command}/devices")),
            get(
                "/commands/{id}/devices/{device}",
                format!("/commands/{command}/devices/{device}"),
            ),
            get(
                "/commands/{id}/devices/{device}/output",
                format!("/commands/{command}/devices/{device}/output"),
            ),
            get("/devices/{id}/commands", format!("/devices/{device}/commands")),
            get("/users/{name}", format!("/users/{user}")),
        ]
    }

    fn changes(&self, project: &str, mark: &str) -> Vec<Call> {
        let (device, loose, bundle) = (&self.device.id, &self.loose.id, &self.bundle);
        let (group, deployment, user) = (encode(&self.group), self.deployment, &self.user);
        let command = self.command;
        let call = |method, route, path: String, body| Call {
            body,
            ..Call::new(method, route, &path)
        };
        vec![
            call(
                "patch",
                "/devices/{id}",
                format!("/devices/{device}"),
                json!({"name": format!("{mark}-new")}),
            ),
            call(
                "post",
                "/deployments/{id}/cancel",
                format!("/deployments/{deployment}/cancel"),
                Value::Null,
            ),
            call(
                "post",
                "/deployments",
                "/deployments".into(),
                json!({"bundle": bundle, "target": {"device": loose}}),
            ),
            call(
                "post",
                "/commands/{id}/cancel",
                format!("/commands/{command}/cancel"),
                Value::Null,
            ),
            call(
                "post",
                "/commands",
                "/commands".into(),
                json!({"name": "ps", "target": {"device": device}}),
            ),
            call(
                "put",
                "/groups/{name}/devices/{id}",
                format!("/groups/{group}/devices/{loose}"),
                Value::Null,
            ),
            Call::new(
                "delete",
                "/groups/{name}/devices/{id}",
                &format!("/groups/{group}/devices/{loose}"),
            ),
            call(
                "post",
                "/groups",
                "/groups".into(),
                json!({"name": format!("{project}/{mark}-more")}),
            ),
            call(
                "post",
                "/pairing-tokens",
                "/pairing-tokens".into(),
                json!({"project": project}),
            ),
            call(
                "post",
                "/bundles",
                format!("/bundles?project={}", encode(project)),
                Value::Null,
            ),
            call(
                "post",
                "/projects",
                "/projects".into(),
                json!({"path": format!("{project}/{mark}-more")}),
            ),
            call(
                "post",
                "/users",
                "/users".into(),
                json!({"name": format!("{mark}-more"), "kind": "person", "project": project}),
            ),
            call(
                "patch",
                "/users/{name}",
                format!("/users/{user}"),
                json!({"disabled": true}),
            ),
            call(
                "post",
                "/users/{name}/grants",
                format!("/users/{user}/grants"),
                json!({"role": "viewer", "group": self.group}),
            ),
        ]
    }

    fn ends(&self) -> Vec<Call> {
        let (device, bundle, user) = (&self.device.id, &self.bundle, &self.user);
        let (group, token) = (encode(&self.group), self.token);
        let delete = |route, path: String| Call::new("delete", route, &path);
        vec![
            // A service has no password: 409 says that the rest was right.
            Call::new(
                "post",
                "/users/{name}/password",
                &format!("/users/{user}/password"),
            ),
            delete(
                "/users/{name}/grants/{id}",
                format!("/users/{user}/grants/{}", self.grant),
            ),
            delete("/users/{name}", format!("/users/{user}")),
            delete("/projects/{path}", format!("/projects/{}", encode(&self.below))),
            delete("/pairing-tokens/{id}", format!("/pairing-tokens/{token}")),
            delete("/groups/{name}", format!("/groups/{group}")),
            delete("/bundles/{id}", format!("/bundles/{bundle}?force=true")),
            Call::new(
                "post",
                "/devices/{id}/revoke",
                &format!("/devices/{device}/revoke"),
            ),
            delete("/devices/{id}", format!("/devices/{device}")),
        ]
    }

    /// What nobody outside may learn.
    fn secrets(&self) -> Vec<String> {
        vec![
            self.device.id.to_string(),
            self.loose.id.to_string(),
            self.bundle.clone(),
            self.group.clone(),
        ]
    }
}

// === impl Call ===

impl Call {
    fn new(method: &'static str, route: &'static str, path: &str) -> Self {
        Self {
            method,
            route,
            path: format!("/api/v1{path}"),
            body: Value::Null,
            placed: true,
        }
    }

    fn send(&self, person: &Person) -> Response<Body> {
        if self.route == "/bundles" && self.method == "post" {
            return person.send(
                "POST",
                &self.path,
                &bundle(&format!("more {}", self.path), 10)[..],
            );
        }
        let method = self.method.to_uppercase();
        match &self.body {
            Value::Null => person.send(&method, &self.path, ()),
            body => person.send(&method, &self.path, body.to_string()),
        }
    }

    fn permission(&self, description: &Value) -> Permission {
        let name = &description["paths"][format!("/api/v1{}", self.route)][self.method]["x-permission"];
        serde_json::from_value(name.clone())
            .unwrap_or_else(|_| panic!("{} {}: {name}", self.method, self.route))
    }
}

#[test]
fn every_role_on_every_route() {
    let server = Server::start();
    let admin = server.log_in();
    let description = admin.get("/api/v1/openapi.json");
    for path in ["acme", "beta"] {
        project(&admin, path);
    }
    let theirs = Things::make(&admin, &server, "beta", "secret");
    let mut secrets = theirs.secrets();
    secrets.extend(["secret".to_owned(), "beta".to_owned()]);
    let mut covered = BTreeSet::new();
    for role in Role::ALL {
        let mark = format!("our-{role}");
        let ours = Things::make(&admin, &server, "acme", &mark);
        let grants = [json!({"role": role, "project": "acme"})];
        let user = person(&admin, &format!("a-{role}"), "acme", &grants);

        // Nothing of another project is there, whatever the role. A permission that the role lacks everywhere is refused first.
        for call in theirs.calls("beta", "secret") {
            let permission = call.permission(&description);
            let mut answer = call.send(&user);
            let name = format!("{role}: {} {}", call.method, call.path);
            if !role.allows(permission) {
                assert_eq!(problem(&mut answer), (403, "forbidden".into()), "{name}");
            } else if call.placed {
                assert_eq!(problem(&mut answer), (404, "not-found".into()), "{name}");
            } else {
                assert_eq!(answer.status(), 200, "{name}");
                let text = answer.body_mut().read_to_string().unwrap();
                let leak = secrets.iter().find(|secret| text.contains(*secret));
                assert_eq!(leak, None, "{name}: {text}");
                assert!(text.contains("our-"), "{name}: {text}");
            }
        }
        for call in ours.calls("acme", &mark) {
            let permission = call.permission(&description);
            let mut answer = call.send(&user);
            let name = format!("{role}: {} {}", call.method, call.path);
            if !role.allows(permission) {
                let refused = json(&mut answer);
                assert_eq!(refused["type"], "forbidden", "{name}: {refused}");
                assert_eq!(refused["status"], 403);
                let detail = refused["detail"].as_str().unwrap();
                let lowest = permission.role().as_str();
                assert!(
                    detail.contains(permission.as_str()) && detail.contains(lowest),
                    "{name}: {detail}"
                );
            } else if call.route == "/users/{name}/password" {
                assert_eq!(problem(&mut answer), (409, "service".into()), "{name}");
            } else {
                let text = answer.body_mut().read_to_string().unwrap();
                assert!(answer.status().is_success(), "{name}: {text}");
                let leak = secrets.iter().find(|secret| text.contains(*secret));
                assert_eq!(leak, None, "{name}: {text}");
            }
            covered.insert((call.method, format!("/api/v1{}", call.route)));
        }
    }
    let mut missing = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let named = operation["x-permission"]
                .as_str()
                .is_some_and(|name| name != "own");
            if named && !covered.contains(&(method.as_str(), path.clone())) {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "add rows to `reads`, `changes` or `ends`: {missing:?}"
    );
}
