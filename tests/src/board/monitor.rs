//! QEMU's machine protocol (QMP): what a hand at the board would do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The connection to a running QEMU's monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    reader: BufReader<UnixStream>,
}

// === impl Monitor ===

impl Monitor {
    /// Greets and leaves the negotiation mode.
    pub(crate) fn new(socket: UnixStream) -> Result<Self> {
        socket
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .context("cannot set a timeout on a socket")?;
        let mut monitor = Self {
            reader: BufReader::new(socket),
        };
        monitor.message().context("QEMU's monitor did not greet")?;
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Executes one command and answers with what it returns. Events in between are dropped.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers write the arguments in place"
    )]
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.reader
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
            .context("QEMU's monitor is gone")?;
        loop {
            let mut message = self
                .message()
                .with_context(|| format!("no answer to {command}"))?;
            if let Some(error) = message.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
        }
    }

    fn message(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self
            .reader
            .read_line(&mut line)
            .context("QEMU's monitor is silent")?
            == 0
        {
            bail!("QEMU ended");
        }
        serde_json::from_str(&line).context("QEMU's monitor does not speak JSON")
    }
}
