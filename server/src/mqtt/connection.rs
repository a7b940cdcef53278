//! A session on its socket.
//!
//! An idle connection costs little: buffers belong to the thread, and a connection borrows them for one poll. Between polls it keeps only
//! bytes that it could not send, or that are no whole packet yet.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Handler, close::Close, registry::Link, session::Session};

/// Bytes read at a time: the size of a TLS record.
const READ_BUFFER: usize = 16 * 1024;

/// Most memory that a thread's buffer for answers keeps when it is not in use, in bytes.
const KEPT_OUT_BUFFER: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
pub(super) struct Connection<S, H> {
    stream: S,
    session: Session<H>,
    /// Bytes that the socket did not take yet. Until it does, the connection reads nothing.
    unsent: Vec<u8>,
    /// The stream was written to and not flushed. TLS may hold bytes back until a flush.
    unflushed: bool,
}

// === impl Connection ===

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    /// A connection whose CONNECT was read.
    pub(super) fn new(stream: S, session: Session<H>) -> Self {
        Self {
            stream,
            session,
            unsent: Vec::new(),
            unflushed: false,
        }
    }

    /// Serves the connection until it ends.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Close> {
        let mut out = OUT.take();
        let polled = self.poll_with(context, &mut out);
        if let Poll::Ready(close) = &polled {
            self.say_goodbye(close, context, &mut out);
        }
        if out.capacity() <= KEPT_OUT_BUFFER {
            out.clear();
            OUT.set(out);
        }
        polled
    }

    /// The link between the session and the rest of the server.
    pub(super) fn link(&self) -> &Link {
        self.session.link()
    }

    /// Closes the socket and returns the session, which then has to leave.
    pub(super) fn into_session(self) -> Session<H> {
        self.session
    }

    fn poll_with(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Close> {
        loop {
            if let Err(close) = self.session.advance(context, out) {
                return Poll::Ready(close);
            }
            if let Err(error) = self.poll_send(context, out) {
                return Poll::Ready(broken(&error));
            }
            let reads = self.unsent.is_empty() && !self.session.is_paused();
            if reads {
                match self.poll_receive(context, out) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(close)) => return Poll::Ready(close),
                    Poll::Pending => {}
                }
            }
            let blocked = self.unflushed || !self.unsent.is_empty();
            self.session.wait(reads, blocked);
            return Poll::Pending;
        }
    }

    /// Sends `unsent` and then `out`, as far as the socket takes them, and keeps the rest.
    fn poll_send(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.unsent);
        if bytes.is_empty() {
            self.unflushed |= !out.is_empty();
            let sent = self.poll_write(context, out)?;
            self.unsent = out[sent..].to_vec();
        } else {
            bytes.extend_from_slice(out);
            let sent = self.poll_write(context, &bytes)?;
            bytes.drain(..sent);
            if !bytes.is_empty() {
                self.unsent = bytes;
            }
        }
        out.clear();
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.unflushed = false;
                }
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(context, &bytes[sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => sent += count?,
                Poll::Pending => break,
            }
        }
        Ok(sent)
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Result<(), Close>> {
        let mut buffer = READ.take();
        buffer.resize(READ_BUFFER, 0);
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut read);
        let received = polled.map(|result| match result {
            Ok(()) if read.filled().is_empty() => Err(Close::Gone),
            Ok(()) => self.session.receive(read.filled(), out),
            Err(error) => Err(broken(&error)),
        });
        READ.set(buffer);
        received
    }

    /// Sends the reason, as far as the socket takes it at once: the server does not wait for a peer that does not read.
    fn say_goodbye(&mut self, close: &Close, context: &mut Context<'_>, out: &mut Vec<u8>) {
        self.session.say_goodbye(close, out);
        if !matches!(close, Close::Broken(_)) && self.poll_send(context, out).is_ok() {
            let _ = Pin::new(&mut self.stream).poll_shutdown(context);
        }
    }
}

fn broken(error: &io::Error) -> Close {
    Close::Broken(error.to_string())
}
