//! Who this device is: how it becomes a member of a fleet, and how it proves that it is one.

mod est;
mod pairing;
mod store;
mod tls;
mod token_text;
mod upstream;

#[cfg(test)]
pub(crate) use self::est::{Hints, Issued, Key};
#[cfg(test)]
pub(crate) use self::store::IdentityStore;
pub(crate) use self::{
    pairing::{MAX_TOKEN_FILE, Membership, PairError, PairRequest, Pairing},
    store::Identity,
    token_text::decode as decode_token,
    upstream::Upstreams,
};
