//! Staying with one run until it ends.

use std::{thread, time::Duration};

use homeport_api::CommandRun;

use super::{
    output_stream::{Part, next_part},
    run_path,
};
use crate::{
    client::Client,
    error::{Error, Result},
    human,
    output::{Output, Stream, TerminalText},
};

const RECONNECT_MIN: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(10);

/// What came of a run's output, and where it goes.
struct Receiver {
    output: Output,
    stdout: TerminalText,
    stderr: TerminalText,
    /// Place after the last byte that came.
    next: u64,
    run: Option<CommandRun>,
}

/// Shows what the command writes as it comes, and returns the run when it has ended. A broken stream is taken up again where it broke.
pub(super) fn to_the_end(client: &Client, command: u64, device: &str, output: Output) -> Result<CommandRun> {
    let mut receiver = Receiver::new(output);
    let mut pause = RECONNECT_MIN;
    let mut lost = false;
    loop {
        let path = run_path(command, device)
            .join("output")
            .query("from", receiver.next)
            .query("follow", true);
        match client.lines(&path) {
            Ok(mut lines) => {
                if lost {
                    output.note("The server is back.");
                }
                lost = false;
                let mut from = receiver.next;
                while let Ok(Some(part)) = next_part(&mut lines) {
                    pause = RECONNECT_MIN;
                    if let Some(run) = receiver.take(part)? {
                        return receiver.finish(run);
                    }
                    // What was asked for begins behind the end of what there is now.
                    if receiver.next < from {
                        break;
                    }
                    from = receiver.next;
                }
            }
            Err(error) if !error.is_passing() => return Err(error),
            Err(error) => {
                if !lost {
                    output.note(format_args!(
                        "{error}; trying again. The command goes on without it."
                    ));
                }
                lost = true;
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

/// Shows what the command has written so far, and returns the run as it is.
pub(super) fn until_now(client: &Client, command: u64, device: &str, output: Output) -> Result<CommandRun> {
    let mut receiver = Receiver::new(output);
    let mut lines = client.lines(&run_path(command, device).join("output").query("from", 0))?;
    while let Some(part) = next_part(&mut lines)
        .map_err(|e| Error::Failed(format!("the server's answer broke off ({e}); try again")))?
    {
        receiver.take(part)?;
    }
    // The run is in the first line, so there is one.
    let run = receiver
        .run
        .take()
        .map_or_else(|| client.get(&run_path(command, device)), Ok)?;
    receiver.finish(run)
}

// === impl Receiver ===

impl Receiver {
    fn new(output: Output) -> Self {
        Self {
            output,
            stdout: TerminalText::default(),
            stderr: TerminalText::default(),
            next: 0,
            run: None,
        }
    }

    /// Takes a part. Returns the run when it has ended and all of its output has come.
    fn take(&mut self, part: Part) -> Result<Option<CommandRun>> {
        match part {
            Part::Run(run) => {
                if run.output_end < self.next {
                    self.begin_anew()?;
                }
                // What was forgotten does not come any more, so nobody waits for it.
                self.skip_to(run.output_start)?;
                let complete = run.state.is_final() && run.output_end <= self.next;
                let run = self.run.insert(*run);
                return Ok(complete.then(|| run.clone()));
            }
            Part::Output { at, stream, bytes } => {
                if at == 0 && self.next > 0 {
                    self.begin_anew()?;
                }
                // After a break, what came before may come again.
                let known = usize::try_from(self.next.saturating_sub(at)).unwrap_or(usize::MAX);
                let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else {
                    return Ok(None);
                };
                self.skip_to(at)?;
                self.next = at + bytes.len() as u64;
                self.write(stream, new)?;
            }
        }
        Ok(None)
    }

    /// The server no longer has what comes before `at`.
    fn skip_to(&mut self, at: u64) -> Result<()> {
        if at > self.next {
            self.end_line()?;
            let missing = human::size(at - self.next);
            self.output
                .note(format_args!("{missing} of the output are no longer there."));
            self.next = at;
        }
        Ok(())
    }

    /// A device that was restarted runs a command that only looks once more.
    fn begin_anew(&mut self) -> Result<()> {
        self.end_line()?;
        self.output.note("The device has begun the command anew.");
        self.next = 0;
        Ok(())
    }

    /// With --json, stdout is for the run alone.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        let text = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let to = if self.output.json { Stream::Stderr } else { stream };
        self.output.written(to, bytes, text)
    }

    /// What comes next at a terminal begins a line.
    fn end_line(&mut self) -> Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let text = match stream {
                Stream::Stdout => &self.stdout,
                Stream::Stderr => &self.stderr,
            };
            if text.is_in_line() {
                self.write(stream, b"\n")?;
            }
        }
        Ok(())
    }

    fn finish(mut self, run: CommandRun) -> Result<CommandRun> {
        self.end_line()?;
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use homeport_api::RunState;

    use super::{super::tests::run, *};

    fn part(at: u64, bytes: &[u8]) -> Part {
        Part::Output {
            at,
            stream: Stream::Stdout,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn nobody_waits_for_output_that_was_forgotten() {
        let mut receiver = Receiver::new(Output {
            json: true,
            bars: false,
        });
        let mut ended = run("gate", RunState::Succeeded);
        (ended.output_start, ended.output_end) = (6, 6);
        assert!(receiver.take(part(0, b"ab")).unwrap().is_none());
        assert!(receiver.take(Part::Run(Box::new(ended))).unwrap().is_some());
    }

    #[test]
    fn it_is_over_when_the_run_has_ended_and_every_byte_came_once() {
        let mut receiver = Receiver::new(Output {
            json: true,
            bars: false,
        });
        let mut ended = run("gate", RunState::Succeeded);
        ended.output_end = 6;
        let mut take = |part| receiver.take(part).unwrap().is_some();
        assert!(!take(Part::Run(Box::new(run("gate", RunState::Running)))));
        assert!(!take(part(0, b"ab")));
        // Some of it again, and all of it again.
        assert!(!take(part(1, b"bcd")));
        assert!(!take(part(1, b"b")));
        assert!(!take(Part::Run(Box::new(ended.clone()))));
        assert!(!take(part(5, b"f")));
        assert!(take(Part::Run(Box::new(ended.clone()))));
        // The command was begun anew: what it writes then is other output.
        assert!(!take(part(0, b"ab")));
        assert!(!take(Part::Run(Box::new(ended.clone()))));
        assert!(!take(part(2, b"cdef")));
        assert!(take(Part::Run(Box::new(ended))));
    }
}
