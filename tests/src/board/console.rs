//! The board's root shell on its virtual console: run a command, get its status and what it wrote.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::stream::Stream;

/// The terminal's line discipline takes 4096 bytes for a line; markers and redirections need some of them.
const COMMAND_BYTES_MAX: usize = 3800;
/// How long a command that is interrupted may take to end.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Printed by the image's `/etc/profile`, see `qemu/image`.
const GREETING: &str = "BOARD-READY version=";
const INTERRUPT: &str = "\x03";

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit status, as the shell says it: 128 and more after a signal.
    pub status: i32,
    /// Standard output and standard error, without the last line end.
    pub text: String,
}

/// The root shell of a board.
#[derive(Debug)]
pub struct Console {
    stream: Stream,
    commands: Mutex<u32>,
}

/// How far the board got when its shell greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootInfo {
    /// `VERSION_ID` of the running image.
    pub version: String,
    /// The booted slot's bootname, `A` or `B`.
    pub slot: String,
}

// === impl Console ===

impl Console {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            commands: Mutex::new(0),
        }
    }

    /// Runs `command` in a subshell, without standard input. A command that does not end in time is interrupted,
    /// and that is an error; a command that fails is not.
    pub fn run(&self, command: &str, timeout: Duration) -> Result<Output> {
        let mut number = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        let id = *number;
        if let Some(line) = command.lines().find(|line| line.len() > COMMAND_BYTES_MAX) {
            bail!(
                "a line of {} bytes is too long for the board's terminal ({COMMAND_BYTES_MAX})",
                line.len()
            );
        }
        self.stream.send(&format!(
            "echo '<{id}>'; (\n{command}\n) </dev/null 2>&1; echo \"</{id}:$?>\"\n"
        ))?;
        let what = format!("the end of `{command}`");
        let answer = self.stream.wait(&what, timeout, |text| parse_answer(text, id));
        if answer.is_err() && self.stream.send(INTERRUPT).is_ok() {
            // Whether it obeys or not, the caller wants to know about the command.
            let _ = self
                .stream
                .wait(&what, INTERRUPT_TIMEOUT, |text| parse_answer(text, id));
        }
        match answer? {
            Answer::Ended(output) => Ok(output),
            Answer::Restarted => bail!("the board restarted during `{command}`"),
        }
    }

    /// As [`run`](Self::run), and a status other than 0 is an error. Answers with what the command wrote.
    pub fn check(&self, command: &str, timeout: Duration) -> Result<String> {
        let output = self.run(command, timeout)?;
        if output.status != 0 {
            bail!(
                "`{command}` ended with {} on the board:\n{}",
                output.status,
                output.text
            );
        }
        Ok(output.text)
    }

    /// Waits for the shell's greeting: the next one after the last that was waited for.
    pub fn wait_ready(&self, timeout: Duration) -> Result<BootInfo> {
        self.stream
            .wait("the board's shell", timeout, parse_greeting)
            .context("the board did not boot")
    }

    /// The device under the shell.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Ended(Output),
    Restarted,
}

/// As [`parse_output`]; a greeting after the command's beginning, which is not consumed, ends the command too.
fn parse_answer(text: &str, id: u32) -> Option<(Answer, usize)> {
    if let Some((output, end)) = parse_output(text, id) {
        return Some((Answer::Ended(output), end));
    }
    let start = text.find(&opening(id))?;
    let greeting = start + text[start..].find(GREETING)?;
    Some((Answer::Restarted, greeting))
}

/// Finds the whole answer to command `id`, and where it ends.
fn parse_output(text: &str, id: u32) -> Option<(Output, usize)> {
    let opening = opening(id);
    let start = text.find(&opening)? + opening.len();
    let closing = format!("</{id}:");
    let end = start + text[start..].rfind(&closing)?;
    let status_start = end + closing.len();
    let status_end = status_start + text[status_start..].find('>')?;
    let status = text[status_start..status_end].parse().ok()?;
    let written = &text[start..end];
    let output = Output {
        status,
        text: written.strip_suffix('\n').unwrap_or(written).to_owned(),
    };
    Some((output, status_end + 1))
}

fn opening(id: u32) -> String {
    format!("<{id}>\n")
}

/// Finds a whole line `BOARD-READY version=<version> slot=<slot>`.
fn parse_greeting(text: &str) -> Option<(BootInfo, usize)> {
    let start = text.find(GREETING)?;
    let end = start + text[start..].find('\n')?;
    let (version, slot) = text[start + GREETING.len()..end].split_once(" slot=")?;
    Some((
        BootInfo {
            version: version.to_owned(),
            slot: slot.to_owned(),
        },
        end + 1,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_lies_between_its_markers() {
        let text = "late words\n<7>\nfirst\nsecond\n</7:0>\nrest";
        let (output, end) = parse_output(text, 7).unwrap();
        assert_eq!(
            output,
            Output {
                status: 0,
                text: "first\nsecond".to_owned()
            }
        );
        assert_eq!(&text[end..], "\nrest");
    }

    #[test]
    fn an_answer_without_line_end_or_without_words_is_whole() {
        assert_eq!(
            parse_output("<1>\nno end</1:137>", 1).unwrap().0,
            Output {
                status: 137,
                text: "no end".to_owned()
            }
        );
        assert_eq!(parse_output("<1>\n</1:0>", 1).unwrap().0.text, "");
    }

    #[test]
    fn an_answer_that_is_not_complete_is_not_taken() {
        for text in [
            "",
            "<3>\n",
            "<3>\nwords\n</3:",
            "<3>\nwords\n</3:1",
            "<2>\nother\n</2:0>",
        ] {
            assert_eq!(parse_output(text, 3), None, "{text:?}");
        }
    }

    #[test]
    fn a_restart_ends_a_command_and_leaves_the_greeting() {
        let greeting = "BOARD-READY version=1.0.0 slot=A\n";
        let text = format!("<4>\nwords\n{greeting}");
        let (answer, end) = parse_answer(&text, 4).unwrap();
        assert_eq!(answer, Answer::Restarted);
        assert_eq!(&text[end..], greeting);
        assert_eq!(
            parse_answer(greeting, 4),
            None,
            "a greeting before the command is an old one"
        );
    }

    #[test]
    fn a_greeting_is_taken_when_its_line_is_complete() {
        assert_eq!(parse_greeting("BOARD-READY version=1.0.0 slot=A"), None);
        let (info, end) = parse_greeting("shell\nBOARD-READY version=1.0.0 slot=A\n").unwrap();
        assert_eq!(
            info,
            BootInfo {
                version: "1.0.0".to_owned(),
                slot: "A".to_owned()
            }
        );
        assert_eq!(end, 39);
    }
}
