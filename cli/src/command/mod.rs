//! Commands that devices run.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use homeport_api::{Command, CommandKind, CommandRun, Device, Group, NewCommand, RunState, Target};
use homeport_protocol::Policy;
use serde::Serialize;
use serde_json::{Value, json};

mod follow;
mod group;
mod interrupt;
mod output_stream;
mod result;
mod schema;

use self::interrupt::Interrupt;
use crate::{
    api_path::ApiPath,
    args::{self, CommandCommand, CommandLimits},
    client::Client,
    error::{Error, Result},
    find, human,
    output::{Line, Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

/// The command behind `homeport logs`.
const JOURNAL: &str = "journal";
/// How long `homeport logs --follow` may follow: the most that the server allows.
const FOLLOW_LIMIT_S: u32 = 24 * 60 * 60;
/// Largest arguments on standard input, in bytes.
const MAX_ARGUMENTS: u64 = 1024 * 1024;

/// A command with its runs.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    command: Command,
    devices: Vec<CommandRun>,
}

/// `homeport run`
pub(crate) fn run(wanted: args::Run, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    let mut words = wanted.words.into_iter();
    let (target, device) = if let Some(group) = wanted.group {
        let group: Group = client.get(&ApiPath::new("groups").join(group))?;
        (Target::Group(group.name), None)
    } else {
        let device = find::device(&client, &words.next().unwrap_or_default())?;
        (Target::Device(device.id.clone()), Some(device))
    };
    let kinds = kinds(&client, device.as_ref())?;
    let Some(name) = words.next() else {
        return Err(Error::Arguments {
            what: "which command? There are:".to_owned(),
            items: kinds.into_iter().map(|kind| kind.name).collect(),
        });
    };
    let Some(kind) = kinds.into_iter().find(|kind| kind.name == name) else {
        return Err(Error::Usage(format!(
            "there is no command `{name}`; `homeport command kinds` lists them"
        )));
    };
    let words: Vec<String> = words.collect();
    let arguments = match wanted.arguments {
        Some(_) if !words.is_empty() => {
            return Err(Error::Usage(
                "arguments are either --arguments or NAME=VALUE".to_owned(),
            ));
        }
        Some(json) => read_arguments(&json)?,
        None => schema::arguments(&kind, &words, &wanted.program)?,
    };
    let command = request(&client, &kind.name, arguments, target, &wanted.limits)?;
    if wanted.no_wait {
        if output.json {
            return output.json(&command);
        }
        output.line(format_args!(
            "Command {}: {} on {}",
            command.id,
            described(&command),
            whom(&command)
        ))?;
        output.note(format_args!(
            "Wait for it with `homeport command watch {}`.",
            command.id
        ));
        return Ok(());
    }
    let Some(device) = device else {
        return group::wait(&client, &command, output);
    };
    note_offline(&device, &command, output);
    let interrupt = Interrupt::cancels(&client, command.id, output);
    let run = interrupt.check(follow::to_the_end(&client, command.id, &device.id, output))?;
    conclude(&run, Some(&kind), output)?;
    verdict(&run)
}

/// `homeport logs`
pub(crate) fn logs(wanted: args::Logs, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    let device = find::device(&client, &wanted.device)?;
    let mut arguments = json!({ "follow": wanted.follow });
    let given = [
        ("unit", wanted.unit.map(Value::from)),
        ("priority", wanted.priority.map(Value::from)),
        ("lines", wanted.lines.map(Value::from)),
        ("since_s", wanted.since.map(|since| Value::from(since.as_secs()))),
        ("contains", wanted.grep.map(Value::from)),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            arguments[name] = value;
        }
    }
    let limits = CommandLimits {
        timeout: wanted.follow.then(|| Duration::from_secs(FOLLOW_LIMIT_S.into())),
        expires: None,
    };
    let command = request(
        &client,
        JOURNAL,
        arguments,
        Target::Device(device.id.clone()),
        &limits,
    )?;
    note_offline(&device, &command, output);
    let interrupt = Interrupt::cancels(&client, command.id, output);
    let run = interrupt.check(follow::to_the_end(&client, command.id, &device.id, output))?;
    if output.json {
        output.json(&run)?;
    }
    // Somebody who follows ends it like this.
    if wanted.follow && interrupt.happened() && run.state == RunState::Cancelled {
        return Ok(());
    }
    verdict(&run)
}

