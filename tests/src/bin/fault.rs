//! Makes things go wrong on a reference board, many times, and looks whether it goes on as it must.
#![forbid(unsafe_code)]

use std::{ops::RangeInclusive, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use homeport_tests::{
    fault::{
        life::Life,
        power::{self, Depth, Plan},
    },
    lab::{Lab, Programs, build_agent, scratch},
    verdict,
};
use lexopt::ValueExt as _;

const USAGE: &str = "\
Usage: fault power --board B --runs N [options]
       fault environment --board B --runs N [options]

Records one life of a board (first boot, pairing, update, trial, restart) with every write of its disk, then cuts the
power at N random moments of it: makes the disk that the cut could have left, boots it, and looks. Ends with 1 if the
board did not go on as it must; the disk of each such run is kept.

With `environment` all cuts are right after writes of the bootloader's environment, and each run ends when the bootloader
has started a slot. That takes a few seconds, so there can be many.

  --seed <number>    makes the cuts that this seed made before
  --again            on the life that was recorded last, instead of a new one: needed to repeat a run
  --only <n[-n]>     only this one of the runs, or these

  --server, --cli <file>   the programs under test
  --agent <file>           the agent, instead of one that is built for the board
";

fn main() -> ExitCode {
    verdict::exit("fault", run())
}

fn run() -> Result<bool> {
    let Some((mut lab, plan, again)) = parse(lexopt::Parser::from_env())? else {
        print!("{USAGE}");
        return Ok(true);
    };
    if lab.agent.as_os_str().is_empty() {
        lab.agent = build_agent(&lab.board)?;
    }
    let folder = lab.folder.join("life");
    let life = if again {
        Life::open(&folder)?
    } else {
        eprintln!("power: recording a life of {}", lab.board);
        Life::record(&lab, &folder)?
    };
    eprintln!(
        "power: a life of {} writes and flushes; seed {}",
        life.log.entries.len(),
        plan.seed
    );
    power::run(&lab, &life, &plan)
}

/// Nothing when help was asked for. Without an agent one is to be built.
fn parse(mut parser: lexopt::Parser) -> Result<Option<(Lab, Plan, bool)>> {
    use lexopt::Arg::{Long, Short, Value};

    let (mut kind, mut board, mut runs) = (None, None, None);
    let (mut server, mut cli, mut agent) = (None, None, None);
    let (mut seed, mut only, mut again) = (None, None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("board") => board = Some(parser.value()?.string()?),
            Long("runs") => runs = Some(parser.value()?.parse()?),
            Long("seed") => seed = Some(parser.value()?.parse()?),
            Long("only") => only = Some(parse_range(&parser.value()?.string()?)?),
            Long("again") => again = true,
            Long("server") => server = Some(parser.value()?.into()),
            Long("cli") => cli = Some(parser.value()?.into()),
            Long("agent") => agent = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            Value(name) if kind.is_none() => kind = Some(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let depth = match kind.as_deref() {
        Some("power") => Depth::Life,
        Some("environment") => Depth::Bootloader,
        Some(other) => bail!("no fault {other}: there are power and environment\n\n{USAGE}"),
        None => bail!(USAGE),
    };
    let board = board.context(USAGE)?;
    let programs = Programs {
        server: server.context(USAGE)?,
        cli: cli.context(USAGE)?,
    };
    let folder = scratch().join(format!("fault-{board}"));
    let lab = Lab::new(&board, agent.unwrap_or_default(), programs, folder);
    let plan = Plan {
        depth,
        runs: runs.context(USAGE)?,
        seed: seed.unwrap_or_else(|| fastrand::u64(..)),
        only,
    };
    Ok(Some((lab, plan, again)))
}

fn parse_range(text: &str) -> Result<RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.parse()
            .with_context(|| format!("--only: {text} is not a number"))
    };
    Ok(number(first)?..=number(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAMS: [&str; 4] = ["--server", "s", "--cli", "c"];

    #[test]
    fn arguments_are_understood() {
        let given = [
            "power", "--board", "armv7", "--runs", "50", "--seed", "7", "--again", "--only", "3-5",
        ];
        let given = given.iter().chain(&PROGRAMS);
        let (lab, plan, again) = parse(lexopt::Parser::from_args(given)).unwrap().unwrap();
        assert_eq!(lab.board, "armv7");
        assert_eq!((plan.runs, plan.seed, plan.only), (50, 7, Some(3..=5)));
        assert!(again);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for given in [
            &["power", "--runs", "1"][..],
            &["fire", "--board", "armv7", "--runs", "1"],
            &["power", "--board", "armv7"],
            &["power", "--board", "armv7", "--runs", "1", "--only", "x"],
        ] {
            let given = given.iter().chain(&PROGRAMS);
            assert!(parse(lexopt::Parser::from_args(given)).is_err());
        }
    }
}
