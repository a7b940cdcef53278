//! Commands that are run one after the other.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{Runner, Ticket};

/// Commands that may wait in one line, beside the one that is run.
pub(super) const MAX_WAITING: usize = 16;

/// See the module.
pub(super) struct Line<R: Runner> {
    pub(super) runner: R,
    waiting: Mutex<VecDeque<(Ticket, R::Order)>>,
    arrived: Notify,
}

// === impl Line ===

impl<R: Runner> Line<R> {
    pub(super) fn new(runner: R) -> Self {
        Self {
            runner,
            waiting: Mutex::new(VecDeque::new()),
            arrived: Notify::new(),
        }
    }

    /// Puts a command at the end; the error is that of one for which there is no room. The repeat of one that still waits
    /// is the same command: each connect may bring one.
    pub(super) fn push(&self, ticket: Ticket, order: R::Order) -> Result<(), Ticket> {
        let mut waiting = self.waiting();
        let is_repeat = |(other, same): &(Ticket, R::Order)| match (&other.id, &ticket.id) {
            (Some(other), Some(id)) => other == id,
            _ => *other == ticket && *same == order,
        };
        if waiting.iter().any(is_repeat) {
            return Ok(());
        }
        if waiting.len() >= MAX_WAITING {
            return Err(ticket);
        }
        waiting.push_back((ticket, order));
        self.arrived.notify_one();
        Ok(())
    }

    /// The oldest command, once there is one. Cancel-safe.
    pub(super) async fn next(&self) -> (Ticket, R::Order) {
        loop {
            let oldest = self.waiting().pop_front();
            if let Some(oldest) = oldest {
                return oldest;
            }
            self.arrived.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Ticket, R::Order)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runner> fmt::Debug for Line<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("waiting", &self.waiting().len())
            .finish_non_exhaustive()
    }
}