/// `homeport command`
pub(crate) fn past(wanted: args::Commands, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match wanted.command.unwrap_or(CommandCommand::List(wanted.list)) {
        CommandCommand::List(list) => {
            let more = if let Some(device) = list.device {
                let device = find::device(&client, &device)?;
                let path = ApiPath::new("devices").join(device.id).join("commands");
                let (runs, more) = client.first(&path, list.newest.limit)?;
                list_runs(&runs, output)?;
                more
            } else {
                let (commands, more) = client.first(&commands(), list.newest.limit)?;
                list_commands(&commands, output)?;
                more
            };
            output.note_more(more);
            Ok(())
        }
        CommandCommand::Kinds { device } => {
            let device = device.map(|device| find::device(&client, &device)).transpose()?;
            list_kinds(&kinds(&client, device.as_ref())?, output)
        }
        CommandCommand::Show { id, device } => {
            let command: Command = client.get(&commands().join(id))?;
            let device = match (device, &command.target) {
                (Some(device), _) => Some(find::device(&client, &device)?.id),
                (None, Target::Device(device)) => Some(device.clone()),
                (None, Target::Group(_)) => None,
            };
            match device {
                Some(device) => show_run(&client, &command, &device, output),
                None => show(command, &client, output),
            }
        }
        CommandCommand::Watch { id } => {
            let command: Command = client.get(&commands().join(id))?;
            match &command.target {
                Target::Device(device) => {
                    let kinds = kinds(&client, None)?;
                    let interrupt = Interrupt::cancels(&client, id, output);
                    let run = interrupt.check(follow::to_the_end(&client, id, device, output))?;
                    conclude(&run, kinds.iter().find(|kind| kind.name == run.name), output)?;
                    verdict(&run)
                }
                Target::Group(_) => group::wait(&client, &command, output),
            }
        }
        CommandCommand::Cancel { id } => {
            let command: Command = client.post_empty(&commands().join(id).join("cancel"))?;
            let finished = command.finished;
            show(command, &client, output)?;
            if !finished {
                output.note("Devices that are offline end it when they connect.");
            }
            Ok(())
        }
    }
}

/// `service action=restart unit=app`: a command as it is typed.
pub(crate) fn spelled(name: &str, arguments: &Value) -> String {
    let mut line = name.to_owned();
    for (name, value) in arguments.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line.extend([" ", name, "=", &text]);
    }
    line
}

/// The colour of a state.
pub(crate) fn tone(state: RunState) -> Tone {
    match state {
        RunState::Waiting | RunState::Sent => Tone::Plain,
        RunState::Running => Tone::Busy,
        RunState::Succeeded => Tone::Good,
        RunState::Expired | RunState::Cancelled | RunState::Unanswered => Tone::Attention,
        _ => Tone::Bad,
    }
}

/// The commands of the REST API.
fn commands() -> ApiPath {
    ApiPath::new("commands")
}

/// A command's run on a device.
fn run_path(command: u64, device: &str) -> ApiPath {
    commands().join(command).join("devices").join(device)
}

fn kinds(client: &Client, device: Option<&Device>) -> Result<Vec<CommandKind>> {
    let path = ApiPath::new("command-kinds");
    client.get(&match device {
        Some(device) => path.query("device", &device.id),
        None => path,
    })
}

fn request(
    client: &Client,
    name: &str,
    arguments: Value,
    target: Target,
    limits: &CommandLimits,
) -> Result<Command> {
    // The server says which are too long.
    let seconds =
        |limit: Option<Duration>| limit.map(|limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX));
    let new = NewCommand {
        name: name.to_owned(),
        arguments: Some(arguments),
        target,
        timeout_s: seconds(limits.timeout),
        expires_s: seconds(limits.expires),
    };
    client.post(&commands(), &new)
}

