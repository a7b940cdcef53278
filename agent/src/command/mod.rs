//! The commands of the server: accepted at once, run apart.
//!
//! The link never waits for a command. All that the agent sends passes through its loop, and the server closes a connection
//! on which a command is not acknowledged in time. So a command is put into the line of its kind, and acknowledged;
//! [`Commands::run`] works the lines off beside the link. A kind that may be slow gets a line of its own, a variant of
//! [`Command`] and a word in [`CAPABILITIES`].
//!
//! Nothing is written down before the acknowledgement, because nothing depends on it: the server sends a command again
//! after each connect until the device has reported on it, and what is in a line can be run twice.

mod line;
mod update;

use std::{sync::Arc, time::Duration};

use homeport_protocol::{
    Command, Report,
    command::Envelope,
    report::{Cause, NotRun},
};
use homeport_system::clock::now_ms;
use tracing::{info, warn};

use self::line::Line;
pub(crate) use self::update::{Update, Updates};
use crate::{clock, link::Outbox};

/// Kinds of command that this agent understands, as the inventory tells them.
pub(crate) const CAPABILITIES: [&str; 3] = ["deploy", "cancel", "inventory"];

/// Runs the commands of one line, one after the other.
pub(crate) trait Runner: Send + Sync + 'static {
    /// What stands in the line.
    type Order: PartialEq + Send;

    /// Runs a command to its end, however long that takes. The runner reports on it.
    fn run(&self, order: Self::Order) -> impl Future<Output = ()> + Send;
}

/// Takes the server's commands.
#[derive(Debug)]
pub(crate) struct Commands<U: Runner> {
    updates: Line<U>,
    outbox: Arc<Outbox>,
}

/// What is known of a command beside what it asks for.
#[derive(Debug, PartialEq, Eq)]
struct Ticket {
    kind: String,
    id: Option<String>,
    expires_ms: Option<i64>,
}

// === impl Commands ===

impl<U: Runner<Order = Update>> Commands<U> {
    pub(crate) fn new(updates: U, outbox: Arc<Outbox>) -> Self {
        Self {
            updates: Line::new(updates),
            outbox,
        }
    }

    /// Takes a command, without waiting for anything: it will be run, or the server is told why not.
    pub(crate) fn accept(&self, envelope: Envelope) {
        let Envelope {
            id,
            expires_ms,
            command,
        } = envelope;
        let ticket = Ticket {
            kind: command.kind().to_owned(),
            id,
            expires_ms,
        };
        let Some(ticket) = self.unless_expired(ticket) else {
            return;
        };
        let accepted = match command {
            Command::Deploy(deploy) => self.updates.push(ticket, Update::Deploy(deploy)),
            Command::Cancel(cancel) => self.updates.push(ticket, Update::Cancel(cancel)),
            Command::Inventory => {
                self.outbox.request_inventory();
                Ok(())
            }
            Command::Call(_) | Command::Stop(_) => {
                let (command, id) = (ticket.kind, ticket.id);
                self.outbox.answer(Report::Unsupported { command, id });
                Ok(())
            }
            Command::Unknown { kind } => {
                info!("the server's command {kind:?} is not known to this version");
                let id = ticket.id;
                self.outbox.answer(Report::Unsupported { command: kind, id });
                Ok(())
            }
        };
        if let Err(ticket) = accepted {
            let detail = format!(
                "{} commands wait here already; send it again later",
                line::MAX_WAITING
            );
            self.not_run(ticket, Cause::TooMany, detail);
        }
    }

    /// Works off what was accepted, for ever.
    pub(crate) async fn run(&self) {
        self.work_off(&self.updates).await;
    }

    async fn work_off<R: Runner>(&self, line: &Line<R>) {
        loop {
            let (ticket, order) = line.next().await;
            if self.unless_expired(ticket).is_some() {
                line.runner.run(order).await;
            }
        }
    }

    /// Reports a command that has expired. A clock that has not been set yet is behind, and lets it pass.
    fn unless_expired(&self, ticket: Ticket) -> Option<Ticket> {
        let now = clock::not_before_build();
        let expires = ticket
            .expires_ms
            .map(|at| Duration::from_millis(at.try_into().unwrap_or(0)));
        let Some(expires) = expires.filter(|expires| *expires <= now) else {
            return Some(ticket);
        };
        let (expires, now) = (clock::utc(expires), clock::utc(now));
        let detail = format!("it expired at {expires}, and this device's clock says {now}");
        self.not_run(ticket, Cause::Expired, detail);
        None
    }

    fn not_run(&self, ticket: Ticket, cause: Cause, detail: String) {
        let Ticket { kind, id, .. } = ticket;
        warn!("the server's command {kind:?} is not run: {detail}");
        self.outbox.answer(Report::NotRun(NotRun {
            command: kind,
            id,
            cause,
            detail,
            at_ms: now_ms(),
        }));
    }
}

#[cfg(test)]
mod tests;
