//! Limits that both sides enforce on what the other sends.

use std::time::Duration;

/// Largest MQTT packet that either side accepts once connected, in bytes.
pub const MAX_PACKET: usize = 128 * 1024;

/// Largest MQTT packet that the server accepts before CONNACK, in bytes.
pub const MAX_CONNECT_PACKET: usize = 4 * 1024;

/// Largest payload of one message, in bytes. Leaves room for topic and headers in [`MAX_PACKET`].
pub const MAX_PAYLOAD: usize = 120 * 1024;

/// Most SenML records in one telemetry batch.
pub const MAX_RECORDS: usize = 1024;

/// Most telemetry series of one device that the server keeps.
pub const MAX_SERIES: usize = 512;

/// Longest name of a telemetry series after base names are resolved, in bytes.
pub const MAX_NAME: usize = 128;

/// Longest free text (a reason's detail, a version, a slot name), in bytes. Longer text is cut by the sender.
pub const MAX_TEXT: usize = 1024;

/// Most slots in one inventory.
pub const MAX_SLOTS: usize = 32;

/// Longest id of a command, in bytes.
pub const MAX_COMMAND_ID: usize = 64;

/// Most kinds of command that an inventory names, and the longest name of one in bytes.
pub const MAX_CAPABILITIES: usize = 64;
/// See [`MAX_CAPABILITIES`].
pub const MAX_CAPABILITY: usize = 64;

/// Most commands that an inventory names. A name is at most [`MAX_CAPABILITY`] bytes long.
pub const MAX_COMMANDS: usize = 64;

/// Longest arguments of a call, in bytes of JSON.
pub const MAX_ARGUMENTS: usize = 16 * 1024;

/// Most output in one message, in bytes.
pub const MAX_OUTPUT: usize = 8 * 1024;

/// Longest result of a call, in bytes of JSON.
pub const MAX_RESULT: usize = 96 * 1024;

/// Output of one call that the device sends, in bytes, unless the command is one that follows a log. The rest is thrown away and
/// counted.
pub const MAX_CALL_OUTPUT: u64 = 1024 * 1024;

/// Longest time that a call may run.
pub const MAX_CALL_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls of one device that the server has sent and that have not ended.
pub const MAX_OPEN_CALLS: usize = 16;

/// Messages that may be unacknowledged in one direction (MQTT 5 Receive Maximum).
pub const RECEIVE_MAXIMUM: u16 = 16;

/// Largest keep-alive interval that the server grants.
pub const MAX_KEEP_ALIVE: Duration = Duration::from_secs(15 * 60);

/// Nesting that a CBOR payload may have.
pub(crate) const MAX_DEPTH: usize = 16;

/// Cuts `text` at a character boundary so that it fits [`MAX_TEXT`].
#[must_use]
pub fn clip(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let mut end = MAX_TEXT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_keeps_characters_whole() {
        let text = "é".repeat(MAX_TEXT);
        let clipped = clip(text);
        assert_eq!(clipped.len(), MAX_TEXT);
        assert!(clipped.chars().all(|c| c == 'é'));
        assert_eq!(clip(format!("x{}", "é".repeat(MAX_TEXT))).len(), MAX_TEXT - 1);
    }
}
