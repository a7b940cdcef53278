//! Log lines on standard error, with the priority prefixes that systemd reads (sd-daemon(3)).
//!
//! A subscriber of our own: the usual one would add a tenth to the binary, for features that the journal has already.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// Prefix of our own crates' targets. What libraries say below `warn` is for their authors.
const OWN_TARGET: &str = "homeport";

static LEVEL: Mutex<LevelFilter> = Mutex::new(LevelFilter::INFO);

struct Journal {
    next_span: AtomicU32,
}

struct Line(String);

/// Starts logging. The first call wins.
pub(crate) fn start() {
    let journal = Journal {
        next_span: AtomicU32::new(1),
    };
    // Fails only when a subscriber is set already, as in tests.
    let _ = tracing::subscriber::set_global_default(journal);
}

/// Logs `level` and what is worse. It is `info` until the configuration has been read.
pub(crate) fn set_level(level: LevelFilter) {
    *LEVEL.lock().unwrap_or_else(PoisonError::into_inner) = level;
    tracing::callsite::rebuild_interest_cache();
}

fn level() -> LevelFilter {
    *LEVEL.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Journal ===

impl Subscriber for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = if metadata.target().starts_with(OWN_TARGET) {
            level()
        } else {
            level().min(LevelFilter::WARN)
        };
        metadata.level() <= &level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(level())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(prefix(*event.metadata().level()).to_owned());
        event.record(&mut line);
        line.0.push('\n');
        // Nobody is left to tell when standard error is gone.
        let _ = io::stderr().lock().write_all(line.0.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.next_span.fetch_add(1, Ordering::Relaxed).max(1).into())
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

// === impl Line ===

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let at_start = self.0.len() == prefix(Level::INFO).len();
        let separator = if at_start { "" } else { " " };
        let mut text = String::new();
        let _ = if field.name() == "message" {
            write!(text, "{separator}{value:?}")
        } else {
            write!(text, "{separator}{}={value:?}", field.name())
        };
        // One event is one line, whatever somebody sent us to print.
        self.0
            .extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
