//! Programs that are run to their end: with nothing to read, a time limit, and a limit on what is kept of their output.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

/// Most of each output stream that is kept, in bytes. The rest is read and thrown away, so that a chatty program does
/// not block.
pub const MAX_OUTPUT: u64 = 64 * 1024;

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// The beginning of its standard output, [`MAX_OUTPUT`] at most.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error, [`MAX_OUTPUT`] at most.
    pub stderr: Vec<u8>,
}

/// Why a program did not come to its end.
#[derive(Debug)]
pub enum ProgramError {
    /// Somebody has it open for writing (ETXTBSY): it may be run a little later.
    BeingWritten,
    /// It cannot be started.
    Start(io::Error),
    /// It took longer than this, and was killed.
    Timeout(Duration),
    /// It cannot be waited for.
    Wait(io::Error),
}

/// Runs `command` for at most `limit`.
pub async fn run(mut command: Command, limit: Duration) -> Result<Ended, ProgramError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::ExecutableFileBusy => ProgramError::BeingWritten,
        _ => ProgramError::Start(error),
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = timeout(limit, async {
        tokio::join!(read(stdout), read(stderr), child.wait())
    });
    let (stdout, stderr, status) = ended.await.map_err(|_| ProgramError::Timeout(limit))?;
    Ok(Ended {
        status: status.map_err(ProgramError::Wait)?,
        stdout,
        stderr,
    })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut output = Vec::new();
    if let Some(mut stream) = stream {
        let read = (&mut stream).take(MAX_OUTPUT).read_to_end(&mut output).await;
        if read.is_ok() {
            let _: Result<u64, _> = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }
    output
}

// === impl Ended ===

impl Ended {
    /// The end of what is kept of its output, on one line and at most `limit` bytes; empty if it wrote nothing.
    #[must_use]
    pub fn tail(&self, limit: usize) -> String {
        let output = [&self.stdout[..], &self.stderr].concat();
        let text = String::from_utf8_lossy(&output);
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = words.join(" ");
        let mut start = line.len().saturating_sub(limit);
        while !line.is_char_boundary(start) {
            start += 1;
        }
        line[start..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn the_end_of_a_program_is_told() {
        let ended = run(shell("echo a; echo \"b\u{e9}\" >&2; exit 3"), LIMIT)
            .await
            .unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(
            (&ended.stdout[..], ended.tail(100).as_str()),
            (&b"a\n"[..], "a b\u{e9}")
        );
        assert_eq!(ended.tail(1), "");
        assert_eq!(ended.tail(2), "\u{e9}");
        assert_eq!(run(shell(""), LIMIT).await.unwrap().tail(100), "");
    }

    #[tokio::test]
    async fn a_program_that_hangs_or_floods_is_cut() {
        let hangs = run(shell("exec sleep 1000"), Duration::from_millis(100)).await;
        assert!(matches!(hangs, Err(ProgramError::Timeout(_))));
        let floods = run(shell("yes | head -c 1000000"), LIMIT).await.unwrap();
        assert_eq!(floods.stdout.len() as u64, MAX_OUTPUT);
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_is_an_error() {
        let error = run(Command::new("/dev/null/program"), LIMIT).await;
        assert!(matches!(error, Err(ProgramError::Start(_))));
    }
}
