//! The live events of the server.

use std::{
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use homeport_api::Event;

use crate::{
    client::Client,
    command,
    deployment::questions::whom,
    error::{Error, Result},
    human,
    output::{Line, Output, Tone},
    stored_login::StoredLogin,
    update,
};

const RECONNECT_MIN: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(10);

/// What a connection that is kept up tells its reader.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The stream is up (again); what happened before it was, was not seen.
    Connected,
    /// An event.
    Event(Event),
    /// The stream broke and is being built again.
    Lost,
}

/// `homeport events`
pub(crate) fn run(output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    let mut connected_before = false;
    follow(&client, true, |signal| {
        match signal {
            Signal::Connected if connected_before => show(&Event::Resync, output)?,
            Signal::Connected => connected_before = true,
            Signal::Event(event) => show(&event, output)?,
            Signal::Lost => output.note("The connection is lost; trying again."),
        }
        Ok(())
    })
}

/// Reads the event stream until `each` or a permanent error says stop; reconnects in between. When `must_start`, the first
/// connection is tried only once.
pub(crate) fn follow(
    client: &Client,
    must_start: bool,
    mut each: impl FnMut(Signal) -> Result<()>,
) -> Result<()> {
    let mut pause = RECONNECT_MIN;
    let mut tried_before = !must_start;
    loop {
        match client.events() {
            Ok(mut stream) => {
                each(Signal::Connected)?;
                while let Ok(event) = stream.next_event() {
                    pause = RECONNECT_MIN;
                    each(Signal::Event(event))?;
                }
            }
            Err(error) if !error.is_passing() || !tried_before => return Err(error),
            Err(_) => {}
        }
        tried_before = true;
        each(Signal::Lost)?;
        thread::sleep(pause);
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

/// Reads the wanted events in a thread of its own, so that a silent connection does not hold up questions to the server. After `resync`, and
/// whenever the stream is up again, events may be missing.
pub(crate) fn subscribe(
    client: &Client,
    is_wanted: impl Fn(&Event) -> bool + Send + 'static,
) -> Receiver<Result<Signal>> {
    let (sender, signals) = mpsc::channel();
    let client = client.clone();
    thread::spawn(move || {
        let outcome = follow(&client, false, |signal| {
            let wanted = match &signal {
                Signal::Event(event) => *event == Event::Resync || is_wanted(event),
                Signal::Connected | Signal::Lost => true,
            };
            if wanted {
                sender
                    .send(Ok(signal))
                    .map_err(|_| Error::Failed("nobody watches any more".to_owned()))?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            // When the watcher is gone, so is the program.
            let _ = sender.send(Err(error));
        }
    });
    signals
}

fn show(event: &Event, output: Output) -> Result<()> {
    if output.json {
        return output.json_line(event);
    }
    let (subject, what, tone) = match event {
        Event::Device { device } if device.revoked => (device.name.as_str(), "revoked".to_owned(), Tone::Bad),
        Event::Device { device } if device.online => (device.name.as_str(), "online".to_owned(), Tone::Good),
        Event::Device { device } => (device.name.as_str(), "offline".to_owned(), Tone::Attention),
        Event::DeviceRemoved { id } => (id.as_str(), "deleted or moved".to_owned(), Tone::Attention),
        Event::Deployment { deployment } => (
            deployment.version.as_str(),
            format!("deployment {} to {}", deployment.id, whom(deployment)),
            Tone::Plain,
        ),
        Event::Update { update: device } => {
            let update = &device.update;
            let text = format!(
                "{} {} {}",
                update.version,
                update::state(update),
                update::reason(update.reason.as_ref())
            );
            (device.device_name.as_str(), text, update::tone(update.state))
        }
        Event::Command { run } => {
            let text = format!(
                "{} {} {}",
                command::spelled(&run.name, &run.arguments),
                run.state,
                run.detail
            );
            (run.device_name.as_str(), text, command::tone(run.state))
        }
        Event::Telemetry { device, series } => {
            let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
            (
                device.as_str(),
                format!("telemetry {}", names.join(" ")),
                Tone::Faint,
            )
        }
        Event::Bundle { bundle } => (bundle.version.as_str(), "bundle uploaded".to_owned(), Tone::Plain),
        Event::BundleRemoved { id, .. } => (id.as_str(), "bundle deleted".to_owned(), Tone::Plain),
        Event::Resync => ("", "events may be missing here".to_owned(), Tone::Attention),
    };
    output.line(
        Line::default()
            .column(human::clock(human::now_ms()), Tone::Faint)
            .column(subject, Tone::Plain)
            .column(what.trim_end(), tone),
    )
}
