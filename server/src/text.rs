//! The rule for text at the server's edge: a name has no characters that a person cannot see, or that a terminal obeys.

use homeport_api::text::replace_hidden;
use homeport_protocol::limits;

/// A device's text, as the server stores it. Line breaks become spaces, hidden characters are replaced, and the text is cut to the longest
/// that a message may carry.
pub(crate) fn told(text: &str) -> String {
    limits::clip(clean(&text.replace(['\n', '\r', '\t'], " ")))
}

/// Text that a device chose, with U+FFFD in place of each hidden character.
pub(crate) fn clean(text: &str) -> String {
    replace_hidden(text, char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_replaced() {
        for hidden in [
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            assert_eq!(clean(&format!("a{hidden}b")), "a\u{fffd}b", "{hidden:?}");
        }
        assert_eq!(clean("Überwachung 監視"), "Überwachung 監視");
        assert_eq!(told("one\ntwo\u{1b}[31m"), "one two\u{fffd}[31m");
    }
}
