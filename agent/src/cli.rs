//! The command line.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use lexopt::{Arg, Parser, ValueExt};

use crate::identity::{MAX_TOKEN_FILE, decode_token};

/// Exit codes, those of sysexits(3) where one fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did not work; the message says why.
    Failure = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The agent is not running, or this user may not talk to it.
    Unavailable = 69,
    /// The configuration is wrong.
    Config = 78,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Run,
    Status { json: bool },
    Pair { token: String, anew: bool },
    BootCheck,
    Help,
    Version,
}

/// The command line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) task: Task,
    /// Folder of the configuration, instead of the system's two.
    pub(crate) config: Option<PathBuf>,
}

pub(crate) const HELP: &str = "\
Homeport agent: keeps this device reachable, observable and up to date.

Usage: homeport-agent [--config FOLDER] COMMAND

Commands:
  run                     run as a daemon, normally by homeport-agent.service
  status [--json]         show pairing, connection, queue and updates
  pair [--force] TOKEN    join the server that the token names; - reads the token from standard input
  boot-check              decide whether a system that was just updated may stay (homeport-boot-check.service)

Options:
  --config FOLDER         read agent.toml and agent.toml.d/*.toml in FOLDER only,
                          instead of /usr/lib/homeport and /etc/homeport
  --force                 with pair: leave the present server for the new one
  -h, --help              show this
  -V, --version           show the version

Exit codes: 0 done, 1 failed, 64 wrong command line, 69 the agent does not run or may not be called, 78 wrong configuration.
";

/// Reads the command line of this process.
pub(crate) fn parse(parser: Parser) -> Result<Arguments, lexopt::Error> {
    parse_with(parser, io::stdin())
}

fn parse_with(mut parser: Parser, stdin: impl Read) -> Result<Arguments, lexopt::Error> {
    let mut words = Vec::new();
    let (mut config, mut json, mut force) = (None, false, false);
    while let Some(argument) = parser.next()? {
        let task = match argument {
            Arg::Short('h') | Arg::Long("help") => Task::Help,
            Arg::Short('V') | Arg::Long("version") => Task::Version,
            Arg::Long("config") => {
                config = Some(PathBuf::from(parser.value()?));
                continue;
            }
            Arg::Long("json") => {
                json = true;
                continue;
            }
            Arg::Long("force") => {
                force = true;
                continue;
            }
            Arg::Value(word) => {
                words.push(word.string()?);
                continue;
            }
            other => return Err(other.unexpected()),
        };
        return Ok(Arguments { task, config });
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let task = match words[..] {
        ["run"] => Task::Run,
        ["status"] => Task::Status { json },
        ["boot-check"] => Task::BootCheck,
        ["pair", token] => Task::Pair {
            token: read_token(token, stdin)?,
            anew: force,
        },
        ["pair"] => return Err("pair needs a token, or - to read it from standard input".into()),
        [] => return Err("a command is missing; see --help".into()),
        [word, ..] => return Err(format!("'{word}' with these arguments is no command; see --help").into()),
    };
    if json && !matches!(task, Task::Status { .. }) {
        return Err("--json goes with status".into());
    }
    if force && !matches!(task, Task::Pair { .. }) {
        return Err("--force goes with pair".into());
    }
    Ok(Arguments { task, config })
}

fn read_token(word: &str, stdin: impl Read) -> Result<String, lexopt::Error> {
    if word != "-" {
        return Ok(word.to_owned());
    }
    let mut content = Vec::new();
    stdin
        .take(MAX_TOKEN_FILE)
        .read_to_end(&mut content)
        .map_err(|error| format!("cannot read the token from standard input: {error}"))?;
    Ok(decode_token(&content).trim().to_owned())
}

/// Prints to standard output. A reader that has gone away, as `head` does, is no failure.
pub(crate) fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints an error and ends with `exit`.
pub(crate) fn fail(exit: Exit, message: impl std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "homeport-agent: {message}");
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, stdin: &str) -> Result<Arguments, String> {
        let parser = Parser::from_args(line.split_whitespace());
        parse_with(parser, stdin.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_are_understood() {
        assert_eq!(read("run", "").unwrap().task, Task::Run);
        assert_eq!(
            read("status --json", "").unwrap().task,
            Task::Status { json: true }
        );
        assert_eq!(read("--help pair", "").unwrap().task, Task::Help);
        assert_eq!(
            read("run --config /x", "").unwrap().config,
            Some(PathBuf::from("/x"))
        );
        let pair = |token: &str, anew| Task::Pair {
            token: token.to_owned(),
            anew,
        };
        assert_eq!(read("pair abc", "").unwrap().task, pair("abc", false));
        assert_eq!(read("pair --force -", " abc\n").unwrap().task, pair("abc", true));
    }

    #[test]
    fn the_manual_page_has_every_command_option_and_exit_code() {
        let page = include_str!("../dist/man/homeport-agent.8").replace('\\', "");
        let (commands, exits) = HELP.split_once("Exit codes: ").unwrap();
        let words = commands
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .map(|word| word.trim_end_matches(','));
        let codes = exits.split(", ").map(|exit| exit.split(' ').next().unwrap());
        let known: Vec<_> = words.chain(codes).collect();
        assert!(known.len() > 10, "{known:?}");
        for word in known {
            let is_there = page
                .lines()
                .any(|line| line.starts_with(".B") && line.split([' ', ',']).any(|part| part == word));
            assert!(is_there, "{word}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("", "command is missing"),
            ("fly", "fly"),
            ("pair", "token"),
            ("run now", "run"),
            ("run --json", "--json"),
            ("status --force", "--force"),
            ("run --fast", "--fast"),
            ("run --config", "--config"),
        ] {
            let error = read(line, "").unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
