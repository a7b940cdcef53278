//! What goes to the terminal.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use console::{Style, measure_text_width};
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
    #[allow(
        clippy::unused_self,
        reason = "everything that is printed goes through an output"
    )]
    pub(crate) fn line(self, text: impl Display) -> Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")
            .and_then(|()| stdout.flush())
            .map_err(Error::Output)
    }

    /// Something for people only, on stderr; silent for programs.
    pub(crate) fn note(self, text: impl Display) {
        if !self.json {
            // Nobody to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// A value over several lines.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Error::Output(e.into()))?;
        self.line(text)
    }

    /// A value on one line, for streams.
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| Error::Output(e.into()))?;
        self.line(text)
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
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
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
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row([cell("\u{1b}]0;evil\u{7}\nnext")]);
        assert!(table.lines(PLAIN)[1].chars().all(|c| !c.is_control()));
        assert_eq!(clean("a\u{9b}31mb"), "a 31mb");
    }
}
