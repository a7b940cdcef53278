//! Projects.

use homeport_api::{Page, Project};

use crate::access::{IN_PROJECT, limited};
use crate::store::{Paging, StoreError, Tx};

// === impl Tx ===

impl Tx {
    /// Makes a project, and returns whether it is new.
    pub fn insert_project(&self, path: &str, now_ms: i64) -> Result<bool, StoreError> {
        let inserted = self.execute(
            "INSERT INTO projects (path, created_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            &[&path, &now_ms],
        )?;
        Ok(inserted == 1)
    }

    /// Number of projects at the top, or below the one at the top with this name.
    pub fn count_projects(&self, top: &str) -> Result<usize, StoreError> {
        self.value(
            "SELECT count(*) FROM projects WHERE CASE WHEN ?1 = '' THEN path NOT LIKE '%/%' \
                 ELSE path > ?1 || '/' AND path < ?1 || '0' END",
            &[&top],
        )
    }

    /// Whether there is such a project.
    pub fn has_project(&self, path: &str) -> Result<bool, StoreError> {
        self.value("SELECT EXISTS (SELECT 1 FROM projects WHERE path = ?1)", &[&path])
    }

    /// Whether there are projects.
    pub fn has_projects(&self) -> Result<bool, StoreError> {
        self.value("SELECT EXISTS (SELECT 1 FROM projects)", &[])
    }

    /// The projects of a scope, by path.
    pub fn projects(&self, scope: &str, paging: &Paging<String>) -> Result<Page<Project>, StoreError> {
        let after = paging.after.as_deref().unwrap_or_default();
        let rows = self.rows(
            &format!(
                "SELECT project, (SELECT count(*) FROM devices WHERE devices.project = listed.project OR \
                 (devices.project > listed.project || '/' AND devices.project < listed.project || '0')) \
                 FROM (SELECT path AS project FROM projects) AS listed WHERE {IN_PROJECT} AND project > ?2 \
                 ORDER BY project LIMIT ?3",
                IN_PROJECT = limited(scope, IN_PROJECT)
            ),
            &[&scope, &after, &paging.rows()],
            |row| {
                Ok(Project {
                    path: row.get(0)?,
                    devices: row.get(1)?,
                })
            },
        )?;
        Ok(paging.page(rows, |project: &Project| project.path.clone())?)
    }

    /// What a project holds, in words.
    pub fn held_by_project(&self, path: &str) -> Result<Vec<&'static str>, StoreError> {
        let held: [bool; 6] = self.one(
            "SELECT EXISTS (SELECT 1 FROM projects WHERE path > ?1 || '/' AND path < ?1 || '0'), EXISTS \
             (SELECT 1 FROM devices WHERE project = ?1), EXISTS (SELECT 1 FROM groups WHERE project = ?1), \
             EXISTS (SELECT 1 FROM bundle_projects WHERE project = ?1), EXISTS (SELECT 1 FROM users WHERE \
             project = ?1), EXISTS (SELECT 1 FROM pairing_tokens WHERE project = ?1 AND revoked = 0 AND \
             used_by IS NULL AND expires_ms > ?2)",
            &[&path, &crate::now_ms()],
            |row| {
                Ok([
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ])
            },
        )?;
        let words = [
            "projects",
            "devices",
            "groups",
            "bundles",
            "users",
            "unused pairing tokens",
        ];
        Ok(words
            .into_iter()
            .zip(held)
            .filter_map(|(words, holds)| holds.then_some(words))
            .collect())
    }

    /// Deletes an empty project, the roles on it, and access tokens that are limited to it.
    pub fn delete_project(&self, path: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM projects WHERE path = ?1", &[&path])?;
        self.execute("DELETE FROM grants WHERE project = ?1", &[&path])?;
        self.execute("DELETE FROM access_tokens WHERE project = ?1", &[&path])?;
        // What is past stays for those who may see everything: another customer may get a project with this path.
        self.execute("UPDATE deployments SET project = '' WHERE project = ?1", &[&path])?;
        self.execute(
            "UPDATE pairing_tokens SET project = '' WHERE project = ?1",
            &[&path],
        )?;
        self.execute("UPDATE audit SET project = '' WHERE project = ?1", &[&path])?;
        Ok(())
    }
}
