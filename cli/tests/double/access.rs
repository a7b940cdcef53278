//! Users, access tokens and projects of the stand-in.

use homeport_api::{
    AccessToken, CreatedAccessToken, CreatedUser, DevicePatch, Grant, Group, NewAccessToken, NewGrant,
    NewProject, NewUser, Project, UserInfo, UserKind, UserPatch,
};

use super::{Answer, NO_CONTENT, Request, State, decode, ok, page, problem};

/// Of every user that is made.
pub(crate) const USER_PASSWORD: &str = "password-of-the-double";
/// Of every access token that is made.
pub(crate) const SECRET: &str = "access-token-of-the-double";

/// A person without roles.
pub(crate) fn user(name: &str) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        kind: UserKind::Person,
        project: None,
        disabled: false,
        created_ms: 0,
        last_login_ms: None,
        grants: Vec::new(),
    }
}

/// The answer, if the request is about users, or about the project of something.
pub(super) fn answer(state: &mut State, request: &Request, path: &[&str]) -> Option<Answer> {
    match (request.method.as_str(), path) {
        ("GET", ["users"]) => Some(page(request, &state.users)),
        ("POST", ["users"]) => {
            let new: NewUser = request.json();
            let created = UserInfo {
                kind: new.kind,
                project: new.project,
                ..user(&new.name)
            };
            state.users.push(created.clone());
            Some(with_password(created))
        }
        (_, ["users", name, rest @ ..]) => {
            let name = decode(name);
            let Some(at) = state.users.iter().position(|user| user.name == name) else {
                return Some(problem(404, "not-found", "There is no such user."));
            };
            about(state, at, request, rest)
        }
        ("POST", ["projects"]) => {
            let new: NewProject = request.json();
            Some(ok(&Project {
                path: new.path,
                devices: 0,
            }))
        }
        ("PATCH", ["devices", id]) => {
            let DevicePatch { project, .. } = request.json();
            let device = state.devices.iter_mut().find(|device| device.id == *id)?;
            device.project = project.filter(|project| !project.is_empty());
            Some(ok(device))
        }
        ("GET", ["groups", name]) => {
            let name = decode(name);
            let project = name.rsplit_once('/').map(|(project, _)| project.to_owned());
            Some(ok(&Group {
                name,
                project,
                devices: 0,
            }))
        }
        _ => None,
    }
}

fn about(state: &mut State, at: usize, request: &Request, path: &[&str]) -> Option<Answer> {
    let user = &mut state.users[at];
    match (request.method.as_str(), path) {
        ("GET", []) => Some(ok(user)),
        ("PATCH", []) => {
            let UserPatch { disabled } = request.json();
            user.disabled = disabled.unwrap_or(user.disabled);
            Some(ok(user))
        }
        ("DELETE", []) => {
            state.users.remove(at);
            Some(NO_CONTENT)
        }
        ("POST", ["password"]) => Some(with_password(user.clone())),
        ("POST", ["grants"]) => {
            let NewGrant { role, project, group } = request.json();
            let grant = Grant {
                id: 40 + user.grants.len() as u64,
                role,
                project,
                group,
            };
            user.grants.push(grant.clone());
            Some(ok(&grant))
        }
        ("DELETE", ["grants", id]) => {
            user.grants.retain(|grant| grant.id.to_string() != *id);
            Some(NO_CONTENT)
        }
        ("GET", ["tokens"]) => Some(page(request, &state.access_tokens)),
        ("POST", ["tokens"]) => {
            let NewAccessToken {
                name,
                role,
                project,
                days,
            } = request.json();
            let token = AccessToken {
                id: 1 + state.access_tokens.len() as u64,
                name,
                role,
                project,
                created_ms: 0,
                expires_ms: i64::from(days) * 24 * 3600 * 1000,
                last_used_ms: None,
            };
            state.access_tokens.push(token.clone());
            Some(ok(&CreatedAccessToken {
                secret: SECRET.to_owned(),
                token,
            }))
        }
        _ => None,
    }
}

fn with_password(user: UserInfo) -> Answer {
    let password = (user.kind == UserKind::Person).then(|| USER_PASSWORD.to_owned());
    ok(&CreatedUser { user, password })
}
