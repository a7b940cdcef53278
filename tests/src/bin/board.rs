//! Boots a reference board on the terminal, for developers.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use homeport_tests::board::Forward;
use homeport_tests::board::facts::Facts;
use homeport_tests::board::image::Image;
use homeport_tests::board::terminal::{self, TerminalOptions};
use homeport_tests::lab::build_agent;
use lexopt::ValueExt as _;

const USAGE: &str = "\
Usage: board <name> [options]

Boots a reference board in QEMU with its serial port on this terminal. The board is root's without a password, reaches
this machine at 10.0.2.2, and keeps what it writes until its image is rebuilt.

  --version <version>     version of the image (1.0.0)
  --agent <file>          the homeport-agent to install instead of this checkout's
  --bare                  a board without agent
  --disk <file>           a qcow2 disk instead of one that is built; it is not written to
  --fresh                 forget what the board has written
  --memory <MiB>          memory, if not what the board has
  --forward <port:port>   a port of this machine's loopback that leads to a port of the board; repeatable
";

struct Arguments {
    board: String,
    version: String,
    agent: Option<PathBuf>,
    bare: bool,
    disk: Option<PathBuf>,
    fresh: bool,
    memory_mib: Option<u32>,
    forwards: Vec<Forward>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("board: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(arguments) = parse(lexopt::Parser::from_env())? else {
        print!("{USAGE}");
        return Ok(());
    };
    let facts = Facts::load(&arguments.board)?;
    let disk = if let Some(disk) = arguments.disk {
        disk
    } else {
        let agent = match arguments.agent {
            None if !arguments.bare => Some(build_agent(&arguments.board)?),
            agent => agent,
        };
        Image {
            board: arguments.board,
            version: arguments.version,
            agent,
        }
        .disk()?
    };
    println!("{}: {}", facts.name, facts.description);
    println!("Ctrl-A X switches the board off, Ctrl-A C is QEMU's monitor and back, Ctrl-A H helps.");
    terminal::run(&TerminalOptions {
        facts,
        disk,
        fresh: arguments.fresh,
        memory_mib: arguments.memory_mib,
        forwards: arguments.forwards,
    })
}

/// Nothing when help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>> {
    use lexopt::Arg::{Long, Short, Value};

    let mut board = None;
    let mut arguments = Arguments {
        board: String::new(),
        version: "1.0.0".to_owned(),
        agent: None,
        bare: false,
        disk: None,
        fresh: false,
        memory_mib: None,
        forwards: Vec::new(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("version") => arguments.version = parser.value()?.string()?,
            Long("agent") => arguments.agent = Some(parser.value()?.into()),
            Long("bare") => arguments.bare = true,
            Long("disk") => arguments.disk = Some(parser.value()?.into()),
            Long("fresh") => arguments.fresh = true,
            Long("memory") => arguments.memory_mib = Some(parser.value()?.parse()?),
            Long("forward") => arguments
                .forwards
                .push(parse_forward(&parser.value()?.string()?)?),
            Long("help") | Short('h') => return Ok(None),
            Value(name) if board.is_none() => board = Some(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(board) = board else {
        bail!("name a board, such as x86_64; --help says more")
    };
    Ok(Some(Arguments { board, ..arguments }))
}

fn parse_forward(text: &str) -> Result<Forward> {
    let (host, board) = text
        .split_once(':')
        .with_context(|| format!("--forward {text}: not <port:port>"))?;
    let port = |text: &str| {
        text.parse()
            .with_context(|| format!("--forward: {text} is not a port"))
    };
    Ok(Forward {
        host: port(host)?,
        board: port(board)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_understood() {
        let given = [
            "x86_64",
            "--fresh",
            "--agent",
            "target/agent",
            "--forward",
            "2222:22",
            "--version=2.0.0",
            "--memory",
            "128",
        ];
        let parsed = parse(lexopt::Parser::from_args(given)).unwrap().unwrap();
        assert_eq!(parsed.board, "x86_64");
        assert_eq!(parsed.version, "2.0.0");
        assert!(parsed.fresh);
        assert_eq!(parsed.agent, Some(PathBuf::from("target/agent")));
        assert_eq!(parsed.memory_mib, Some(128));
        assert_eq!(
            parsed.forwards,
            [Forward {
                host: 2222,
                board: 22
            }]
        );
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for given in [
            &[][..],
            &["x86_64", "i386"],
            &["x86_64", "--forward", "22"],
            &["x86_64", "--slow"],
        ] {
            assert!(parse(lexopt::Parser::from_args(given)).is_err(), "{given:?}");
        }
    }
}
