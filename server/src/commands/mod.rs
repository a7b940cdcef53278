//! Commands on devices: rows first, messages second. The rules are in `docs/development/decisions/commands.md`.

use std::time::Duration;

use homeport_api::{Command, CommandKind, CommandRun, Event, NewCommand, Page, Permission, RunState, Target};
use homeport_protocol::{
    builtin,
    limits::{MAX_ARGUMENTS, MAX_CALL_TIME},
};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

mod calls;
pub(crate) mod http;
mod output;
mod rows;
mod run_rows;
mod schemas;

pub(crate) use self::calls::{begun, ended, not_run, pending, unsupported, wrote};
pub(crate) use self::output::{Outputs, Told};
use crate::{
    access::{Access, Actor, EVERYTHING},
    fleet::{
        Fleet, FleetError,
        effects::{Effect, Effects, MANY},
        targets,
    },
    now_ms,
    store::{Paging, StoreError, Tx},
};

/// Time until a device must have begun a command, unless the request says something else.
const EXPIRES: Duration = Duration::from_secs(60 * 60);

/// The longest such time.
const MAX_EXPIRES: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Runs that wait for one device, or that it has not ended.
const MAX_OPEN: u64 = 64;

/// Time after which the server gives up on a device that should have ended a run: its report may still be on its way.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// How often the server looks for runs whose time is over.
const LOOK: Duration = Duration::from_secs(10);

/// Age at which a run that has ended is forgotten.
const MEMORY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Runs that one transaction settles or forgets.
const AT_ONCE: u32 = 500;

/// Devices of a group that cost a person as much as one more command.
const DEVICES_FOR_ONE: usize = 100;

/// A request whose target, arguments and times were checked.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) name: String,
    /// JSON of an object.
    pub(crate) arguments: String,
    pub(crate) target: Target,
    pub(crate) timeout_s: u32,
    pub(crate) expires_ms: i64,
}

// === impl Fleet ===

impl Fleet {
    /// The commands that there are; of a device, with what its policy says.
    pub async fn command_kinds(
        &self,
        actor: &Actor,
        device: Option<String>,
    ) -> Result<Vec<CommandKind>, FleetError> {
        let offers = self
            .ask(actor, move |tx, access| match device {
                Some(id) => {
                    access.device(tx, &id, Permission::CommandRead)?;
                    Ok(tx.command_offers(&id)?)
                }
                None => Ok(None),
            })
            .await?
            .unwrap_or_default();
        let mut kinds = schemas::kinds();
        for kind in &mut kinds {
            let offer = offers.iter().find(|offer| offer.name == kind.name);
            kind.policy = offer.map(|offer| offer.policy);
        }
        Ok(kinds)
    }

    /// Newest first.
    pub async fn commands(&self, actor: &Actor, paging: Paging<u64>) -> Result<Page<Command>, FleetError> {
        self.ask_long(actor, move |tx, access| {
            let devices = access.scope(Permission::CommandRead);
            Ok(tx.commands(&devices, &devices, &paging)?)
        })
        .await
    }

    /// The command with this number. It counts the devices that the actor may see.
    pub async fn command(&self, actor: &Actor, id: u64) -> Result<Command, FleetError> {
        self.ask(actor, move |tx, access| {
            access.command(tx, id, Permission::CommandRead)?;
            find(tx, id, &access.scope(Permission::CommandRead))
        })
        .await
    }

    /// Runs of a command, or those of them that are in `state`, without their results.
    pub async fn command_runs(
        &self,
        actor: &Actor,
        id: u64,
        state: Option<RunState>,
        paging: Paging<u64>,
    ) -> Result<Page<CommandRun>, FleetError> {
        self.ask(actor, move |tx, access| {
            access.command(tx, id, Permission::CommandRead)?;
            let scope = access.scope(Permission::CommandRead);
            Ok(tx.runs_of_command(&scope, id, state, &paging)?)
        })
        .await
    }

    /// The run of a command on a device, with its result.
    pub async fn command_run(
        &self,
        actor: &Actor,
        id: u64,
        device: String,
    ) -> Result<CommandRun, FleetError> {
        self.ask(actor, move |tx, access| find_run(tx, access, id, &device))
            .await
    }

