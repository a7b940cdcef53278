//! What systemd tells: failed units, and whether the boot is complete. Without systemd there is nothing to tell.

use std::{path::Path, time::Duration};

use homeport_system::{
    Backoff,
    bus::{Remote, first},
};
use tokio::time::{sleep, timeout};
use zbus::{
    Connection,
    zvariant::{Array, Structure, Value},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest pause before systemd is asked again how far the boot is.
const MAX_PAUSE: Duration = Duration::from_secs(5);

const MANAGER: Remote = Remote {
    service: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// As sd_booted(3) does.
fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Waits until the boot is complete, for at most `limit`: until systemd has done all that it began with, well or not.
pub(crate) async fn boot_complete(limit: Duration) {
    if runs() && timeout(limit, until_started()).await.is_err() {
        tracing::warn!(limit_s = limit.as_secs(), "the boot does not complete, going on");
    }
}

async fn until_started() {
    let mut backoff = Backoff::up_to(MAX_PAUSE);
    loop {
        match timeout(CALL_TIMEOUT, state()).await {
            Ok(Ok(state)) if !is_starting(&state) => return,
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%error, "systemd does not tell how far the boot is"),
        }
        sleep(backoff.next_wait()).await;
    }
}

async fn state() -> zbus::Result<String> {
    let connection = Connection::system().await?;
    first(vec![MANAGER.property(&connection, "SystemState").await?])
}

fn is_starting(state: &str) -> bool {
    matches!(state, "initializing" | "starting")
}

/// Names of the units in state `failed` that are not ignored.
pub(crate) async fn failed_units(ignored: &[String]) -> Result<Vec<String>, String> {
    if !runs() {
        return Ok(Vec::new());
    }
    let names = timeout(CALL_TIMEOUT, list())
        .await
        .map_err(|_| "systemd does not answer".to_owned())?
        .map_err(|error| format!("systemd does not tell its failed units: {error}"))?;
    Ok(names
        .into_iter()
        .filter(|name| !ignored.iter().any(|pattern| matches(pattern, name)))
        .collect())
}

/// Of each unit, the first of ten fields is its name.
async fn list() -> zbus::Result<Vec<String>> {
    let connection = Connection::system().await?;
    let units = MANAGER.call(&connection, "ListUnitsFiltered", Some(arguments()));
    let units: Array<'_> = first(units.await?)?;
    let name = |unit: &Value<'_>| match unit {
        Value::Structure(unit) => String::try_from(unit.fields().first()?).ok(),
        _ => None,
    };
    let names: Option<Vec<_>> = units.iter().map(name).collect();
    names.ok_or(zbus::Error::InvalidReply)
}

/// The states that are asked for.
fn arguments() -> Structure<'static> {
    Structure::from((vec!["failed"],))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_asked_for_are_an_array() {
        assert_eq!(arguments().signature(), "(as)");
    }

    #[test]
    fn a_degraded_system_has_started() {
        for (state, starting) in [
            ("initializing", true),
            ("starting", true),
            ("running", false),
            ("degraded", false),
            ("maintenance", false),
        ] {
            assert_eq!(is_starting(state), starting, "{state}");
        }
    }

    #[test]
    fn patterns_end_with_a_star() {
        assert!(matches("getty@*", "getty@tty1.service"));
        assert!(matches("a.service", "a.service"));
        assert!(!matches("a.service", "aa.service"));
        assert!(!matches("a", "a.service"));
    }
}
