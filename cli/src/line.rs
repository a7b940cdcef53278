//! Text on its way to the terminal.

use std::fmt::Display;

use console::{Style, measure_text_width};
use homeport_api::text::replace_hidden;

/// Between columns.
pub(crate) const COLUMN_GAP: &str = "  ";

/// Meaning of a piece of text, which colour makes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Attention,
    Busy,
    Faint,
    Strong,
}

/// One line of text, in pieces that each have a tone.
///
/// Whatever a terminal shows is made of lines. Names and messages come from devices and other people, and a terminal would obey what is
/// hidden in them, so each piece is cleaned when it is added: a line has no line break, no other hidden character, and no colour but that
/// of its tones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Vec<(String, Tone)>);

// === impl Line ===

impl Line {
    /// Adds text.
    pub(crate) fn and(mut self, text: impl Display, tone: Tone) -> Self {
        let text = replace_hidden(&text.to_string(), ' ');
        if !text.is_empty() {
            self.0.push((text, tone));
        }
        self
    }

    /// Adds text in a column of its own, or nothing when it is empty.
    pub(crate) fn column(self, text: impl Display, tone: Tone) -> Self {
        let column = Self::default().and(text, tone);
        if self.is_empty() || column.is_empty() {
            self.append(column)
        } else {
            self.and(COLUMN_GAP, Tone::Plain).append(column)
        }
    }

    /// Adds another line to the end of this one.
    pub(crate) fn append(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Columns of the terminal that it takes.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| measure_text_width(text)).sum()
    }

    /// What the terminal gets, in colour or not.
    pub(crate) fn render(&self, colour: bool) -> String {
        self.0
            .iter()
            .map(|(text, tone)| tone.style().force_styling(colour).apply_to(text).to_string())
            .collect()
    }
}

impl<T: Display> From<T> for Line {
    fn from(text: T) -> Self {
        Self::default().and(text, Tone::Plain)
    }
}

// === impl Tone ===

impl Tone {
    fn style(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Good => style.green(),
            Self::Bad => style.red(),
            Self::Attention => style.yellow(),
            Self::Busy => style.cyan(),
            Self::Faint => style.dim(),
            Self::Strong => style.bold(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use homeport_api::text::is_hidden;

    use super::*;

    /// Everything that a terminal would obey or a person not see.
    pub(crate) const EVIL: &str = "a\u{1b}[31m\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}1m\r\nb\t\u{8}\u{0}\u{7f}\u{85}\u{202e}\u{2028}\u{200b}\u{feff}\u{e0041}é";

    #[test]
    fn a_line_holds_nothing_hidden_but_its_own_colours() {
        let line = Line::from(EVIL)
            .column(EVIL, Tone::Bad)
            .append(Line::from(EVIL).and(EVIL, Tone::Strong));
        let plain = line.render(false);
        assert!(!plain.chars().any(is_hidden), "{plain:?}");
        assert_eq!(plain.matches('é').count(), 4);
        let coloured = line.render(true);
        assert_eq!(console::strip_ansi_codes(&coloured), plain);
        assert_eq!(coloured.matches('\u{1b}').count(), 4, "{coloured:?}");
        assert_eq!(line.width(), measure_text_width(&plain));
    }

    #[test]
    fn columns_without_text_take_no_room() {
        let line = Line::default().column("", Tone::Bad).column("a", Tone::Plain);
        assert_eq!(
            line.column("", Tone::Bad).column("b", Tone::Bad).render(false),
            "a  b"
        );
    }
}
