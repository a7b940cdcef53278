//! RAUC over D-Bus, versions 1.8 to 1.15.
//!
//! RAUC does not tell its version over D-Bus before 1.16 and refuses a whole call because of one argument that it does not
//! know, so what it can do is found by introspection, and by asking again without the argument.

mod error;

use std::{collections::HashMap, time::Duration};

use homeport_protocol::{Slot, limits};
use homeport_system::bus::{Remote, Signals, Values, first};
use tokio::{
    process::Command,
    sync::{Mutex, OnceCell},
    time::{MissedTickBehavior, interval, timeout},
};
use zbus::zvariant::{Array, Dict, Structure, Value};

use super::{Backend, BackendError, BundleInfo, InstallEnded, InstallRequest, Mark, SlotStatus};

const INSTALLER: Remote = Remote {
    service: "de.pengutronix.rauc",
    path: "/",
    interface: "de.pengutronix.rauc.Installer",
};

/// The signal at the end of an installation, with its exit code.
const COMPLETED: &str = "Completed";

/// RAUC runs bootloader tools for these, or has to be started first.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);
/// The relay has fetched the bundle's ends before, but RAUC may sit behind a slow key store or CPU.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a running installation is asked how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// RAUC's service on the system bus.
#[derive(Debug)]
pub struct Rauc {
    connection: zbus::Connection,
    version: String,
    abilities: OnceCell<Abilities>,
    /// Kept between calls, so that no installation is missed.
    completed: Mutex<Option<Signals>>,
}

#[derive(Debug, Clone, Copy)]
struct Abilities {
    /// Since 1.9.
    inspect: bool,
    /// Since 1.13.
    artifacts: bool,
}

// === impl Rauc ===

impl Rauc {
    /// Uses `connection`, normally the one to the system bus. RAUC's service is started by D-Bus when it is needed, so
    /// that it cannot be reached is told by the calls.
    pub async fn connect(connection: zbus::Connection) -> Self {
        Self {
            connection,
            version: version().await,
            abilities: OnceCell::new(),
            completed: Mutex::new(None),
        }
    }

    async fn call(
        &self,
        method: &'static str,
        arguments: Option<Structure<'_>>,
    ) -> Result<Values, BackendError> {
        limited(INSTALLER.call(&self.connection, method, arguments), method).await
    }

    /// Calls what may take long, and leaves the error to the caller.
    async fn call_within(
        &self,
        limit: Duration,
        method: &str,
        arguments: Structure<'_>,
    ) -> zbus::Result<Values> {
        timeout(limit, INSTALLER.call(&self.connection, method, Some(arguments)))
            .await
            .unwrap_or_else(|_| Err(error::no_answer(method)))
    }

    async fn property<T: TryFrom<Value<'static>>>(&self, name: &'static str) -> Result<T, BackendError> {
        let value = limited(INSTALLER.property(&self.connection, name), name).await?;
        T::try_from(value).map_err(|_| error::unreachable(zbus::Error::InvalidReply))
    }

    async fn completions(&self) -> Result<Signals, BackendError> {
        INSTALLER
            .signals(&self.connection, COMPLETED)
            .await
            .map_err(error::unreachable)
    }

    async fn abilities(&self) -> Result<Abilities, BackendError> {
        let probe = async {
            let xml = limited(INSTALLER.introspect(&self.connection), "introspection").await?;
            Ok(Abilities {
                inspect: xml.contains("\"InspectBundle\""),
                artifacts: xml.contains("\"GetArtifactStatus\""),
            })
        };
        self.abilities.get_or_try_init(|| probe).await.copied()
    }

    /// Starts an installation, with as many of the wishes as this RAUC knows.
    async fn start(&self, request: &InstallRequest) -> Result<(), BackendError> {
        let abilities = self.abilities().await?;
        let mut arguments: HashMap<&str, Value<'_>> = HashMap::new();
        if abilities.inspect {
            arguments.insert("transaction-id", Value::from(request.transaction.as_str()));
        }
        if let Some(hash) = request.manifest_hash.as_deref().filter(|_| abilities.artifacts) {
            arguments.insert("require-manifest-hash", Value::from(hash));
        }
        loop {
            let body = Structure::from((request.source.as_str(), arguments.clone()));
            let called = self.call_within(CALL_TIMEOUT, "InstallBundle", body).await;
            let Err(refusal) = called else {
                return Ok(());
            };
            let unknown = error::unsupported_key(&refusal);
            if unknown.and_then(|key| arguments.remove(key)).is_none() {
                return Err(error::from_bus(refusal, &request.source));
            }
        }
    }

    /// Waits for the end of the running installation.
    async fn wait(
        &self,
        completed: &mut Signals,
        source: &str,
        progress: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> Result<(), BackendError> {
        let mut tick = interval(PROGRESS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                signal = completed.next() => {
                    let signal = signal.ok_or_else(connection_lost)?;
                    match completed.verify(&signal).await.and_then(exit_code) {
                        Some(0) => return Ok(()),
                        Some(_) => return Err(error::classify(&self.last_error().await?, source)),
                        None => continue,
                    }
                }
                _ = tick.tick() => {}
            }
            if let Some((percent, message)) = self.progress().await {
                progress(percent, &message);
            } else {
                tracing::debug!("RAUC does not tell its progress");
            }
            // `Operation` cannot be trusted: a second InstallBundle that is refused sets it to idle as well. Without a
            // signal, this is a service that was restarted.
            if self.is_idle().await && !matches!(self.slots().await, Err(BackendError::Busy(_))) {
                if let Ok(Some(signal)) = timeout(PROGRESS_INTERVAL, completed.next()).await {
                    if completed.verify(&signal).await.and_then(exit_code) == Some(0) {
                        return Ok(());
                    }
                }
                let last_error = self.last_error().await?;
                if last_error.is_empty() {
                    return Err(BackendError::Interrupted(
                        "RAUC's service ended during the installation: see its journal".to_owned(),
                    ));
                }
                return Err(error::classify(&last_error, source));
            }
        }
    }

    /// Percent, and what is being done.
    async fn progress(&self) -> Option<(u8, String)> {
        let progress: Structure<'_> = self.property("Progress").await.ok()?;
        let [percent, message, _] = progress.fields() else {
            return None;
        };
        let percent = u8::try_from(i32::try_from(percent).ok()?).unwrap_or(0).min(100);
        Some((percent, String::try_from(message).ok()?))
    }

    async fn is_idle(&self) -> bool {
        let operation: Result<String, _> = self.property("Operation").await;
        operation.is_ok_and(|operation| operation == "idle")
    }

    async fn last_error(&self) -> Result<String, BackendError> {
        self.property("LastError").await
    }
}

