//! Power cuts: picks the moments, makes the disks, boots them, and looks.

use std::{
    fs,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use fastrand::Rng;
use homeport_protocol::DeploymentState as State;

use super::{
    cut::{self, Fate, Loss},
    life::{self, Life, NEW_VERSION, Stage},
    regions::Region,
    write_log::Entry,
};
use crate::{
    board::{Board, BoardOptions, image},
    lab::{FACTORY_VERSION, Lab},
    operator::Operator,
    server::Server,
    site::{BOOT_LIMIT, COMMAND_LIMIT, Site, UPDATE_LIMIT},
};

/// Of ten cuts, so many come right after a write of the bootloader's environment; the others anywhere in a stage.
const ENVIRONMENT_CUTS_OF_TEN: u8 = 4;
/// Keeps the runs of one seed apart: 2^64 divided by the golden ratio.
const RUN_STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// How long the bootloader may take to say which slot it starts.
const BOOTLOADER_LIMIT: Duration = Duration::from_secs(300);
/// What every board's bootloader says then, before the slot's name.
const STARTS: &str = ": slot ";

/// How far a board is watched after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Until the bootloader starts a slot. All cuts are right after writes of the bootloader's environment.
    Bootloader,
    /// Until all is as it must be.
    Life,
}

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// How far each run goes.
    pub depth: Depth,
    /// How many cuts.
    pub runs: usize,
    /// What decides about everything random.
    pub seed: u64,
    /// Only these of the cuts.
    pub only: Option<RangeInclusive<usize>>,
}

/// A cut that was chosen.
#[derive(Debug)]
struct Cut {
    position: usize,
    loss: Loss,
    random: Rng,
}

/// How a run went.
#[derive(Debug)]
struct Outcome {
    number: usize,
    moment: String,
    loss: Loss,
    fate: Fate,
    result: Result<String>,
    took: Duration,
}

/// Makes the cuts; whether the board survived all of them as it should. Prints a table.
pub fn run(lab: &Lab, life: &Life, plan: &Plan) -> Result<bool> {
    let mut outcomes = Vec::new();
    for number in 1..=plan.runs {
        if plan.only.as_ref().is_some_and(|only| !only.contains(&number)) {
            continue;
        }
        let outcome = run_one(lab, life, plan, number)?;
        let seen = match &outcome.result {
            Ok(seen) => seen.clone(),
            Err(error) => format!("VIOLATION: {error:#}"),
        };
        eprintln!(
            "power: run {number} of {}, seed {}: {}; lost {}: {seen} ({} s)",
            plan.runs,
            plan.seed,
            outcome.moment,
            outcome.loss,
            outcome.took.as_secs()
        );
        if outcome.result.is_err() {
            eprintln!(
                "power: its disk: ./just board {} --fresh --disk {}",
                lab.board,
                disk(&folder(lab, plan, number)).display()
            );
        }
        outcomes.push(outcome);
    }
    Ok(report(lab, plan, &outcomes))
}

fn run_one(lab: &Lab, life: &Life, plan: &Plan, number: usize) -> Result<Outcome> {
    let start = Instant::now();
    let mut cut = choose(life, plan, number)?;
    let folder = folder(lab, plan, number);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let raw = folder.join("disk.raw");
    let fate = cut::make(
        &life.log,
        &life.before(),
        &raw,
        cut.position,
        cut.loss,
        &mut cut.random,
    )?;
    image::convert(&raw, "qcow2", &disk(&folder))?;
    fs::remove_file(raw)?;
    let result = match plan.depth {
        Depth::Bootloader => start_slot(lab, life, &cut, &folder),
        Depth::Life => survive(lab, life, &cut, &folder),
    };
    if result.is_ok() {
        fs::remove_dir_all(&folder)?;
    }
    Ok(Outcome {
        number,
        moment: moment(life, cut.position),
        loss: cut.loss,
        fate,
        result,
        took: start.elapsed(),
    })
}

fn folder(lab: &Lab, plan: &Plan, number: usize) -> PathBuf {
    let kind = match plan.depth {
        Depth::Bootloader => "environment",
        Depth::Life => "power",
    };
    lab.folder.join(format!("{kind}-{number}"))
}

