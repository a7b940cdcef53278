//! Rows about the files in the bundle store.

use homeport_api::{Bundle, Page};

use crate::access::{self, BUNDLE_SEEN, limited};
use crate::blob::{Manifest, Received};
use crate::store::{Paging, Row, StoreError, Tx};

const COLUMNS: &str = "id, size, bundle_projects.created_ms, bundle_projects.created_by, manifest, project";

// === impl Tx ===

impl Tx {
    /// Adds a bundle to a project, and returns whether it is new there.
    pub fn insert_bundle(
        &self,
        now_ms: i64,
        created_by: &str,
        bundle: &Received,
        project: &str,
    ) -> Result<bool, StoreError> {
        let manifest = serde_json::to_string(&bundle.manifest)?;
        self.execute(
            "INSERT INTO bundles (id, size, manifest) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            &[&bundle.id, &bundle.size, &manifest],
        )?;
        let inserted = self.execute(
            "INSERT INTO bundle_projects (bundle, project, created_ms, created_by) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT DO NOTHING",
            &[&bundle.id, &project, &now_ms, &created_by],
        )?;
        Ok(inserted == 1)
    }

    /// The bundle with this id in the first project of a scope that has it, or in `project`.
    pub fn bundle(&self, scope: &str, id: &str, project: Option<&str>) -> Result<Option<Bundle>, StoreError> {
        self.row(
            &format!(
                "SELECT {COLUMNS} FROM bundle_projects JOIN bundles ON bundles.id = bundle WHERE \
                 {BUNDLE_SEEN} AND bundle = ?2 AND (CAST(?3 AS TEXT) IS NULL OR project = ?3) ORDER BY \
                 project LIMIT 1",
                BUNDLE_SEEN = limited(scope, BUNDLE_SEEN)
            ),
            &[&scope, &id, &project],
            bundle,
        )
    }

    /// The bundle with this id, if devices of `project` may get it: it is in that project, or in one above.
    pub fn usable_bundle(&self, id: &str, project: &str) -> Result<Option<Bundle>, StoreError> {
        self.row(
            &format!(
                "SELECT {COLUMNS} FROM bundle_projects JOIN bundles ON bundles.id = bundle WHERE bundle = \
                 ?1 AND (project = '' OR project = ?2 OR substr(?2, 1, length(project) + 1) = project || \
                 '/') ORDER BY project DESC LIMIT 1"
            ),
            &[&id, &project],
            bundle,
        )
    }

    /// Whether a device may fetch a bundle: it can be deployed in the device's project, or the device's update needs it.
    pub fn may_fetch(&self, device: &str, bundle: &str) -> Result<bool, StoreError> {
        self.value(
            "SELECT EXISTS (SELECT 1 FROM bundle_projects JOIN devices ON devices.id = ?1 WHERE bundle = ?2 \
             AND (bundle_projects.project = '' OR bundle_projects.project = devices.project OR \
             substr(devices.project, 1, length(bundle_projects.project) + 1) = bundle_projects.project || \
             '/')) OR EXISTS (SELECT 1 FROM updates JOIN deployments ON deployments.id = deployment WHERE \
             device = ?1 AND final = 0 AND bundle = ?2)",
            &[&device, &bundle],
        )
    }

    /// Bundles of a scope, newest first. One that is in several projects comes several times.
    pub fn bundles(
        &self,
        scope: &str,
        paging: &Paging<(i64, String, String)>,
    ) -> Result<Page<Bundle>, StoreError> {
        let (created_ms, id, project) =
            paging
                .after
                .clone()
                .unwrap_or((i64::MAX, String::new(), String::new()));
        let bundles = self.rows(
            &format!(
                "SELECT {COLUMNS} FROM bundle_projects JOIN bundles ON bundles.id = bundle \
             WHERE {BUNDLE_SEEN} AND (bundle_projects.created_ms, bundle, project) < (?2, ?3, ?4) \
             ORDER BY bundle_projects.created_ms DESC, bundle DESC, project DESC LIMIT ?5",
                BUNDLE_SEEN = limited(scope, BUNDLE_SEEN)
            ),
            &[&scope, &created_ms, &id, &project, &paging.rows()],
            bundle,
        )?;
        Ok(paging.page(bundles, |bundle| {
            let project = bundle.project.clone().unwrap_or_default();
            (bundle.created_ms, bundle.id.clone(), project)
        })?)
    }

    /// The projects that have a bundle.
    pub fn projects_of_bundle(&self, id: &str) -> Result<Vec<String>, StoreError> {
        self.rows(
            "SELECT project FROM bundle_projects WHERE bundle = ?1 ORDER BY project",
            &[&id],
            |row| row.get(0),
        )
    }

    /// Bundles that no project has and no update needs.
    pub fn unneeded_bundles(&self) -> Result<Vec<String>, StoreError> {
        self.rows(
            "SELECT id FROM bundles WHERE NOT EXISTS (SELECT 1 FROM bundle_projects WHERE bundle = \
             bundles.id) AND NOT EXISTS (SELECT 1 FROM updates JOIN deployments ON deployments.id = \
             deployment WHERE final = 0 AND deployments.bundle = bundles.id)",
            &[],
            |row| row.get(0),
        )
    }

    /// Whether there is such a bundle, in any project.
    pub fn has_bundle(&self, id: &str) -> Result<bool, StoreError> {
        self.value("SELECT EXISTS (SELECT 1 FROM bundles WHERE id = ?1)", &[&id])
    }

    /// Ids of all bundles.
    pub fn bundle_ids<B: FromIterator<String>>(&self) -> Result<B, StoreError> {
        self.rows("SELECT id FROM bundles", &[], |row| row.get(0))
    }

    /// Takes a bundle from a project.
    pub fn remove_bundle(&self, id: &str, project: &str) -> Result<(), StoreError> {
        self.execute(
            "DELETE FROM bundle_projects WHERE bundle = ?1 AND project = ?2",
            &[&id, &project],
        )?;
        Ok(())
    }

    /// Deletes a bundle.
    pub fn delete_bundle(&self, id: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM bundles WHERE id = ?1", &[&id])?;
        Ok(())
    }
}

fn bundle(row: Row<'_>) -> Result<Bundle, StoreError> {
    let manifest: Manifest = row.json(4)?;
    Ok(Bundle {
        id: row.get(0)?,
        size: row.get(1)?,
        created_ms: row.get(2)?,
        created_by: row.get(3)?,
        project: access::path(row.get(5)?),
        compatible: manifest.compatible,
        version: manifest.version,
        description: manifest.description,
        build: manifest.build,
        format: manifest.format,
        manifest_hash: manifest.hash,
        images: manifest.images,
    })
}
