//! The output of a run, as it comes.

use std::{collections::VecDeque, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use homeport_api::{CommandRun, OutputLine};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::timeout,
};

use super::{find_run, run_rows::Part};
use crate::{
    access::Actor,
    fleet::{Feed, Fleet, FleetError},
};

/// Notices that a slow follower may lag behind. It looks again after that.
const BACKLOG: usize = 256;

/// Parts that are read at a time.
const PARTS: u32 = 32;

/// How often a silent stream gets an empty line, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells followers that a run changed. What changed is in its rows.
#[derive(Debug)]
pub(crate) struct Outputs(broadcast::Sender<u64>);

/// Somebody who reads the output of a run.
#[derive(Debug)]
pub struct Follower {
    fleet: Fleet,
    actor: Actor,
    command: u64,
    device: String,
    /// Place of the next byte to show.
    at: u64,
    waiting: VecDeque<OutputLine>,
    notices: broadcast::Receiver<u64>,
    /// Ends when the rights of the actor change. Absent for somebody who does not wait for more.
    feed: Option<Feed>,
    shown: Option<CommandRun>,
    is_over: bool,
}

/// What a follower is told.
#[derive(Debug)]
pub enum Told {
    /// A line.
    Line(Box<OutputLine>),
    /// There was nothing for a while.
    Nothing,
}

// === impl Outputs ===

impl Outputs {
    /// A run changed.
    pub(crate) fn notify(&self, run: u64) {
        // It is no error that nobody follows.
        let _ = self.0.send(run);
    }
}

impl Default for Outputs {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

// === impl Fleet ===

impl Fleet {
    /// Reads the output of a run from a place on; if `follow`, until the run has ended. `None` if this user already has the most streams
    /// that one may have.
    pub async fn output(
        &self,
        actor: &Actor,
        command: u64,
        device: String,
        from: u64,
        follow: bool,
    ) -> Result<Option<Follower>, FleetError> {
        let feed = if follow {
            let Some(feed) = self.follow(actor).await? else {
                return Ok(None);
            };
            Some(feed)
        } else {
            None
        };
        let mut follower = Follower {
            fleet: self.clone(),
            actor: actor.clone(),
            command,
            device,
            at: from,
            waiting: VecDeque::new(),
            // From before the first look: a change in between is noticed.
            notices: self.0.outputs.0.subscribe(),
            feed,
            shown: None,
            is_over: false,
        };
        follower.look().await?;
        Ok(Some(follower))
    }
}

// === impl Follower ===

impl Follower {
    /// What comes next; `None` at the end.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(Told::Line(Box::new(line)));
            }
            if self.is_over {
                return None;
            }
            // What was there may have been more than one look shows.
            self.look().await.ok()?;
            if !self.waiting.is_empty() || self.is_over {
                continue;
            }
            match timeout(KEEP_ALIVE, self.changed()).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return Some(Told::Nothing),
            }
        }
    }

    /// Waits until the run may have changed. `false` if the actor's rights changed, or the server stops.
    async fn changed(&mut self) -> bool {
        let run = self.shown.as_ref().map(|run| run.id);
        let Some(feed) = &mut self.feed else {
            return false;
        };
        loop {
            tokio::select! {
                notice = self.notices.recv() => match notice {
                    Ok(changed) if Some(changed) != run => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                },
                event = feed.next() => if event.is_none() {
                    return false;
                },
            }
        }
    }

    /// Reads the rows, with the rights that the actor has now.
    async fn look(&mut self) -> Result<(), FleetError> {
        let (command, device, at) = (self.command, self.device.clone(), self.at);
        let read = self.fleet.ask(&self.actor, move |tx, access| {
            let run = find_run(tx, access, command, &device)?;
            let parts = tx.output(run.id, at, PARTS)?;
            Ok((run, parts))
        });
        let (run, parts) = read.await?;
        let begun_ms = self.shown.as_ref().and_then(|shown| shown.begun_ms);
        let began_anew = begun_ms.is_some() && begun_ms != run.begun_ms;
        if began_anew {
            // The device has begun it anew, and what came before is void.
            self.at = 0;
        }
        if began_anew || self.shown.as_ref().is_none_or(|shown| shown.state != run.state) {
            self.show(&run);
        }
        let is_all = parts.is_empty() && !began_anew;
        for part in parts {
            self.add(part);
        }
        if is_all && (run.state.is_final() || self.feed.is_none()) {
            self.show(&run);
            self.is_over = true;
        }
        self.shown = Some(run);
        Ok(())
    }

    fn show(&mut self, run: &CommandRun) {
        self.waiting.push_back(OutputLine::Run {
            run: Box::new(run.clone()),
        });
    }

    fn add(&mut self, part: Part) {
        let end = part.at + part.data.len() as u64;
        let at = part.at.max(self.at);
        let skipped = usize::try_from(at - part.at).unwrap_or(usize::MAX);
        let Some(data) = part.data.get(skipped..).filter(|data| !data.is_empty()) else {
            return;
        };
        self.waiting.push_back(OutputLine::Output {
            at,
            stream: part.stream,
            data: STANDARD.encode(data),
        });
        self.at = end;
    }
}
