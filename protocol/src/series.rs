//! Names of the series that agent and server measure themselves, with their SenML units.
//!
//! | name | unit | what |
//! |---|---|---|
//! | `cpu.busy` | `/` | share of CPU time not idle since the sample before, 0 to 1 |
//! | `cpu.load1` | | load average of one minute |
//! | `memory.total`, `memory.available` | `B` | as `/proc/meminfo` has them |
//! | `disk.<mount>.total`, `disk.<mount>.available` | `B` | of a mounted file system; `/` is written `root` |
//! | `temperature.<zone>` | `Cel` | thermal zone: its type, or its number where the type is no name of one zone |
//! | `uptime` | `s` | since boot |
//! | `network.<interface>.rx`, `network.<interface>.tx` | `B` | counters since boot |
//! | `agent.left-out` | | series that the agent had and left out, because they were too many or their names too long |
//! | `agent.dropped` | | messages, reports too, that the agent lost since it was started |
//! | `server.dropped` | | samples that the server did not take |
//!
//! # Mounts, zones and interfaces
//! They may have any name, a series only some characters (RFC 8428 section 4.5.1). Letters, digits and `- . / _` stand for
//! themselves. Any other byte of the name's UTF-8 form, `:` too, is written as `:` and two lower-case hexadecimal digits:
//! `/mnt/my disk` is `disk./mnt/my:20disk.total`. Two names never become one.
//!
//! Agents from before this rule wrote mounts without the first `/`, the others as `-`, and `_` for what is not allowed: a mount
//! that does not begin with `/` is one of theirs (`var-log`), and which path it was can only be guessed.

use crate::limits::MAX_NAME;

/// Share of CPU time.
pub const CPU_BUSY: &str = "cpu.busy";
/// Load average of one minute.
pub const CPU_LOAD: &str = "cpu.load1";
/// Size of the memory.
pub const MEMORY_TOTAL: &str = "memory.total";
/// Memory that programs may still have.
pub const MEMORY_AVAILABLE: &str = "memory.available";
/// Time since boot.
pub const UPTIME: &str = "uptime";
/// Series that the agent left out.
pub const AGENT_LEFT_OUT: &str = "agent.left-out";
/// Messages that the agent lost.
pub const AGENT_DROPPED: &str = "agent.dropped";
/// Samples of a device that the server did not take. It is not one of its [`MAX_SERIES`](crate::limits::MAX_SERIES).
pub const SERVER_DROPPED: &str = "server.dropped";

/// The size of the file system mounted at `mount`, and what is free; `None` where the names are longer than [`MAX_NAME`].
#[must_use]
pub fn disk(mount: &str) -> Option<[String; 2]> {
    let part = match mount.trim_matches('/') {
        "" => "root".to_owned(),
        path => escaped(&format!("/{path}")),
    };
    named(["total", "available"].map(|end| format!("disk.{part}.{end}")))
}

/// What an interface received and sent; `None` where the names are longer than [`MAX_NAME`].
#[must_use]
pub fn network(interface: &str) -> Option<[String; 2]> {
    let part = escaped(interface);
    named(["rx", "tx"].map(|end| format!("network.{part}.{end}")))
}

/// The temperature of a zone; `None` where the name is longer than [`MAX_NAME`].
#[must_use]
pub fn temperature(zone: &str) -> Option<String> {
    named([format!("temperature.{}", escaped(zone))]).map(|[name]| name)
}

fn named<const N: usize>(names: [String; N]) -> Option<[String; N]> {
    names.iter().all(|name| name.len() <= MAX_NAME).then_some(names)
}

fn escaped(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-./_".contains(&byte) {
            escaped.push(byte.into());
        } else {
            let digits = [byte >> 4, byte & 0xf].map(|digit| char::from(HEX[usize::from(digit)]));
            escaped.push(':');
            escaped.extend(digits);
        }
    }
    escaped
}
