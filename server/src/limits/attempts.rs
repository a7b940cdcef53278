//! Limits how often clients may try passwords.
//!
//! An attempt is counted before the password is checked, and given back if the password is right. Each attempt costs its address and its
//! account. An address from which somebody logged in to that account before has a budget of its own, which strangers cannot use up.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::network;
use crate::sha256;

/// Attempts of one address: how many at once, and the seconds until each comes back.
const BY_ADDRESS: Budget = Budget::new(10, 30);

/// Attempts for one account from all addresses where nobody logged in to it.
const BY_ACCOUNT: Budget = Budget::new(50, 6);

/// Attempts for one account from one address where somebody logged in to it.
const BY_KNOWN: Budget = Budget::new(10, 30);

/// Attempts of all addresses and accounts that have no room in a table.
const BY_REST: Budget = Budget::new(50, 1);

/// Addresses, accounts, and pairs of both that are remembered.
const REMEMBERED: usize = 4096;

/// Attempts of all strangers that are being checked or wait for that.
const WAITING: usize = 16;

/// The same for addresses where somebody logged in to that account before.
const WAITING_KNOWN: usize = 16;

/// How many of them one address may have.
const WAITING_BY_NETWORK: usize = 8;

/// Time after which a client should try again if too many wait: a check takes some 50 ms.
const BUSY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
struct Budget {
    size: u32,
    /// Time until one attempt comes back.
    interval: Duration,
}

/// Attempts that were made and have not come back yet.
#[derive(Debug, Clone, Copy)]
struct Spent {
    /// When all will be back.
    until: Instant,
}

type Name = [u8; 32];

/// See the module.
#[derive(Debug, Default, Clone)]
pub(crate) struct Attempts(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    networks: Table<IpAddr>,
    accounts: Table<Name>,
    known: Table<(IpAddr, Name)>,
    waiting: HashMap<IpAddr, usize>,
    strangers_waiting: usize,
    known_waiting: usize,
}

#[derive(Debug)]
struct Table<K> {
    rows: HashMap<K, Spent>,
    rest: Option<Spent>,
}

/// An attempt that is counted. It is dropped when it has been checked.
#[derive(Debug)]
pub(crate) struct Attempt {
    attempts: Attempts,
    network: IpAddr,
    account: Name,
    known: bool,
}

// === impl Budget ===

impl Budget {
    const fn new(size: u32, seconds: u64) -> Self {
        Self {
            size,
            interval: Duration::from_secs(seconds),
        }
    }

    /// How long to wait for an attempt, if there is none left.
    fn wait(self, spent: Option<Spent>, now: Instant) -> Option<Duration> {
        let owed = spent?.until.saturating_duration_since(now);
        let wait = (owed + self.interval).saturating_sub(self.interval * self.size);
        (!wait.is_zero()).then_some(wait)
    }

    fn take(self, spent: Option<Spent>, now: Instant) -> Spent {
        let until = spent.map_or(now, |spent| spent.until.max(now));
        Spent {
            until: until + self.interval,
        }
    }
}

// === impl Table ===

impl<K: Hash + Eq + Copy> Table<K> {
    /// The budget that counts for `key`, and the attempts that were spent.
    fn find(&mut self, key: &K, budget: Budget, now: Instant) -> (Budget, Option<Spent>) {
        if let Some(spent) = self.rows.get(key) {
            return (budget, Some(*spent));
        }
        if self.rows.len() >= REMEMBERED {
            self.rows.retain(|_, spent| spent.until > now);
        }
        if self.rows.len() >= REMEMBERED {
            (BY_REST, self.rest)
        } else {
            (budget, None)
        }
    }

    fn wait(&mut self, key: &K, budget: Budget, now: Instant) -> Option<Duration> {
        let (budget, spent) = self.find(key, budget, now);
        budget.wait(spent, now)
    }

    fn take(&mut self, key: &K, budget: Budget, now: Instant) {
        let (budget, spent) = self.find(key, budget, now);
        let spent = budget.take(spent, now);
        if self.rows.len() < REMEMBERED || self.rows.contains_key(key) {
            self.rows.insert(*key, spent);
        } else {
            self.rest = Some(spent);
        }
    }

    fn give_back(&mut self, key: &K, budget: Budget) {
        let (spent, budget) = match self.rows.get_mut(key) {
            Some(spent) => (Some(spent), budget),
            None => (self.rest.as_mut(), BY_REST),
        };
        if let Some(spent) = spent {
            spent.until = spent.until.checked_sub(budget.interval).unwrap_or(spent.until);
        }
    }
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            rest: None,
        }
    }
}

// === impl Tables ===

impl Tables {
    fn know(&mut self, pair: (IpAddr, Name), now: Instant) {
        let known = &mut self.known.rows;
        if known.len() >= REMEMBERED && !known.contains_key(&pair) {
            // Only logins fill this table, so strangers cannot evict anybody.
            let oldest = known.iter().min_by_key(|(_, spent)| spent.until);
            if let Some(oldest) = oldest.map(|(pair, _)| *pair) {
                known.remove(&oldest);
            }
        }
        known.entry(pair).or_insert(Spent { until: now });
    }
}

// === impl Attempts ===

impl Attempts {
    /// Remembers that somebody logged in as `user` from `address`.
    pub(crate) fn know(&self, address: IpAddr, user: &str) {
        let pair = (network(address), sha256(user.as_bytes()));
        self.0.lock().know(pair, Instant::now());
    }

    /// Counts an attempt.
    ///
    /// # Errors
    ///
    /// How long the client has to wait, if the attempt may not be made now. Nothing is counted then.
    pub(crate) fn begin(&self, address: IpAddr, user: &str) -> Result<Attempt, Duration> {
        self.begin_at(address, user, Instant::now())
    }

