//! PostgreSQL: a database beside the server. See `docs/development/decisions/database.md`.

mod address;
mod cancel;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod trust;
mod values;
mod writing;

pub use self::address::{Address, AddressError};
pub(super) use self::{cancel::Cancel, session::Session, writing::Writing};
use super::{StoreError, Tx};

/// How the connections that read call themselves.
const READER: &str = "homeport-server";

// === impl Tx ===

impl Tx {
    fn remote(session: Session) -> Self {
        Self::new(session)
    }
}

/// Connects for reading.
pub(super) fn open_to_read(address: &Address) -> Result<Tx, StoreError> {
    let session = address.connect(READER)?;
    session.batch("SET default_transaction_read_only = on")?;
    Ok(Tx::remote(session))
}

/// Reads what is there at one moment.
pub(super) fn read<T: Send + 'static>(
    address: &Address,
    job: impl FnOnce(&Tx) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    apart(|| {
        let tx = open_to_read(address)?;
        let session = tx.connection::<Session>()?;
        session.begin_read()?;
        // It may be about everything that there is.
        session
            .batch("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")?;
        job(&tx)
    })?
}

/// Works on a thread apart: the client blocks on a runtime of its own, which cannot be started on a thread of the server's.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, StoreError> {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.map_err(|_| StoreError::Closed)
}
