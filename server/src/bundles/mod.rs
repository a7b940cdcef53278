//! The bundles that can be deployed.

use homeport_api::{Bundle, Event, Page, Permission};
use homeport_protocol::DeviceId;
use tokio::task;

pub(crate) mod http;
mod rows;

use crate::{
    access::{self, Actor, EVERYTHING, Place},
    blob::{Upload, UploadError},
    files::FileError,
    fleet::{Fleet, FleetError, effects::Effect},
    now_ms,
    store::{Paging, StoreError},
};

/// Why an uploaded bundle was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The file could not be stored.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The row could not be written.
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

// === impl Fleet ===

impl Fleet {
    /// Newest first.
    pub async fn list_bundles(
        &self,
        actor: &Actor,
        paging: Paging<(i64, String, String)>,
    ) -> Result<Page<Bundle>, FleetError> {
        self.ask(actor, move |tx, access| {
            Ok(tx.bundles(&access.scope(Permission::BundleRead), &paging)?)
        })
        .await
    }

    /// The bundle with this id.
    pub async fn bundle(&self, actor: &Actor, id: String) -> Result<Bundle, FleetError> {
        self.ask(actor, move |tx, access| {
            tx.bundle(&access.scope(Permission::BundleRead), &id, None)?
                .ok_or_else(|| FleetError::no_bundle(&id))
        })
        .await
    }

    /// Whether a device may fetch a bundle.
    pub(crate) async fn may_fetch(&self, device: &DeviceId, bundle: String) -> Result<bool, FleetError> {
        let device = device.clone();
        let read = self
            .0
            .store
            .read(move |tx| tx.may_fetch(device.as_str(), &bundle));
        Ok(read.await?)
    }

    /// Refuses an upload to a project where the actor may not upload, before its bytes come, and returns the project.
    pub async fn check_upload(&self, actor: &Actor, project: Option<String>) -> Result<String, FleetError> {
        self.ask(actor, move |tx, access| {
            let project = match project {
                Some(project) => project,
                None => access.default_project(Permission::BundleChange)?,
            };
            access.project(tx, &project, Permission::BundleChange)?;
            Ok(project)
        })
        .await
    }

    /// Puts an uploaded bundle into place, and returns whether it is new in the project. `expected` is the lower-case hex SHA-256 that it
    /// should have.
    pub async fn add_bundle(
        &self,
        actor: &Actor,
        upload: Upload,
        project: String,
        expected: Option<String>,
    ) -> Result<(Bundle, bool), AddError> {
        // File and row change together.
        let _changing = self.0.library.lock().await;
        let received = task::spawn_blocking(move || upload.finish(expected.as_deref()))
            .await
            .map_err(|_| StoreError::Closed)??;
        let id = received.id.clone();
        let added = self
            .act(actor, move |tx, access, effects| {
                access.project(tx, &project, Permission::BundleChange)?;
                let now_ms = now_ms();
                let is_new = tx.insert_bundle(now_ms, &access.user, &received, &project)?;
                if is_new {
                    let detail = format!("{} {}", received.manifest.compatible, received.manifest.version);
                    tx.audit(
                        now_ms,
                        &project,
                        &access.user,
                        "bundle.upload",
                        &received.id,
                        &detail,
                    )?;
                }
                let bundle = tx
                    .bundle(EVERYTHING, &received.id, Some(&project))?
                    .ok_or_else(|| FleetError::no_bundle(&received.id))?;
                if is_new {
                    let event = Event::Bundle {
                        bundle: Box::new(bundle.clone()),
                    };
                    effects.push(Effect::Publish(event, Place::of_project(&project)));
                }
                Ok((bundle, is_new))
            })
            .await;
        if added.is_err() {
            let of_others = id.clone();
            let known = self.0.store.read(move |tx| tx.has_bundle(&of_others));
            if !known.await? {
                self.remove_file(&id).map_err(FleetError::from)?;
            }
        }
        Ok(added?)
    }

    /// Takes a bundle from a project; without `project`, from the first one from which the actor may delete it. A bundle that a deployment
    /// still needs only goes with `force`: devices that have not fetched it fail. The file stays while another project has it or needs it.
    pub async fn delete_bundle(
        &self,
        actor: &Actor,
        id: String,
        project: Option<String>,
        force: bool,
    ) -> Result<(), FleetError> {
        let _changing = self.0.library.lock().await;
        let bundle = id.clone();
        let gone = self
            .act(actor, move |tx, access, effects| {
                let mut seen = tx.projects_of_bundle(&bundle)?.into_iter().filter(|of| {
                    access.sees_bundles_of(of) && project.as_ref().is_none_or(|project| project == of)
                });
                // Without a project: the first one from which the actor may delete it.
                let project = seen.clone().find(|of| access.allows_in(Permission::BundleChange, of));
                let project = project
                    .or_else(|| seen.next())
                    .ok_or_else(|| FleetError::no_bundle(&bundle))?;
                access.require_in(Permission::BundleChange, &project)?;
                // Devices that the actor does not see neither count nor suffer.
                let open = tx.open_updates_of_bundle(&access.scope(Permission::DeviceRead), &bundle)?;
                if open > 0 && !force {
                    return Err(FleetError::Conflict {
                        kind: "bundle-in-use",
                        detail: format!(
                            "{open} device(s) are being updated with this bundle: wait, cancel the deployment, or delete with `?force=true`"
                        ),
                    });
                }
                tx.remove_bundle(&bundle, &project)?;
                let unneeded = tx.open_updates_of_bundle(EVERYTHING, &bundle)? == open
                    && tx.projects_of_bundle(&bundle)?.is_empty();
                if unneeded {
                    tx.delete_bundle(&bundle)?;
                }
                tx.audit(now_ms(), &project, &access.user, "bundle.delete", &bundle, "")?;
                let event = Event::BundleRemoved {
                    id: bundle.clone(),
                    project: access::path(project.clone()),
                };
                effects.push(Effect::Publish(event, Place::of_project(&project)));
                Ok(unneeded)
            })
            .await?;
        if gone {
            self.remove_file(&id)?;
        }
        Ok(())
    }

    /// Removes bundles that no project has, once no update needs them either.
    pub(crate) async fn prune_bundles(&self) -> Result<(), FleetError> {
        let _changing = self.0.library.lock().await;
        let unneeded = self.0.store.write(|tx| {
            let unneeded = tx.unneeded_bundles()?;
            unneeded.iter().try_for_each(|id| tx.delete_bundle(id))?;
            Ok::<_, StoreError>(unneeded)
        });
        for id in unneeded.await? {
            self.remove_file(&id)?;
        }
        Ok(())
    }

    /// After a crash between the commit and this, the next start names the file in the log.
    fn remove_file(&self, id: &str) -> Result<(), FileError> {
        let bundles = &self.0.bundles;
        bundles.remove(id).map_err(|source| FileError {
            path: bundles.path(id),
            source,
        })
    }
}

// === impl AddError ===

impl From<StoreError> for AddError {
    fn from(error: StoreError) -> Self {
        Self::Fleet(error.into())
    }
}
