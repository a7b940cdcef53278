//! The output of a run, line by line as the API sends it.

use std::io::{self, BufRead};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use homeport_api::{CommandRun, OutputLine};

use crate::{event_stream::read_line, output::Stream};

/// A part of a run's story.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    /// How the run is now.
    Run(Box<CommandRun>),
    /// Bytes that the command wrote.
    Output {
        /// Place of the first one.
        at: u64,
        stream: Stream,
        bytes: Vec<u8>,
    },
}

/// Waits for the next part; `None` where the stream ends. What a newer server may send besides is skipped.
pub(super) fn next_part(input: &mut impl BufRead) -> io::Result<Option<Part>> {
    while let Some(line) = read_line(input)? {
        match serde_json::from_str(&line) {
            Ok(OutputLine::Run { run }) => return Ok(Some(Part::Run(run))),
            Ok(OutputLine::Output { at, stream, data }) => {
                let bytes = BASE64_STANDARD
                    .decode(data)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                let stream = match stream.as_str() {
                    "stderr" => Stream::Stderr,
                    _ => Stream::Stdout,
                };
                return Ok(Some(Part::Output { at, stream, bytes }));
            }
            Err(_) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_between_signs_of_life_and_what_is_unknown() {
        let mut input = &b"\n{\"type\":\"output\",\"at\":3,\"stream\":\"stderr\",\"data\":\"YWI=\"}\n\n{\"type\":\"new\"}\nnonsense\n"[..];
        let expected = Part::Output {
            at: 3,
            stream: Stream::Stderr,
            bytes: b"ab".to_vec(),
        };
        assert_eq!(next_part(&mut input).unwrap(), Some(expected));
        assert_eq!(next_part(&mut input).unwrap(), None);
    }

    #[test]
    fn a_part_that_is_cut_off_or_damaged_is_an_error() {
        let mut input = &b"{\"type\":\"output\",\"at\":3,\"stream\":\"stdout\",\"data\":\"YWI=\"}"[..];
        assert!(next_part(&mut input).is_err());
        let mut input = &b"{\"type\":\"output\",\"at\":3,\"stream\":\"stdout\",\"data\":\"Y!\"}\n"[..];
        assert!(next_part(&mut input).is_err());
    }
}
