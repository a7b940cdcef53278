//! How an update is shown.

use homeport_api::{DeviceUpdate, StateChange, Why};
use homeport_protocol::{DeploymentState, FailureCode};
use serde::Serialize as _;

use crate::{human, output::Tone};

/// The colour of a state.
pub(crate) fn tone(state: DeploymentState) -> Tone {
    match state {
        DeploymentState::Verified => Tone::Good,
        DeploymentState::RolledBack | DeploymentState::Failed => Tone::Bad,
        DeploymentState::Cancelled | DeploymentState::Waiting => Tone::Attention,
        DeploymentState::Offered | DeploymentState::Unknown => Tone::Plain,
        _ => Tone::Busy,
    }
}

/// `installing 43 %`, `verified`.
pub(crate) fn state(update: &DeviceUpdate) -> String {
    match update.state {
        DeploymentState::Downloading | DeploymentState::Installing => {
            format!("{} {} %", update.state.as_str(), update.percent)
        }
        state => state.as_str().to_owned(),
    }
}

/// `signature: not from a key in the keyring`, empty without a reason.
pub(crate) fn reason(why: Option<&Why>) -> String {
    match why {
        None => String::new(),
        Some(why) if why.detail.is_empty() => code(why.code),
        // The state has said so already.
        Some(why) if why.code == FailureCode::Cancelled => why.detail.clone(),
        Some(why) => format!("{}: {}", code(why.code), why.detail),
    }
}

/// The state that it entered last.
pub(crate) fn present(update: &DeviceUpdate) -> StateChange {
    StateChange {
        state: update.state,
        at_ms: update.updated_ms,
        running_version: update.running_version.clone(),
        running_slot: update.running_slot.clone(),
        reason: update.reason.clone(),
    }
}

/// One line about a state that was entered, e.g. `12:03:04  trial  running 1.4.0 from rootfs.1`.
pub(crate) fn change(change: &StateChange) -> String {
    let mut line = format!("{}  {}", human::clock(change.at_ms), change.state.as_str());
    if !change.running_version.is_empty() {
        line.push_str("  running ");
        line.push_str(&change.running_version);
        if !change.running_slot.is_empty() {
            line.push_str(" from ");
            line.push_str(&change.running_slot);
        }
    }
    if change.reason.is_some() {
        line.push_str("  (");
        line.push_str(&reason(change.reason.as_ref()));
        line.push(')');
    }
    line
}

/// `13.4 MB of 120.0 MB fetched`, empty when nothing was.
pub(crate) fn fetched(update: &DeviceUpdate) -> String {
    match (update.bytes_fetched, update.bundle_size) {
        (0, _) => String::new(),
        (fetched, 0) => format!("{} fetched", human::size(fetched)),
        (fetched, size) => format!("{} of {} fetched", human::size(fetched), human::size(size)),
    }
}

/// The code as the API writes it.
fn code(code: FailureCode) -> String {
    code.serialize(serde_json::value::Serializer)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use homeport_api::{DeviceProgress, UpdateOrigin};

    use super::*;

    /// A device called `name` that went through `states`.
    pub(crate) fn entered(name: &str, states: &[DeploymentState]) -> DeviceProgress {
        let mut newest = states.iter().rev().copied();
        DeviceProgress {
            device: name.into(),
            device_name: name.into(),
            update: DeviceUpdate {
                id: 1,
                origin: UpdateOrigin::Deployment,
                deployment: Some(1),
                version: "1".into(),
                state: newest.next().unwrap(),
                previous: newest.next(),
                steps: states.len() as u64,
                reason: None,
                running_version: String::new(),
                running_slot: String::new(),
                percent: 0,
                message: String::new(),
                bytes_fetched: 0,
                bundle_size: 0,
                started_ms: 0,
                updated_ms: 0,
            },
        }
    }

    #[test]
    fn reasons_are_shown_with_the_codes_of_the_api() {
        let why = Why {
            code: FailureCode::HealthCheck,
            detail: "20-modem exited with 1".into(),
        };
        assert_eq!(reason(Some(&why)), "health_check: 20-modem exited with 1");
        assert_eq!(reason(None), "");
    }
}
