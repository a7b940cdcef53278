//! The end-to-end scenarios. Each starts from a fresh server and a board that knows none, and answers with what was seen.

mod crash;
mod frugal;
mod isolate;
mod life;
mod manual;
mod pair;
mod power;
mod refuse;
mod relocate;
mod resume;
mod rollback;
mod update;

use anyhow::Result;

use crate::lab::Lab;

/// A scenario: a name for the command line, and what runs.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Name.
    pub name: &'static str,
    /// What it shows, for people.
    pub about: &'static str,
    /// Runs it; answers with what was seen, in a line or two.
    pub run: fn(&Lab) -> Result<String>,
}

/// All scenarios; those that take longest first, so that parallel lanes end together.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "power",
        about: "power cuts at random moments of updates",
        run: power::run,
    },
    Scenario {
        name: "resume",
        about: "a link that breaks in mid-download",
        run: resume::run,
    },
    Scenario {
        name: "rollback",
        about: "bad bundles heal themselves",
        run: rollback::run,
    },
    Scenario {
        name: "update",
        about: "an update, and the gate before it counts",
        run: update::run,
    },
    Scenario {
        name: "crash",
        about: "agent and server killed at any state",
        run: crash::run,
    },
    Scenario {
        name: "refuse",
        about: "bundles that must not be installed",
        run: refuse::run,
    },
    Scenario {
        name: "relocate",
        about: "a fleet moves to PostgreSQL in the middle of an update",
        run: relocate::run,
    },
    Scenario {
        name: "manual",
        about: "an update by hand at the device",
        run: manual::run,
    },
    Scenario {
        name: "isolate",
        about: "devices reach only what is theirs",
        run: isolate::run,
    },
    Scenario {
        name: "pair",
        about: "pairing and its refusals, telemetry",
        run: pair::run,
    },
];

/// Those that run only when they are named.
const NAMED: &[Scenario] = &[
    // What is checked on every board where the whole list would take too long.
    Scenario {
        name: "life",
        about: "paired, updated, its power cut, and rolled back",
        run: life::run,
    },
    // Takes many minutes, for everything in it is slow.
    Scenario {
        name: "frugal",
        about: "little memory, slow flash and names, no clock, a full disk",
        run: frugal::run,
    },
];

/// The scenario of that name.
#[must_use]
pub fn named(name: &str) -> Option<Scenario> {
    ALL.iter()
        .chain(NAMED)
        .find(|scenario| scenario.name == name)
        .copied()
}

/// The names that [`named`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().chain(NAMED).map(|scenario| scenario.name)
}
