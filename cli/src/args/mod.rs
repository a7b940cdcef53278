//! What can be typed.

mod access;
mod command;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};
use clap_complete::Shell;

pub(crate) use self::access::{
    AccessToken, AccessTokenCommand, Owner, Place, Project, ProjectCommand, User, UserCommand,
};
pub(crate) use self::command::{CommandCommand, CommandLimits, Commands, Logs, Run};
use crate::human;

const EXAMPLES: &str = "\
Examples:
  homeport login https://fleet.example.com:8443
  homeport token create --name line-3-unit-17
  homeport devices
  homeport deploy build/update-1.4.0.raucb --device line-3-unit-17 --watch
  homeport deploy 1.4.0 --group canary --watch --json | tee rollout.log
  homeport run line-3-unit-17 service unit=app action=restart

Exit codes:
  0  done
  1  the operation failed; the reason is on stderr
  2  the command line is wrong, or an answer is needed and nobody can be asked
  3  the server cannot be reached, or is not the server that was trusted
  4  not logged in, or not allowed

Environment:
  HOMEPORT_URL             server instead of that of the stored login
  HOMEPORT_TOKEN           access token instead of the stored login
  HOMEPORT_CA              file with the CA certificate (PEM) of that server
  HOMEPORT_CA_FINGERPRINT  SHA-256 fingerprint of that certificate, instead of the file
  HOMEPORT_PASSWORD        password for `homeport login`
  NO_COLOR                 no colours; there are none outside a terminal anyway
  XDG_CONFIG_HOME          where the login is stored: $XDG_CONFIG_HOME/homeport/login.json,
                           ~/.config/homeport/login.json without it";

/// Operate a fleet of devices through a Homeport server.
///
/// Devices can be named by their id, a unique beginning of the id, or their name; bundles by their id, a unique beginning of it, or their
/// version. Without --json, output is for people and may change; with it, stdout holds JSON as the server's REST API documents it.
#[derive(Debug, Parser)]
#[command(name = "homeport", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Print JSON: exact times in milliseconds, all fields.
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in to a server and remember it.
    #[command(after_help = LOGIN_HELP)]
    Login(Login),
    /// End the session and forget its token; the server stays trusted.
    Logout,
    /// Show who is logged in, where, with which roles, and the server's version.
    Whoami,
    /// Change your password; ends your other sessions.
    Password(PasswordChange),
    /// List devices, look at one, rename, move, revoke or delete it.
    #[command(visible_alias = "devices", args_conflicts_with_subcommands = true)]
    Device(Device),
    /// Pairing tokens: one lets one device join.
    #[command(visible_alias = "tokens")]
    Token(Token),
    /// Projects: parts of the fleet that are kept apart, such as customers.
    #[command(visible_alias = "projects")]
    Project(Project),
    /// Groups of devices.
    #[command(visible_alias = "groups")]
    Group(Group),
    /// Update bundles.
    #[command(visible_alias = "bundles")]
    Bundle(Bundle),
    /// Update a device or a group with a bundle.
    #[command(after_help = DEPLOY_HELP)]
    Deploy(Deploy),
    /// Deployments and how far they are.
    #[command(visible_alias = "deployments")]
    Deployment(Deployment),
    /// Run a command on a device or a group, and show what comes of it.
    #[command(after_help = command::RUN_HELP, override_usage = command::RUN_USAGE)]
    Run(Run),
    /// Show messages of a device's log.
    #[command(after_help = command::LOGS_HELP)]
    Logs(Logs),
    /// Commands that devices can run, and those that were run.
    #[command(
        name = "command",
        visible_alias = "commands",
        args_conflicts_with_subcommands = true
    )]
    Past(Commands),
    /// Users, their passwords and their roles.
    #[command(visible_alias = "users")]
    User(User),
    /// Access tokens: your own, or a service's, instead of a login.
    #[command(visible_alias = "access-tokens")]
    AccessToken(AccessToken),
    /// Show who did what, newest first.
    Audit(Newest),
    /// Follow what happens, as it happens, until interrupted.
    ///
    /// With --json one event of the REST API a line. After a lost connection `{"type":"resync"}` says that events may be missing.
    Events,
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

const LOGIN_HELP: &str = "\
At the first login, the SHA-256 fingerprint of the server's CA is shown and you are asked whether it is right; \
compare it with what the server's administrator gives you. From then on only that CA is trusted for this server. A \
script names it with --ca or --ca-fingerprint.

The password is never an argument: it is asked for, read from --password-file, or taken from the environment \
variable HOMEPORT_PASSWORD.

