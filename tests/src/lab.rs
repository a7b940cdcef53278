//! What scenarios are made of: the programs under test, the images and bundles they need, and a place for logs.

use std::path::PathBuf;

use anyhow::Result;

use crate::board::image::{BundleOptions, Image, path_from};

/// The version that boards leave the factory with.
pub const FACTORY_VERSION: &str = "1.0.0";

/// The programs under test and where to work.
#[derive(Debug, Clone)]
pub struct Lab {
    /// Name of the board.
    pub board: String,
    /// `homeport-server`.
    pub server: PathBuf,
    /// `homeport`.
    pub cli: PathBuf,
    /// `homeport-agent`, built for the board.
    pub agent: PathBuf,
    /// Gets one folder a scenario.
    pub folder: PathBuf,
}

// === impl Lab ===

impl Lab {
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
