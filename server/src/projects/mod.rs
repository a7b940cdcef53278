//! Projects: parts of the fleet that are kept apart.

use homeport_api::{Page, Permission, Project};

pub(crate) mod http;
mod rows;

use crate::{
    access::Actor,
    fleet::{Fleet, FleetError, effects::Effect},
    now_ms,
    store::Paging,
};

/// Longest name in a path, in bytes.
const MAX_NAME: usize = 32;

/// Most projects at the top, and below each of those.
const MAX_PROJECTS: usize = 1000;

/// Most names in a path.
const MAX_DEPTH: usize = 4;

/// Whether this is a name that groups and projects may have.
pub(crate) fn is_name(name: &str, most: usize) -> bool {
    (1..=most).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The path above, empty for the top.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

/// The first name of a path with several, empty for a path with one.
fn top(path: &str) -> &str {
    path.split_once('/').map_or("", |(top, _)| top)
}

// === impl Fleet ===

impl Fleet {
    /// Projects, by path.
    pub async fn projects(&self, actor: &Actor, paging: Paging<String>) -> Result<Page<Project>, FleetError> {
        self.ask(actor, move |tx, access| {
            Ok(tx.projects(&access.scope(Permission::ProjectRead), &paging)?)
        })
        .await
    }

    /// Makes a project.
    pub async fn create_project(&self, actor: &Actor, path: String) -> Result<Project, FleetError> {
        let names = path.split('/');
        if names.clone().count() > MAX_DEPTH || !names.clone().all(|name| is_name(name, MAX_NAME)) {
            return Err(FleetError::Invalid(format!(
                "a project's path is 1 to {MAX_DEPTH} names of 1 to {MAX_NAME} characters of a-z, 0-9 and `-`, joined by `/`"
            )));
        }
        self.act(actor, move |tx, access, _| {
            access.project(tx, above(&path), Permission::ProjectChange)?;
            if tx.count_projects(top(&path))? >= MAX_PROJECTS {
                return Err(FleetError::Conflict {
                    kind: "too-many-projects",
                    detail: format!("there are {MAX_PROJECTS} projects here already: delete some first"),
                });
            }
            if !tx.insert_project(&path, now_ms())? {
                return Err(FleetError::Conflict {
                    kind: "project-exists",
                    detail: format!("there is a project `{path}` already"),
                });
            }
            tx.audit(now_ms(), &path, &access.user, "project.create", &path, "")?;
            Ok(Project {
                path: path.clone(),
                devices: 0,
            })
        })
        .await
    }

    /// Deletes a project that holds nothing. Roles on it end, and access tokens that are limited to it.
    pub async fn delete_project(&self, actor: &Actor, path: String) -> Result<(), FleetError> {
        self.act(actor, move |tx, access, effects| {
            access.project(tx, &path, Permission::ProjectChange)?;
            // The record of the deletion is for those who may change the project above.
            access.project(tx, above(&path), Permission::ProjectChange)?;
            let held = tx.held_by_project(&path)?;
            if !held.is_empty() {
                return Err(FleetError::Conflict {
                    kind: "project-in-use",
                    detail: format!(
                        "`{path}` still holds {}: move or delete them first",
                        held.join(", ")
                    ),
                });
            }
            tx.delete_project(&path)?;
            effects.push(Effect::Rights);
            tx.audit(now_ms(), above(&path), &access.user, "project.delete", &path, "")?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_above_it() {
        assert_eq!(above("acme/plant/line"), "acme/plant");
        assert_eq!(above("acme"), "");
        assert_eq!((top("acme/plant/line"), top("acme")), ("acme", ""));
    }
}
