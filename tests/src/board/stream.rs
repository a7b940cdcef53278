//! One of a board's character devices: everything it says is kept, logged to a file, and can be waited for.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const READ_BUFFER_BYTES: usize = 16 * 1024;
/// How much of what was said last is quoted when something waited for did not come.
const QUOTED_BYTES: usize = 1500;

/// A character device of a running board.
#[derive(Debug)]
pub struct Stream {
    socket: UnixStream,
    heard: Arc<Heard>,
}

/// What the device has said so far, without terminal control sequences.
#[derive(Debug, Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    /// Everything before this has been waited for already.
    position: usize,
    ended: bool,
}

// === impl Stream ===

impl Stream {
    /// Reads `socket` in a thread of its own until it ends, appending the raw bytes to the file `log`.
    pub(crate) fn new(socket: UnixStream, log: &Path) -> Result<Self> {
        let mut log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let heard = Arc::new(Heard::default());
        let mut reader = socket.try_clone().context("cannot duplicate a socket")?;
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            let mut filter = ControlFilter::default();
            let mut buffer = [0; READ_BUFFER_BYTES];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                // A full disk must not end the test: the log is for people.
                let _ = log_file.write_all(&buffer[..count]);
                let mut state = shared.lock();
                state
                    .text
                    .extend(buffer[..count].iter().filter(|byte| filter.passes(**byte)));
                shared.changed.notify_all();
            }
            shared.lock().ended = true;
            shared.changed.notify_all();
        });
        Ok(Self { socket, heard })
    }

    /// Types `text`.
    pub fn send(&self, text: &str) -> Result<()> {
        (&self.socket)
            .write_all(text.as_bytes())
            .context("the board is gone")
    }

    /// Waits until `find` sees what it looks for in the text that nobody has waited for yet, and consumes the text up
    /// to the offset that it answers with.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut find: impl FnMut(&str) -> Option<(T, usize)>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.heard.lock();
        loop {
            let text = String::from_utf8_lossy(&state.text[state.position..]);
            if let Some((found, end)) = find(&text) {
                // Replacement characters are longer than what they replace: find the place in the bytes again.
                let consumed = byte_length(&state.text[state.position..], &text[..end]);
                state.position += consumed;
                return Ok(found);
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            if state.ended || remaining.is_zero() {
                let why = if state.ended {
                    "the board ended"
                } else {
                    "waited long enough"
                };
                let start = state.text.len().saturating_sub(QUOTED_BYTES).max(state.position);
                let tail = String::from_utf8_lossy(&state.text[start..]);
                bail!("{why} ({timeout:?}) for {what}; the last it said:\n{tail}");
            }
            state = self
                .heard
                .changed
                .wait_timeout(state, remaining)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for `needle` and consumes the text up to its end. Answers with the text before it.
    pub fn wait_for(&self, needle: &str, timeout: Duration) -> Result<String> {
        self.wait(&format!("{needle:?}"), timeout, |text| {
            let start = text.find(needle)?;
            Some((text[..start].to_owned(), start + needle.len()))
        })
    }

    /// Everything the device has said since it was connected.
    #[must_use]
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().text).into_owned()
    }
}

// === impl Heard ===

impl Heard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length in `bytes` of what `text`, their lossy beginning, stands for.
fn byte_length(bytes: &[u8], text: &str) -> usize {
    let mut characters = text.chars().count();
    let mut length = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if characters == 0 {
                return length;
            }
            characters -= 1;
            length += character.len_utf8();
        }
        if characters == 0 {
            return length;
        }
        if !chunk.invalid().is_empty() {
            characters -= 1;
            length += chunk.invalid().len();
        }
    }
    length
}

/// Drops carriage returns and the escape sequences of terminals (ECMA-48), which GRUB, systemd and busybox emit even
/// on a dumb terminal.
#[derive(Debug, Default)]
struct ControlFilter {
    sequence: Sequence,
}

#[derive(Debug, Default, PartialEq)]
enum Sequence {
    #[default]
    None,
    Escape,
    /// Parameters of a control sequence, until a final byte.
    Control,
    /// A string such as a window title, until its terminator.
    Text,
}

// === impl ControlFilter ===

impl ControlFilter {
    fn passes(&mut self, byte: u8) -> bool {
        const ESCAPE: u8 = 0x1b;
        const BELL: u8 = 0x07;
        let passes = self.sequence == Sequence::None && byte != ESCAPE && byte != b'\r';
        self.sequence = match (&self.sequence, byte) {
            // 0x20 to 0x2f: intermediate bytes of a longer escape sequence.
            (_, ESCAPE) | (Sequence::Escape, 0x20..=0x2f) => Sequence::Escape,
            (Sequence::Escape, b'[') | (Sequence::Control, 0x20..=0x3f) => Sequence::Control,
            (Sequence::Escape, b']' | b'P' | b'X' | b'^' | b'_') => Sequence::Text,
            (Sequence::Text, byte) if byte != BELL => Sequence::Text,
            _ => Sequence::None,
        };
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(raw: &[u8]) -> String {
        let mut filter = ControlFilter::default();
        String::from_utf8(raw.iter().copied().filter(|byte| filter.passes(*byte)).collect()).unwrap()
    }

    #[test]
    fn control_sequences_are_dropped() {
        assert_eq!(
            cleaned(b"\x1b[H\x1b[J\x1b[1;1Hgrub: slot A\r\n"),
            "grub: slot A\n"
        );
        assert_eq!(
            cleaned(b"\x1b[!p\x1b]104\x07\x1b[?7h[\x1b[0;1;31mFAILED\x1b[0m] net"),
            "[FAILED] net"
        );
        assert_eq!(cleaned(b"# \x1b[6n\x1b(Bdone"), "# done");
        assert_eq!(cleaned(b"\x1b]2;title\x1b\\after"), "after");
    }

    #[test]
    fn lossy_text_maps_back_to_its_bytes() {
        let bytes = b"a\xff\xc3\xa9b";
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(byte_length(bytes, &text), bytes.len());
        assert_eq!(byte_length(bytes, &text[..text.find('b').unwrap()]), 4);
        assert_eq!(byte_length(bytes, "a"), 1);
    }

    #[test]
    fn waiting_consumes_up_to_the_match_and_reports_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let stream = Stream::new(ours, &folder.path().join("log")).unwrap();
        theirs.write_all(b"one two thr").unwrap();
        assert_eq!(stream.wait_for("two", Duration::from_secs(10)).unwrap(), "one ");
        theirs.write_all(b"ee one").unwrap();
        assert_eq!(stream.wait_for("three", Duration::from_secs(10)).unwrap(), " ");
        drop(theirs);
        let error = stream
            .wait_for("two", Duration::from_secs(10))
            .unwrap_err()
            .to_string();
        assert!(error.contains("the board ended"), "{error}");
        assert_eq!(
            std::fs::read(folder.path().join("log")).unwrap(),
            b"one two three one"
        );
    }
}
