//! Homeport's command line for operators and factories.

#![forbid(unsafe_code)]
// What is printed goes through `output`, which clippy.toml sees to as well.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod access_token;
mod api_path;
mod args;
mod ask;
mod audit;
mod bundle;
mod client;
mod command;
mod deployment;
mod device;
mod error;
mod event_stream;
mod events;
mod find;
mod grant;
mod group;
mod human;
mod line;
mod output;
mod project;
mod server_url;
mod session;
mod stored_login;
mod telemetry;
mod terminal_text;
mod token;
mod trust;
mod update;
mod user;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};
use homeport_api::text::replace_hidden;

use crate::{
    args::{Cli, Command},
    error::{Error, Result},
    output::Output,
};

fn main() -> ExitCode {
    let Ok(cli) = Cli::try_parse() else {
        return refuse();
    };
    let Err(error) = run(cli) else {
        return ExitCode::SUCCESS;
    };
    if !error.is_broken_pipe() {
        output::report(&error);
    }
    ExitCode::from(error.exit_code())
}

fn run(cli: Cli) -> Result<()> {
    let output = Output::new(cli.json);
    match cli.command {
        Command::Login(login) => session::login(login, output),
        Command::Logout => session::logout(output),
        Command::Whoami => session::whoami(output),
        Command::Password(change) => session::change_password(&change, output),
        Command::Device(device) => device::run(device, output),
        Command::Token(token) => token::run(token.command, output),
        Command::Project(project) => project::run(project.command, output),
        Command::Group(group) => group::run(group.command, output),
        Command::Bundle(bundle) => bundle::run(bundle.command, output),
        Command::Deploy(deploy) => deployment::deploy(deploy, output),
        Command::Deployment(deployment) => deployment::run(deployment, output),
        Command::Run(run) => command::run(run, output),
        Command::Logs(logs) => command::logs(logs, output),
        Command::Past(wanted) => command::past(wanted, output),
        Command::User(user) => user::run(user.command, output),
        Command::AccessToken(token) => access_token::run(token.command, output),
        Command::Audit(audit) => audit::run(&audit, output),
        Command::Events => events::run(output),
        Command::Completions { shell } => completions(shell),
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing in the script is from others")]
fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "homeport", &mut script);
    io::stdout().write_all(&script).map_err(Error::Output)
}

/// Says what is wrong with the command line, or gives the help that is asked for. A script may have filled arguments with a device's
/// name, and clap prints them as they are, so it reads them once more without what is hidden in them.
fn refuse() -> ExitCode {
    let arguments = env::args_os().map(|argument| replace_hidden(&argument.to_string_lossy(), ' '));
    let Err(error) = Cli::try_parse_from(arguments) else {
        let error = Error::Usage("an argument has an invisible character where there can be none".to_owned());
        output::report(&error);
        return ExitCode::from(error.exit_code());
    };
    // Nobody to tell when the terminal is gone.
    let _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
