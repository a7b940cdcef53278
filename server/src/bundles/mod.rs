//! The bundles that can be deployed.

use homeport_api::{Bundle, Event, Page};
use tokio::task;

mod files;
pub(crate) mod http;
mod rows;

pub use self::files::{Bundles, Manifest, ManifestError, Received, Upload, UploadError, device_path, is_id};
pub(crate) use self::files::{DIRECTORY, bundle_id, file_name};
use crate::{
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
    pub async fn list_bundles(&self, paging: Paging<(i64, String)>) -> Result<Page<Bundle>, FleetError> {
        Ok(self.0.store.read(move |tx| tx.bundles(&paging)).await?)
    }

    /// The bundle with this id.
    pub async fn bundle(&self, id: String) -> Result<Bundle, FleetError> {
        self.0
            .store
            .read(move |tx| tx.bundle(&id)?.ok_or_else(|| FleetError::no_bundle(&id)))
            .await
    }

    /// Puts an uploaded bundle into place, and returns whether it is new. `expected` is the lower-case hex SHA-256 that it should have.
    pub async fn add_bundle(
        &self,
        actor: String,
        upload: Upload,
        expected: Option<String>,
    ) -> Result<(Bundle, bool), AddError> {
        // File and row change together.
        let _changing = self.0.library.lock().await;
        let received = task::spawn_blocking(move || upload.finish(expected.as_deref()))
            .await
            .map_err(|_| StoreError::Closed)??;
        let added = self
            .change(move |tx, effects| {
                let now_ms = now_ms();
                let is_new = tx.insert_bundle(now_ms, &actor, &received)?;
                if is_new {
                    let detail = format!("{} {}", received.manifest.compatible, received.manifest.version);
                    tx.audit(now_ms, &actor, "bundle.upload", &received.id, &detail)?;
                }
                let bundle = tx
                    .bundle(&received.id)?
                    .ok_or_else(|| FleetError::no_bundle(&received.id))?;
                if is_new {
                    effects.push(Effect::Publish(Event::Bundle {
                        bundle: Box::new(bundle.clone()),
                    }));
                }
                Ok::<_, FleetError>((bundle, is_new))
            })
            .await?;
        Ok(added)
    }

    /// Removes a bundle. A bundle that a deployment still needs is only removed with `force`: devices that have not fetched it fail.
    pub async fn delete_bundle(&self, actor: String, id: String, force: bool) -> Result<(), FleetError> {
        let _changing = self.0.library.lock().await;
        let bundle = id.clone();
        self.0
            .store
            .write(move |tx| {
                let open = tx.open_updates_of_bundle(&bundle)?;
                if open > 0 && !force {
                    return Err(FleetError::Conflict {
                        kind: "bundle-in-use",
                        detail: format!(
                            "{open} device(s) are being updated with this bundle: wait, cancel the deployment, or delete with `?force=true`"
                        ),
                    });
                }
                if !tx.delete_bundle(&bundle)? {
                    return Err(FleetError::no_bundle(&bundle));
                }
                Ok(tx.audit(now_ms(), &actor, "bundle.delete", &bundle, "")?)
            })
            .await?;
        // After a crash between the two steps, the next start names the file in the log.
        self.0
            .bundles
            .remove(&id)
            .map_err(|source| StoreError::Directory {
                path: self.0.bundles.path(&id),
                source: source.into(),
            })?;
        self.0.events.publish(&Event::BundleRemoved { id });
        Ok(())
    }
}

// === impl AddError ===

impl From<StoreError> for AddError {
    fn from(error: StoreError) -> Self {
        Self::Fleet(error.into())
    }
}
