//! What devices are told of runs, and what their reports do to them.

use homeport_api::RunState;
use homeport_protocol::{
    command::{Call, Command, Envelope, Stop},
    limits::MAX_OPEN_CALLS,
    report::{CallBegun, CallEnded, CallOutput, Cause, NotRun, Outcome},
};

use super::{
    GRACE, millis,
    run_rows::{Ending, Open},
    schemas, tell,
};
use crate::{
    disk::Room,
    fleet::effects::{Effect, Effects},
    now_ms,
    store::{StoreError, Tx},
    text::told,
};

/// Begins the id of a call; the number of the run follows.
const CALL: &str = "call-";

/// Runs that a device is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that it was not told of.
    New,
    /// All that have not ended: it may have missed some.
    All,
}

/// What a device that has just connected may have missed.
pub(crate) fn pending(tx: &Tx, effects: &mut Effects, device: &str) -> Result<Vec<Envelope>, StoreError> {
    messages(tx, effects, now_ms(), device, Which::All)
}

/// Sends a connected device what it is to be told.
pub(super) fn deliver(
    tx: &Tx,
    effects: &mut Effects,
    now_ms: i64,
    device: &str,
    which: Which,
) -> Result<(), StoreError> {
    let messages = messages(tx, effects, now_ms, device, which)?;
    // The database only holds valid device ids.
    if let Ok(device) = device.parse() {
        let deliver = |message| Effect::Deliver(homeport_protocol::DeviceId::clone(&device), message);
        messages
            .into_iter()
            .map(deliver)
            .for_each(|effect| effects.push(effect));
    }
    Ok(())
}

/// Messages about a device's runs, oldest first. A device has at most [`MAX_OPEN_CALLS`] at a time; the others wait for their turn.
fn messages(
    tx: &Tx,
    effects: &mut Effects,
    now_ms: i64,
    device: &str,
    which: Which,
) -> Result<Vec<Envelope>, StoreError> {
    let open = tx.open_runs(device)?;
    let mut told = open.iter().filter(|run| run.state != RunState::Waiting).count();
    let mut messages = Vec::new();
    for run in open {
        let is_new = run.state == RunState::Waiting;
        if !is_new && which == Which::New || is_new && told >= MAX_OPEN_CALLS {
            continue;
        }
        if run.cancel {
            messages.push(stop(run.id));
            continue;
        }
        let Some(request) = tx.request(run.command)? else {
            continue;
        };
        if is_new {
            if request.expires_ms <= now_ms {
                expire(tx, effects, now_ms, device, &run)?;
                continue;
            }
            let due_ms = request.expires_ms + i64::from(request.timeout_s) * 1000 + millis(GRACE);
            tx.set_run_state(now_ms, run.id, RunState::Sent, due_ms)?;
            announce(tx, effects, device, &run)?;
            told += 1;
        }
        messages.push(Envelope {
            id: Some(format!("{CALL}{}", run.id)),
            expires_ms: Some(request.expires_ms),
            command: Command::Call(Call {
                name: request.name,
                arguments: request.arguments,
                timeout_s: request.timeout_s,
            }),
        });
    }
    Ok(messages)
}

/// Cancels a run. One that the device was never told of ends at once.
pub(super) fn cancel(
    tx: &Tx,
    effects: &mut Effects,
    now_ms: i64,
    device: &str,
    run: &Open,
    user: &str,
) -> Result<(), StoreError> {
    if run.state == RunState::Waiting {
        let detail = format!("cancelled by {user} before the device was told");
        return end(
            tx,
            effects,
            now_ms,
            device,
            run,
            &Ending::without_result(RunState::Cancelled, detail),
        );
    }
    tx.cancel_run(now_ms, run.id)?;
    announce(tx, effects, device, run)?;
    if let Ok(device) = device.parse() {
        effects.push(Effect::Deliver(device, stop(run.id)));
    }
    Ok(())
}

