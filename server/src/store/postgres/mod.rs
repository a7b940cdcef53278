//! PostgreSQL: a database beside the server. See `docs/development/decisions/database.md`.

mod address;
mod cancel;
mod schema;
mod session;
mod values;
mod writing;

pub use self::address::{Address, AddressError};
pub(super) use self::{
    cancel::Cancel,
    session::{Session, value},
    writing::Writing,
};
use super::{StoreError, Tx, tx::Engine};

/// How the connections that read call themselves.
const READER: &str = "homeport-server";

// === impl Tx ===

impl Tx {
    fn remote(session: Session) -> Self {
        Self(Engine::Postgres(session))
    }
}

/// Connects for reading.
pub(super) fn open_to_read(address: &Address) -> Result<Tx, StoreError> {
    let session = address.connect(READER)?;
    session.batch("SET default_transaction_read_only = on")?;
    Ok(Tx::remote(session))
}

/// See [`Tx::probe`].
pub(super) fn probe(session: &Session) -> Result<(), StoreError> {
    session
        .execute("UPDATE homeport SET batch = batch", &[])
        .map(drop)
}
