//! A program's output on its way to a terminal.

use std::{mem, str};

use homeport_api::text::replace_hidden;

/// Makes the text of a stream of bytes harmless for a terminal, as far as it is known yet: bytes that are no UTF-8 become U+FFFD, and hidden
/// characters spaces, but for line breaks and tabs.
#[derive(Debug, Default)]
pub(crate) struct TerminalText {
    /// The beginning of a character.
    rest: Vec<u8>,
    /// Whether the last line has an end.
    in_line: bool,
}

// === impl TerminalText ===

impl TerminalText {
    /// The text of further bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> String {
        let mut all = mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let cut_off = all.utf8_chunks().last().map_or(0, |chunk| {
            // Only what could still become a character waits for the rest of it.
            match str::from_utf8(chunk.invalid()) {
                Err(error) if error.error_len().is_none() => chunk.invalid().len(),
                _ => 0,
            }
        });
        self.rest = all.split_off(all.len() - cut_off);
        let text = String::from_utf8_lossy(&all);
        let mut clean = String::with_capacity(text.len());
        for piece in text.split_inclusive(['\n', '\t']) {
            let end = piece.find(['\n', '\t']).unwrap_or(piece.len());
            clean.push_str(&replace_hidden(&piece[..end], ' '));
            clean.push_str(&piece[end..]);
        }
        if !clean.is_empty() {
            self.in_line = !clean.ends_with('\n');
        }
        clean
    }

    /// Whether what was taken ends within a line.
    pub(crate) fn is_in_line(&self) -> bool {
        self.in_line
    }
}

#[cfg(test)]
mod tests {
    use homeport_api::text::is_hidden;

    use super::*;
    use crate::line::tests::EVIL;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        let mut text = TerminalText::default();
        let clean = text.take(format!("{EVIL}\n{EVIL}").as_bytes());
        let obeyed = clean.chars().find(|c| !"\n\t".contains(*c) && is_hidden(*c));
        assert_eq!(obeyed, None, "{clean:?}");
        assert_eq!(clean.matches('é').count(), 2);
        assert!(text.is_in_line());
        // What is hidden keeps its place, and what is split does not slip through.
        let whole: String = EVIL
            .as_bytes()
            .iter()
            .map(|byte| TerminalText::take(&mut text, &[*byte]))
            .collect();
        assert_eq!(whole, TerminalText::default().take(EVIL.as_bytes()));
        assert_eq!(text.take(b"\xc3"), "");
        assert_eq!(text.take(b"\xa9\n"), "é\n");
        assert!(!text.is_in_line());
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        let mut text = TerminalText::default();
        assert_eq!(text.take(b"a\xff\xc3b\tc"), "a\u{fffd}\u{fffd}b\tc");
        assert_eq!(text.take(b"\xe2\x82"), "");
        assert_eq!(text.take(b"x"), "\u{fffd}x");
    }
}