fn disk(folder: &Path) -> PathBuf {
    folder.join("disk.qcow2")
}

fn choose(life: &Life, plan: &Plan, number: usize) -> Result<Cut> {
    let mut random = Rng::with_seed(plan.seed.wrapping_add((number as u64).wrapping_mul(RUN_STRIDE)));
    let by_chance = random.u8(0..10) < ENVIRONMENT_CUTS_OF_TEN;
    let position = if by_chance || plan.depth == Depth::Bootloader {
        let writes = environment_writes(life);
        ensure!(
            !writes.is_empty(),
            "the bootloader's environment was never written"
        );
        writes[random.usize(..writes.len())] + 1
    } else {
        let stages = &life.facts.stages;
        let index = random.usize(..stages.len());
        random.usize(stage_range(life, index))
    };
    let loss = match random.u8(0..4) {
        0 => Loss::Nothing,
        1 => Loss::Everything,
        _ => Loss::Some,
    };
    Ok(Cut {
        position,
        loss,
        random,
    })
}

fn environment_writes(life: &Life) -> Vec<usize> {
    let of_loader = |offset| life.regions.at(offset).is_some_and(Region::is_loader);
    let entries = life.log.entries.iter().enumerate();
    entries
        .filter_map(|(index, entry)| match entry {
            Entry::Write(write) if of_loader(write.offset) => Some(index),
            _ => None,
        })
        .collect()
}

/// The positions that a cut in this stage can have.
fn stage_range(life: &Life, index: usize) -> Range<usize> {
    let stages = &life.facts.stages;
    let end = stages
        .get(index + 1)
        .map_or(life.log.entries.len(), |next| next.position);
    stages[index].position..end.max(stages[index].position) + 1
}

/// Stage, place in the log, and what was written last.
fn moment(life: &Life, position: usize) -> String {
    let stage = &life.stage(position).name;
    let last = position.checked_sub(1).map(|last| life.log.entries[last]);
    let what = match last {
        Some(Entry::Write(write)) => {
            let region = life.regions.at(write.offset);
            format!(
                "after a write to {}",
                region.map_or("no partition", |region| &region.name)
            )
        }
        Some(Entry::Flush) => "after a flush".to_owned(),
        Some(Entry::Discard) => "after a discard".to_owned(),
        None => "at the very beginning".to_owned(),
    };
    format!("{stage}, {what} (entry {position})")
}

/// Starts what the cut left, and looks which slot the bootloader takes.
fn start_slot(lab: &Lab, life: &Life, cut: &Cut, folder: &Path) -> Result<String> {
    let mut board = Board::start(&BoardOptions::new(&lab.board, disk(folder), folder.join("board")))?;
    let slot = board
        .serial()
        .wait("the bootloader to start a slot", BOOTLOADER_LIMIT, |said| {
            let at = said.find(STARTS)? + STARTS.len();
            Some((said.get(at..=at)?.to_owned(), at))
        })?;
    board.power_cut()?;
    let valid = valid_versions(life, cut.position)?;
    let version = if slot == "A" { FACTORY_VERSION } else { NEW_VERSION };
    ensure!(
        valid.contains(&version),
        "the bootloader starts {slot}, {version}, valid was {valid:?}"
    );
    Ok(format!("starts {slot}"))
}

