//! Homeport's server.

#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use homeport_server::{
    api,
    backup::{self, Options},
    config::Settings,
    log, pairing, people, server,
    store::{Database, Store, moving},
};
use nix::sys::stat::{Mode, umask};
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
    /// Write everything that the server keeps to one file; the server may be running
    Backup(Box<BackUp>),
    /// Restore the data directory from a backup; the server must not be running
    Restore(Box<Restore>),
    /// Copy the database between the data directory and PostgreSQL
    #[command(subcommand)]
    Database(DatabaseAction),
    /// Readmit certificates that the database does not know, after you put an older one in place by hand; the server must not be running
    Readmit(Box<Readmit>),
}

#[derive(Debug, Args)]
struct BackUp {
    #[command(flatten)]
    settings: Settings,
    /// New file; it holds the authority's key, and only its owner can read it
    file: PathBuf,
    /// Leave the bundles out
    #[arg(long)]
    no_bundles: bool,
}

#[derive(Debug, Args)]
struct Restore {
    #[command(flatten)]
    settings: Settings,
    /// The backup
    file: PathBuf,
    /// Move the present files of the data directory aside, into a directory of their own
    #[arg(long)]
    replace: bool,
    /// Readmit certificates that were issued after the backup was made, for 30 days. This includes certificates that were revoked since
    #[arg(long)]
    readmit: bool,
}

#[derive(Debug, Args)]
struct ResetPassword {
    #[command(flatten)]
    settings: Settings,
    /// User name
    user: String,
}

#[derive(Debug, Subcommand)]
enum DatabaseAction {
    /// Copy the database in the data directory to the one that --database names, and compare both; the server must not be running
    Copy(Box<CopyDatabase>),
}

#[derive(Debug, Args)]
struct CopyDatabase {
    #[command(flatten)]
    settings: Settings,
    /// Copy what --database names to a new database in the data directory
    #[arg(long)]
    back: bool,
}

#[derive(Debug, Args)]
struct Readmit {
    #[command(flatten)]
    settings: Settings,
    /// Days since the database was written: certificates that were issued since then are readmitted for 30 days. This includes certificates
    /// that were revoked since
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=365))]
    days: u16,
}

fn main() -> ExitCode {
    let command = Command::parse();
    // Other users of this machine must not read the database, wherever the data directory is.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    log::start();
    let done = match command.action {
        None => serve(command.settings),
        Some(Action::Openapi) => {
            println!("{}", api::openapi_json());
            Ok(())
        }
        Some(Action::ResetPassword(reset)) => reset_password(*reset),
        Some(Action::Backup(backup)) => back_up(*backup),
        Some(Action::Restore(backup)) => restore(*backup),
        Some(Action::Database(DatabaseAction::Copy(command))) => copy_database(*command),
        Some(Action::Readmit(command)) => readmit(*command),
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
    let store = open(reset.settings)?;
    let password = people::reset_password(&store, reset.user).await?;
    println!("{password}");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn readmit(command: Readmit) -> Result<(), Box<dyn std::error::Error>> {
    let store = open(command.settings)?;
    pairing::readmit(&store, command.days).await?;
    println!(
        "Certificates of the last {} day(s) that the database does not know are readmitted for 30 days. Start the server.",
        command.days
    );
    Ok(())
}

/// Opens the database of a server that is not running.
fn open(settings: Settings) -> Result<Store, Box<dyn std::error::Error>> {
    let config = settings.complete()?;
    backup::finish_restore(&config.data_dir)?;
    Ok(Store::open(&config.database, &config.data_dir)?)
}

fn copy_database(command: CopyDatabase) -> Result<(), Box<dyn std::error::Error>> {
    let config = command.settings.complete()?;
    let Database::Postgres(address) = &config.database else {
        return Err(
            "name the PostgreSQL with --database, HOMEPORT_DATABASE, or `database` in the settings file"
                .into(),
        );
    };
    backup::finish_restore(&config.data_dir)?;
    let (copied, aside) = if command.back {
        (moving::from_postgres(address, &config.data_dir)?, None)
    } else {
        let (copied, aside) = moving::to_postgres(&config.data_dir, address)?;
        (copied, Some(aside))
    };
    for table in &copied {
        println!("{:>12} {:<16} sha256 {}", table.rows, table.table, table.sha256);
    }
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    println!("Copied {rows} rows. The copy was read again, and is the same.");
    match aside {
        Some(aside) => println!(
            "The old database is {} now: keep it until you trust the new one. Start the server with the same --database.",
            aside.display()
        ),
        None => println!(
            "Start the server without --database. What is in PostgreSQL stays there: delete it when you trust the copy."
        ),
    }
    Ok(())
}

fn back_up(command: BackUp) -> Result<(), Box<dyn std::error::Error>> {
    let config = command.settings.complete()?;
    let authority = config.authority.as_ref();
    let made = backup::back_up(
        &config.data_dir,
        &config.database,
        authority,
        &command.file,
        !command.no_bundles,
    )?;
    for id in made.missing {
        eprintln!("left out the bundle {id}: its file is gone");
    }
    println!(
        "{}: {} bytes, {} bundle(s). It holds the authority's key: keep it as safe as the server.",
        command.file.display(),
        made.size,
        made.bundles
    );
    Ok(())
}

fn restore(command: Restore) -> Result<(), Box<dyn std::error::Error>> {
    let config = command.settings.complete()?;
    let options = Options {
        replace: command.replace,
        readmit: command.readmit,
    };
    let restored = backup::restore(&command.file, &config.data_dir, &config.database, options)?;
    let created = OffsetDateTime::from_unix_timestamp(restored.created_ms / 1000)?;
    println!(
        "{} is as it was on {} at {:02}:{:02}:{:02} UTC. Start the server.",
        config.data_dir.display(),
        created.date(),
        created.hour(),
        created.minute(),
        created.second()
    );
    if let Some(aside) = restored.aside {
        println!("The previous files are in {}.", aside.display());
    }
    if let Some(inherited) = restored.inherited {
        println!(
            "Taken over from the previous database: what users may do, {} certificate(s) issued and {} revoked since the backup.",
            inherited.issued, inherited.revoked
        );
        if inherited.shut_out > 0 {
            println!(
                "{} user(s) of the backup were deleted since, and are disabled.",
                inherited.shut_out
            );
        }
    } else {
        println!(
            "Devices that were revoked or deleted after the backup may connect again: revoke them again."
        );
        println!("Users have the passwords and roles of the backup: disable those who lost theirs since.");
        if !options.readmit {
            println!(
                "Devices that renewed their certificate after the backup are refused: pair them again, or restore with --readmit."
            );
        }
    }
    for id in restored.offered {
        println!("The bundle {id} is newer than the backup, and can be deployed again.");
    }
    for id in restored.missing {
        println!("The file of the bundle {id} is missing: upload it again, or delete the bundle.");
    }
    if config.authority.is_some() {
        println!("The authority of the backup is in the data directory; the settings name another place.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use homeport_testkit::manual;

    use super::Command;

    #[test]
    fn the_definition_is_sound() {
        Command::command().debug_assert();
    }

    #[test]
    fn the_manual_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/homeport-server.8");
        manual::is_current(path.as_ref(), &manual::page(Command::command(), "8"));
    }
}
