//! Measures what the agent costs a device, on booted boards, and holds it to its budgets.
#![forbid(unsafe_code)]

mod budgets;
mod figures;
mod table;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use homeport_tests::{
    board::facts::{self, repository},
    lab::{Lab, Programs, build_agent, scratch},
    lanes::{self, Queue},
    verdict,
};

use self::{budgets::Budgets, figures::Figures};

const USAGE: &str = "usage: ./just size [--check] [--minutes N] [--lanes N] [BOARD[=AGENT]]...
  --check        compare with tests/budgets.toml instead of writing docs/SPECIFICATION.md
  --minutes N    watch each agent twice for so long, 5 by default
  --lanes N      boards that run at the same time, 1 by default
  BOARD[=AGENT]  a reference board, and an agent to measure instead of the one that is built for it; all boards by default";

const DEFAULT_MINUTES: u64 = 5;

struct Arguments {
    programs: Programs,
    /// Names, and the agent where it is given.
    boards: Vec<(String, Option<PathBuf>)>,
    /// Boards at the same time.
    lanes: usize,
    check: bool,
    window: Duration,
}

fn main() -> ExitCode {
    verdict::exit("size", run())
}

fn run() -> Result<bool> {
    let arguments = arguments(lexopt::Parser::from_env())?;
    let make = |queue: Queue<Lab>| {
        for (board, agent) in arguments.boards {
            let agent = agent.map_or_else(|| build_agent(&board), Ok)?;
            let programs = arguments.programs.clone();
            let folder = scratch().join("size").join(&board);
            queue.send(Lab::new(&board, agent, programs, folder))?;
        }
        Ok(())
    };
    let measure = |lab: Lab| {
        eprintln!("{}: booting, pairing, and watching an idle agent", lab.board);
        Figures::measure(&lab, arguments.window).with_context(|| lab.board.clone())
    };
    let mut all: Vec<Figures> = lanes::run(arguments.lanes, make, measure)?
        .into_iter()
        .collect::<Result<_>>()?;
    all.sort_by(|one, other| one.board.cmp(&other.board));
    print!("{}", table::render(&all));
    if !arguments.check {
        let file = repository().join("docs/SPECIFICATION.md");
        fs::write(&file, table::update(&fs::read_to_string(&file)?, &all)?)?;
        return Ok(true);
    }
    let budgets = Budgets::load()?;
    let mut is_within = true;
    for figures in &all {
        for line in budgets.excess(figures)? {
            eprintln!("{line}");
            is_within = false;
        }
    }
    Ok(is_within)
}

fn arguments(mut parser: lexopt::Parser) -> Result<Arguments> {
    use lexopt::{
        Arg::{Long, Value},
        ValueExt as _,
    };

    let (mut server, mut cli) = (None, None);
    // One after the other, where figures are to be published: a busy machine stretches what a board does in a minute. The
    // budgets have room for it.
    let (mut check, mut minutes, mut lanes) = (false, DEFAULT_MINUTES, 1);
    let mut boards = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("server") => server = Some(parser.value()?.into()),
            Long("cli") => cli = Some(parser.value()?.into()),
            Long("check") => check = true,
            Long("lanes") => lanes = parser.value()?.parse()?,
            Long("minutes") => minutes = parser.value()?.parse()?,
            Value(board) => boards.push(board.string()?),
            other => bail!("{}\n{USAGE}", other.unexpected()),
        }
    }
    ensure!(minutes > 0, USAGE);
    if boards.is_empty() {
        boards = facts::names()?;
    }
    let boards = boards.into_iter().map(|board| match board.split_once('=') {
        Some((board, agent)) => (board.to_owned(), Some(PathBuf::from(agent))),
        None => (board, None),
    });
    Ok(Arguments {
        programs: Programs {
            server: server.context(USAGE)?,
            cli: cli.context(USAGE)?,
        },
        boards: boards.collect(),
        lanes,
        check,
        window: Duration::from_secs(minutes * 60),
    })
}
