//! Facts about a board: `qemu/boards/<name>/board.toml`, which the image builder reads too.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;

use super::image::build;

/// A folder for each board, in the repository.
const BOARDS: &str = "qemu/boards";
const FIRMWARE: &str = "@FIRMWARE@";

/// What the driver needs to know about a board.
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    /// Name of the board and of its folder.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// RAUC's `compatible`.
    pub compatible: String,
    /// How QEMU runs it.
    pub qemu: Qemu,
}

/// How QEMU runs a board.
#[derive(Debug, Clone, Deserialize)]
pub struct Qemu {
    /// The program's name in the toolbox.
    pub program: String,
    /// Memory unless the caller asks for something else, MiB.
    pub memory_mib: u32,
    /// Machine and devices. They refer to the drive `disk`, the network `net`, the character device `shell`;
    /// `@FIRMWARE@` stands for the folder that `qemu/build firmware` makes.
    pub arguments: Vec<String>,
}

// === impl Facts ===

impl Facts {
    /// Reads the facts about the board `name`.
    pub fn load(name: &str) -> Result<Self> {
        let file = repository().join(BOARDS).join(name).join("board.toml");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("no board {name}: {} cannot be read", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a board", file.display()))
    }

    /// The facts with the firmware in its place, which is built if it has to be.
    pub fn with_firmware(mut self) -> Result<Self> {
        if self
            .qemu
            .arguments
            .iter()
            .any(|argument| argument.contains(FIRMWARE))
        {
            let folder = build(&["firmware", "--board", &self.name])?;
            for argument in &mut self.qemu.arguments {
                *argument = argument.replace(FIRMWARE, &folder.display().to_string());
            }
        }
        Ok(self)
    }
}

/// The names of all boards, in order.
pub fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(repository().join(BOARDS))? {
        let name = entry?.file_name().into_string();
        names.push(name.map_err(|name| anyhow!("{name:?} is no name of a board"))?);
    }
    names.sort();
    Ok(names)
}

/// The checkout that the present folder is in. Not the one that this crate was built from: clones share what was built.
#[must_use]
pub fn repository() -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(|folder| folder.join(BOARDS).is_dir());
    found.unwrap_or(&here).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_is_readable_and_named_as_its_folder() {
        for name in names().unwrap() {
            let facts = Facts::load(&name).unwrap();
            assert_eq!(facts.name, name);
            assert!(
                facts
                    .qemu
                    .arguments
                    .iter()
                    .any(|argument| argument.contains("netdev=net,id=nic")),
                "{name}"
            );
        }
    }
}
