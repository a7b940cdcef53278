//! Homeport's command line for operators and factories.

#![forbid(unsafe_code)]

mod args;
mod ask;
mod audit;
mod bundle;
mod client;
mod deployment;
mod device;
mod error;
mod event_stream;
mod events;
mod find;
mod group;
mod human;
mod output;
mod server_url;
mod session;
mod stored_login;
mod telemetry;
mod token;
mod trust;
mod update;
mod watch;
mod watch_view;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};

use crate::{
    args::{Cli, Command},
    error::{Error, Result},
    output::{Output, clean},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Err(error) = run(cli) else {
        return ExitCode::SUCCESS;
    };
    if !error.is_broken_pipe() {
        report(&error);
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
        Command::Group(group) => group::run(group.command, output),
        Command::Bundle(bundle) => bundle::run(bundle.command, output),
        Command::Deploy(deploy) => deployment::deploy(deploy, output),
        Command::Deployment(deployment) => deployment::run(deployment, output),
        Command::Audit(audit) => audit::run(&audit, output),
        Command::Events => events::run(output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "homeport", &mut script);
            io::stdout().write_all(&script).map_err(Error::Output)
        }
    }
}

fn report(error: &Error) {
    let style = output::Tone::Bad.style().for_stderr();
    let mut stderr = io::stderr();
    for (i, line) in error.to_string().lines().enumerate() {
        let label = if i == 0 { "error:" } else { "      " };
        // Nobody to tell when stderr is gone.
        let _ = writeln!(stderr, "{} {}", style.apply_to(label), clean(line));
    }
    if let Some(next) = error.next_step() {
        let _ = writeln!(stderr, "  → {next}");
    }
}
