//! The connections of a port. No connection waits for a place: the one that has proven least, for longest, is evicted.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Limits, network};

/// The stage of a connection. Connections at an earlier stage are closed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Not a byte yet.
    Silent,
    /// In the TLS handshake.
    Handshake,
    /// TLS, but never a request.
    Secured,
    /// Between two requests.
    Idle,
    /// A request is under way.
    Busy,
}

/// A client that has proven its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// SHA-256 of an active certificate.
    Device([u8; 32]),
    /// SHA-256 of a user name.
    Person([u8; 32]),
}

/// The places of a port. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    next: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    strangers: HashMap<u64, Holder>,
    networks: HashMap<IpAddr, usize>,
    known: HashMap<Owner, HashMap<u64, Holder>>,
}

#[derive(Debug)]
struct Holder {
    network: IpAddr,
    stage: Stage,
    /// When it reached its stage, as a count of all such moments.
    since: u64,
    evicted: CancellationToken,
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    id: u64,
    owner: Mutex<Option<Owner>>,
    evicted: CancellationToken,
}

// === impl Places ===

impl Places {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner {
            limits,
            next: AtomicU64::new(0),
            held: Mutex::default(),
        }))
    }

    /// A place for a connection from `address`. If there is none left, another stranger is evicted.
    pub(crate) fn enter(&self, address: IpAddr) -> Place {
        let limits = &self.0.limits;
        let network = network(address);
        let id = self.tick();
        let evicted = CancellationToken::new();
        let mut held = self.0.held.lock();
        if held.networks.get(&network).copied().unwrap_or(0) >= limits.strangers_by_network {
            held.evict(network);
        } else if held.strangers.len() >= limits.strangers {
            let largest = held.networks.iter().max_by_key(|(_, count)| **count);
            if let Some(largest) = largest.map(|(network, _)| *network) {
                held.evict(largest);
            }
        }
        held.strangers.insert(
            id,
            Holder {
                network,
                stage: Stage::Silent,
                since: id,
                evicted: evicted.clone(),
            },
        );
        *held.networks.entry(network).or_default() += 1;
        drop(held);
        Place {
            places: self.clone(),
            id,
            owner: Mutex::new(None),
            evicted,
        }
    }

    fn tick(&self) -> u64 {
        self.0.next.fetch_add(1, Relaxed)
    }

    fn limit(&self, owner: &Owner) -> usize {
        match owner {
            Owner::Device(_) => self.0.limits.by_device,
            Owner::Person(_) => self.0.limits.by_person,
        }
    }
}

// === impl Held ===

impl Held {
    /// Closes the stranger of `network` at the earliest stage, and the oldest if there are several.
    fn evict(&mut self, network: IpAddr) {
        let of_network = self
            .strangers
            .iter()
            .filter(|(_, holder)| holder.network == network);
        let victim = of_network.min_by_key(|(_, holder)| (holder.stage, holder.since));
        if let Some(id) = victim.map(|(id, _)| *id) {
            if let Some(holder) = self.remove_stranger(id) {
                holder.evicted.cancel();
            }
        }
    }

    fn remove_stranger(&mut self, id: u64) -> Option<Holder> {
        let holder = self.strangers.remove(&id)?;
        if let Some(count) = self.networks.get_mut(&holder.network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&holder.network);
            }
        }
        Some(holder)
    }
}

// === impl Place ===

impl Place {
    /// Waits until the connection is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Notes the stage of the connection.
    pub(crate) fn reach(&self, stage: Stage) {
        let since = self.places.tick();
        let owner = self.owner.lock();
        let mut held = self.places.0.held.lock();
        let holder = match *owner {
            None => held.strangers.get_mut(&self.id),
            Some(owner) => held
                .known
                .get_mut(&owner)
                .and_then(|holders| holders.get_mut(&self.id)),
        };
        if let Some(holder) = holder {
            (holder.stage, holder.since) = (stage, since);
        }
    }

