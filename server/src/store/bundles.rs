//! What is known about the files in the bundle store.

use homeport_api::Bundle;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{StoreError, Tx};
use crate::bundle::{Manifest, Received};

const COLUMNS: &str = "id, size, created_ms, created_by, manifest";

// === impl Tx ===

impl Tx {
    /// Whether it is new.
    pub fn insert_bundle(
        &self,
        now_ms: i64,
        created_by: &str,
        bundle: &Received,
    ) -> Result<bool, StoreError> {
        let manifest = serde_json::to_string(&bundle.manifest)?;
        let inserted = self
            .0
            .prepare_cached(
                "INSERT INTO bundles (id, size, created_ms, created_by, manifest) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![bundle.id, bundle.size, now_ms, created_by, manifest])?;
        Ok(inserted == 1)
    }

    /// The bundle with this id.
    pub fn bundle(&self, id: &str) -> Result<Option<Bundle>, StoreError> {
        self.0
            .prepare_cached(&format!("SELECT {COLUMNS} FROM bundles WHERE id = ?"))?
            .query_row([id], |row| Ok(bundle(row)))
            .optional()?
            .transpose()
    }

    /// All, newest first.
    pub fn bundles(&self) -> Result<Vec<Bundle>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM bundles ORDER BY created_ms DESC, id"
        ))?;
        let mut rows = statement.query([])?;
        let mut bundles = Vec::new();
        while let Some(row) = rows.next()? {
            bundles.push(bundle(row)?);
        }
        Ok(bundles)
    }

    /// Whether there was one.
    pub fn delete_bundle(&self, id: &str) -> Result<bool, StoreError> {
        let deleted = self
            .0
            .prepare_cached("DELETE FROM bundles WHERE id = ?")?
            .execute([id])?;
        Ok(deleted == 1)
    }
}

fn bundle(row: &Row<'_>) -> Result<Bundle, StoreError> {
    let manifest: Manifest = serde_json::from_str(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?;
    Ok(Bundle {
        id: row.get(0)?,
        size: row.get(1)?,
        created_ms: row.get(2)?,
        created_by: row.get(3)?,
        compatible: manifest.compatible,
        version: manifest.version,
        description: manifest.description,
        build: manifest.build,
        format: manifest.format,
        manifest_hash: manifest.hash,
        images: manifest.images,
    })
}
