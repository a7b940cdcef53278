//! What scenarios are made of: the programs under test, the images and bundles they need, and a place for logs.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, anyhow, bail, ensure};

use crate::{
    board::{
        Board, BoardOptions,
        image::{BundleOptions, Image, path_from},
        snapshot::Snapshot,
    },
    site::{BOOT_LIMIT, COMMAND_LIMIT},
    wait::wait_for,
};

/// The version that boards leave the factory with.
pub const FACTORY_VERSION: &str = "1.0.0";

/// The programs under test and where to work.
#[derive(Debug)]
pub struct Lab {
    /// Name of the board.
    pub board: String,
    /// `homeport-agent`, built for the board.
    pub agent: PathBuf,
    /// The others.
    pub programs: Programs,
    /// Gets one folder a scenario.
    pub folder: PathBuf,
    booted: Mutex<Option<Result<Snapshot, String>>>,
}

/// The programs that are under test on every board.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `homeport-server`.
    pub server: PathBuf,
    /// `homeport`.
    pub cli: PathBuf,
}

// === impl Lab ===

impl Lab {
    /// A lab for this board and agent.
    #[must_use]
    pub fn new(board: &str, agent: PathBuf, programs: Programs, folder: PathBuf) -> Self {
        Self {
            board: board.to_owned(),
            agent,
            programs,
            folder,
            booted: Mutex::new(None),
        }
    }

    /// The board after its first boot, knowing no server, with everything started that starts with it. It is booted for the
    /// first who asks; boards that go on from here share what its kernel drew of randomness before.
    pub fn booted(&self) -> Result<Snapshot> {
        let mut booted = self.booted.lock().unwrap_or_else(PoisonError::into_inner);
        let once = booted.get_or_insert_with(|| self.boot().map_err(|error| format!("{error:#}")));
        once.clone()
            .map_err(|error| anyhow!("the board that all start from: {error}"))
    }

    fn boot(&self) -> Result<Snapshot> {
        let folder = self.folder.join("booted");
        let _ = fs::remove_dir_all(&folder);
        let board = Board::start(&BoardOptions::new(
            &self.board,
            self.disk()?,
            folder.join("board"),
        ))?;
        first_boot(&board)?;
        let state = board
            .console()
            .run("systemctl is-system-running --wait", BOOT_LIMIT)?;
        if state.text.trim() != "running" {
            let failed = board
                .console()
                .run("systemctl --failed --no-pager", COMMAND_LIMIT)?;
            bail!("it is {}: {}", state.text.trim(), failed.text);
        }
        board.freeze(&folder.join("snapshot"))
    }

    /// The disk as it leaves the factory. Nothing may write to it.
    pub fn disk(&self) -> Result<PathBuf> {
        self.image(FACTORY_VERSION).disk()
    }

    /// A bundle that every board takes.
    pub fn good(&self, version: &str) -> Result<PathBuf> {
        self.bundle(version, &BundleOptions::default())
    }

    /// A bundle of one of the builder's flavours.
    pub fn flavoured(&self, version: &str, flavour: &str) -> Result<PathBuf> {
        self.bundle(
            version,
            &BundleOptions {
                flavour: Some(flavour.to_owned()),
                ..BundleOptions::default()
            },
        )
    }

    /// A bundle.
    pub fn bundle(&self, version: &str, options: &BundleOptions) -> Result<PathBuf> {
        self.image(version).bundle(options)
    }

    fn image(&self, version: &str) -> Image {
        Image {
            board: self.board.clone(),
            version: version.to_owned(),
            agent: Some(self.agent.clone()),
        }
    }
}

/// Waits until a board that has just been switched on for the first time runs what it left the factory with, agent and all.
pub(crate) fn first_boot(board: &Board) -> Result<()> {
    let boot = board.console().wait_ready(BOOT_LIMIT)?;
    ensure!(
        boot.version == FACTORY_VERSION && boot.slot == "A",
        "the factory image boots from A: {boot:?}"
    );
    wait_for_agent(board)
}

/// Waits until the agent can be called: the board's shell is there a moment earlier.
pub(crate) fn wait_for_agent(board: &Board) -> Result<()> {
    wait_for("the agent to answer", BOOT_LIMIT, || {
        board.console().check("homeport-agent status", COMMAND_LIMIT)?;
        Ok(Some(()))
    })
}

/// Builds the agent for a board, as `just build` does, and says where it is.
pub fn build_agent(board: &str) -> Result<PathBuf> {
    path_from("qemu/build", &["agent", "--board", board])
}

/// Where tests keep what a person may want to look at afterwards: outside the tree, the last run of each kind.
#[must_use]
pub fn scratch() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || {
        std::env::var_os("HOME")
            .map_or_else(std::env::temp_dir, PathBuf::from)
            .join(".cache")
    };
    cache.unwrap_or_else(home).join("homeport").join("scratch")
}
