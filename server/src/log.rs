//! The log: one line for each event, on standard error.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::text::clean;

/// Writes events as lines. Devices and strangers choose parts of many: no such text can begin a line of its own, or control a terminal.
#[derive(Debug)]
struct Lines<W>(W);

/// Starts the log. `HOMEPORT_LOG` filters it; the default is `info`.
pub fn start() {
    tracing_subscriber::fmt()
        .with_writer(|| Lines(io::stderr()))
        // Nobody could tell our own escape sequences from those in values.
        .with_ansi(false)
        .with_env_filter(EnvFilter::try_from_env("HOMEPORT_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
}

// === impl Lines ===

impl<W: Write> Write for Lines<W> {
    /// Takes a whole event, which ends with a line break.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = clean(text.trim_end_matches('\n'));
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use homeport_api::text::is_hidden;
    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let shared = Shared::default();
        let to = shared.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Lines(to.clone()))
            .with_ansi(false)
            .finish();
        let foreign = "a\n2026 WARN forged\r\u{1b}[2J\u{9b}31m\u{202e}b";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(topic = %foreign, error = ?foreign, "refused {foreign}");
        });
        let log = String::from_utf8(shared.0.lock().clone()).unwrap();
        assert_eq!(log.lines().count(), 1, "{log:?}");
        assert!(log.trim_end().chars().all(|c| !is_hidden(c)), "{log:?}");
        assert!(log.contains("topic=a\u{fffd}2026 WARN forged"), "{log:?}");
    }
}