    /// Runs of a device, newest first, without their results.
    pub async fn device_commands(
        &self,
        actor: &Actor,
        device: String,
        paging: Paging<u64>,
    ) -> Result<Page<CommandRun>, FleetError> {
        self.ask(actor, move |tx, access| {
            access.device(tx, &device, Permission::CommandRead)?;
            Ok(tx.runs_of_device(&device, &paging)?)
        })
        .await
    }

    /// Has devices run a command. A device that is not connected gets it when it reconnects in time.
    pub async fn run_command(&self, actor: &Actor, new: NewCommand) -> Result<Command, FleetError> {
        let order = check(new)?;
        // Everybody who asks pays: what is refused below costs a transaction too.
        let budget = &self.0.budgets.commands;
        budget.take(&actor.id, 1).map_err(FleetError::TooManyCommands)?;
        let (command, devices) = self
            .act(actor, move |tx, access, effects| {
                let now_ms = now_ms();
                let place = match &order.target {
                    Target::Device(id) => access.device(tx, id, Permission::CommandRun)?,
                    Target::Group(name) => access.group(tx, name, Permission::CommandRun)?,
                };
                let all = targets::able(tx, &order.target)?;
                let crowded = tx.crowded(&all, MAX_OPEN)?;
                let mut devices = all;
                devices.retain(|device| !crowded.contains(device));
                if devices.is_empty() {
                    return Err(FleetError::Conflict {
                        kind: "device-queue-full",
                        detail: format!(
                            "{MAX_OPEN} commands wait for the device already: wait until it has run them, or cancel some"
                        ),
                    });
                }
                let id = tx.insert_command(now_ms, &access.user, &place.project, &order)?;
                tx.insert_runs(now_ms, id, &devices, order.expires_ms)?;
                let left_out = match crowded.len() {
                    0 => String::new(),
                    count => format!(", {count} left out because {MAX_OPEN} commands wait for them already"),
                };
                let detail = format!("{} on {} device(s){left_out}", said(&order), devices.len());
                tx.audit(now_ms, &place.project, &access.user, "command.run", &id.to_string(), &detail)?;
                announce(tx, effects, id)?;
                Ok((find(tx, id, &access.scope(Permission::CommandRead))?, devices))
            })
            .await?;
        // What a group costs beyond one is known only now: the next requests wait for it.
        budget.charge(&actor.id, devices.len() / DEVICES_FOR_ONE);
        self.tell_devices(devices).await;
        Ok(command)
    }