/// A device has begun a call.
pub(crate) fn begun(
    tx: &Tx,
    effects: &mut Effects,
    device: &str,
    begun: &CallBegun,
) -> Result<(), StoreError> {
    let Some(run) = find(tx, device, Some(&begun.id))? else {
        return Ok(());
    };
    let nonce = nonce(begun.run);
    // A run on which the server gave up goes on once: a device cannot keep it going for ever.
    let is_late = run.state == RunState::Unanswered && run.nonce.is_some();
    if run.nonce == Some(nonce) || is_late {
        return Ok(());
    }
    let now_ms = now_ms();
    let timeout = tx.request(run.command)?.map_or(0, |request| request.timeout_s);
    let due_ms = now_ms + i64::from(timeout) * 1000 + millis(GRACE);
    tx.begin_run(now_ms, run.id, nonce, due_ms)?;
    effects.push(Effect::Output(run.id));
    announce(tx, effects, device, &run)
}

/// A call has written something.
pub(crate) fn wrote(
    tx: &Tx,
    effects: &mut Effects,
    device: &str,
    output: &CallOutput,
    room: Room,
) -> Result<(), StoreError> {
    let run = find(tx, device, Some(&output.id))?;
    let Some(run) = run.filter(|run| run.nonce == Some(nonce(output.run)) && !output.data.is_empty()) else {
        return Ok(());
    };
    // Nothing but what is shown of the run needs the output: devices' reports come first.
    if room == Room::Enough {
        tx.add_output(now_ms(), &run, output.stream, &output.data)?;
    } else {
        tx.skip_output(now_ms(), &run, output.data.len() as u64)?;
    }
    effects.push(Effect::Output(run.id));
    Ok(())
}

/// A call has ended. Returns what comes next for the device.
pub(crate) fn ended(
    tx: &Tx,
    effects: &mut Effects,
    device: &str,
    ended: &CallEnded,
) -> Result<Vec<Envelope>, StoreError> {
    let Some(run) = find(tx, device, Some(&ended.id))? else {
        return Ok(Vec::new());
    };
    let now_ms = now_ms();
    end(tx, effects, now_ms, device, &run, &ending(tx, &run, ended)?)?;
    messages(tx, effects, now_ms, device, Which::New)
}

/// A call that the device did not begin. One for which it had no room waits for its turn again.
pub(crate) fn not_run(
    tx: &Tx,
    effects: &mut Effects,
    device: &str,
    not_run: &NotRun,
) -> Result<(), StoreError> {
    let Some(run) = find(tx, device, not_run.id.as_deref())? else {
        return Ok(());
    };
    let now_ms = now_ms();
    if not_run.cause == Cause::TooMany {
        let Some(request) = tx.request(run.command)? else {
            return Ok(());
        };
        tx.set_run_state(now_ms, run.id, RunState::Waiting, request.expires_ms)?;
        return announce(tx, effects, device, &run);
    }
    let state = match not_run.cause {
        Cause::Expired => RunState::Expired,
        Cause::TooMany | Cause::Other => RunState::Failed,
    };
    let ending = Ending::without_result(state, told(&not_run.detail));
    end(tx, effects, now_ms, device, &run, &ending)
}

/// A call that the device's agent is too old for.
pub(crate) fn unsupported(
    tx: &Tx,
    effects: &mut Effects,
    device: &str,
    id: Option<&str>,
) -> Result<(), StoreError> {
    let Some(run) = find(tx, device, id)? else {
        return Ok(());
    };
    let detail = "the device's agent does not run commands: a newer one may".to_owned();
    let ending = Ending::without_result(RunState::Unsupported, detail);
    end(tx, effects, now_ms(), device, &run, &ending)
}

/// Settles runs whose time is over, at most `limit`.
pub(super) fn give_up(tx: &Tx, effects: &mut Effects, now_ms: i64, limit: u32) -> Result<(), StoreError> {
    for (device, run) in tx.overdue_runs(now_ms, limit)? {
        if run.state == RunState::Waiting {
            expire(tx, effects, now_ms, &device, &run)?;
        } else {
            let detail = "the device has not said what became of it; it may still".to_owned();
            let ending = Ending::without_result(RunState::Unanswered, detail);
            end(tx, effects, now_ms, &device, &run, &ending)?;
        }
    }
    Ok(())
}

/// The run that a device's report is about, if it is still open. A run on which the server gave up is.
fn find(tx: &Tx, device: &str, id: Option<&str>) -> Result<Option<Open>, StoreError> {
    let number = id
        .and_then(|id| id.strip_prefix(CALL))
        .and_then(|id| id.parse().ok());
    let Some(number) = number else {
        return Ok(None);
    };
    let run = tx.run_of_device(device, number)?;
    Ok(run.filter(|run| !run.state.is_final() || run.state == RunState::Unanswered))
}

