//! A board for people: its serial port on their terminal.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::facts::Facts;
use super::image::{cache_folder, overlay};
use super::machine::{Conditions, Forward, Hardware, toolbox};

/// What a developer's board is started with.
#[derive(Debug)]
pub struct TerminalOptions {
    /// Facts about the board.
    pub facts: Facts,
    /// The qcow2 image under the board's own overlay.
    pub disk: PathBuf,
    /// Forget what the board has written since it was first started.
    pub fresh: bool,
    /// Memory in MiB, if not what the board has.
    pub memory_mib: Option<u32>,
    /// Ports of this machine that lead to the board.
    pub forwards: Vec<Forward>,
}

/// Runs the board until it is switched off or QEMU is told to quit (Ctrl-A X). What it writes is kept for the next
/// time, as long as it is started from the same disk.
pub fn run(options: &TerminalOptions) -> Result<()> {
    let hardware = Hardware {
        facts: options.facts.clone().with_firmware()?,
        memory_mib: options.memory_mib.unwrap_or(options.facts.qemu.memory_mib),
        disk: own_disk(&options.facts.name, &options.disk, options.fresh)?,
        forwards: options.forwards.clone(),
        conditions: Conditions::default(),
    };
    let status = toolbox()
        .args(hardware.command())
        .args([
            "-chardev",
            "stdio,id=serial,mux=on,signal=off",
            "-serial",
            "chardev:serial",
            "-mon",
            "chardev=serial",
        ])
        .args(["-chardev", "null,id=shell"])
        .status()
        .context("cannot run setpriv and the toolbox")?;
    if !status.success() {
        bail!("QEMU ended with {status}");
    }
    Ok(())
}

/// The overlay that belongs to this very disk: a rebuilt disk is another one.
fn own_disk(board: &str, base: &Path, fresh: bool) -> Result<PathBuf> {
    let base = base
        .canonicalize()
        .with_context(|| format!("no disk {}", base.display()))?;
    let folder = cache_folder()?.join("boards");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let name = base.to_string_lossy().replace('/', "-");
    let disk = folder.join(format!("{board}{name}"));
    if fresh || !disk.exists() {
        overlay(&base, &disk)?;
    }
    Ok(disk)
}