Examples:
  homeport login https://fleet.example.com:8443
  homeport login fleet.example.com:8443 --user mia --ca ca.pem
  pass show homeport | homeport login --ca ca.pem --password-file - fleet.example.com:8443";

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Address of the server, e.g. https://fleet.example.com:8443; without it, the server of the last login.
    pub(crate) url: Option<String>,
    /// User name.
    #[arg(long, short, default_value = "admin", env = "HOMEPORT_USER")]
    pub(crate) user: String,
    /// File with the CA certificate of the server (PEM).
    #[arg(long, value_name = "FILE", env = "HOMEPORT_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// SHA-256 fingerprint of the CA certificate of the server, hexadecimal, colons allowed.
    #[arg(
        long,
        value_name = "HEX",
        conflicts_with = "ca",
        env = "HOMEPORT_CA_FINGERPRINT"
    )]
    pub(crate) ca_fingerprint: Option<String>,
    /// File whose first line is the password; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PasswordChange {
    /// File with the present password in the first line and the new one in the second; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Device {
    #[command(subcommand)]
    pub(crate) command: Option<DeviceCommand>,
    #[command(flatten)]
    pub(crate) list: DeviceList,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceList {
    /// Only devices of this group.
    #[arg(long, short)]
    pub(crate) group: Option<String>,
    /// Only devices of this project and the projects below it.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) project: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List devices.
    List(DeviceList),
    /// Show everything about a device.
    Show {
        /// Id, beginning of the id, or name.
        device: String,
    },
    /// Give a device another name.
    Rename {
        /// Id, beginning of the id, or name.
        device: String,
        /// New name, 1 to 128 characters.
        name: String,
    },
    /// Move a device to another project; it leaves groups that do not reach there.
    Move {
        /// Id, beginning of the id, or name.
        device: String,
        /// Path of the project.
        #[arg(required_unless_present = "none", value_parser = NonEmptyStringValueParser::new())]
        project: Option<String>,
        /// Out of its project, into none.
        #[arg(long, conflicts_with = "project")]
        none: bool,
    },
    /// Revoke a device's certificate: it is cut off at once and must be paired again.
    Revoke {
        /// Id, beginning of the id, or name.
        device: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Delete a device and its history; cuts it off for good.
    Delete {
        /// Id, beginning of the id, or name.
        device: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Show what a device measured.
    Telemetry(Telemetry),
    /// Show the updates that a device went through.
    Updates {
        /// Id, beginning of the id, or name.
        device: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Sure {
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Telemetry {
    /// Id, beginning of the id, or name.
    pub(crate) device: String,
    /// Only this series, e.g. `cpu.busy`.
    #[arg(long, short)]
    pub(crate) name: Option<String>,
    /// How far back.
    #[arg(long, default_value = "1h", value_parser = human::parse_duration, value_name = "DURATION")]
    pub(crate) since: Duration,
    /// At most so many samples of each series; more are averaged.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) points: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: Option<TokenCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token that pairs one device; its text is shown this one time only.
    #[command(after_help = TOKEN_HELP)]
    Create {
        /// How long it can be used: 1s to 30d.
        #[arg(long, default_value = "1h", value_parser = human::parse_duration, value_name = "DURATION")]
        ttl: Duration,
        /// Name that the device gets; without it, its host name.
        #[arg(long)]
        name: Option<String>,
        /// Pair this device again: it keeps its id, project and history, its old certificate is revoked.
        #[arg(long)]
        device: Option<String>,
        /// Project for the device; without it, the only project in which you may pair, else none.
        #[arg(long, conflicts_with = "device", value_parser = NonEmptyStringValueParser::new())]
        project: Option<String>,
    },
    /// List tokens.
    List,
    /// Delete a token; it can then no longer be used.
    Delete {
        /// Number of the token.
        id: u64,
    },
}

const TOKEN_HELP: &str = "\
The token goes to stdout, everything else to stderr.

Examples:
  homeport token create --name gate-7
  ssh root@192.168.1.20 homeport-agent pair \"$(homeport token create --ttl 10m)\"";

#[derive(Debug, Args)]
pub(crate) struct Group {
    #[command(subcommand)]
    pub(crate) command: Option<GroupCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make an empty group.
    Create {
        /// 1 to 64 of a-z, 0-9 and -; for a group of a project, after its path, e.g. acme/pilot.
        name: String,
    },
    /// List groups.
    List,
    /// Show a group's devices.
    Show {
        /// Name of the group.
        name: String,
    },
    /// Delete a group; its devices stay.
    Delete {
        /// Name of the group.
        name: String,
    },
    /// Add devices to a group.
    Add {
        /// Name of the group.
        group: String,
        /// Id, beginning of the id, or name.
        #[arg(required = true)]
        devices: Vec<String>,
    },
    /// Take devices out of a group.
    Remove {
        /// Name of the group.
        group: String,
        /// Id, beginning of the id, or name.
        #[arg(required = true)]
        devices: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Bundle {
    #[command(subcommand)]
    pub(crate) command: Option<BundleCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Upload a RAUC bundle; one that is there already is not sent again.
    Upload {
        /// The bundle (.raucb).
        file: PathBuf,
        /// Only for this project and the projects below it; without it, every project can deploy the bundle.
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        project: Option<String>,
    },
    /// List bundles.
    List,
    /// Show a bundle's manifest.
    Show {
        /// Id, beginning of the id, or version.
        bundle: String,
    },
    /// Delete a bundle from the server.
    Delete {
        /// Id, beginning of the id, or version.
        bundle: String,
        /// From this project; needed if the bundle is in several.
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        project: Option<String>,
        /// From where every project can deploy it.
        #[arg(long, conflicts_with = "project")]
        none: bool,
        /// Also while devices are being updated with it: those that have not fetched it fail.
        #[arg(long)]
        force: bool,
    },
}

const DEPLOY_HELP: &str = "\
A bundle with a `/` in it or ending in .raucb is a file, which is uploaded first, for the project of the target.

With --watch the exit code is 0 only when every device runs the new version, is healthy and has confirmed it \
(`verified`); 1 otherwise, with each device's reason. Watching goes on through restarts of the server and lost \
connections. With --watch --json every change is one line on stdout: an object with device, device_name, state, \
previous, percent and reason.

Examples:
  homeport deploy 1.4.0 --device gate-7 --watch
  homeport deploy ./update-1.4.0.raucb --group canary --watch --timeout 30m";

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Bundle: id, beginning of the id, version, or a file.
    pub(crate) bundle: String,
    #[command(flatten)]
    pub(crate) target: DeployTarget,
    /// Stay until every device is done.
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) limit: WatchLimit,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DeployTarget {
    /// Device: id, beginning of the id, or name.
    #[arg(long, short)]
    pub(crate) device: Option<String>,
    /// Group: every device that is in it now.
    #[arg(long, short)]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WatchLimit {
    /// Stop watching after this long, with exit code 1; the update itself goes on.
    #[arg(long, value_parser = human::parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Deployment {
    #[command(subcommand)]
    pub(crate) command: Option<DeploymentCommand>,
    #[command(flatten)]
    pub(crate) list: Newest,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    /// List deployments, newest first.
    List(Newest),
    /// Show each device of a deployment. If there are at most 20, also what each went through.
    Show {
        /// Number of the deployment.
        id: u64,
    },
    /// Cancel a deployment on the devices that have not yet written it.
    Cancel {
        /// Number of the deployment.
        id: u64,
    },
    /// Watch a deployment until every device is done; exit code as `deploy --watch`.
    Watch {
        /// Number of the deployment.
        id: u64,
        #[command(flatten)]
        limit: WatchLimit,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Newest {
    /// How many of the newest to list.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  homeport completions bash > /etc/bash_completion.d/homeport
  homeport completions zsh > ~/.zfunc/_homeport
  homeport completions fish > ~/.config/fish/completions/homeport.fish";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use homeport_testkit::manual;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_manual_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/homeport.1");
        manual::is_current(path.as_ref(), &manual::page(Cli::command(), "1"));
    }

    #[test]
    fn devices_lists_without_a_subcommand() {
        let cli = parse("homeport devices --json --group canary --project acme").unwrap();
        assert!(cli.json);
        let Command::Device(Device { command: None, list }) = cli.command else {
            panic!("not a list");
        };
        assert_eq!(list.group.as_deref(), Some("canary"));
        assert_eq!(list.project.as_deref(), Some("acme"));
        assert!(parse("homeport device show gate-7 --json").unwrap().json);
    }

    #[test]
    fn a_program_has_options_of_its_own() {
        let cli = parse("homeport run gate run --timeout 5s -- selftest --quick --json").unwrap();
        assert!(!cli.json);
        let Command::Run(run) = cli.command else {
            panic!("not a run");
        };
        assert_eq!(run.words, ["gate", "run"]);
        assert_eq!(run.program, ["selftest", "--quick", "--json"]);
        assert_eq!(run.limits.timeout, Some(Duration::from_secs(5)));
        assert!(parse("homeport run").is_err());
        assert!(parse("homeport run gate ps --arguments {} --no-wait").is_ok());
    }

    #[test]
    fn commands_of_a_device_are_listed_without_a_subcommand() {
        let list = |line| match parse(line).unwrap().command {
            Command::Past(Commands { command: None, list }) => list.device,
            _ => panic!("not a list"),
        };
        assert_eq!(list("homeport commands"), None);
        assert_eq!(list("homeport commands gate --limit 3").as_deref(), Some("gate"));
        assert!(parse("homeport command cancel gate").is_err());
    }

    #[test]
    fn deploy_takes_exactly_one_target() {
        assert!(parse("homeport deploy 1.0").is_err());
        assert!(parse("homeport deploy 1.0 --device a --group b").is_err());
        assert!(parse("homeport deploy 1.0 --device a --watch").is_ok());
    }
}
