//! Homeport's device daemon and its device-side command line.

#![deny(unsafe_code)]

mod bus;
mod c_math;
mod cli;
mod clock;
mod command;
mod config;
mod daemon;
mod https;
mod identity;
mod inventory;
mod link;
mod log;
mod status;
mod telemetry;
#[cfg(test)]
mod testing;

use std::{pin::Pin, process::ExitCode, time::Duration};

use homeport_ota::{
    BootCheckConfig,
    backend::rauc::Rauc,
    boot_check::{self, Outcome},
};
use tracing::{error, info};

use self::{
    cli::{Exit, Task, fail, print},
    config::Config,
};

/// Threads beside the one that does the work: one for syncing files, one for looking up names.
const HELPER_THREADS: usize = 2;

/// How long a helper thread waits for more before it ends.
const HELPER_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How often, and after what pause, `pair` looks for an agent that is not on the bus yet.
const PAIR_TRIES: u32 = 20;
const PAIR_PAUSE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = match cli::parse(lexopt::Parser::from_env()) {
        Ok(arguments) => arguments,
        Err(error) => return fail(Exit::Usage, error),
    };
    match arguments.task {
        Task::Help => print(cli::HELP),
        Task::Version => print(concat!("homeport-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Task::Status { json } => return on_runtime(Box::pin(show_status(json))),
        Task::Pair { token, anew } => return on_runtime(Box::pin(pair(token, anew))),
        Task::Run | Task::BootCheck => {
            log::start();
            let config = match Config::load(arguments.config.as_deref()) {
                Ok(config) => config,
                Err(error) => return fail(Exit::Config, error),
            };
            log::set_level(config.log);
            return if arguments.task == Task::Run {
                on_runtime(Box::pin(run(config)))
            } else {
                on_runtime(Box::pin(check_boot(config)))
            };
        }
    }
    ExitCode::SUCCESS
}

/// The task is boxed, so that this is compiled once and not for each type of task, and so that a task's tens of kilobytes
/// are not on the stack.
fn on_runtime(task: Pin<Box<dyn Future<Output = ExitCode>>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(HELPER_THREADS)
        .thread_keep_alive(HELPER_KEEP_ALIVE)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Failure, error),
    };
    let exit = runtime.block_on(task);
    // A name that is still being looked up would hold up the end.
    runtime.shutdown_background();
    exit
}

async fn run(config: Config) -> ExitCode {
    match daemon::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(Exit::Failure, error),
    }
}

async fn show_status(json: bool) -> ExitCode {
    let status = match bus::remote().await {
        Ok(agent) => agent.status().await,
        Err(error) => Err(error),
    };
    match status {
        Ok(status) if json => print(&format!("{status}\n")),
        Ok(status) => match status::render(&status) {
            Some(text) => print(&text),
            None => {
                return fail(
                    Exit::Failure,
                    "the running agent is of another version; use --json",
                );
            }
        },
        Err(error) => return unavailable(&error),
    }
    ExitCode::SUCCESS
}

async fn pair(token: String, anew: bool) -> ExitCode {
    if let Err(error) = token.parse::<homeport_protocol::PairingToken>() {
        return fail(Exit::Failure, error);
    }
    let mut tries = 0;
    let paired = loop {
        let paired = match bus::remote().await {
            Ok(agent) if anew => agent.pair_anew(&token).await,
            Ok(agent) => agent.pair(&token).await,
            Err(error) => Err(error),
        };
        tries += 1;
        match paired {
            // People and scripts pair right after a boot, when the agent may still be starting.
            Err(error) if bus::is_absent(&error) && tries < PAIR_TRIES => {
                tokio::time::sleep(PAIR_PAUSE).await;
            }
            paired => break paired,
        }
    };
    match paired {
        Ok(device) => {
            print(&format!("paired as {device}\n"));
            ExitCode::SUCCESS
        }
        Err(zbus::Error::MethodError(name, Some(message), _))
            if name.as_str() == "org.freedesktop.DBus.Error.Failed" =>
        {
            fail(Exit::Failure, message)
        }
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &zbus::Error) -> ExitCode {
    fail(
        Exit::Unavailable,
        format!("the agent cannot be called: {error}; does homeport-agent.service run, and are you root?"),
    )
}

async fn check_boot(config: Config) -> ExitCode {
    let mut settings = BootCheckConfig::new(config.state_dir.join("ota"), config.run_dir);
    settings.deadline = config.ota.trial_deadline;
    settings.ignored_units = config.ota.ignore_units;
    let bus = match zbus::Connection::system().await {
        Ok(bus) => bus,
        Err(error) => return fail(Exit::Failure, format!("no system bus: {error}")),
    };
    match boot_check::run(&settings, &Rauc::connect(bus).await).await {
        Ok(Outcome::NotOnTrial) => ExitCode::SUCCESS,
        Ok(Outcome::Good) => {
            info!("the new system is good");
            ExitCode::SUCCESS
        }
        Ok(Outcome::Bad(reason)) => {
            error!("the new system is bad: {}", reason.detail);
            ExitCode::FAILURE
        }
        Err(error) => fail(Exit::Failure, error),
    }
}
