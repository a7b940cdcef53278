//! Where something is.

/// Where something is: what decides who may see and change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Path of the project, empty for none.
    pub(crate) project: String,
    /// Names of the groups.
    pub(crate) groups: Vec<String>,
}

// === impl Place ===

impl Place {
    pub(crate) fn of_project(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            groups: Vec::new(),
        }
    }

    /// Where the group with this name is. The name has the project's path before it.
    pub(crate) fn of_group(name: &str) -> Self {
        let (project, _) = name.rsplit_once('/').unwrap_or_default();
        Self {
            project: project.to_owned(),
            groups: vec![name.to_owned()],
        }
    }

    /// Where a device is, as the API tells it.
    pub(crate) fn of_device(device: &homeport_api::Device) -> Self {
        Self {
            project: device.project.clone().unwrap_or_default(),
            groups: device.groups.clone(),
        }
    }
}
