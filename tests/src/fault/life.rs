//! One life of a board, recorded: every write of its disk, and what the server knew at each stage.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use homeport_protocol::DeploymentState as State;
use serde::{Deserialize, Serialize};

use super::{
    cut::{self, Loss},
    regions::Regions,
    write_log::WriteLog,
};
use crate::{
    board::image,
    lab::Lab,
    server::{Listening, Server},
    site::{BOOT_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

/// The version that the board is updated to.
pub const NEW_VERSION: &str = "1.1.0";

/// The stage in which the board boots for the first time.
pub const FIRST_BOOT: &str = "first boot";

/// The stage in which it is paired.
pub const PAIRING: &str = "pairing";

/// What the board does for a while when nothing happens: telemetry is measured and sent.
const IDLE: Duration = Duration::from_secs(20);

const WRITES: &str = "writes.log";
const BEFORE: &str = "before.raw";
const FACTS: &str = "life.json";
const SITE: &str = "site";
/// The server's folder of bundles: large files that are never changed.
const BUNDLES: &str = "bundles";

/// A recorded life.
#[derive(Debug)]
pub struct Life {
    folder: PathBuf,
    /// What happened, and who took part.
    pub facts: Facts,
    /// What the board wrote.
    pub log: WriteLog,
    /// The disk's partitions.
    pub regions: Regions,
}

/// What is kept about a life beside its log.
#[derive(Debug, Serialize, Deserialize)]
pub struct Facts {
    /// The stages, in order. The first begins with the log.
    pub stages: Vec<Stage>,
    /// Where the server listened: the board will look for it there.
    pub listening: Listening,
    /// The board's device id.
    pub device: String,
}

/// A part of the board's life.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stage {
    /// What happened in it, for people; a deployment's state during the update.
    pub name: String,
    /// Entry of the log with which it begins.
    pub position: usize,
    /// Which of the server's kept states fits.
    server: usize,
    /// The deployment that the server had open or done.
    pub deployment: Option<u64>,
}

/// A life that is being lived.
struct Recorder {
    folder: PathBuf,
    site: Site,
    stages: Vec<Stage>,
    servers: usize,
    deployment: Option<u64>,
}

// === impl Life ===

impl Life {
    /// Lives a life in `folder`, which is emptied.
    pub fn record(lab: &Lab, folder: &Path) -> Result<Self> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
        let bundle = lab.good(NEW_VERSION)?;
        let disk = lab.disk()?;
        image::convert(&disk, "raw", &folder.join(BEFORE))?;
        let log = folder.join(WRITES);
        fs::write(&log, "")?;
        let inner = folder.join(SITE);
        let server = Server::start(&lab.programs.server, &inner, 0)?;
        let site = Site::around(lab, &inner, server, |options| {
            options.conditions.write_log = Some(log.clone());
        })?;
        let mut recorder = Recorder {
            folder: folder.to_owned(),
            site,
            stages: Vec::new(),
            servers: 0,
            deployment: None,
        };
        recorder.live(&bundle)?;
        let Recorder { mut site, stages, .. } = recorder;
        site.board.switch_off()?;
        let facts = Facts {
            stages,
            listening: site.server.listening(),
            device: site.device.clone(),
        };
        let life = Self {
            log: WriteLog::open(&log)?,
            regions: Regions::read(&folder.join(BEFORE))?,
            folder: folder.to_owned(),
            facts,
        };
        life.ensure_complete(&site.board.folder().join("overlay.qcow2"))?;
        fs::write(folder.join(FACTS), serde_json::to_vec_pretty(&life.facts)?)?;
        Ok(life)
    }

    /// Opens the life that was recorded last.
    pub fn open(folder: &Path) -> Result<Self> {
        let facts = fs::read(folder.join(FACTS))
            .with_context(|| format!("no life was recorded in {}", folder.display()))?;
        Ok(Self {
            facts: serde_json::from_slice(&facts)?,
            log: WriteLog::open(&folder.join(WRITES))?,
            regions: Regions::read(&folder.join(BEFORE))?,
            folder: folder.to_owned(),
        })
    }

    /// The stage at this place of the log.
    #[must_use]
    pub fn stage(&self, position: usize) -> &Stage {
        let begun = self
            .facts
            .stages
            .iter()
            .rposition(|stage| stage.position <= position);
        &self.facts.stages[begun.unwrap_or(0)]
    }

    /// Where the stage of that name begins.
    pub fn begin(&self, name: &str) -> Result<usize> {
        let found = self.facts.stages.iter().find(|stage| stage.name == name);
        Ok(found
            .with_context(|| format!("this life has no stage {name}"))?
            .position)
    }

    /// The disk before the life.
    #[must_use]
    pub fn before(&self) -> PathBuf {
        self.folder.join(BEFORE)
    }

    /// Where the operator's login is.
    #[must_use]
    pub fn operator(&self) -> PathBuf {
        self.folder.join(SITE).join("operator")
    }

    /// Puts the server's data as it was in this stage into `folder`.
    pub fn restore_server(&self, stage: &Stage, folder: &Path) -> Result<()> {
        copy_server(&kept_server(&self.folder, stage.server), &folder.join("data"))
    }

    /// All writes together must make the disk that the board had in the end, or the record is not the truth.
    fn ensure_complete(&self, disk: &Path) -> Result<()> {
        let end = self.folder.join("end.raw");
        let all = self.log.entries.len();
        let mut random = fastrand::Rng::with_seed(0);
        cut::make(&self.log, &self.before(), &end, all, Loss::Nothing, &mut random)?;
        image::ensure_same(&end, disk)?;
        fs::remove_file(end)?;
        Ok(())
    }
}