/// The device's number for an attempt, as the database keeps it.
fn nonce(run: u64) -> i64 {
    i64::from_ne_bytes(run.to_ne_bytes())
}

fn ending(tx: &Tx, run: &Open, ended: &CallEnded) -> Result<Ending, StoreError> {
    let mut ending = Ending {
        state: match ended.outcome {
            Outcome::Succeeded => RunState::Succeeded,
            Outcome::Denied => RunState::Denied,
            Outcome::Invalid => RunState::Invalid,
            Outcome::UnknownCommand => RunState::UnknownCommand,
            Outcome::Cancelled => RunState::Cancelled,
            Outcome::TimedOut => RunState::TimedOut,
            Outcome::Interrupted => RunState::Interrupted,
            Outcome::Failed | Outcome::Other => RunState::Failed,
        },
        detail: told(&ended.detail),
        exit_status: ended.exit_status,
        result: None,
        dropped_bytes: ended.dropped_bytes,
    };
    let Some(result) = &ended.result else {
        return Ok(ending);
    };
    let name = tx
        .request(run.command)?
        .map(|request| request.name)
        .unwrap_or_default();
    let parsed = serde_json::from_str(result).map_err(|error| error.to_string());
    let checked = parsed.and_then(|value| schemas::check_result(&name, &value).map(|()| value));
    match checked {
        Ok(value) => ending.result = Some(value.to_string()),
        Err(error) => {
            ending.state = RunState::Failed;
            ending.detail = told(&format!("the device's result is not one of `{name}`: {error}"));
        }
    }
    Ok(ending)
}

fn expire(tx: &Tx, effects: &mut Effects, now_ms: i64, device: &str, run: &Open) -> Result<(), StoreError> {
    let detail = "the device did not connect in time".to_owned();
    end(
        tx,
        effects,
        now_ms,
        device,
        run,
        &Ending::without_result(RunState::Expired, detail),
    )
}

fn end(
    tx: &Tx,
    effects: &mut Effects,
    now_ms: i64,
    device: &str,
    run: &Open,
    ending: &Ending,
) -> Result<(), StoreError> {
    tx.end_run(now_ms, run.id, ending)?;
    tx.forget_old_runs(device)?;
    announce(tx, effects, device, run)?;
    effects.push(Effect::Output(run.id));
    if !tx.is_unfinished(run.command)? {
        audit_end(tx, now_ms, device, run, ending)?;
    }
    Ok(())
}

/// Records what came of a command when its last run has ended.
fn audit_end(tx: &Tx, now_ms: i64, device: &str, run: &Open, ending: &Ending) -> Result<(), StoreError> {
    let Some(command) = tx.command(run.command, crate::access::EVERYTHING)? else {
        return Ok(());
    };
    let runs: u64 = command.states.values().sum();
    let said = if runs == 1 && ending.detail.is_empty() {
        format!("{} {}", command.name, ending.state)
    } else if runs == 1 {
        format!("{} {}: {}", command.name, ending.state, ending.detail)
    } else {
        let counts = command
            .states
            .iter()
            .map(|(state, count)| format!("{count} {state}"));
        format!("{}: {}", command.name, counts.collect::<Vec<_>>().join(", "))
    };
    let project = command.project.unwrap_or_default();
    tx.audit(
        now_ms,
        &project,
        device,
        "command.end",
        &run.command.to_string(),
        &said,
    )
}

fn announce(tx: &Tx, effects: &mut Effects, device: &str, run: &Open) -> Result<(), StoreError> {
    match tx.run(run.command, device)? {
        Some(run) => tell(tx, effects, run),
        None => Ok(()),
    }
}

fn stop(run: u64) -> Envelope {
    Envelope {
        id: Some(format!("stop-{run}")),
        ..Envelope::from(Command::Stop(Stop {
            call: format!("{CALL}{run}"),
        }))
    }
}

// === impl Ending ===

impl Ending {
    fn without_result(state: RunState, detail: String) -> Self {
        Self {
            state,
            detail,
            exit_status: None,
            result: None,
            dropped_bytes: 0,
        }
    }
}