impl Backend for Rauc {
    fn name(&self) -> String {
        self.version.clone()
    }

    async fn compatible(&self) -> Result<String, BackendError> {
        Ok(limits::clip(self.property::<String>("Compatible").await?))
    }

    async fn slots(&self) -> Result<Vec<SlotStatus>, BackendError> {
        let answer = first(self.call("GetSlotStatus", None).await?);
        let slots: Array<'_> = answer.map_err(error::unreachable)?;
        Ok(slot_statuses(&slots))
    }

    async fn primary(&self) -> Result<String, BackendError> {
        first(self.call("GetPrimary", None).await?).map_err(error::unreachable)
    }

    async fn inspect(&self, source: &str) -> Result<Option<BundleInfo>, BackendError> {
        if self.abilities().await?.inspect {
            let arguments = Structure::from((source, HashMap::<&str, Value<'_>>::new()));
            let info = self
                .call_within(INSPECT_TIMEOUT, "InspectBundle", arguments)
                .await;
            return match info.and_then(first) {
                Ok(info) => Ok(Some(bundle_info(&info))),
                Err(refusal) => Err(error::from_bus(refusal, source)),
            };
        }
        let arguments = Structure::from((source,));
        match self.call_within(INSPECT_TIMEOUT, "Info", arguments).await {
            Ok(info) => Ok(Some(BundleInfo {
                compatible: info.first().map(string).unwrap_or_default(),
                version: info.get(1).map(string).unwrap_or_default(),
                ..BundleInfo::default()
            })),
            // RAUC 1.8 does not say why. The installation itself will.
            Err(zbus::Error::MethodError(_, Some(text), _)) if text == "rauc info error" => Ok(None),
            Err(refusal) => Err(error::from_bus(refusal, source)),
        }
    }

    async fn install(
        &self,
        request: &InstallRequest,
        progress: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> Result<(), BackendError> {
        let mut completed = self.completions().await?;
        self.start(request).await?;
        self.wait(&mut completed, &request.source, progress).await
    }

    async fn reattach(
        &self,
        progress: &(dyn Fn(u8, &str) + Send + Sync),
    ) -> Option<Result<(), BackendError>> {
        let mut completed = self.completions().await.ok()?;
        match self.slots().await {
            Err(BackendError::Busy(_)) => Some(self.wait(&mut completed, "", progress).await),
            _ => None,
        }
    }

    async fn mark(&self, slot: &str, mark: Mark) -> Result<(), BackendError> {
        let state = match mark {
            Mark::Good => "good",
            Mark::Bad => "bad",
            Mark::Active => "active",
        };
        self.call("Mark", Some(Structure::from((state, slot)))).await?;
        Ok(())
    }

    async fn changed(&self) -> Result<InstallEnded, BackendError> {
        let mut completed = self.completed.lock().await;
        let signals = match completed.as_mut() {
            Some(signals) => signals,
            None => completed.insert(self.completions().await?),
        };
        let code = loop {
            let Some(signal) = signals.next().await else {
                *completed = None;
                return Err(connection_lost());
            };
            if let Some(code) = signals.verify(&signal).await.and_then(exit_code) {
                break code;
            }
        };
        let error = match code {
            0 => None,
            _ => Some(limits::clip(self.last_error().await?)),
        };
        Ok(InstallEnded { error })
    }
}

fn exit_code(completed: Values) -> Option<i32> {
    first(completed).ok()
}

fn connection_lost() -> BackendError {
    BackendError::Interrupted("the connection to D-Bus was lost".to_owned())
}

async fn limited<T>(
    call: impl Future<Output = zbus::Result<T>>,
    name: &'static str,
) -> Result<T, BackendError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(called) => called.map_err(|refusal| error::from_bus(refusal, "")),
        Err(_) => Err(error::unreachable(error::no_answer(name))),
    }
}

/// `rauc 1.13`, as the program says; only for people.
async fn version() -> String {
    let output = Command::new("rauc").arg("--version").kill_on_drop(true).output();
    let output = timeout(VERSION_TIMEOUT, output).await;
    let line = match output {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        _ => String::new(),
    };
    if line.starts_with("rauc ") {
        limits::clip(line)
    } else {
        "rauc".to_owned()
    }
}

/// All slots, by name. However many there are, the running one is among them.
fn slot_statuses(slots: &Array<'_>) -> Vec<SlotStatus> {
    let mut slots: Vec<_> = slots.iter().filter_map(slot_status).collect();
    slots.sort_by(|left, right| left.slot.name.cmp(&right.slot.name));
    slots
}

/// Reads a name and a dictionary.
fn slot_status(slot: &Value<'_>) -> Option<SlotStatus> {
    let Value::Structure(slot) = slot else {
        return None;
    };
    let [name, Value::Dict(dict)] = slot.fields() else {
        return None;
    };
    Some(SlotStatus {
        slot: Slot {
            name: string(name),
            bootname: text(dict, "bootname"),
            state: text(dict, "state"),
            boot_status: text(dict, "boot-status"),
            version: text(dict, "bundle.version"),
            installed_at: text(dict, "installed.timestamp"),
        },
        class: text(dict, "class"),
        transaction: text(dict, "installed.transaction"),
        installed_count: field(dict, "installed.count")
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        installed_ok: text(dict, "status") == "ok",
    })
}

fn bundle_info(info: &Dict<'_, '_>) -> BundleInfo {
    let update = |key| match field(info, "update") {
        Some(Value::Dict(update)) => text(update, key),
        _ => String::new(),
    };
    let is_adaptive =
        |image: &Value<'_>| matches!(inner(image), Value::Dict(image) if field(image, "adaptive").is_some());
    BundleInfo {
        compatible: update("compatible"),
        version: update("version"),
        manifest_hash: Some(text(info, "manifest-hash")).filter(|hash| !hash.is_empty()),
        reads_everything: match field(info, "images") {
            Some(Value::Array(images)) => Some(!images.iter().any(is_adaptive)),
            _ => None,
        },
    }
}

fn field<'a>(dict: &'a Dict<'_, '_>, key: &str) -> Option<&'a Value<'a>> {
    let is_wanted = |name: &Value<'_>| matches!(name, Value::Str(name) if name == key);
    let (_, value) = dict.iter().find(|(name, _)| is_wanted(name))?;
    Some(inner(value))
}

/// What a value holds. RAUC wraps nested dictionaries twice.
fn inner<'a>(mut value: &'a Value<'a>) -> &'a Value<'a> {
    while let Value::Value(inner) = value {
        value = inner;
    }
    value
}

fn text(dict: &Dict<'_, '_>, key: &str) -> String {
    field(dict, key).map(string).unwrap_or_default()
}

/// A text, and nothing if the value is none.
fn string(value: &Value<'_>) -> String {
    limits::clip(String::try_from(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::booted;

    #[test]
    fn the_running_slot_is_found_among_many() {
        let status =
            |name: String, state: &'static str| (name, HashMap::from([("state", Value::from(state))]));
        let mut slots: Vec<_> = (0..40)
            .map(|number| status(format!("app.{number:02}"), "inactive"))
            .collect();
        slots.push(status("rootfs.1".to_owned(), "booted"));
        let slots = slot_statuses(&Array::from(slots));
        assert_eq!(slots.len(), 41);
        assert_eq!(booted(&slots).unwrap().slot.name, "rootfs.1");
    }
}