/// Boots what the cut left, and looks. Answers with what was seen; an error is a violation.
fn survive(lab: &Lab, life: &Life, cut: &Cut, folder: &Path) -> Result<String> {
    let stage = life.stage(cut.position);
    life.restore_server(stage, folder)?;
    let server = Server::restore(&lab.programs.server, folder, life.facts.listening)?;
    let board = Board::start(&BoardOptions::new(&lab.board, disk(folder), folder.join("board")))?;
    let mut site = Site {
        board,
        server,
        operator: Operator::returning(&lab.programs.cli, &life.operator()),
        device: life.facts.device.clone(),
        folder: folder.to_owned(),
    };
    let start = Instant::now();
    let boot = site.board.console().wait_ready(BOOT_LIMIT)?;
    let mut seen = format!(
        "booted {} from {} in {} s",
        boot.version,
        boot.slot,
        start.elapsed().as_secs()
    );
    let valid = valid_versions(life, cut.position)?;
    ensure!(
        valid.contains(&boot.version.as_str()),
        "{} runs, valid was {valid:?}",
        boot.version
    );
    site.wait_for_agent()?;
    seen += &belong(&mut site, stage)?;
    let (version, slot) = match stage.deployment {
        None => (FACTORY_VERSION, "A"),
        Some(deployment) => {
            site.operator
                .wait_state(deployment, State::Verified, UPDATE_LIMIT)?;
            seen += ", verified";
            (NEW_VERSION, "B")
        }
    };
    if boot.version != version {
        while site.board.console().wait_ready(BOOT_LIMIT)?.version != version {}
    }
    site.ensure_running(version, slot)?;
    ensure_tidy(&site)?;
    site.board.power_cut()?;
    Ok(seen)
}

/// Before the update the old version, after it the new one; in between either.
fn valid_versions(life: &Life, position: usize) -> Result<&'static [&'static str]> {
    if position < life.begin(State::Installing.as_str())? {
        return Ok(&[FACTORY_VERSION]);
    }
    if position >= life.begin(State::Verified.as_str())? {
        return Ok(&[NEW_VERSION]);
    }
    Ok(&[FACTORY_VERSION, NEW_VERSION])
}

/// The board is still the device that it was, or, cut off before it was paired for good, becomes one.
fn belong(site: &mut Site, stage: &Stage) -> Result<String> {
    let paired = |site: &Site| Ok::<_, anyhow::Error>(site.agent_status()?["pairing"].clone());
    let before = paired(site)?;
    if before["paired"] == true {
        ensure!(
            before["device_id"] == site.device.as_str(),
            "it is another device: {before}"
        );
        site.online()?;
        return Ok(", online".to_owned());
    }
    ensure!(
        matches!(stage.name.as_str(), life::FIRST_BOOT | life::PAIRING),
        "it has forgotten its pairing: {before}"
    );
    let token = site.operator.token("1h")?;
    // One that had asked for its certificate already goes on by itself, and needs no token.
    let said = site
        .board
        .console()
        .run(&format!("homeport-agent pair {token}"), COMMAND_LIMIT)?;
    let after = paired(site)?;
    ensure!(after["paired"] == true, "it cannot be paired: {}", said.text);
    after["device_id"]
        .as_str()
        .unwrap_or_default()
        .clone_into(&mut site.device);
    site.online()?;
    Ok(", paired, online".to_owned())
}

/// Nothing had to be thrown away, and nothing is broken.
fn ensure_tidy(site: &Site) -> Result<()> {
    for (what, command) in [
        ("failed units", "systemctl --failed --plain --no-legend"),
        ("damaged state", "find /data -name '*.damaged'"),
        (
            "damaged filesystems",
            "dmesg | grep -i 'ext4-fs error\\|fat-fs.*error' || true",
        ),
    ] {
        let found = site.check(command)?;
        ensure!(found.is_empty(), "{what}: {found}");
    }
    Ok(())
}

fn report(lab: &Lab, plan: &Plan, outcomes: &[Outcome]) -> bool {
    println!("\nPower cuts on {}, seed {}:\n", lab.board, plan.seed);
    println!(
        "| run | moment | unflushed writes lost | kept/lost/torn | seen | seconds |\n|---|---|---|---|---|---|"
    );
    for outcome in outcomes {
        let Fate { kept, lost, torn } = outcome.fate;
        let seen = match &outcome.result {
            Ok(seen) => seen.clone(),
            Err(error) => format!("**violation**: {error:#}").replace('\n', " "),
        };
        println!(
            "| {} | {} | {} | {kept}/{lost}/{torn} | {seen} | {} |",
            outcome.number,
            outcome.moment,
            outcome.loss,
            outcome.took.as_secs()
        );
    }
    let violations = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("\n{} cuts, {violations} violations", outcomes.len());
    violations == 0 && !outcomes.is_empty()
}
