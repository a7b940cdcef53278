//! What the agent and its helpers say to each other, over a Unix socket.
//!
//! A frame is a byte for its kind, the length of its payload in four bytes (big endian), and the payload. The agent sends
//! one [`Frame::Request`]. The helper sends output as it comes, and one [`Frame::End`]. An agent that closes the socket
//! wants the call ended.

use std::io;

use homeport_protocol::{
    limits::{MAX_ARGUMENTS, MAX_OUTPUT, MAX_RESULT, MAX_TEXT},
    report::{Outcome, Stream},
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest payload of a frame, in bytes: JSON may need six for one.
const MAX_FRAME: usize = 6 * (MAX_RESULT + MAX_TEXT) + MAX_ARGUMENTS;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Agent to helper.
    Request(Request),
    /// Helper to agent: at most [`MAX_OUTPUT`] bytes.
    Output(Stream, Vec<u8>),
    /// Helper to agent: the last frame.
    End(End),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// See [`homeport_protocol::command::Call::name`].
    pub(crate) name: String,
    /// See [`homeport_protocol::command::Call::arguments`].
    pub(crate) arguments: String,
    /// See [`homeport_protocol::command::Call::timeout_s`].
    pub(crate) timeout_s: u32,
}

/// How it ended. The fields are those of [`homeport_protocol::report::CallEnded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    pub(crate) exit_status: Option<i32>,
    pub(crate) result: Option<String>,
    pub(crate) dropped_bytes: u64,
}

// === impl Frame ===

impl Frame {
    /// Sends it.
    pub(crate) async fn write(&self, socket: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let (kind, payload) = match self {
            Self::Request(request) => (b'C', serde_json::to_vec(request)?),
            Self::Output(Stream::Stdout, data) => (b'O', data.clone()),
            Self::Output(Stream::Stderr, data) => (b'E', data.clone()),
            Self::End(end) => (b'X', serde_json::to_vec(end)?),
        };
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(5 + payload.len());
        frame.push(kind);
        frame.extend(length.to_be_bytes());
        frame.extend(payload);
        socket.write_all(&frame).await?;
        socket.flush().await
    }

    /// Receives one. Not cancel-safe. The end of the stream is an error.
    pub(crate) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let kind = socket.read_u8().await?;
        let length = socket.read_u32().await? as usize;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let limit = if matches!(kind, b'O' | b'E') {
            MAX_OUTPUT
        } else {
            MAX_FRAME
        };
        if length > limit {
            return Err(invalid("a frame is too long"));
        }
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).await?;
        Ok(match kind {
            b'C' => Self::Request(serde_json::from_slice(&payload)?),
            b'O' => Self::Output(Stream::Stdout, payload),
            b'E' => Self::Output(Stream::Stderr, payload),
            b'X' => Self::End(serde_json::from_slice(&payload)?),
            _ => return Err(invalid("a frame of an unknown kind")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_arrive_as_they_were_sent() {
        let end = End {
            outcome: Outcome::Failed,
            detail: "exit status 1".to_owned(),
            exit_status: Some(1),
            result: Some("{}".to_owned()),
            dropped_bytes: 7,
        };
        let request = Request {
            name: "ps".to_owned(),
            arguments: "{}".to_owned(),
            timeout_s: 30,
        };
        let frames = [
            Frame::Request(request),
            Frame::Output(Stream::Stdout, vec![0, 0xff]),
            Frame::Output(Stream::Stderr, Vec::new()),
            Frame::End(end),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes).await.unwrap();
        }
        let mut rest = &bytes[..];
        for frame in &frames {
            assert_eq!(&Frame::read(&mut rest).await.unwrap(), frame);
        }
        assert!(Frame::read(&mut rest).await.is_err(), "the end of the stream");
    }

    #[tokio::test]
    async fn frames_that_are_too_long_or_unknown_are_refused() {
        for bytes in [
            &b"O\xff\xff\xff\xff"[..],
            b"C\x7f\xff\xff\xff",
            b"?\0\0\0\0",
            b"C\0\0\0\x01{",
        ] {
            assert!(Frame::read(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
    }
}
