//! What boards run: disks and bundles, made by `qemu/build`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::facts::repository;
use super::machine::toolbox;

/// An image of one version. Everything that is built is cached by `qemu/build`.
#[derive(Debug, Clone)]
pub struct Image {
    /// Name of the board.
    pub board: String,
    /// Version of the image.
    pub version: String,
    /// The agent's binary; none for a board without agent.
    pub agent: Option<PathBuf>,
}

/// How a bundle differs from the ordinary one.
#[derive(Debug, Clone, Default)]
pub struct BundleOptions {
    /// `unhealthy`, `nogood`, `panic`, or `full`: not adaptive.
    pub flavour: Option<String>,
    /// Version in the manifest instead of the image's.
    pub manifest_version: Option<String>,
    /// `compatible` in the manifest instead of the board's.
    pub compatible: Option<String>,
    /// Signed by an authority that the board does not know.
    pub wrong_signer: bool,
}

// === impl Image ===

impl Image {
    /// A disk with this image in slot A. Boards run on overlays of it.
    pub fn disk(&self) -> Result<PathBuf> {
        self.build("disk", &[])
    }

    /// A bundle that installs this image.
    pub fn bundle(&self, options: &BundleOptions) -> Result<PathBuf> {
        let mut arguments = Vec::new();
        let texts = [
            ("--flavour", &options.flavour),
            ("--manifest-version", &options.manifest_version),
            ("--compatible", &options.compatible),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                arguments.extend([name, value.as_str()]);
            }
        }
        if options.wrong_signer {
            arguments.extend(["--signer", "wrong"]);
        }
        self.build("bundle", &arguments)
    }

    fn build(&self, what: &str, arguments: &[&str]) -> Result<PathBuf> {
        let agent = self.agent.as_ref().map(|agent| agent.display().to_string());
        let mut all = vec![what, "--board", &self.board, "--version", &self.version];
        all.extend(arguments);
        if let Some(agent) = &agent {
            all.extend(["--agent", agent]);
        }
        build(&all)
    }
}

/// Runs `qemu/build`; answers with the path that it prints.
pub(super) fn build(arguments: &[&str]) -> Result<PathBuf> {
    path_from("qemu/build", arguments)
}

/// Runs a program of the repository that builds something; answers with the path that it prints.
pub(crate) fn path_from(program: &str, arguments: &[&str]) -> Result<PathBuf> {
    let output = Command::new(repository().join(program))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {} failed", arguments.join(" "));
    }
    let path = String::from_utf8(output.stdout)
        .with_context(|| format!("{program} names a path that is not UTF-8"))?;
    Ok(PathBuf::from(path.trim_end()))
}

/// Writes the disk image `from`, with all that it is based on, to `to` in another format of QEMU's.
pub fn convert(from: &Path, format: &str, to: &Path) -> Result<()> {
    let program = ["qemu-img", "convert", "-O", format];
    run_tool(toolbox().args(program).args([from, to]))
}

/// Fails unless two disk images have the same contents.
pub fn ensure_same(left: &Path, right: &Path) -> Result<()> {
    run_tool(toolbox().args(["qemu-img", "compare"]).args([left, right]))
}

/// Makes `disk`, which holds only what differs from `base`.
pub fn overlay(base: &Path, disk: &Path) -> Result<()> {
    let base = base
        .canonicalize()
        .with_context(|| format!("no disk {}", base.display()))?;
    let program = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
    run_tool(toolbox().args(program).args([&base, disk]))
}

/// Fills `length` bytes of the board's disk from `offset` on with `byte`. Nothing may run that uses the disk.
pub(super) fn fill(disk: &Path, offset: u64, length: u64, byte: u8) -> Result<()> {
    let command = format!("write -P {byte} {offset} {length}");
    run_tool(
        toolbox()
            .args(["qemu-io", "-f", "qcow2", "-c", &command])
            .arg(disk),
    )
}

fn run_tool(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run the toolbox")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?}: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// The folder that `qemu/build` keeps its results in.
pub fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("homeport"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builders_own_tests_pass() {
        let output = Command::new("python3")
            .args(["-B", "-m", "unittest", "discover", "-s", "qemu/tests"])
            .current_dir(repository())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
