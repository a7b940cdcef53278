//! Server-sent events (WHATWG HTML section 9.2), as far as the API uses them: only `data` counts.

use std::io::{self, BufRead, Read as _};

use homeport_api::Event;

/// Longest line and largest event, in bytes.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// Events from a body.
#[derive(Debug)]
pub(crate) struct EventStream<R> {
    input: R,
}

// === impl EventStream ===

impl<R: BufRead> EventStream<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input }
    }

    /// Waits for the next event. An end of the stream is an error: the server never ends it on its own.
    pub(crate) fn next_event(&mut self) -> io::Result<Event> {
        loop {
            // Kinds of a newer server are skipped.
            if let Ok(event) = serde_json::from_str(&self.next_data()?) {
                return Ok(event);
            }
        }
    }

    fn next_data(&mut self) -> io::Result<String> {
        let mut data: Option<String> = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                if let Some(data) = data.take() {
                    return Ok(data);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            if field != "data" {
                continue;
            }
            let value = value.strip_prefix(' ').unwrap_or(value);
            let data = match &mut data {
                Some(data) => {
                    data.push('\n');
                    data
                }
                None => data.insert(String::new()),
            };
            if data.len() + value.len() > MAX_EVENT {
                return Err(too_large());
            }
            data.push_str(value);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        read_line(&mut self.input)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the stream"))
    }
}

/// A line of a stream without its end; `None` where the stream ends. A line that is cut off is an error.
pub(crate) fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let limit = MAX_EVENT as u64 + 1;
    input.take(limit).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(if line.len() >= MAX_EVENT {
            too_large()
        } else {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the stream")
        });
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let line = String::from_utf8(line);
    line.map(Some)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an event is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &[u8]) -> EventStream<&[u8]> {
        EventStream::new(text)
    }

    #[test]
    fn events_are_read_between_comments_and_other_fields() {
        let mut events = stream(
            b": hello\n\nid: 3\nevent: x\ndata: {\"type\":\"resync\"}\n\n:\r\ndata:{\"type\":\r\ndata: \"device_removed\",\"id\":\"a\"}\r\n\r\n",
        );
        assert_eq!(events.next_event().unwrap(), Event::Resync);
        assert_eq!(
            events.next_event().unwrap(),
            Event::DeviceRemoved { id: "a".into() }
        );
        assert_eq!(
            events.next_event().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn unknown_events_are_skipped() {
        let mut events =
            stream(b"data: {\"type\":\"of-tomorrow\"}\n\ndata: nonsense\n\ndata: {\"type\":\"resync\"}\n\n");
        assert_eq!(events.next_event().unwrap(), Event::Resync);
    }

    #[test]
    fn an_event_cut_off_is_not_delivered() {
        assert!(stream(b"data: {\"type\":\"resync\"}\n").next_event().is_err());
        assert!(stream(b"data: {\"type\":\"resync\"}").next_event().is_err());
    }

    #[test]
    fn endless_lines_and_events_are_refused() {
        let line = [b"data: ".to_vec(), vec![b'x'; 2 * MAX_EVENT]].concat();
        assert_eq!(
            stream(&line).next_event().unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let many = b"data: 0123456789\n".repeat(MAX_EVENT / 8);
        assert_eq!(
            stream(&many).next_event().unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