// === impl Recorder ===

impl Recorder {
    fn live(&mut self, bundle: &Path) -> Result<()> {
        let unpaired = self.keep_server()?;
        self.begin_at(FIRST_BOOT, 0, unpaired);
        let pairing = self.position()?;
        self.site.pair()?;
        let paired = self.keep_server()?;
        // The server issues a certificate before the board has it: a board that forgot must be able to ask again.
        self.begin_at(PAIRING, pairing, paired);
        self.begin("idle")?;
        let idle = std::time::Instant::now();
        wait_for("a while", IDLE * 2, || Ok((idle.elapsed() >= IDLE).then_some(())))?;

        let bundle = self.site.operator.upload(bundle)?;
        let deployment = self.site.operator.deploy(&bundle, &self.site.device)?;
        self.deployment = Some(deployment);
        self.begin("offered")?;
        let mut seen = State::Offered;
        wait_for("the update to end", UPDATE_LIMIT, || {
            let state = self.site.operator.update(deployment)?.state;
            if state != seen {
                seen = state;
                self.begin(state.as_str())?;
            }
            Ok(state.is_final().then_some(()))
        })?;
        ensure!(seen == State::Verified, "the update ended {}", seen.as_str());
        self.site.board.console().wait_ready(BOOT_LIMIT)?;
        self.site.ensure_running(NEW_VERSION, "B")?;

        self.begin("restart")?;
        self.site.check("systemctl reboot")?;
        self.site.board.console().wait_ready(BOOT_LIMIT)?;
        self.begin("second boot")?;
        self.site.online()?;
        self.site.ensure_running(NEW_VERSION, "B")
    }

    /// A stage begins now, with the server as it is now.
    fn begin(&mut self, name: &str) -> Result<()> {
        let position = self.position()?;
        let server = self.keep_server()?;
        self.begin_at(name, position, server);
        Ok(())
    }

    fn begin_at(&mut self, name: &str, position: usize, server: usize) {
        self.stages.push(Stage {
            name: name.to_owned(),
            position,
            server,
            deployment: self.deployment,
        });
    }

    fn position(&self) -> Result<usize> {
        Ok(usize::try_from(WriteLog::length(&self.folder.join(WRITES))?)?)
    }

    /// Keeps the server's data as `kill -9` would leave it now.
    fn keep_server(&mut self) -> Result<usize> {
        let kept = self.servers;
        self.servers += 1;
        let pid = self.site.server.pid().context("the server is off")?.to_string();
        signal("-STOP", &pid)?;
        let copied = copy_server(self.site.server.data(), &kept_server(&self.folder, kept));
        signal("-CONT", &pid)?;
        copied?;
        Ok(kept)
    }
}

fn kept_server(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("server-{number}"))
}

fn copy_server(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let how = if entry.file_name() == BUNDLES {
            "--link"
        } else {
            "--no-clobber"
        };
        let copied = Command::new("cp")
            .args(["--archive", how])
            .arg(entry.path())
            .arg(to)
            .status()?;
        ensure!(copied.success(), "cannot copy {}", entry.path().display());
    }
    Ok(())
}

fn signal(signal: &str, pid: &str) -> Result<()> {
    let sent = Command::new("kill").args([signal, pid]).status()?;
    if !sent.success() {
        bail!("cannot send {signal} to the server");
    }
    Ok(())
}