    fn begin_at(&self, address: IpAddr, user: &str, now: Instant) -> Result<Attempt, Duration> {
        let (network, account) = (network(address), sha256(user.as_bytes()));
        let pair = (network, account);
        let tables = &mut *self.0.lock();
        let known =
            tables.known.rows.contains_key(&pair) && tables.known.wait(&pair, BY_KNOWN, now).is_none();
        if !known {
            let by_network = tables.networks.wait(&network, BY_ADDRESS, now);
            let by_account = tables.accounts.wait(&account, BY_ACCOUNT, now);
            if let Some(wait) = by_network.max(by_account) {
                return Err(wait);
            }
        }
        let (waiting, most) = if known {
            (&mut tables.known_waiting, WAITING_KNOWN)
        } else {
            (&mut tables.strangers_waiting, WAITING)
        };
        let by_network = tables.waiting.get(&network).copied().unwrap_or(0);
        if *waiting >= most || by_network >= WAITING_BY_NETWORK {
            return Err(BUSY);
        }
        *waiting += 1;
        tables.waiting.insert(network, by_network + 1);
        if known {
            tables.known.take(&pair, BY_KNOWN, now);
        } else {
            tables.networks.take(&network, BY_ADDRESS, now);
            tables.accounts.take(&account, BY_ACCOUNT, now);
        }
        Ok(Attempt {
            attempts: self.clone(),
            network,
            account,
            known,
        })
    }
}

// === impl Attempt ===

impl Attempt {
    /// Gives back what the attempt cost, and remembers that somebody logged in from here.
    pub(crate) fn succeeded(&self) {
        let now = Instant::now();
        let tables = &mut *self.attempts.0.lock();
        let pair = (self.network, self.account);
        if self.known {
            tables.known.give_back(&pair, BY_KNOWN);
            return;
        }
        tables.networks.give_back(&self.network, BY_ADDRESS);
        tables.accounts.give_back(&self.account, BY_ACCOUNT);
        tables.know(pair, now);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let tables = &mut *self.attempts.0.lock();
        if self.known {
            tables.known_waiting -= 1;
        } else {
            tables.strangers_waiting -= 1;
        }
        if let Some(waiting) = tables.waiting.get_mut(&self.network) {
            *waiting -= 1;
            if *waiting == 0 {
                tables.waiting.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// How many of `count` attempts are allowed, one after the other.
    fn allowed(attempts: &Attempts, address: IpAddr, user: &str, count: u32, now: Instant) -> u32 {
        let mut allowed = 0;
        for _ in 0..count {
            allowed += u32::from(attempts.begin_at(address, user, now).is_ok());
        }
        allowed
    }

    #[test]
    fn an_address_has_a_budget_whatever_the_names() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let mut checked = 0;
        for number in 0..60 {
            checked += allowed(&attempts, address(1), &format!("user{number}"), 1, now);
        }
        assert_eq!(checked, BY_ADDRESS.size);
        assert_eq!(allowed(&attempts, address(2), "admin", 1, now), 1);
        let later = now + BY_ADDRESS.interval;
        assert_eq!(allowed(&attempts, address(1), "admin", 5, later), 1);
    }

    #[test]
    fn an_account_has_a_budget_but_not_where_it_logged_in() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        attempts.begin_at(address(1), "admin", now).unwrap().succeeded();
        let checked: u32 = (2..200)
            .map(|last| allowed(&attempts, address(last), "admin", 10, now))
            .sum();
        assert_eq!(checked, BY_ACCOUNT.size);
        assert_eq!(allowed(&attempts, address(1), "admin", 1, now), 1);
        assert_eq!(allowed(&attempts, address(201), "other", 1, now), 1);
    }

    #[test]
    fn logins_of_the_past_count() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        attempts.know(address(1), "admin");
        for last in 2..200 {
            allowed(&attempts, address(last), "admin", 10, now);
        }
        assert_eq!(allowed(&attempts, address(200), "admin", 1, now), 0);
        assert_eq!(allowed(&attempts, address(1), "admin", 1, now), 1);
    }

    #[test]
    fn right_attempts_cost_nothing() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..100 {
            attempts.begin_at(address(1), "admin", now).unwrap().succeeded();
        }
    }

    #[test]
    fn few_wait_at_a_time() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let held: Vec<_> = (0..60)
            .filter_map(|_| attempts.begin_at(address(1), "admin", now).ok())
            .collect();
        assert_eq!(held.len(), WAITING_BY_NETWORK);
        let others: Vec<_> = (2..60)
            .filter_map(|last| attempts.begin_at(address(last), "admin", now).ok())
            .collect();
        assert_eq!(held.len() + others.len(), WAITING);
        drop((held, others));
        let tables = attempts.0.lock();
        assert!(tables.waiting.is_empty() && tables.strangers_waiting == 0);
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        attempts.begin_at(address(1), "admin", now).unwrap().succeeded();
        for number in 0..u32::try_from(REMEMBERED).unwrap() * 2 {
            let _ = attempts.begin_at(IpAddr::from(number.to_be_bytes()), &number.to_string(), now);
        }
        let tables = attempts.0.lock();
        assert!(tables.networks.rows.len() <= REMEMBERED && tables.accounts.rows.len() <= REMEMBERED);
        drop(tables);
        // The rest share one budget, and known users do not notice.
        assert_eq!(
            allowed(&attempts, "2001:db8::1".parse().unwrap(), "x", 100, now),
            0
        );
        assert_eq!(allowed(&attempts, address(1), "admin", 1, now), 1);
    }
}
