//! Ctrl-C while a command runs.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use homeport_api::Command;

use super::commands;
use crate::{
    client::Client,
    error::{Error, Result},
    output::Output,
};

/// Exit code of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// Asks the server to cancel a command at the first Ctrl-C, and leaves at the second.
#[derive(Debug)]
pub(super) struct Interrupt {
    client: Client,
    command: u64,
    happened: Arc<AtomicBool>,
}

// === impl Interrupt ===

impl Interrupt {
    /// Where Ctrl-C cannot be noticed, it ends the program as it does by default.
    pub(super) fn cancels(client: &Client, command: u64, output: Output) -> Self {
        let interrupt = Self {
            client: client.clone(),
            command,
            happened: Arc::default(),
        };
        let happened = Arc::clone(&interrupt.happened);
        let client = client.clone();
        let handled = ctrlc::set_handler(move || {
            if happened.swap(true, Ordering::SeqCst) {
                leave();
            }
            output.note(format_args!(
                "Cancelling command {command}. Ctrl-C again leaves without waiting for its end."
            ));
            // The wait for the server is not in the way of the second Ctrl-C.
            let client = client.clone();
            std::thread::spawn(move || {
                if let Err(error) = cancel(&client, command) {
                    output.note(format_args!("The command is not cancelled: {error}"));
                }
            });
        });
        if let Err(error) = handled {
            output.note(format_args!("Ctrl-C will not cancel the command: {error}"));
        }
        interrupt
    }

    /// Nobody reads what the command writes any more: then it is cancelled, as a pipe ends a program.
    pub(super) fn check<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(Error::Output(_)) = outcome {
            // The first error counts.
            let _ = cancel(&self.client, self.command);
        }
        outcome
    }

    pub(super) fn happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }
}

fn cancel(client: &Client, command: u64) -> Result<Command> {
    client.post_empty(&commands().join(command).join("cancel"))
}

#[expect(clippy::exit, reason = "the main thread waits for the server")]
fn leave() -> ! {
    process::exit(INTERRUPTED)
}
