//! Staying with a command on a group until every device is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc::RecvTimeoutError,
    thread,
    time::{Duration, Instant},
};

use homeport_api::{Command, CommandRun, Event, RunState};

use super::{commands, ending, interrupt::Interrupt, result, run_path, tone, whom};
use crate::{
    client::Client,
    error::{Error, Result},
    events::{self, Signal},
    human,
    output::{Line, Output, Tone},
};

/// How long without an event until the server is asked. Events are the fast way, this is the sure one.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Between questions to a server that does not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// How the command went on the devices that are done.
struct Ended<'a> {
    client: &'a Client,
    command: u64,
    output: Output,
    shown: BTreeSet<String>,
    states: BTreeMap<RunState, usize>,
}

/// Shows how each device ended, and ends well only if all succeeded.
pub(super) fn wait(client: &Client, command: &Command, output: Output) -> Result<()> {
    let id = command.id;
    output.note(format_args!(
        "Command {id}: {} on {}. Ctrl-C cancels it.",
        command.name,
        whom(command)
    ));
    let interrupt = Interrupt::cancels(client, id, output);
    let mut ended = Ended {
        client,
        command: id,
        output,
        shown: BTreeSet::new(),
        states: BTreeMap::new(),
    };
    let signals = events::subscribe(
        client,
        move |event| matches!(event, Event::Command { run } if run.command == id),
    );
    let all = usize::try_from(command.states.values().sum::<u64>()).unwrap_or(usize::MAX);
    let mut ask_at = Instant::now();
    let mut reachable = true;
    loop {
        let outcome = match signals.recv_timeout(ask_at.saturating_duration_since(Instant::now())) {
            Ok(Ok(Signal::Event(Event::Command { run }))) => {
                ask_at = Instant::now() + POLL_INTERVAL;
                let taken = ended.take(&run);
                if taken.is_ok() && ended.shown.len() >= all {
                    ended.ask()
                } else {
                    taken.map(|()| false)
                }
            }
            Ok(Ok(Signal::Connected | Signal::Event(_))) | Err(RecvTimeoutError::Timeout) => {
                ask_at = Instant::now() + POLL_INTERVAL;
                ended.ask()
            }
            Ok(Ok(Signal::Lost)) => Ok(false),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(RETRY_INTERVAL);
                ended.ask()
            }
        };
        match interrupt.check(outcome) {
            Ok(true) => return ended.verdict(),
            Ok(false) => reachable = true,
            Err(error) if error.is_passing() => {
                if reachable {
                    output.note(format_args!(
                        "{error}; trying again. The command goes on without it."
                    ));
                }
                reachable = false;
                ask_at = Instant::now() + RETRY_INTERVAL;
            }
            Err(error) => return Err(error),
        }
    }
}

// === impl Ended ===

impl Ended<'_> {
    /// Asks for all devices. True when the command is over; in this order, as what is over does not change any more.
    fn ask(&mut self) -> Result<bool> {
        let path = commands().join(self.command);
        let command: Command = self.client.get(&path)?;
        let runs: Vec<CommandRun> = self.client.list(&path.join("devices"))?;
        for run in &runs {
            self.take(run)?;
        }
        Ok(command.finished)
    }

    fn take(&mut self, run: &CommandRun) -> Result<()> {
        if !run.state.is_final() || self.shown.contains(&run.device) {
            return Ok(());
        }
        // Lists and events leave the result out.
        let run: CommandRun = self.client.get(&run_path(self.command, &run.device))?;
        self.show(&run)?;
        *self.states.entry(run.state).or_default() += 1;
        self.shown.insert(run.device);
        Ok(())
    }

    fn show(&self, run: &CommandRun) -> Result<()> {
        if self.output.json {
            return self.output.json_line(run);
        }
        let written = match run.output_end {
            0 => String::new(),
            bytes => format!("{} of output", human::size(bytes)),
        };
        let result = run.result.as_ref().map(result::brief).unwrap_or_default();
        self.output.line(
            Line::default()
                .column(&run.device_name, Tone::Strong)
                .column(ending(run), tone(run.state))
                .column(result, Tone::Plain)
                .column(written, Tone::Faint),
        )
    }

    /// `3 succeeded, 1 denied`
    fn summary(&self) -> String {
        let states = self.states.iter();
        let states: Vec<String> = states
            .map(|(state, count)| format!("{count} {}", state.as_str().replace('_', " ")))
            .collect();
        states.join(", ")
    }

    fn verdict(&self) -> Result<()> {
        let all = self.shown.len();
        let succeeded = self.states.get(&RunState::Succeeded).copied().unwrap_or_default();
        if succeeded == all {
            self.output.note(self.summary());
            return Ok(());
        }
        Err(Error::Failed(format!(
            "{} of {all} devices did not succeed: {}",
            all - succeeded,
            self.summary()
        )))
    }
}