    /// Cancels a command on every device where it has not ended, and on which the actor may. On a device that was never told it ends at
    /// once; the device's answer settles it elsewhere.
    pub async fn cancel_command(&self, actor: &Actor, id: u64) -> Result<Command, FleetError> {
        let (mut after, mut cancelled) = (0, 0);
        // In steps: a large group does not hold up everybody else.
        loop {
            let is_recorded = cancelled > 0;
            let step = self.act(actor, move |tx, access, effects| {
                access.command(tx, id, Permission::CommandRun)?;
                let runs = tx.open_runs_of(id, after, MANY)?;
                let last = runs.last().map(|(_, run)| run.id);
                let mut count = 0;
                for (device, run) in runs {
                    match access.device(tx, &device, Permission::CommandRun) {
                        Ok(_) => {}
                        // It may have moved to another project since.
                        Err(FleetError::NotFound { .. } | FleetError::Forbidden { .. }) => continue,
                        Err(error) => return Err(error),
                    }
                    if count == 0 && !is_recorded {
                        let place = tx.command_place(id)?.unwrap_or_default();
                        tx.audit(
                            now_ms(),
                            &place.project,
                            &access.user,
                            "command.cancel",
                            &id.to_string(),
                            "",
                        )?;
                    }
                    count += 1;
                    calls::cancel(tx, effects, now_ms(), &device, &run, &access.user)?;
                }
                Ok((last, count))
            });
            let (last, count) = step.await?;
            cancelled += count;
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        if cancelled == 0 {
            return Err(FleetError::Conflict {
                kind: "command-finished",
                detail: format!("command {id} has ended on every device where you may cancel it"),
            });
        }
        self.command(actor, id).await
    }

    /// Sends devices that are connected what waits for them: one at once, many in steps, in the background. A server that ends meanwhile
    /// does it when they connect again.
    async fn tell_devices(&self, devices: Vec<String>) {
        let fleet = self.clone();
        let is_one = devices.len() == 1;
        let tell = async move {
            for device in devices {
                if !fleet.0.live.is_online(&device) {
                    continue;
                }
                let told = fleet.change(move |tx, effects| {
                    calls::deliver(tx, effects, now_ms(), &device, calls::Which::New)
                });
                if let Err(error) = told.await {
                    tracing::warn!(%error, "cannot tell a device of a command; it gets it when it connects again");
                }
            }
        };
        if is_one {
            tell.await;
        } else {
            tokio::spawn(tell);
        }
    }

    /// Gives up on runs whose time is over.
    pub async fn settle_commands(&self) -> Result<(), StoreError> {
        let is_due = |tx: &Tx| Ok::<_, StoreError>(!tx.overdue_runs(now_ms(), 1)?.is_empty());
        // Looking wakes nobody; a turn of the writer does.
        while self.0.store.read(is_due).await? {
            self.change(|tx, effects| calls::give_up(tx, effects, now_ms(), AT_ONCE))
                .await?;
        }
        Ok(())
    }

    /// Forgets old runs, and commands without runs.
    pub async fn prune_commands(&self) -> Result<(), StoreError> {
        let before_ms = now_ms() - millis(MEMORY);
        while self
            .0
            .store
            .write(move |tx| tx.prune_runs(before_ms, AT_ONCE))
            .await?
            > 0
        {}
        loop {
            // Searched on a reader: most commands have runs, and the writer has better things to do.
            let empty = self
                .0
                .store
                .read_long(|tx| tx.commands_without_runs(AT_ONCE))
                .await?;
            if empty.is_empty() {
                break;
            }
            self.0
                .store
                .write(move |tx| tx.delete_commands_without_runs(&empty))
                .await?;
        }
        Ok(())
    }
}

/// Gives up on runs at their time.
pub(crate) async fn watch(fleet: Fleet, shutdown: CancellationToken) {
    let mut next = tokio::time::interval(LOOK);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(next.tick()).await.is_some() {
        if let Err(error) = fleet.settle_commands().await {
            tracing::warn!(%error, "cannot settle commands whose time is over");
        }
    }
}

/// Checks what a request says. What it needs of the fleet is checked in the transaction.
fn check(new: NewCommand) -> Result<Order, FleetError> {
    let Some(builtin) = builtin::find(&new.name) else {
        let names: Vec<_> = builtin::ALL.iter().map(|builtin| builtin.name).collect();
        return Err(FleetError::Invalid(format!(
            "there is no command `{}`: the commands are {}",
            crate::text::told(&new.name),
            names.join(", ")
        )));
    };
    let arguments = new.arguments.unwrap_or_else(|| serde_json::json!({}));
    schemas::check_arguments(builtin.name, &arguments).map_err(|error| {
        FleetError::Invalid(format!(
            "`{}` does not take these arguments: {error}. `GET /api/v1/command-kinds` has the schema",
            builtin.name
        ))
    })?;
    let arguments = arguments.to_string();
    if arguments.len() > MAX_ARGUMENTS {
        return Err(FleetError::Invalid(format!(
            "arguments are at most {MAX_ARGUMENTS} bytes of JSON, these are {}",
            arguments.len()
        )));
    }
    let timeout_s = new.timeout_s.unwrap_or(builtin.timeout_s);
    let expires_s = new
        .expires_s
        .map_or(EXPIRES, |seconds| Duration::from_secs(seconds.into()));
    if timeout_s == 0 || Duration::from_secs(timeout_s.into()) > MAX_CALL_TIME {
        return Err(FleetError::Invalid(format!(
            "`timeout_s` is from 1 to {}",
            MAX_CALL_TIME.as_secs()
        )));
    }
    if expires_s.is_zero() || expires_s > MAX_EXPIRES {
        return Err(FleetError::Invalid(format!(
            "`expires_s` is from 1 to {}",
            MAX_EXPIRES.as_secs()
        )));
    }
    Ok(Order {
        name: new.name,
        arguments,
        target: new.target,
        timeout_s,
        expires_ms: now_ms() + millis(expires_s),
    })
}

/// The command in a line of the audit record. Arguments may be long, and are cut.
fn said(order: &Order) -> String {
    match order.arguments.as_str() {
        "{}" => order.name.clone(),
        arguments => crate::text::told(&format!("{} {arguments}", order.name)),
    }
}

/// The command, with its runs on devices of a scope counted.
fn find(tx: &Tx, id: u64, devices: &str) -> Result<Command, FleetError> {
    tx.command(id, devices)?.ok_or_else(|| FleetError::no_command(id))
}

/// The run, if the actor may see it.
fn find_run(tx: &Tx, access: &Access, id: u64, device: &str) -> Result<CommandRun, FleetError> {
    access.device(tx, device, Permission::CommandRead)?;
    tx.run(id, device)?.ok_or_else(|| FleetError::NotFound {
        what: "run of this command on the device",
        id: format!("{id}/{device}"),
    })
}

/// Lists the effects of a request or a cancellation.
fn announce(tx: &Tx, effects: &mut Effects, id: u64) -> Result<(), StoreError> {
    let runs = tx.runs_of_command(EVERYTHING, id, None, &Paging::first(MANY))?;
    if runs.next.is_some() {
        effects.push(Effect::Resync);
        return Ok(());
    }
    for run in runs.items {
        tell(tx, effects, run)?;
    }
    Ok(())
}

/// Tells watchers of a run, without its result.
fn tell(tx: &Tx, effects: &mut Effects, run: CommandRun) -> Result<(), StoreError> {
    let place = tx.device_place(&run.device)?.unwrap_or_default();
    let run = Box::new(CommandRun { result: None, ..run });
    effects.push(Effect::Publish(Event::Command { run }, place));
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(name: &str, arguments: serde_json::Value) -> Result<Order, String> {
        let new = NewCommand {
            name: name.to_owned(),
            arguments: Some(arguments),
            target: Target::Device("a".to_owned()),
            timeout_s: None,
            expires_s: None,
        };
        check(new).map_err(|error| error.to_string())
    }

    #[test]
    fn what_breaks_the_schema_is_refused() {
        assert_eq!(order("ps", json!({})).unwrap().timeout_s, 30);
        for (name, arguments, words) in [
            ("fly", json!({}), "the commands are disk, "),
            ("ps", json!({"all": true}), "all"),
            ("ps", json!([]), "object"),
            ("ps", json!(null), "object"),
            ("service", json!({}), "unit"),
            ("service", json!({"unit": "a", "action": "explode"}), "explode"),
            ("service", json!({"unit": 7}), "string"),
            ("ping", json!({"host": "a", "count": 0}), "count"),
            ("ping", json!({"host": "a", "count": 1e9}), "count"),
            ("ping", json!({"host": ""}), "host"),
            (
                "run",
                json!({"program": "a", "arguments": vec!["x"; 65]}),
                "arguments",
            ),
            (
                "run",
                json!({"program": "a", "arguments": ["x".repeat(4097)]}),
                "arguments",
            ),
            (
                "run",
                json!({"program": "a", "arguments": vec!["x".repeat(4096); 8]}),
                "at most 16384 bytes",
            ),
        ] {
            let error = order(name, arguments.clone()).unwrap_err();
            assert!(error.contains(words), "{name} {arguments}: {error}");
            assert!(error.len() < 2000, "{error}");
        }
    }

    #[test]
    fn times_have_limits() {
        let times = |timeout_s, expires_s| {
            let new = NewCommand {
                name: "ps".to_owned(),
                arguments: None,
                target: Target::Device("a".to_owned()),
                timeout_s,
                expires_s,
            };
            check(new).is_ok()
        };
        assert!(times(None, None) && times(Some(1), Some(1)));
        assert!(times(Some(86_400), Some(30 * 86_400)));
        assert!(!times(Some(0), None) && !times(Some(86_401), None));
        assert!(!times(None, Some(0)) && !times(None, Some(30 * 86_400 + 1)));
    }
}