fn read_arguments(given: &str) -> Result<Value> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        io::stdin()
            .take(MAX_ARGUMENTS)
            .read_to_string(&mut text)
            .map_err(|e| Error::Usage(format!("the arguments on standard input cannot be read: {e}")))?;
    }
    match serde_json::from_str(&text) {
        Ok(arguments @ Value::Object(_)) => Ok(arguments),
        Ok(_) => Err(Error::Usage("the arguments are no JSON object".to_owned())),
        Err(error) => Err(Error::Usage(format!("the arguments are no JSON: {error}"))),
    }
}

fn note_offline(device: &Device, command: &Command, output: Output) {
    if !device.online && !device.revoked {
        output.note(format_args!(
            "{} is offline. It runs the command if it connects before {}.",
            device.name,
            human::absolute(command.expires_ms)
        ));
    }
}

/// Shows what came of a run whose output has been shown.
fn conclude(run: &CommandRun, kind: Option<&CommandKind>, output: Output) -> Result<()> {
    if output.json {
        return output.json(run);
    }
    if run.dropped_bytes > 0 {
        output.note(format_args!(
            "The device threw {} of the output away, because it was too much.",
            human::size(run.dropped_bytes)
        ));
    }
    let Some(result) = &run.result else { return Ok(()) };
    for line in result::lines(result, kind) {
        // Who takes the output from stdout wants nothing else there.
        if run.output_end > 0 {
            output.note(line);
        } else {
            output.line(line)?;
        }
    }
    Ok(())
}

fn verdict(run: &CommandRun) -> Result<()> {
    if run.state == RunState::Succeeded {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "{} on {}: {}",
        run.name,
        run.device_name,
        ending(run)
    )))
}

/// `failed, exit status 3: no space left`
fn ending(run: &CommandRun) -> String {
    let mut text = run.state.as_str().replace('_', " ");
    if let Some(status) = run.exit_status.filter(|status| *status != 0) {
        text.extend([", exit status ", &status.to_string()]);
    }
    if !run.detail.is_empty() {
        text.push_str(": ");
        text.push_str(&run.detail);
    }
    text
}

fn described(command: &Command) -> String {
    spelled(&command.name, &command.arguments)
}

fn whom(command: &Command) -> String {
    match &command.target {
        Target::Device(id) => command.device_name.clone().unwrap_or_else(|| id.clone()),
        Target::Group(name) => match command.states.values().sum::<u64>() {
            1 => format!("group {name} (1 device)"),
            count => format!("group {name} ({count} devices)"),
        },
    }
}

fn list_commands(commands: &[Command], output: Output) -> Result<()> {
    if output.json {
        return output.json(&commands);
    }
    let mut table = Table::new(&[
        "ID",
        "COMMAND",
        "ON",
        "PROJECT",
        "STATE",
        "SUCCEEDED",
        "REQUESTED",
        "BY",
    ]);
    for command in commands {
        let succeeded = command
            .states
            .get(RunState::Succeeded.as_str())
            .copied()
            .unwrap_or_default();
        let all: u64 = command.states.values().sum();
        let state = match (command.finished, succeeded == all) {
            (false, _) => ("running", Tone::Busy),
            (true, true) => ("done", Tone::Good),
            (true, false) => ("done, not all succeeded", Tone::Bad),
        };
        table.row([
            cell(command.id.to_string()),
            (described(command), Tone::Strong),
            cell(whom(command)),
            cell(command.project.clone().unwrap_or_default()),
            (state.0.to_owned(), state.1),
            cell(format!("{succeeded} of {all}")),
            cell(human::relative(Some(command.created_ms))),
            cell(&command.created_by),
        ]);
    }
    output.table(
        &table.without_empty("PROJECT"),
        "No commands. Run one with `homeport run`.",
    )
}

