//! A board frozen on disk: its memory and its disk, to start many tests from one booted board.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

const FACTS_FILE: &str = "snapshot.json";

/// A frozen board in a folder of its own. Boards that resume from it never write to it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    folder: PathBuf,
    pub(crate) facts: SnapshotFacts,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotFacts {
    pub(crate) board: String,
    pub(crate) memory_mib: u32,
}

// === impl Snapshot ===

impl Snapshot {
    /// Opens a snapshot that was saved before, perhaps by another process.
    pub fn open(folder: &Path) -> Result<Self> {
        let file = folder.join(FACTS_FILE);
        let text =
            fs::read_to_string(&file).with_context(|| format!("no snapshot in {}", folder.display()))?;
        let facts = serde_json::from_str(&text).with_context(|| format!("{} is broken", file.display()))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            facts,
        })
    }

    /// Names a snapshot whose files are about to be written.
    pub(crate) fn new(folder: &Path, facts: SnapshotFacts) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            facts,
        })
    }

    /// Marks the snapshot as complete: until then `open` does not find it.
    pub(crate) fn seal(&self) -> Result<()> {
        let text = serde_json::to_string(&self.facts).context("cannot describe the snapshot")?;
        fs::write(self.folder.join(FACTS_FILE), text).context("cannot write the snapshot")
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("disk.qcow2")
    }

    pub(crate) fn memory(&self) -> PathBuf {
        self.folder.join("memory")
    }
}
