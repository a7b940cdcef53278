//! Failed logins in the audit log. The first one of an address and name is written at once, and later ones as a count, so that strangers
//! cannot fill the log.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How long failures are counted before the count is written.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);

/// Pairs of address and name that are counted separately in one [`WINDOW`].
const MAX_PAIRS: usize = 32;

/// Longest part of a name that is kept, in characters.
const MAX_NAME: usize = 64;

/// Failures of one address for one name; of many addresses if there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) user: String,
    pub(crate) network: Option<IpAddr>,
    pub(crate) count: u64,
}

/// The steps that follow a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Failures to write now.
    pub(crate) write: Option<Failures>,
    /// A window has begun: call [`FailedLogins::drain`] at its end.
    pub(crate) begun: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct FailedLogins(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    /// Failures that are not written yet.
    pairs: HashMap<(IpAddr, String), u64>,
    others: u64,
}

// === impl FailedLogins ===

impl FailedLogins {
    /// Notes a failure. `user` is a stranger's text.
    pub(crate) fn note(&self, network: IpAddr, user: &str) -> Noted {
        let user: String = user
            .chars()
            .filter(|character| !homeport_api::text::is_hidden(*character))
            .take(MAX_NAME)
            .collect();
        let mut window = self.0.lock();
        let begun = window.since.is_none();
        window.since.get_or_insert_with(Instant::now);
        let full = window.pairs.len() >= MAX_PAIRS;
        let write = match window.pairs.get_mut(&(network, user.clone())) {
            Some(count) => {
                *count += 1;
                None
            }
            None if full => {
                window.others += 1;
                None
            }
            None => {
                window.pairs.insert((network, user.clone()), 0);
                Some(Failures {
                    user,
                    network: Some(network),
                    count: 1,
                })
            }
        };
        Noted { write, begun }
    }

    /// Ends the window, and returns the failures that were only counted.
    pub(crate) fn drain(&self) -> Vec<Failures> {
        let window = std::mem::take(&mut *self.0.lock());
        let pairs = window.pairs.into_iter().map(|((network, user), count)| Failures {
            user,
            network: Some(network),
            count,
        });
        let others = Failures {
            user: String::new(),
            network: None,
            count: window.others,
        };
        pairs
            .chain([others])
            .filter(|failures| failures.count > 0)
            .collect()
    }
}

// === impl Failures ===

impl Failures {
    /// The text for people who read the audit log.
    pub(crate) fn detail(&self) -> String {
        let from = self.network.map_or_else(
            || "other addresses or names".to_owned(),
            |network| network.to_string(),
        );
        match self.count {
            1 => from,
            count => format!("{from}, {count} times"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_entries() {
        let log = FailedLogins::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        let first = log.note(address, "adm\u{1b}in\n");
        assert!(first.begun);
        let written = first.write.unwrap();
        assert_eq!((written.user.as_str(), written.count), ("admin", 1));
        for _ in 0..10 {
            assert_eq!(
                log.note(address, "admin"),
                Noted {
                    write: None,
                    begun: false
                }
            );
        }
        let mut at_once = 1;
        for number in 0..1000 {
            at_once += usize::from(log.note(address, &format!("user{number}")).write.is_some());
        }
        assert_eq!(at_once, MAX_PAIRS);
        let rest = log.drain();
        assert_eq!(rest.len(), 2);
        assert!(
            rest.iter()
                .any(|failures| failures.detail() == "192.0.2.1, 10 times")
        );
        assert_eq!(
            rest.iter().map(|failures| failures.count).sum::<u64>(),
            10 + 1000 - 31
        );
        assert!(log.drain().is_empty());
    }

    #[test]
    fn long_names_are_cut() {
        let log = FailedLogins::default();
        let noted = log.note(IpAddr::from([192, 0, 2, 1]), &"é".repeat(500));
        assert_eq!(noted.write.unwrap().user.chars().count(), MAX_NAME);
    }
}
