//! Commands on devices.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::Newest;
use crate::human;

pub(super) const RUN_USAGE: &str = "\
homeport run [OPTIONS] <DEVICE> <COMMAND> [NAME=VALUE]... [-- <PROGRAM> [ARGUMENT]...]
       homeport run [OPTIONS] --group <GROUP> <COMMAND> [NAME=VALUE]... [-- <PROGRAM> [ARGUMENT]...]";

pub(super) const RUN_HELP: &str = "\
`homeport command kinds DEVICE` lists the commands with their arguments, and what the device's own policy allows. The value of \
an argument that is a list is written a,b or as JSON. A word without `=` is the value of the only argument that the \
command needs.

What the command writes is shown as it comes: stdout on stdout, stderr on stderr. A terminal gets no control characters, a \
file or pipe gets the bytes as they are. The result is shown at the end, on stdout, or on stderr if the command wrote \
something. With --json stdout holds only the run as JSON at the end, or a line for each device of a group, and what the \
command writes goes to stderr.

The exit code is 0 only if the command succeeded, on every device of a group. Ctrl-C asks the server to cancel the command \
and waits for its end, a second Ctrl-C leaves. A restart of the server or a broken network does not end it.

Examples:
  homeport run gate-7 ps
  homeport run gate-7 ping 192.0.2.1 count=5
  homeport run gate-7 service unit=app action=restart
  homeport run gate-7 run -- selftest --quick
  homeport run --group canary get_version";

pub(super) const LOGS_HELP: &str = "\
Examples:
  homeport logs gate-7 --unit app --since 1h
  homeport logs gate-7 -f -p warning";

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The device (not with --group), the command, and its arguments.
    #[arg(required = true, value_name = "DEVICE COMMAND NAME=VALUE")]
    pub(crate) words: Vec<String>,
    /// For the command `run`: the program and its own arguments.
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<String>,
    /// Group instead of a device: every device that is in it now.
    #[arg(long, short)]
    pub(crate) group: Option<String>,
    /// The arguments as a JSON object; `-` is standard input.
    #[arg(long, value_name = "JSON", conflicts_with = "program")]
    pub(crate) arguments: Option<String>,
    #[command(flatten)]
    pub(crate) limits: CommandLimits,
    /// Only request it.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CommandLimits {
    /// How long it may run on a device, at most a day; without it, what the command says.
    #[arg(long, value_parser = human::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// How long a device may take to begin it, at most 30 days; without it, an hour.
    #[arg(long, value_parser = human::parse_duration, value_name = "DURATION")]
    pub(crate) expires: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Id, beginning of the id, or name.
    pub(crate) device: String,
    /// Go on with new messages until Ctrl-C, for a day at most.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only messages of this unit.
    #[arg(long, short)]
    pub(crate) unit: Option<String>,
    /// Only messages of this priority and of more important ones: emerg, alert, crit, err, warning, notice, info, debug, or 0 to 7.
    #[arg(long, short, value_parser = priority)]
    pub(crate) priority: Option<u8>,
    /// The newest so many lines; without it, 200.
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) lines: Option<u32>,
    /// Only messages of the last so long.
    #[arg(long, value_parser = human::parse_duration, value_name = "DURATION")]
    pub(crate) since: Option<Duration>,
    /// Only lines that contain this text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Commands {
    #[command(subcommand)]
    pub(crate) command: Option<CommandCommand>,
    #[command(flatten)]
    pub(crate) list: CommandList,
}

#[derive(Debug, Args)]
pub(crate) struct CommandList {
    /// Only what this device ran: id, beginning of the id, or name.
    pub(crate) device: Option<String>,
    #[command(flatten)]
    pub(crate) newest: Newest,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CommandCommand {
    /// List commands that were requested, newest first.
    List(CommandList),
    /// List the commands that there are, with their arguments and what a device's policy says of each.
    Kinds {
        /// Id, beginning of the id, or name.
        device: Option<String>,
    },
    /// Show how a command went on each device; for one device also its output and result.
    Show {
        /// Number of the command.
        id: u64,
        /// Device of a command on a group: id, beginning of the id, or name.
        device: Option<String>,
    },
    /// Wait until a command has ended everywhere; output and exit code as `run`.
    Watch {
        /// Number of the command.
        id: u64,
    },
    /// Cancel a command where it has not ended.
    Cancel {
        /// Number of the command.
        id: u64,
    },
}

const PRIORITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// Reads a priority as journalctl does.
fn priority(text: &str) -> Result<u8, String> {
    let number = text.parse().ok().filter(|number| *number < PRIORITIES.len());
    number
        .or_else(|| PRIORITIES.iter().position(|name| *name == text))
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| format!("it is one of {}, or 0 to 7", PRIORITIES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_have_names_and_numbers() {
        assert_eq!(priority("err"), Ok(3));
        assert_eq!(priority("7"), Ok(7));
        assert!(priority("8").is_err() && priority("fatal").is_err());
    }
}
