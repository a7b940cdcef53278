//! What the device says about itself.

use std::path::Path;

use homeport_ota::EngineStatus;
use homeport_protocol::{Inventory, Slot, limits};
use homeport_system::file;

/// Places of the hardware's serial number, the best first.
const SERIALS: [&str; 3] = [
    "/proc/device-tree/serial-number",
    "/sys/class/dmi/id/product_serial",
    "/sys/class/dmi/id/board_serial",
];

/// Places of the hardware's model, the best first.
const MODELS: [&str; 2] = ["/proc/device-tree/model", "/sys/class/dmi/id/product_name"];

const OS_RELEASES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// Longest os-release that is read, in bytes.
const MAX_OS_RELEASE: u64 = 16 * 1024;

/// The device as it is now; what cannot be known stays empty. `capabilities`: see [`Inventory::capabilities`].
pub(crate) fn collect(engine: &EngineStatus, capabilities: &[&str]) -> Inventory {
    let os_release = os_release();
    Inventory {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        os: field(&os_release, "PRETTY_NAME").unwrap_or_default(),
        os_version: image_version(&os_release),
        kernel: kernel_text("osrelease"),
        architecture: rustix::system::uname().machine().to_string_lossy().into_owned(),
        hostname: hostname(),
        serial: serial(),
        model: first_line(&MODELS),
        boot_id: kernel_text("random/boot_id"),
        updater: engine.updater.clone(),
        compatible: engine.compatible.clone(),
        slots: reported(&engine.slots),
        capabilities: capabilities.iter().map(|&kind| kind.to_owned()).collect(),
        commands: None,
    }
}

/// As many slots as the server takes, the running one among them.
fn reported(slots: &[Slot]) -> Vec<Slot> {
    let (first, rest) = slots.split_at(slots.len().min(limits::MAX_SLOTS));
    let mut reported = first.to_vec();
    let booted = rest.iter().find(|slot| slot.state == "booted");
    if let (Some(booted), Some(last)) = (booted, reported.last_mut()) {
        last.clone_from(booted);
    }
    reported
}

/// Version of the running image; empty when os-release has none.
pub(crate) fn os_version() -> String {
    image_version(&os_release())
}

/// The host name; empty when there is none.
pub(crate) fn hostname() -> String {
    kernel_text("hostname")
}

/// The hardware's serial number.
pub(crate) fn serial() -> Option<String> {
    first_line(&SERIALS)
}

fn kernel_text(name: &str) -> String {
    let path = Path::new("/proc/sys/kernel").join(name);
    file::read_line(&path).map(limits::clip).unwrap_or_default()
}

fn first_line(paths: &[&str]) -> Option<String> {
    paths
        .iter()
        .find_map(|path| file::read_line(Path::new(path)))
        .map(limits::clip)
}

/// A field of os-release(5).
fn field(os_release: &str, name: &str) -> Option<String> {
    let value = os_release
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .find(|(key, _)| *key == name)?
        .1;
    let quoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut text = String::new();
    let mut characters = quoted.unwrap_or(value).chars();
    while let Some(c) = characters.next() {
        text.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    (!text.is_empty()).then(|| limits::clip(text))
}

fn os_release() -> String {
    OS_RELEASES
        .iter()
        .find_map(|path| file::read_limited(Path::new(path), MAX_OS_RELEASE).ok())
        .map(|content| String::from_utf8_lossy(&content).into_owned())
        .unwrap_or_default()
}

fn image_version(os_release: &str) -> String {
    field(os_release, "IMAGE_VERSION")
        .or_else(|| field(os_release, "VERSION_ID"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_fields_are_unquoted() {
        let text = "NAME=Board\nPRETTY_NAME=\"The \\\"Board\\\" 1\"\n# X=1\nVERSION_ID='2'\nEMPTY=\n";
        assert_eq!(field(text, "NAME").as_deref(), Some("Board"));
        assert_eq!(field(text, "PRETTY_NAME").as_deref(), Some("The \"Board\" 1"));
        assert_eq!(field(text, "VERSION_ID").as_deref(), Some("2"));
        assert_eq!(field(text, "EMPTY"), None);
        assert_eq!(field(text, "X"), None);
    }

    #[test]
    fn of_too_many_slots_the_running_one_is_reported() {
        let slot = |number: usize| Slot {
            name: format!("app.{number:02}"),
            ..Slot::default()
        };
        let mut slots: Vec<_> = (0..40).map(slot).collect();
        slots[39].state = "booted".to_owned();
        let reported = reported(&slots);
        assert_eq!(reported.len(), limits::MAX_SLOTS);
        assert_eq!(reported[..31], slots[..31]);
        assert_eq!(reported[31], slots[39]);
    }

    #[test]
    fn this_machine_has_an_inventory() {
        let inventory = collect(&EngineStatus::default(), &["fly"]);
        assert!(!inventory.kernel.is_empty() && !inventory.architecture.is_empty());
        assert_eq!(inventory.boot_id.len(), 36);
        assert_eq!(inventory.capabilities, ["fly"]);
    }
}
