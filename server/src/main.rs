//! Homeport's server.

#![forbid(unsafe_code)]

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use homeport_server::{api, config::Settings, fleet, server, store::Store};
use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Keeps fleets of embedded Linux devices reachable, observable and up to date.
#[derive(Debug, Parser)]
#[command(
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the OpenAPI description of the REST API
    Openapi,
    /// Give a user a new random password and print it; the server must not be running
    ResetPassword(Box<ResetPassword>),
}

#[derive(Debug, Args)]
struct ResetPassword {
    #[command(flatten)]
    settings: Settings,
    /// User name
    user: String,
}

fn main() -> ExitCode {
    let command = Command::parse();
    // The database holds more than others on this machine need to see, wherever the data directory is.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(EnvFilter::try_from_env("HOMEPORT_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    let done = match command.action {
        None => serve(command.settings),
        Some(Action::Openapi) => {
            println!("{}", api::openapi_json());
            Ok(())
        }
        Some(Action::ResetPassword(reset)) => reset_password(*reset),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homeport-server: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let config = settings.complete()?;
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(server::run(config, shutdown).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn reset_password(reset: ResetPassword) -> Result<(), Box<dyn std::error::Error>> {
    let config = reset.settings.complete()?;
    let store = Store::open(&config.data_dir)?;
    let password = fleet::reset_password(&store, reset.user).await?;
    println!("{password}");
    Ok(())
}
