//! Rows about the files in the bundle store.

use homeport_api::{Bundle, Page};
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Manifest, Received};
use crate::store::{Paging, StoreError, Tx};

const COLUMNS: &str = "id, size, created_ms, created_by, manifest";

// === impl Tx ===

impl Tx {
    /// Adds a bundle, and returns whether it is new.
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

    /// Newest first.
    pub fn bundles(&self, paging: &Paging<(i64, String)>) -> Result<Page<Bundle>, StoreError> {
        let (created_ms, id) = paging.after.clone().unwrap_or((i64::MAX, String::new()));
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM bundles WHERE (created_ms, id) < (?1, ?2) ORDER BY created_ms DESC, id DESC LIMIT ?3"
        ))?;
        let mut rows = statement.query(params![created_ms, id, paging.rows()])?;
        let mut bundles = Vec::new();
        while let Some(row) = rows.next()? {
            bundles.push(bundle(row)?);
        }
        Ok(paging.page(bundles, |bundle| (bundle.created_ms, bundle.id.clone()))?)
    }

    /// Ids of all bundles.
    pub fn bundle_ids<B: FromIterator<String>>(&self) -> Result<B, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT id FROM bundles")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Deletes a bundle, and returns whether there was one.
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
