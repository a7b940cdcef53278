//! Drives a reference board in QEMU: power, consoles, network, snapshots.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use homeport_tests::board::{Board, BoardOptions, image::Image};
//!
//! # fn main() -> anyhow::Result<()> {
//! let image = Image { board: "x86_64".into(), version: "1.0.0".into(), agent: None };
//! let board = Board::start(&BoardOptions::new("x86_64", image.disk()?, "artefacts/first"))?;
//! let boot = board.console().wait_ready(Duration::from_secs(240))?;
//! assert_eq!(boot.version, "1.0.0");
//! board.console().check("systemctl is-active dbus", Duration::from_secs(30))?;
//! # Ok(())
//! # }
//! ```

pub mod console;
pub mod facts;
pub mod image;
mod machine;
mod monitor;
pub mod snapshot;
pub mod stream;
pub mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

pub use self::console::{BootInfo, Console, Output};
use self::facts::Facts;
pub use self::machine::{Conditions, Forward, Throttle};
use self::machine::{Hardware, Machine, Sockets};
use self::monitor::Monitor;
use self::snapshot::{Snapshot, SnapshotFacts};
use self::stream::Stream;

const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);
const MIGRATION_POLL: Duration = Duration::from_millis(20);
/// No limit in practice: the default would throttle the snapshot of a stopped board.
const MIGRATION_BYTES_PER_SECOND: u64 = 10_000_000_000;
/// The first command after a resume also pages the board's memory in.
const RESUME_TIMEOUT: Duration = Duration::from_secs(300);

/// What a board is started with.
#[derive(Debug, Clone)]
pub struct BoardOptions {
    /// Name of a folder in `qemu/boards`.
    pub board: String,
    /// The qcow2 image under the board's own overlay. It is never written.
    pub disk: PathBuf,
    /// Where overlay and logs go: `overlay.qcow2`, `serial.log`, `shell.log`, `qemu.log`. Made if missing.
    pub folder: PathBuf,
    /// Memory in MiB, if not what the board has.
    pub memory_mib: Option<u32>,
    /// Ports of this machine that lead to the board. The board reaches this machine's loopback at 10.0.2.2.
    pub forwards: Vec<Forward>,
    /// What it has to live with.
    pub conditions: Conditions,
}

/// A board, powered or not. Dropping it ends its QEMU.
#[derive(Debug)]
pub struct Board {
    hardware: Hardware,
    folder: PathBuf,
    power: Option<Power>,
}

#[derive(Debug)]
struct Power {
    machine: Machine,
    console: Console,
    serial: Stream,
    monitor: Mutex<Monitor>,
}

// === impl BoardOptions ===

impl BoardOptions {
    /// A board with its usual memory, under good conditions, and no forwarded ports.
    pub fn new(board: &str, disk: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            board: board.to_owned(),
            disk: disk.into(),
            folder: folder.into(),
            memory_mib: None,
            forwards: Vec::new(),
            conditions: Conditions::default(),
        }
    }
}

// === impl Board ===

impl Board {
    /// Makes a fresh overlay over the disk and switches the board on.
    pub fn start(options: &BoardOptions) -> Result<Self> {
        let mut board = Self::assemble(options)?;
        board.power_on()?;
        Ok(board)
    }

    /// Goes on where the snapshot was taken, on a fresh overlay, with the clock set to now. `folder` is as in
    /// [`BoardOptions`]. Connections that the board had open are gone: this machine does not know them.
    pub fn resume(snapshot: &Snapshot, folder: &Path, forwards: &[Forward]) -> Result<Self> {
        let mut board = Self::assemble(&BoardOptions {
            board: snapshot.facts.board.clone(),
            disk: snapshot.disk(),
            folder: folder.to_path_buf(),
            memory_mib: Some(snapshot.facts.memory_mib),
            forwards: forwards.to_vec(),
            conditions: Conditions::default(),
        })?;
        let incoming = [
            "-incoming".to_owned(),
            format!("file:{}", snapshot.memory().display()),
        ];
        board.switch_on(&incoming)?;
        board.wait_migration("query-status", |status| match status {
            "inmigrate" | "restore-vm" => None,
            "paused" | "postmigrate" | "prelaunch" => Some(Ok(())),
            other => Some(Err(other.to_owned())),
        })?;
        board.qmp("cont", json!({}))?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("this machine's clock is wrong")?;
        board
            .console()
            .check(&format!("date -u -s @{}", now.as_secs()), RESUME_TIMEOUT)?;
        Ok(board)
    }

