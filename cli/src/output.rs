//! What goes to the terminal.

use std::{
    env,
    fmt::{Display, Write as _},
    io::{self, IsTerminal as _, Write as _},
};

use console::{Style, measure_text_width};
use homeport_api::text::is_hidden;
use serde::Serialize;

use crate::error::{Error, Result};

const COLUMN_GAP: &str = "  ";

/// Where results go, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// For programs.
    pub(crate) json: bool,
    /// Whether stderr shows progress bars.
    pub(crate) bars: bool,
    colour: bool,
}

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

/// Rows of aligned columns.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<(String, Tone)>>,
}

// === impl Output ===

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colour = wanted && io::stdout().is_terminal();
        console::set_colors_enabled(colour);
        console::set_colors_enabled_stderr(wanted && io::stderr().is_terminal());
        Self {
            json,
            bars: !json && io::stderr().is_terminal() && io::stdout().is_terminal(),
            colour,
        }
    }

    /// A result, on stdout.
    #[expect(
        clippy::unused_self,
        reason = "everything that is printed goes through an output"
    )]
    pub(crate) fn line(self, text: impl Display) -> Result<()> {
        Self::write(&printable(&text.to_string()))
    }

    fn write(text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")
            .and_then(|()| stdout.flush())
            .map_err(Error::Output)
    }

    /// Something for people only, on stderr; silent for programs.
    pub(crate) fn note(self, text: impl Display) {
        if !self.json {
            // Nobody to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "{}", printable(&text.to_string()));
        }
    }

    /// Says how to see the rest of a list, if there is more.
    pub(crate) fn note_more(self, more: bool) {
        if more {
            self.note("There are older ones: --limit lists more.");
        }
    }

    /// A value over several lines.
    #[expect(
        clippy::unused_self,
        reason = "everything that is printed goes through an output"
    )]
    pub(crate) fn json(self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Error::Output(e.into()))?;
        Self::write(&escape_json(&text))
    }

    /// A value on one line, for streams.
    #[expect(
        clippy::unused_self,
        reason = "everything that is printed goes through an output"
    )]
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| Error::Output(e.into()))?;
        Self::write(&escape_json(&text))
    }

    /// A table, or what to say when it has no rows.
    pub(crate) fn table(self, table: &Table, empty: &str) -> Result<()> {
        if table.rows.is_empty() {
            self.note(empty);
            return Ok(());
        }
        table.lines(self).into_iter().try_for_each(|line| self.line(line))
    }

    /// Aligned `name  value` lines; pairs without a value are left out.
    pub(crate) fn pairs(self, pairs: &[(&str, String)]) -> Result<()> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            let name = self.paint(&format!("{name:width$}"), Tone::Faint);
            self.line(format_args!("{name}{COLUMN_GAP}{}", clean(value)))?;
        }
        Ok(())
    }

    /// Text in the colour of its meaning, where there are colours.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        if self.colour {
            tone.style().apply_to(text).to_string()
        } else {
            text.to_owned()
        }
    }
}

// === impl Tone ===

impl Tone {
    pub(crate) fn style(self) -> Style {
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

// === impl Table ===

impl Table {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let row = cells
            .into_iter()
            .map(|(text, tone)| (clean(&text), tone))
            .collect();
        self.rows.push(row);
    }

    fn lines(&self, output: Output) -> Vec<String> {
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.len()).collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(text));
            }
        }
        let line = |cells: &mut dyn Iterator<Item = (&str, Tone)>| {
            let mut line = String::new();
            let mut gap = 0;
            for ((text, tone), width) in cells.zip(&widths) {
                if !text.is_empty() {
                    line.extend(std::iter::repeat_n(' ', gap));
                    line.push_str(&output.paint(text, tone));
                    gap = 0;
                }
                gap += width - measure_text_width(text) + COLUMN_GAP.len();
            }
            line
        };
        let header = line(&mut self.header.iter().map(|name| (*name, Tone::Strong)));
        let rows = self
            .rows
            .iter()
            .map(|row| line(&mut row.iter().map(|(text, tone)| (text.as_str(), *tone))));
        std::iter::once(header).chain(rows).collect()
    }
}

/// Text without control characters: names and messages come from devices, and a terminal would obey what is hidden in them.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

/// Lines for the terminal: of all hidden characters, only line breaks and our own colours (SGR) stay.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = match colour_len(rest) {
            0 => c.len_utf8(),
            len => len,
        };
        let (piece, after) = rest.split_at(len);
        if len > c.len_utf8() || c == '\n' || !is_hidden(c) {
            printable.push_str(piece);
        } else {
            printable.push(' ');
        }
        rest = after;
    }
    printable
}

/// Length of the SGR sequence that `text` begins with, in bytes; 0 without one.
fn colour_len(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let end = parameters
        .find(|c: char| !c.is_ascii_digit() && c != ';')
        .filter(|end| parameters[*end..].starts_with('m'));
    end.map_or(0, |end| "\u{1b}[".len() + end + 1)
}

/// JSON whose hidden characters are escaped, so that it loses nothing and a terminal obeys none of it.
fn escape_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string never fails.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A cell without colour.
pub(crate) fn cell(text: impl Into<String>) -> (String, Tone) {
    (text.into(), Tone::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output {
        json: false,
        bars: false,
        colour: false,
    };

    #[test]
    fn columns_are_aligned_without_trailing_blanks() {
        let mut table = Table::new(&["ID", "NAME", "STATE"]);
        table.row([cell("a"), cell("Überwachung"), cell("online")]);
        table.row([cell("long-id"), cell(""), cell("offline")]);
        table.row([cell("b"), cell("x"), cell("")]);
        assert_eq!(
            table.lines(PLAIN),
            [
                "ID       NAME         STATE",
                "a        Überwachung  online",
                "long-id               offline",
                "b        x",
            ]
        );
    }

    #[test]
    fn lines_keep_colours_and_nothing_else_that_is_hidden() {
        assert_eq!(
            printable("\u{1b}[1;31mred\u{1b}[0m\nx"),
            "\u{1b}[1;31mred\u{1b}[0m\nx"
        );
        assert_eq!(
            printable("\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}\u{202e}é"),
            " [2J ]0;t   é"
        );
        assert_eq!(printable("\u{1b}[31"), " [31");
    }

    #[test]
    fn json_loses_nothing() {
        let value = "a\u{9b}\u{202e}\u{e0041}\u{1b}é";
        let json = escape_json(&serde_json::to_string(value).unwrap());
        assert!(!json.chars().any(is_hidden));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row([cell("\u{1b}]0;evil\u{7}\nnext")]);
        assert!(table.lines(PLAIN)[1].chars().all(|c| !c.is_control()));
        assert_eq!(clean("a\u{9b}31mb"), "a 31mb");
    }
}