    /// Moves the connection out of the strangers' places. The first owner counts: a device's connection stays the device's.
    pub(crate) fn belongs_to(&self, new: Owner) {
        let mut owner = self.owner.lock();
        if owner.is_some() {
            return;
        }
        let mut held = self.places.0.held.lock();
        // If it is not there, it is being closed.
        let Some(holder) = held.remove_stranger(self.id) else {
            return;
        };
        *owner = Some(new);
        let holders = held.known.entry(new).or_default();
        if holders.len() >= self.places.limit(&new) {
            let victim = holders
                .iter()
                .min_by_key(|(_, holder)| (holder.stage, holder.since));
            if let Some(holder) = victim.map(|(id, _)| *id).and_then(|id| holders.remove(&id)) {
                holder.evicted.cancel();
            }
        }
        holders.insert(self.id, holder);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.0.held.lock();
        match *self.owner.get_mut() {
            None => {
                held.remove_stranger(self.id);
            }
            Some(owner) => {
                if let Some(holders) = held.known.get_mut(&owner) {
                    holders.remove(&self.id);
                    if holders.is_empty() {
                        held.known.remove(&owner);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(Limits {
            strangers: 6,
            strangers_by_network: 3,
            by_device: 2,
            ..Limits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn gone(place: &Place) -> bool {
        place.evicted.is_cancelled()
    }

    #[test]
    fn the_oldest_silent_one_of_the_address_goes_first() {
        let places = places();
        let [busy, old, new] = [(); 3].map(|()| places.enter(address(1)));
        busy.reach(Stage::Busy);
        let other = places.enter(address(2));
        let _newest = places.enter(address(1));
        assert!(gone(&old) && !gone(&new) && !gone(&busy) && !gone(&other));
        let _newer = places.enter(address(1));
        assert!(gone(&new) && !gone(&busy) && !gone(&other));
    }

    #[test]
    fn silent_ones_go_before_those_in_a_handshake() {
        let places = places();
        let newcomer = places.enter(address(1));
        newcomer.reach(Stage::Handshake);
        let _silent: Vec<_> = (0..50).map(|_| places.enter(address(1))).collect();
        assert!(!gone(&newcomer));
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let places = places();
        let first = places.enter("2001:db8::1".parse().unwrap());
        let _more: Vec<_> = (2..5)
            .map(|host| places.enter(format!("2001:db8::{host}").parse().unwrap()))
            .collect();
        assert!(gone(&first));
    }

    #[test]
    fn whoever_has_most_makes_room_for_others() {
        let places = places();
        let crowd: Vec<_> = (0..3).map(|_| places.enter(address(1))).collect();
        let few: Vec<_> = (2..5).map(|last| places.enter(address(last))).collect();
        let _late = places.enter(address(9));
        assert!(gone(&crowd[0]) && !gone(&crowd[1]));
        assert!(few.iter().all(|place| !gone(place)));
    }

    #[test]
    fn devices_do_not_count_against_their_address() {
        let places = places();
        let devices: Vec<_> = (0..100)
            .map(|serial| {
                let place = places.enter(address(1));
                place.belongs_to(Owner::Device([serial; 32]));
                place
            })
            .collect();
        let _strangers: Vec<_> = (0..20).map(|_| places.enter(address(1))).collect();
        assert!(devices.iter().all(|place| !gone(place)));
    }

    #[test]
    fn a_device_has_a_bounded_number() {
        let places = places();
        let [first, second, third] = [(); 3].map(|()| {
            let place = places.enter(address(1));
            place.belongs_to(Owner::Device([0; 32]));
            place
        });
        assert!(gone(&first) && !gone(&second) && !gone(&third));
        drop([first, second, third]);
        let held = places.0.held.lock();
        assert!(held.known.is_empty() && held.strangers.is_empty() && held.networks.is_empty());
    }
}