    /// The root shell.
    ///
    /// # Panics
    /// When the board is off.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.powered().console
    }

    /// The serial port: bootloader, kernel, system messages. A shell waits there too, for people.
    ///
    /// # Panics
    /// When the board is off.
    #[must_use]
    pub fn serial(&self) -> &Stream {
        &self.powered().serial
    }

    /// Resets the machine as its reset button would. What the disk has taken is not lost; see
    /// [`power_cut`](Self::power_cut).
    pub fn reset(&self) -> Result<()> {
        self.qmp("system_reset", json!({})).map(drop)
    }

    /// Cuts the power: QEMU is killed. What the board wrote and flushed is on the disk. What it wrote and did not
    /// flush may be there or not: writes to new clusters are lost with QEMU's tables, others were handed to this
    /// machine, which keeps them. Harder than a reset, milder than a disk that loses its whole cache.
    pub fn power_cut(&mut self) -> Result<()> {
        let Some(mut power) = self.power.take() else {
            bail!("the board is off already")
        };
        power.machine.kill()
    }

    /// Switches the board off and keeps everything that it has written, flushed or not.
    pub fn switch_off(&mut self) -> Result<()> {
        self.qmp("quit", json!({}))?;
        match self.power.take() {
            Some(mut power) => power.machine.wait(),
            None => Ok(()),
        }
    }

    /// Switches the board on, with the disk as the last power cut left it.
    pub fn power_on(&mut self) -> Result<()> {
        self.switch_on(&[])
    }

    /// Plugs or unplugs the network cable.
    pub fn set_link(&self, up: bool) -> Result<()> {
        self.qmp("set_link", json!({ "name": "nic", "up": up })).map(drop)
    }

    /// Freezes the board into `folder` and switches it off. It cannot be switched on again: its disk is the snapshot's.
    pub fn freeze(mut self, folder: &Path) -> Result<Snapshot> {
        let facts = SnapshotFacts {
            board: self.hardware.facts.name.clone(),
            memory_mib: self.hardware.memory_mib,
        };
        let snapshot = Snapshot::new(folder, facts)?;
        self.qmp("stop", json!({}))?;
        self.qmp(
            "migrate-set-parameters",
            json!({ "max-bandwidth": MIGRATION_BYTES_PER_SECOND }),
        )?;
        self.qmp(
            "migrate",
            json!({ "uri": format!("file:{}", snapshot.memory().display()) }),
        )?;
        self.wait_migration("query-migrate", |status| match status {
            "completed" => Some(Ok(())),
            "failed" | "cancelled" => Some(Err(status.to_owned())),
            _ => None,
        })?;
        self.switch_off()?;
        fs::rename(&self.hardware.disk, snapshot.disk())
            .context("snapshot and board must share a file system")?;
        snapshot.seal()?;
        Ok(snapshot)
    }

    /// Fills `length` bytes of the disk from `offset` on with `byte`. The board must be off.
    pub fn fill_disk(&self, offset: u64, length: u64, byte: u8) -> Result<()> {
        ensure!(self.power.is_none(), "the board is on");
        image::fill(&self.hardware.disk, offset, length, byte)
    }

    /// Executes a command of QEMU's machine protocol.
    pub fn qmp(&self, command: &str, arguments: Value) -> Result<Value> {
        self.monitor()?.execute(command, arguments)
    }

    /// Process id of QEMU, for measurements.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.power.as_ref().map(|power| power.machine.process())
    }

    /// Where overlay and logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn assemble(options: &BoardOptions) -> Result<Self> {
        let facts = Facts::load(&options.board)?.with_firmware()?;
        fs::create_dir_all(&options.folder)
            .with_context(|| format!("cannot create {}", options.folder.display()))?;
        let folder = options
            .folder
            .canonicalize()
            .context("the board's folder is gone")?;
        let disk = folder.join("overlay.qcow2");
        image::overlay(&options.disk, &disk)?;
        let memory_mib = options.memory_mib.unwrap_or(facts.qemu.memory_mib);
        let hardware = Hardware {
            facts,
            memory_mib,
            disk,
            forwards: options.forwards.clone(),
            conditions: options.conditions.clone(),
        };
        Ok(Self {
            hardware,
            folder,
            power: None,
        })
    }

    fn switch_on(&mut self, extra: &[String]) -> Result<()> {
        if self.power.is_some() {
            bail!("the board is on already");
        }
        let (machine, sockets) = Machine::start(&self.hardware, extra, &self.folder.join("qemu.log"))?;
        let Sockets {
            serial,
            shell,
            monitor,
        } = sockets;
        self.power = Some(Power {
            machine,
            console: Console::new(Stream::new(shell, &self.folder.join("shell.log"))?),
            serial: Stream::new(serial, &self.folder.join("serial.log"))?,
            monitor: Mutex::new(Monitor::new(monitor)?),
        });
        Ok(())
    }

    #[expect(
        clippy::panic,
        reason = "a test that talks to a board that it switched off is wrong"
    )]
    fn powered(&self) -> &Power {
        let Some(power) = &self.power else {
            panic!("the board is off")
        };
        power
    }

    fn monitor(&self) -> Result<MutexGuard<'_, Monitor>> {
        let power = self.power.as_ref().context("the board is off")?;
        Ok(power.monitor.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for a status until `done` says that it is the last one.
    fn wait_migration(&self, query: &str, done: impl Fn(&str) -> Option<Result<(), String>>) -> Result<()> {
        let deadline = Instant::now() + MIGRATION_TIMEOUT;
        loop {
            let answer = self.qmp(query, json!({}))?;
            match done(answer["status"].as_str().unwrap_or_default()) {
                Some(Ok(())) => return Ok(()),
                Some(Err(status)) => bail!("{query}: {status}: {answer}"),
                None if Instant::now() > deadline => bail!("{query}: not done within {MIGRATION_TIMEOUT:?}"),
                None => thread::sleep(MIGRATION_POLL),
            }
        }
    }
}
