//! Projects.

use homeport_api::{Page, Project};
use rusqlite::params;

use crate::access::{IN_PROJECT, limited};
use crate::store::{Paging, StoreError, Tx};

// === impl Tx ===

impl Tx {
    /// Makes a project, and returns whether it is new.
    pub fn insert_project(&self, path: &str, now_ms: i64) -> Result<bool, StoreError> {
        let inserted = self
            .0
            .prepare_cached("INSERT INTO projects (path, created_ms) VALUES (?, ?) ON CONFLICT DO NOTHING")?
            .execute(params![path, now_ms])?;
        Ok(inserted == 1)
    }

    /// Number of projects at the top, or below the one at the top with this name.
    pub fn count_projects(&self, top: &str) -> Result<usize, StoreError> {
        Ok(self
            .0
            .prepare_cached(
                "SELECT count(*) FROM projects WHERE CASE WHEN ?1 = '' THEN instr(path, '/') = 0 \
                 ELSE path > ?1 || '/' AND path < ?1 || '0' END",
            )?
            .query_row([top], |row| row.get(0))?)
    }

    /// Whether there is such a project.
    pub fn has_project(&self, path: &str) -> Result<bool, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM projects WHERE path = ?)")?
            .query_row([path], |row| row.get(0))?)
    }

    /// Whether there are projects.
    pub fn has_projects(&self) -> Result<bool, StoreError> {
        Ok(self
            .0
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM projects)")?
            .query_row([], |row| row.get(0))?)
    }

    /// The projects of a scope, by path.
    pub fn projects(&self, scope: &str, paging: &Paging<String>) -> Result<Page<Project>, StoreError> {
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT project, (SELECT count(*) FROM devices WHERE devices.project = listed.project OR \
             (devices.project > listed.project || '/' AND devices.project < listed.project || '0')) \
             FROM (SELECT path AS project FROM projects) AS listed WHERE {IN_PROJECT} AND project > ?2 ORDER BY project LIMIT ?3", IN_PROJECT = limited(scope, IN_PROJECT)
        ))?;
        let after = paging.after.as_deref().unwrap_or_default();
        let rows = statement.query_map(params![scope, after, paging.rows()], |row| {
            Ok(Project {
                path: row.get(0)?,
                devices: row.get(1)?,
            })
        })?;
        let rows = rows.collect::<Result<_, _>>()?;
        Ok(paging.page(rows, |project: &Project| project.path.clone())?)
    }

    /// What a project holds, in words.
    pub fn held_by_project(&self, path: &str) -> Result<Vec<&'static str>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM projects WHERE path > ?1 || '/' AND path < ?1 || '0'), \
             EXISTS (SELECT 1 FROM devices WHERE project = ?1), \
             EXISTS (SELECT 1 FROM groups WHERE project = ?1), \
             EXISTS (SELECT 1 FROM bundle_projects WHERE project = ?1), \
             EXISTS (SELECT 1 FROM users WHERE project = ?1), \
             EXISTS (SELECT 1 FROM pairing_tokens WHERE project = ?1 AND revoked = 0 AND used_by IS NULL AND expires_ms > ?2)",
        )?;
        let held: [bool; 6] = statement.query_row(params![path, crate::now_ms()], |row| {
            Ok([
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
            ])
        })?;
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
        self.0
            .prepare_cached("DELETE FROM projects WHERE path = ?")?
            .execute([path])?;
        self.0
            .prepare_cached("DELETE FROM grants WHERE project = ?")?
            .execute([path])?;
        self.0
            .prepare_cached("DELETE FROM access_tokens WHERE project = ?")?
            .execute([path])?;
        // What is past stays for those who may see everything: another customer may get a project with this path.
        self.0
            .prepare_cached("UPDATE deployments SET project = '' WHERE project = ?")?
            .execute([path])?;
        self.0
            .prepare_cached("UPDATE pairing_tokens SET project = '' WHERE project = ?")?
            .execute([path])?;
        self.0
            .prepare_cached("UPDATE audit SET project = '' WHERE project = ?")?
            .execute([path])?;
        Ok(())
    }
}
