//! One board, one server and one operator, put together.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use homeport_api::Device;
use serde_json::Value;

use crate::{
    board::{Board, BoardOptions, BootInfo},
    lab::{Lab, first_boot, wait_for_agent},
    operator::Operator,
    server::Server,
    wait::wait_for,
};

/// A boot on a loaded machine that emulates the board.
pub const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// A command on the board that does not wait for anything.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// From a boot, a pairing or a restored link to being online: the agent backs off up to this long after many failures.
pub const ONLINE_LIMIT: Duration = Duration::from_secs(600);

/// From the start of a deployment to its end, with a reboot and all.
pub const UPDATE_LIMIT: Duration = Duration::from_secs(1800);

/// A board that knows its server, and an operator who looks at both.
#[derive(Debug)]
pub struct Site {
    /// The board.
    pub board: Board,
    /// The server.
    pub server: Server,
    /// The operator.
    pub operator: Operator,
    /// The board's device id; empty until it is paired.
    pub device: String,
    /// Where this site keeps its data and logs.
    pub folder: PathBuf,
}

// === impl Site ===

impl Site {
    /// A fresh server, and a board that has booted and knows no server: a copy of the one that [`Lab::booted`] froze.
    pub fn unpaired(lab: &Lab, name: &str) -> Result<Self> {
        let snapshot = lab.booted()?;
        let folder = lab.folder.join(name);
        let _ = fs::remove_dir_all(&folder);
        let server = Server::start(&lab.programs.server, &folder, 0)?;
        let board = Board::resume(&snapshot, &folder.join("board"), &[])?;
        wait_for_agent(&board)?;
        Self::put_together(lab, &folder, server, board)
    }

    /// The same with a board that boots for the first time, in a folder that is emptied first, and the page on this port, 0
    /// for any free one.
    pub fn start(lab: &Lab, folder: &Path, https_port: u16) -> Result<Self> {
        let _ = fs::remove_dir_all(folder);
        let server = Server::start(&lab.programs.server, folder, https_port)?;
        Self::around(lab, folder, server, |_| {})
    }

    /// The same with a server that runs, in the server's folder, on a board that need not be the usual one.
    pub fn around(
        lab: &Lab,
        folder: &Path,
        server: Server,
        change: impl FnOnce(&mut BoardOptions),
    ) -> Result<Self> {
        let disk = lab.disk()?;
        let mut options = BoardOptions::new(&lab.board, &disk, folder.join("board"));
        change(&mut options);
        let board = Board::start(&options)?;
        first_boot(&board)?;
        Self::put_together(lab, folder, server, board)
    }

    /// As [`Site::unpaired`], then paired and online.
    pub fn paired(lab: &Lab, name: &str) -> Result<Self> {
        let mut site = Self::unpaired(lab, name)?;
        site.pair()?;
        Ok(site)
    }

    /// Pairs the board with a new token and waits until it is online.
    pub fn pair(&mut self) -> Result<()> {
        self.pair_within(COMMAND_LIMIT)
    }

    /// The same on a board that is slow.
    pub fn pair_within(&mut self, limit: Duration) -> Result<()> {
        let token = self.operator.token("1h")?;
        let pair = format!("homeport-agent pair {token}");
        self.board.console().check(&pair, limit)?;
        let devices = self.operator.devices()?;
        ensure!(devices.len() == 1, "pairing made {} devices", devices.len());
        self.device.clone_from(&devices[0].id);
        self.online()?;
        // The first report tells the server what the device is; deployments are checked against it.
        wait_for("the inventory", ONLINE_LIMIT, || {
            Ok((!self.shown()?.slots.is_empty()).then_some(()))
        })
    }

    /// Runs a command on the board that must succeed.
    pub fn check(&self, command: &str) -> Result<String> {
        self.board.console().check(command, COMMAND_LIMIT)
    }

    /// Waits until the agent can be called: the board's shell is there a moment earlier.
    pub fn wait_for_agent(&self) -> Result<()> {
        wait_for_agent(&self.board)
    }

    /// The device as the server shows it.
    pub fn shown(&self) -> Result<Device> {
        self.operator.device(&self.device)
    }

    /// Waits until the device is online.
    pub fn online(&self) -> Result<Device> {
        self.operator.wait_online(&self.device, true, ONLINE_LIMIT)
    }

    /// What the agent says about itself.
    pub fn agent_status(&self) -> Result<Value> {
        let text = self.check("homeport-agent status --json")?;
        serde_json::from_str(&text).with_context(|| format!("status is not JSON: {text}"))
    }

    /// What runs on the board: version and slot.
    pub fn running(&self) -> Result<BootInfo> {
        let version = self.check(". /etc/os-release; echo $VERSION_ID")?;
        let slot = self.check("sed 's/.*rauc.slot=\\([A-Z]\\).*/\\1/' /proc/cmdline")?;
        Ok(BootInfo { version, slot })
    }

    /// Waits until this version runs from this slot, RAUC calls the slot good, and it is what boots next. Whoever marks
    /// slots good does so a moment after the boot has completed.
    pub fn ensure_running(&self, version: &str, slot: &str) -> Result<()> {
        wait_for(
            &format!("{version} to run from good slot {slot}"),
            COMMAND_LIMIT,
            || {
                let running = self.running()?;
                ensure!(
                    running.version == version && running.slot == slot,
                    "what runs is {running:?}"
                );
                let name = if slot == "A" { "rootfs.0" } else { "rootfs.1" };
                // RAUC warns on standard error while no slot is marked good.
                let status = self.check("rauc status --output-format=json 2>/dev/null")?;
                let status: Value =
                    serde_json::from_str(&status).with_context(|| format!("not JSON: {status}"))?;
                ensure!(
                    status["boot_primary"] == name,
                    "{name} does not boot next: {status}"
                );
                let slots = status["slots"].as_array().context("no slots in rauc's status")?;
                let good = slots.iter().any(|slot| slot[name]["boot_status"] == "good");
                ensure!(good, "{name} is not good: {status}");
                Ok(Some(()))
            },
        )
    }

    fn put_together(lab: &Lab, folder: &Path, server: Server, board: Board) -> Result<Self> {
        Ok(Self {
            operator: Operator::login(&lab.programs.cli, &folder.join("operator"), &server)?,
            board,
            server,
            device: String::new(),
            folder: folder.to_owned(),
        })
    }
}

impl Drop for Site {
    /// Keeps what explains a failure: the board's journal and the agent's word on itself.
    fn drop(&mut self) {
        if self.board.process().is_none() {
            return;
        }
        for (file, command) in [
            ("journal.txt", "journalctl --no-pager --lines=400"),
            ("agent-status.json", "homeport-agent status --json"),
        ] {
            if let Ok(output) = self.board.console().run(command, COMMAND_LIMIT) {
                let _ = fs::write(self.folder.join(file), output.text);
            }
        }
    }
}
