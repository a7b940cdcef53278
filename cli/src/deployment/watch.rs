//! Staying with a deployment until every device is done.

use std::{
    collections::BTreeMap,
    sync::mpsc::RecvTimeoutError,
    thread,
    time::{Duration, Instant},
};

use homeport_api::{DeviceProgress, Event};
use homeport_protocol::DeploymentState;

use super::{questions, view::View};
use crate::{
    client::Client,
    error::{Error, Result},
    events::{self, Signal},
    human,
    output::Output,
    update,
};

/// How long without an event until the server is asked. Events are the fast way, this is the sure one.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Between questions to a server that does not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What is known about each device.
#[derive(Debug, Default)]
struct Progress {
    devices: BTreeMap<String, DeviceProgress>,
}

/// Follows deployment `id` and ends well only when every device is verified.
pub(crate) fn run(client: &Client, id: u64, timeout: Option<Duration>, output: Output) -> Result<()> {
    let started = Instant::now();
    let deployment = questions::fetch(client, id)?;
    let devices = questions::devices(client, id)?;
    let mut view = View::new(client, &deployment, &devices, output);
    let mut progress = Progress::default();
    let mut finished = progress.take_all(deployment.finished, devices, &mut view)?;
    if finished {
        view.finish();
        return progress.verdict();
    }
    let signals = events::subscribe(
        client,
        move |event| matches!(event, Event::Update { update } if update.update.deployment == Some(id)),
    );
    let mut ask_at = Instant::now() + POLL_INTERVAL;
    let mut reachable = true;
    while !finished {
        let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            view.finish();
            return Err(progress.timed_out(id, timeout.unwrap_or_default()));
        }
        let wait = ask_at.saturating_duration_since(Instant::now());
        match signals.recv_timeout(left.map_or(wait, |left| left.min(wait))) {
            Ok(Ok(Signal::Event(Event::Update { update }))) => {
                progress.take(*update, &mut view)?;
                ask_at = Instant::now() + POLL_INTERVAL;
                if progress.is_final() {
                    ask_at = Instant::now();
                }
            }
            Ok(Ok(Signal::Connected | Signal::Event(_))) => ask_at = Instant::now(),
            Ok(Ok(Signal::Lost)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Err(error)) => {
                view.finish();
                return Err(error);
            }
            Err(RecvTimeoutError::Disconnected) => thread::sleep(RETRY_INTERVAL),
        }
        if Instant::now() < ask_at {
            continue;
        }
        match ask(client, id) {
            Ok((over, devices)) => {
                if !reachable {
                    view.note("The server is back.");
                }
                reachable = true;
                finished = progress.take_all(over, devices, &mut view)?;
                ask_at = Instant::now() + POLL_INTERVAL;
            }
            Err(error) if error.is_passing() => {
                if reachable {
                    view.note(&format!("{error}; trying again. The update goes on without it."));
                }
                reachable = false;
                ask_at = Instant::now() + RETRY_INTERVAL;
            }
            Err(error) => {
                view.finish();
                return Err(error);
            }
        }
    }
    view.finish();
    progress.verdict()
}

/// Whether the deployment is over, and its devices. In this order: what is over does not change any more.
fn ask(client: &Client, id: u64) -> Result<(bool, Vec<DeviceProgress>)> {
    let over = questions::fetch(client, id)?.finished;
    Ok((over, questions::devices(client, id)?))
}

// === impl Progress ===

impl Progress {
    /// Takes the server's full answer. True when the deployment is over.
    fn take_all(&mut self, over: bool, devices: Vec<DeviceProgress>, view: &mut View) -> Result<bool> {
        for device in devices {
            self.take(device, view)?;
        }
        Ok(over && self.is_final())
    }

    /// Takes news of one device; what is older than what is known is dropped, as events and answers can overtake each other.
    fn take(&mut self, news: DeviceProgress, view: &mut View) -> Result<()> {
        if let Some(known) = self.devices.get(&news.device) {
            let age = |device: &DeviceProgress| {
                let update = &device.update;
                (update.steps, update.state.is_final(), update.updated_ms)
            };
            if *known == news || age(&news) < age(known) {
                return Ok(());
            }
        }
        view.show(&news)?;
        self.devices.insert(news.device.clone(), news);
        Ok(())
    }

    fn is_final(&self) -> bool {
        self.devices.values().all(|device| device.update.state.is_final())
    }

    fn verdict(&self) -> Result<()> {
        if self.devices.is_empty() {
            return Err(Error::Failed("the deployment has no devices".to_owned()));
        }
        let failures = self.not_verified();
        if failures.is_empty() {
            return Ok(());
        }
        Err(Error::Listed {
            what: format!(
                "{} of {} devices did not end verified",
                failures.len(),
                self.devices.len()
            ),
            items: failures,
        })
    }

    fn timed_out(&self, id: u64, timeout: Duration) -> Error {
        Error::Listed {
            what: format!(
                "deployment {id} is not done after {}; it goes on, `homeport deployment watch {id}` looks again",
                human::duration(timeout)
            ),
            items: self.not_verified(),
        }
    }

    fn not_verified(&self) -> Vec<String> {
        let devices = self.devices.values();
        devices
            .filter(|device| device.update.state != DeploymentState::Verified)
            .map(describe)
            .collect()
    }
}

fn describe(device: &DeviceProgress) -> String {
    let update = &device.update;
    let state = update.state.as_str();
    match update::reason(update.reason.as_ref()) {
        reason if reason.is_empty() => format!("{}: {state}", device.device_name),
        reason => format!("{}: {state}, {reason}", device.device_name),
    }
}

#[cfg(test)]
mod tests {
    use homeport_api::Why;
    use homeport_protocol::FailureCode;

    use super::*;
    use crate::update::tests::entered;

    fn device(name: &str, states: &[DeploymentState], updated_ms: i64) -> DeviceProgress {
        let mut device = entered(name, states);
        device.update.updated_ms = updated_ms;
        device
    }

    fn take(progress: &mut Progress, news: DeviceProgress) {
        progress.take(news, &mut View::Hidden).unwrap();
    }

    #[test]
    fn news_that_were_overtaken_are_dropped() {
        use DeploymentState::{Installing, Offered, Verified};
        let mut progress = Progress::default();
        take(&mut progress, device("a", &[Offered, Installing, Verified], 30));
        take(&mut progress, device("a", &[Offered, Installing], 20));
        assert!(progress.is_final());
        // The server's clock may step back.
        take(&mut progress, device("b", &[Offered], 50));
        take(&mut progress, device("b", &[Offered, Installing], 10));
        assert_eq!(progress.devices["b"].update.state, Installing);
    }

    #[test]
    fn only_verified_everywhere_is_success() {
        use DeploymentState::{Cancelled, RolledBack, Verified};
        let mut progress = Progress::default();
        assert!(progress.verdict().is_err());
        take(&mut progress, device("a", &[Verified], 1));
        assert!(progress.verdict().is_ok());
        let mut failed = device("b", &[RolledBack], 1);
        failed.update.reason = Some(Why {
            code: FailureCode::BootFailed,
            detail: "gave up".into(),
        });
        take(&mut progress, failed);
        take(&mut progress, device("c", &[Cancelled], 1));
        let error = progress.verdict().unwrap_err();
        assert!(error.to_string().contains("2 of 3"), "{error}");
        assert_eq!(
            error.details(),
            ["b: rolled_back, boot_failed: gave up", "c: cancelled"]
        );
    }
}
