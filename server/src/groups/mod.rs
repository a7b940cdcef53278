//! Groups of devices.

use homeport_api::{Group, Page, Permission};

pub(crate) mod http;
mod rows;

use crate::{
    access::{self, Access, Actor, Place, is_within},
    fleet::{
        Fleet, FleetError,
        effects::{Effect, MANY},
    },
    now_ms,
    projects::is_name,
    store::{Paging, Tx},
};

/// Longest name of a group within its project, in bytes.
const MAX_NAME: usize = 64;

/// Most groups of one project, or of none.
const MAX_GROUPS: usize = 10_000;

// === impl Fleet ===

impl Fleet {
    /// Groups, by name.
    pub async fn groups(&self, actor: &Actor, paging: Paging<String>) -> Result<Page<Group>, FleetError> {
        self.ask(actor, move |tx, access| {
            Ok(tx.groups(&access.scope(Permission::GroupRead), &paging)?)
        })
        .await
    }

    /// The group of that name.
    pub async fn group(&self, actor: &Actor, name: String) -> Result<Group, FleetError> {
        self.ask(actor, move |tx, access| {
            access.group(tx, &name, Permission::GroupRead)?;
            tx.group(&name)?.ok_or_else(|| FleetError::no_group(&name))
        })
        .await
    }

    /// Makes a group without devices, in the project that its name begins with.
    pub async fn create_group(&self, actor: &Actor, name: String) -> Result<Group, FleetError> {
        let (project, own) = name.rsplit_once('/').unwrap_or(("", &name));
        if !is_name(own, MAX_NAME) || name.starts_with('/') {
            return Err(FleetError::Invalid(
                "a group's name is 1 to 64 characters of a-z, 0-9 and `-`, behind the path of its project and `/`"
                    .into(),
            ));
        }
        let project = project.to_owned();
        self.act(actor, move |tx, access, _| {
            access.project(tx, &project, Permission::GroupChange)?;
            if tx.count_groups(&project)? >= MAX_GROUPS {
                return Err(FleetError::Conflict {
                    kind: "too-many-groups",
                    detail: format!("there are {MAX_GROUPS} groups already: delete some first"),
                });
            }
            if !tx.create_group(&name, &project)? {
                return Err(FleetError::Conflict {
                    kind: "group-exists",
                    detail: format!("there is a group `{name}` already"),
                });
            }
            tx.audit(now_ms(), &project, &access.user, "group.create", &name, "")?;
            Ok(Group {
                name: name.clone(),
                project: access::path(project.clone()),
                devices: 0,
            })
        })
        .await
    }

    /// Removes a group; its devices stay. Roles on the group end.
    pub async fn delete_group(&self, actor: &Actor, name: String) -> Result<(), FleetError> {
        self.act(actor, move |tx, access, effects| {
            let place = access.group(tx, &name, Permission::GroupRead)?;
            access.require_in(Permission::GroupChange, &place.project)?;
            let devices = tx.group_devices(&name)?;
            let places: Vec<_> = if devices.len() > MANY as usize {
                Vec::new()
            } else {
                devices
                    .iter()
                    .map(|id| tx.device_place(id))
                    .collect::<Result<_, _>>()?
            };
            if !tx.delete_group(&name)? {
                return Err(FleetError::no_group(&name));
            }
            effects.push(Effect::Rights);
            tx.audit(now_ms(), &place.project, &access.user, "group.delete", &name, "")?;
            if devices.len() > MANY as usize {
                effects.push(Effect::Resync);
                return Ok(());
            }
            for (id, was) in devices.iter().zip(places) {
                effects.moved(tx.device(id)?, was.unwrap_or_default());
            }
            Ok(())
        })
        .await
    }

    /// Puts a device into a group. The device is in the group's project, or below it.
    pub async fn join_group(&self, actor: &Actor, name: String, device: String) -> Result<(), FleetError> {
        self.change_group(actor, name, device, move |tx, access, group, (name, device)| {
            let place = tx.device_place(device)?.unwrap_or_default();
            if !is_within(&place.project, &group.project) {
                return Err(FleetError::Conflict {
                    kind: "other-project",
                    detail: format!(
                        "`{device}` is not in the project `{}` of the group: move it there first",
                        group.project
                    ),
                });
            }
            tx.join_group(name, device)?;
            tx.audit(now_ms(), &group.project, &access.user, "group.join", device, name)?;
            Ok(())
        })
        .await
    }

    /// Takes a device out of a group.
    pub async fn leave_group(&self, actor: &Actor, name: String, device: String) -> Result<(), FleetError> {
        self.change_group(actor, name, device, move |tx, access, group, (name, device)| {
            if tx.leave_group(name, device)? {
                tx.audit(
                    now_ms(),
                    &group.project,
                    &access.user,
                    "group.leave",
                    device,
                    name,
                )?;
            }
            Ok(())
        })
        .await
    }

    async fn change_group(
        &self,
        actor: &Actor,
        name: String,
        device: String,
        change: impl Fn(&Tx, &Access, &Place, (&str, &str)) -> Result<(), FleetError> + Send + 'static,
    ) -> Result<(), FleetError> {
        self.act(actor, move |tx, access, effects| {
            // A role on the group itself would let its holder take in any device of the project.
            let group = access.group(tx, &name, Permission::GroupRead)?;
            access.require_in(Permission::GroupChange, &group.project)?;
            let was = access.device(tx, &device, Permission::DeviceRead)?;
            change(tx, access, &group, (&name, &device))?;
            effects.moved(tx.device(&device)?, was);
            Ok(())
        })
        .await
    }
}
