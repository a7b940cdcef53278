//! What people call a thing, and which one they mean.

use std::collections::HashSet;

use homeport_api::{Bundle, Device};

use crate::{
    api_path::ApiPath,
    client::Client,
    error::{Error, Result},
};

/// Most candidates that an error names.
const MAX_CANDIDATES: usize = 5;

/// Something with an id and another name.
trait Named {
    const KIND: &'static str;
    fn id(&self) -> &str;
    fn name(&self) -> &str;
}

/// The device with this id, name, or beginning of the id.
pub(crate) fn device(client: &Client, wanted: &str) -> Result<Device> {
    let path = ApiPath::new("devices").query("find", wanted);
    only(client.list(&path)?, wanted)
}

/// The bundle with this id, version, or beginning of the id: an entry for each project that has it, at least one.
pub(crate) fn bundles(client: &Client, wanted: &str) -> Result<Vec<Bundle>> {
    same_content(matching(client.list(&ApiPath::new("bundles"))?, wanted), wanted)
}

/// The bundle with this id, version, or beginning of the id. What a target in `project` can get goes before what it cannot.
pub(crate) fn bundle_for(client: &Client, wanted: &str, project: Option<&str>) -> Result<Bundle> {
    let found = matching(client.list(&ApiPath::new("bundles"))?, wanted);
    let (near, far): (Vec<_>, Vec<_>) = found.into_iter().partition(|bundle| is_for(bundle, project));
    let found = if near.is_empty() { far } else { near };
    same_content(found, wanted).map(|mut entries| entries.remove(0))
}

/// Whether a device or group of this project can get the bundle.
pub(crate) fn is_for(bundle: &Bundle, project: Option<&str>) -> bool {
    let Some(above) = bundle.project.as_deref() else {
        return true;
    };
    project
        .and_then(|project| project.strip_prefix(above))
        .is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// All of `found`, if they are one file in several projects.
fn same_content(found: Vec<Bundle>, wanted: &str) -> Result<Vec<Bundle>> {
    let mut seen = HashSet::new();
    let distinct = found.iter().filter(|bundle| seen.insert(&bundle.id));
    only(distinct.cloned().collect(), wanted)?;
    Ok(found)
}

/// Those that are meant: by their id, else by their name, else by the beginning of their id.
fn matching<T: Named>(all: Vec<T>, wanted: &str) -> Vec<T> {
    let by_id = |item: &T| item.id() == wanted;
    let by_name = |item: &T| item.name() == wanted;
    let by_prefix = |item: &T| !wanted.is_empty() && item.id().starts_with(wanted);
    let ways: [&dyn Fn(&T) -> bool; 3] = [&by_id, &by_name, &by_prefix];
    match ways.into_iter().find(|matches| all.iter().any(matches)) {
        Some(matches) => all.into_iter().filter(matches).collect(),
        None => Vec::new(),
    }
}

fn only<T: Named>(mut found: Vec<T>, wanted: &str) -> Result<T> {
    match found.len() {
        0 => {
            return Err(Error::Failed(format!(
                "there is no {kind} `{wanted}`; `homeport {kind}s` lists them",
                kind = T::KIND
            )));
        }
        1 => return Ok(found.remove(0)),
        _ => {}
    }
    let mut candidates: Vec<String> = found
        .iter()
        .take(MAX_CANDIDATES)
        .map(|item| format!("{}  {}", item.id(), item.name()))
        .collect();
    if found.len() > MAX_CANDIDATES {
        candidates.push(format!("and {} more", found.len() - MAX_CANDIDATES));
    }
    Err(Error::Listed {
        what: format!("`{wanted}` could be any of these; write more of the id:"),
        items: candidates,
    })
}

// === impl Named ===

impl Named for Device {
    const KIND: &'static str = "device";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Bundle {
    const KIND: &'static str = "bundle";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.version
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A bundle that this project has, or every one.
    pub(crate) fn in_project(project: Option<&str>) -> Bundle {
        serde_json::from_value(serde_json::json!({
            "id": "b", "project": project, "size": 1, "created_ms": 0, "created_by": "", "compatible": "", "version": "",
            "description": "", "build": "", "format": "", "manifest_hash": "", "images": [],
        }))
        .unwrap()
    }

    fn devices() -> Vec<Device> {
        [
            ("abc1", "gate"),
            ("abc2", "pump"),
            ("b", "abc1"),
            ("c", "twin"),
            ("d", "twin"),
        ]
        .into_iter()
        .map(|(id, name)| Device {
            id: id.into(),
            name: name.into(),
            ..Device::default()
        })
        .collect()
    }

    fn one(wanted: &str) -> Result<Device> {
        only(matching(devices(), wanted), wanted)
    }

    #[test]
    fn an_id_goes_before_a_name_before_a_prefix() {
        assert_eq!(one("abc1").unwrap().id, "abc1");
        assert_eq!(one("pump").unwrap().id, "abc2");
        assert_eq!(one("abc2").unwrap().id, "abc2");
        assert_eq!(one("b").unwrap().id, "b");
    }

    #[test]
    fn what_could_be_several_is_refused_and_named() {
        let error = one("abc").unwrap_err();
        assert_eq!(error.details(), ["abc1  gate", "abc2  pump"]);
        assert!(one("twin").is_err());
        assert!(one("nope").is_err());
        assert!(one("").is_err());
    }

    #[test]
    fn a_target_gets_what_its_project_and_those_above_have() {
        let gets = |bundle, target| is_for(&in_project(bundle), target);
        assert!(gets(None, None) && gets(None, Some("acme")));
        assert!(gets(Some("acme"), Some("acme")) && gets(Some("acme"), Some("acme/plant-1")));
        assert!(!gets(Some("acme"), None));
        assert!(!gets(Some("acme"), Some("acme-2")));
        assert!(!gets(Some("acme/plant-1"), Some("acme")));
    }

    #[test]
    fn one_file_in_several_projects_is_one_bundle() {
        let entries = vec![in_project(Some("a")), in_project(None)];
        assert_eq!(same_content(entries, "b").unwrap().len(), 2);
        let mut other = in_project(Some("c"));
        other.id = "b2".into();
        assert!(same_content(vec![in_project(Some("a")), other], "b").is_err());
    }
}
