//! Runs the end-to-end scenarios on booted boards, a few at a time.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use homeport_tests::{
    lab::{Lab, Programs, build_agent, scratch},
    lanes::{self, Queue},
    scenarios::{self, ALL, Scenario},
    verdict,
};

const USAGE: &str = "\
usage: e2e --server FILE --cli FILE [--agent FILE] [--folder DIR] [--lanes N] --board B [SCENARIO]... [--board B ...]
Runs all scenarios of each board, or those that are named after it. The agent is built where it is not given.";

/// Boards that run at the same time on two cores: one of them waits most of the time, for a moment or for a link.
const LANES: usize = 3;

/// A scenario on a board.
struct Run {
    lab: Arc<Lab>,
    scenario: Scenario,
}

struct Outcome {
    run: Run,
    result: Result<String>,
    took: Duration,
}

fn main() -> ExitCode {
    verdict::exit("e2e", run())
}

fn run() -> Result<bool> {
    let arguments = arguments(lexopt::Parser::from_env())?;
    let folder = arguments.folder.unwrap_or_else(|| scratch().join("e2e"));
    // The lanes run one board's scenarios while the next one's agent is built.
    let make = |queue: Queue<Run>| {
        for (board, scenarios) in arguments.boards {
            let agent = arguments.agent.clone().map_or_else(|| build_agent(&board), Ok)?;
            let programs = arguments.programs.clone();
            let lab = Arc::new(Lab::new(&board, agent, programs, folder.join(&board)));
            // Built once, before lanes ask for it at the same time.
            lab.disk()?;
            for scenario in scenarios {
                let lab = lab.clone();
                queue.send(Run { lab, scenario })?;
            }
        }
        Ok(())
    };
    let outcomes = lanes::run(arguments.lanes, make, Run::finish)?;
    Ok(report(&folder, &outcomes))
}

fn report(folder: &Path, outcomes: &[Outcome]) -> bool {
    println!("\n| board | scenario | result | seconds | seen |\n|---|---|---|---|---|");
    for Outcome { run, result, took } in outcomes {
        println!(
            "| {} | {} | {} | {} | {} |",
            run.lab.board,
            run.scenario.name,
            word(result),
            took.as_secs(),
            seen(result).replace('\n', " ")
        );
    }
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    if failed > 0 {
        println!("\nlogs of boards and servers: {}", folder.display());
    }
    println!("\n{} passed, {failed} failed", outcomes.len() - failed);
    failed == 0 && !outcomes.is_empty()
}

fn word(result: &Result<String>) -> &'static str {
    if result.is_ok() { "passed" } else { "FAILED" }
}

fn seen(result: &Result<String>) -> String {
    result
        .as_ref()
        .map_or_else(|error| format!("{error:#}"), Clone::clone)
}

// === impl Run ===

impl Run {
    fn finish(self) -> Outcome {
        let name = format!("{} on {}", self.scenario.name, self.lab.board);
        let start = Instant::now();
        eprintln!("{name}: {}", self.scenario.about);
        let result = (self.scenario.run)(&self.lab);
        let took = start.elapsed();
        eprintln!(
            "{name}: {} after {} s: {}",
            word(&result),
            took.as_secs(),
            seen(&result)
        );
        Outcome {
            run: self,
            result,
            took,
        }
    }
}

struct Arguments {
    programs: Programs,
    agent: Option<PathBuf>,
    folder: Option<PathBuf>,
    lanes: usize,
    boards: Vec<(String, Vec<Scenario>)>,
}

fn arguments(mut parser: lexopt::Parser) -> Result<Arguments> {
    use lexopt::{
        Arg::{Long, Value},
        ValueExt as _,
    };

    let (mut server, mut cli, mut agent, mut folder) = (None, None, None, None);
    let mut lanes = LANES;
    let mut boards: Vec<(String, Vec<Scenario>)> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("board") => boards.push((parser.value()?.string()?, Vec::new())),
            Long("server") => server = Some(parser.value()?.into()),
            Long("cli") => cli = Some(parser.value()?.into()),
            Long("agent") => agent = Some(parser.value()?.into()),
            Long("folder") => folder = Some(parser.value()?.into()),
            Long("lanes") => lanes = parser.value()?.parse()?,
            Value(name) => {
                let name = name.string()?;
                let Some(scenario) = scenarios::named(&name) else {
                    let names: Vec<_> = scenarios::names().collect();
                    bail!("no scenario {name}; there are {}\n{USAGE}", names.join(", "));
                };
                let (_, chosen) = boards.last_mut().context(USAGE)?;
                chosen.push(scenario);
            }
            other => bail!("{}\n{USAGE}", other.unexpected()),
        }
    }
    for (_, chosen) in &mut boards {
        if chosen.is_empty() {
            *chosen = ALL.to_vec();
        }
    }
    ensure!(!boards.is_empty(), USAGE);
    Ok(Arguments {
        programs: Programs {
            server: server.context(USAGE)?,
            cli: cli.context(USAGE)?,
        },
        agent,
        folder,
        lanes,
        boards,
    })
}
