//! The lanes of the queue, and what each may take of what they share.

use std::path::{Path, PathBuf};

use homeport_protocol::topic::Channel;

/// Which row a message stands in. The first lane is the most important one: it is sent first, and loses its messages last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Few and small.
    Report,
    /// Many, and worth less the older they are.
    Telemetry,
}

/// A row of the table of lanes.
#[derive(Debug)]
struct Terms {
    /// Begins the names of its files.
    file: &'static str,
    /// Its key in the queue's own file.
    key: &'static str,
    channel: Channel,
    /// Messages that may be on their way, unacknowledged. What the lanes below the first may have together is less than
    /// the connection's window, so that the first always finds a place.
    window: usize,
    /// Written as soon as a message comes, not now and then.
    at_once: bool,
    /// Dropped when older than the queue's age limit.
    ages: bool,
}

const TERMS: [Terms; Lane::ALL.len()] = [
    Terms {
        file: "report",
        key: "reports",
        channel: Channel::Report,
        window: 8,
        at_once: true,
        ages: false,
    },
    Terms {
        file: "telemetry",
        key: "telemetry",
        channel: Channel::Telemetry,
        window: 6,
        at_once: false,
        ages: true,
    },
];

// === impl Lane ===

impl Lane {
    /// In the order of importance, and of the table.
    pub(crate) const ALL: [Self; 2] = [Self::Report, Self::Telemetry];

    pub(crate) fn channel(self) -> Channel {
        self.terms().channel
    }

    /// Messages of this lane that may be unacknowledged.
    pub(crate) fn window(self) -> usize {
        self.terms().window
    }

    pub(super) fn key(self) -> &'static str {
        self.terms().key
    }

    pub(super) fn is_written_at_once(self) -> bool {
        self.terms().at_once
    }

    pub(super) fn ages(self) -> bool {
        self.terms().ages
    }

    /// Names sort as their sequences do.
    pub(super) fn path(self, directory: &Path, first: u64) -> PathBuf {
        directory.join(format!("{}-{first:020}.log", self.terms().file))
    }

    pub(super) fn sequence_of(self, path: &Path) -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let rest = name.strip_prefix(self.terms().file)?.strip_prefix('-')?;
        rest.strip_suffix(".log")?.parse().ok()
    }

    fn terms(self) -> &'static Terms {
        &TERMS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::connection::WINDOW;

    #[test]
    fn the_table_is_in_the_order_of_the_lanes() {
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(lane as usize, index);
        }
        assert_eq!(Lane::Report.channel(), Channel::Report);
        assert_eq!(Lane::Telemetry.channel(), Channel::Telemetry);
    }

    #[test]
    fn the_first_lane_always_finds_a_place() {
        let others: usize = Lane::ALL.into_iter().skip(1).map(Lane::window).sum();
        assert!(others < WINDOW);
        assert_eq!(Lane::ALL[0].window(), WINDOW);
    }
}