fn list_runs(runs: &[CommandRun], output: Output) -> Result<()> {
    if output.json {
        return output.json(&runs);
    }
    let mut table = Table::new(&["ID", "COMMAND", "STATE", "REQUESTED", "BY"]);
    for run in runs {
        table.row([
            cell(run.command.to_string()),
            (spelled(&run.name, &run.arguments), Tone::Strong),
            (ending(run), tone(run.state)),
            cell(human::relative(Some(run.created_ms))),
            cell(&run.created_by),
        ]);
    }
    output.table(&table, "No commands yet. Run one with `homeport run`.")
}

fn list_kinds(kinds: &[CommandKind], output: Output) -> Result<()> {
    if output.json {
        return output.json(&kinds);
    }
    let mut table = Table::new(&["COMMAND", "DEVICE SAYS", "ARGUMENTS", "ABOUT"]);
    for kind in kinds {
        let (says, tone) = match kind.policy {
            Some(Policy::Allowed) => ("allowed", Tone::Good),
            Some(Policy::Denied) => ("denied", Tone::Bad),
            Some(_) => ("depends on arguments", Tone::Attention),
            None => ("", Tone::Plain),
        };
        table.row([
            (kind.name.clone(), Tone::Strong),
            (says.to_owned(), tone),
            cell(schema::usage(kind)),
            cell(&kind.about),
        ]);
    }
    output.table(&table.without_empty("DEVICE SAYS"), "There are no commands.")
}

fn header(command: &Command, output: Output) -> Result<()> {
    let made = format!(
        " on {}, requested {} by {}",
        whom(command),
        human::relative(Some(command.created_ms)),
        command.created_by
    );
    output.line(
        Line::from(format_args!("Command {}: ", command.id))
            .and(described(command), Tone::Strong)
            .and(made, Tone::Plain),
    )
}

fn show(command: Command, client: &Client, output: Output) -> Result<()> {
    let devices = client.list(&commands().join(command.id).join("devices"))?;
    if output.json {
        return output.json(&Shown { command, devices });
    }
    header(&command, output)?;
    for run in &devices {
        output.line(
            Line::default()
                .column(&run.device_name, Tone::Strong)
                .column(ending(run), tone(run.state)),
        )?;
    }
    Ok(())
}

fn show_run(client: &Client, command: &Command, device: &str, output: Output) -> Result<()> {
    if output.json {
        let run: CommandRun = client.get(&run_path(command.id, device))?;
        return output.json(&run);
    }
    header(command, output)?;
    let run = follow::until_now(client, command.id, device, output)?;
    conclude(
        &run,
        kinds(client, None)?.iter().find(|kind| kind.name == run.name),
        output,
    )?;
    output.line(
        Line::default()
            .column(&run.device_name, Tone::Strong)
            .column(ending(&run), tone(run.state)),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of command 12 on the device of this name.
    pub(crate) fn run(device: &str, state: RunState) -> CommandRun {
        CommandRun {
            id: 1,
            command: 12,
            name: "ping".to_owned(),
            arguments: json!({ "host": "::1", "count": 3 }),
            device: device.to_owned(),
            device_name: device.to_owned(),
            created_ms: 0,
            created_by: "mia".to_owned(),
            state,
            cancelling: false,
            detail: String::new(),
            exit_status: None,
            result: None,
            output_start: 0,
            output_end: 0,
            dropped_bytes: 0,
            begun_ms: None,
            updated_ms: 0,
        }
    }

    #[test]
    fn an_ending_tells_state_status_and_detail() {
        let mut failed = run("gate", RunState::Failed);
        failed.exit_status = Some(3);
        failed.detail = "no space left".to_owned();
        assert_eq!(
            verdict(&failed).unwrap_err().to_string(),
            "ping on gate: failed, exit status 3: no space left"
        );
        assert_eq!(ending(&run("gate", RunState::TimedOut)), "timed out");
        assert!(verdict(&run("gate", RunState::Succeeded)).is_ok());
    }

    #[test]
    fn a_command_is_spelt_as_it_is_typed() {
        assert_eq!(
            spelled("ping", &json!({ "host": "::1", "count": 3 })),
            "ping count=3 host=::1"
        );
        assert_eq!(
            spelled("run", &json!({ "program": "x", "arguments": ["a"] })),
            r#"run arguments=["a"] program=x"#
        );
    }
}
