//! Ends a read that nobody waits for.

use std::sync::Arc;

use parking_lot::Mutex;
use postgres::CancelToken;
use tokio::task;

use super::{super::StoreError, Address, Session};

/// Cancels one read. Cheap to clone.
#[derive(Clone)]
pub(in super::super) struct Cancel {
    address: Address,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
enum State {
    #[default]
    Before,
    Running(CancelToken),
    /// The read has ended, or is being ended: a message to the database may be on its way.
    Over,
}

// === impl Cancel ===

impl Cancel {
    pub(in super::super) fn new(address: &Address) -> Self {
        Self {
            address: address.clone(),
            state: Arc::default(),
        }
    }

    /// From now on, [`Cancel::cancel`] ends what runs on this connection. An error if it was called before.
    pub(in super::super) fn arm(&self, session: &Session) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let State::Over = *state {
            return Err(StoreError::TooSlow);
        }
        *state = State::Running(session.cancel_token()?);
        Ok(())
    }

    /// The read has ended. Returns whether nobody has cancelled it: a late message would end what the connection does next.
    pub(in super::super) fn disarm(&self) -> bool {
        matches!(
            std::mem::replace(&mut *self.state.lock(), State::Over),
            State::Running(_)
        )
    }

    /// Ends the read, in the background.
    pub(in super::super) fn cancel(&self) {
        if let State::Running(token) = std::mem::replace(&mut *self.state.lock(), State::Over) {
            let address = self.address.clone();
            task::spawn_blocking(move || address.cancel(&token));
        }
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cancel").field(&self.address).finish()
    }
}
