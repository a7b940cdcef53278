//! What goes to the terminal.

use std::{
    env,
    fmt::Write as _,
    io::{self, Write as _},
};

use homeport_api::text::is_hidden;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    line::COLUMN_GAP,
};
pub(crate) use crate::{
    line::{Line, Tone},
    terminal_text::TerminalText,
};

/// Where results go, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// For programs.
    pub(crate) json: bool,
    /// Whether stderr shows progress bars.
    pub(crate) bars: bool,
}

/// Where a program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Rows of aligned columns, the first of which is the header.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Line>>,
}

// === impl Output ===

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (stdout, stderr) = (console::user_attended(), console::user_attended_stderr());
        console::set_colors_enabled(wanted && stdout);
        console::set_colors_enabled_stderr(wanted && stderr);
        Self {
            json,
            bars: !json && stdout && stderr,
        }
    }

    /// A result, on stdout.
    #[expect(
        clippy::unused_self,
        reason = "everything that is printed goes through an output"
    )]
    pub(crate) fn line(self, line: impl Into<Line>) -> Result<()> {
        Self::write(&line.into().render(console::colors_enabled()))
    }

    #[expect(clippy::disallowed_methods, reason = "lines and escaped JSON only")]
    fn write(text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")
            .and_then(|()| stdout.flush())
            .map_err(Error::Output)
    }

    /// Something for people only, on stderr; silent for programs.
    pub(crate) fn note(self, line: impl Into<Line>) {
        if !self.json {
            say(line);
        }
    }

    /// A secret that is shown once: alone on stdout for a script, with a word on what it is for a person.
    pub(crate) fn secret(self, secret: &str, note: impl Into<Line>) -> Result<()> {
        self.line(secret)?;
        if console::user_attended() {
            self.note(note);
        }
        Ok(())
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
        if table.is_empty() {
            self.note(empty);
            return Ok(());
        }
        table.lines().into_iter().try_for_each(|line| self.line(line))
    }

    /// Aligned `name  value` lines; pairs without a value are left out.
    pub(crate) fn pairs(self, pairs: &[(&str, String)]) -> Result<()> {
        pair_lines(pairs).try_for_each(|line| self.line(line))
    }

    /// What a device's program wrote: as it is for files and programs, harmless for terminals.
    #[expect(
        clippy::disallowed_methods,
        clippy::unused_self,
        reason = "a terminal gets no byte that it obeys"
    )]
    pub(crate) fn written(self, to: Stream, bytes: &[u8], text: &mut TerminalText) -> Result<()> {
        let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
        let (target, is_terminal): (&mut dyn io::Write, bool) = match to {
            Stream::Stdout => (&mut stdout, console::user_attended()),
            Stream::Stderr => (&mut stderr, console::user_attended_stderr()),
        };
        let written = if is_terminal {
            target.write_all(text.take(bytes).as_bytes())
        } else {
            target.write_all(bytes)
        };
        written.and_then(|()| target.flush()).map_err(Error::Output)
    }
}

/// Aligned `name  value` lines; pairs without a value are left out.
pub(crate) fn pair_lines<N: AsRef<str>>(pairs: &[(N, String)]) -> impl Iterator<Item = Line> {
    let names = pairs.iter().map(|(name, _)| name.as_ref().len());
    let width = names.max().unwrap_or(0);
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    pairs.map(move |(name, value)| {
        let name = format!("{:width$}", name.as_ref());
        Line::default().and(name, Tone::Faint).column(value, Tone::Plain)
    })
}

// === impl Table ===

impl Table {
    pub(crate) fn new(header: &[impl AsRef<str>]) -> Self {
        let mut table = Self { rows: Vec::new() };
        table.row(header.iter().map(|name| (name.as_ref().to_owned(), Tone::Strong)));
        table
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let cells = cells.into_iter();
        self.rows.push(
            cells
                .map(|(text, tone)| Line::default().and(text, tone))
                .collect(),
        );
    }

    /// Leaves a column out that has nothing in it.
    pub(crate) fn without_empty(mut self, name: &str) -> Self {
        let found = self.rows.first().and_then(|header| {
            let mut names = header.iter().map(|cell| cell.render(false));
            names.position(|found| found == name)
        });
        if let Some(column) = found
            && self.rows.iter().skip(1).all(|row| row[column].is_empty())
        {
            for row in &mut self.rows {
                row.remove(column);
            }
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// Header and rows, aligned.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let line = |row: &Vec<Line>| {
            let mut line = Line::default();
            let mut gap = 0;
            for (cell, width) in row.iter().zip(&widths) {
                if !cell.is_empty() {
                    line = line.and(" ".repeat(gap), Tone::Plain).append(cell.clone());
                    gap = 0;
                }
                gap += width - cell.width() + COLUMN_GAP.len();
            }
            line
        };
        self.rows.iter().map(line).collect()
    }
}

/// What went wrong and what to do next, on stderr, also for programs.
pub(crate) fn report(error: &Error) {
    say(Line::default()
        .and("error: ", Tone::Bad)
        .append(Line::from(error)));
    for detail in error.details() {
        say(format_args!("       {detail}"));
    }
    if let Some(next) = error.next_step() {
        say(format_args!("  → {next}"));
    }
}

/// A question on stderr; the answer comes on the same line.
#[expect(clippy::disallowed_methods, reason = "a line only")]
pub(crate) fn ask(question: impl Into<Line>) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    write!(
        stderr,
        "{} ",
        question.into().render(console::colors_enabled_stderr())
    )?;
    stderr.flush()
}

#[expect(clippy::disallowed_methods, reason = "a line only")]
fn say(line: impl Into<Line>) {
    let text = line.into().render(console::colors_enabled_stderr());
    // Nobody to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "{text}");
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
    use crate::line::tests::EVIL;

    fn plain(table: &Table) -> Vec<String> {
        table.lines().iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn columns_are_aligned_without_trailing_blanks() {
        let mut table = Table::new(&["ID", "NAME", "STATE"]);
        table.row([cell("a"), cell("Überwachung"), cell("online")]);
        table.row([cell("long-id"), cell(""), cell("offline")]);
        table.row([cell("b"), cell("x"), cell("")]);
        assert_eq!(
            plain(&table),
            [
                "ID       NAME         STATE",
                "a        Überwachung  online",
                "long-id               offline",
                "b        x",
            ]
        );
    }

    #[test]
    fn a_column_with_nothing_in_it_can_be_left_out() {
        let mut table = Table::new(&["ID", "PROJECT", "NAME"]);
        table.row([cell("a"), cell(""), cell("x")]);
        assert_eq!(plain(&table.without_empty("PROJECT")), ["ID  NAME", "a   x"]);
        let mut table = Table::new(&["ID", "PROJECT"]);
        table.row([cell("a"), cell("acme")]);
        table.row([cell("b"), cell("")]);
        assert_eq!(
            plain(&table.without_empty("PROJECT")),
            ["ID  PROJECT", "a   acme", "b"]
        );
    }

    #[test]
    fn what_is_hidden_does_not_shift_columns() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row([cell(EVIL), cell("online")]);
        let lines = plain(&table);
        let [header, row] = lines.as_slice() else {
            panic!("not two lines: {lines:?}");
        };
        assert_eq!(
            header.find("STATE"),
            row.char_indices()
                .position(|(at, _)| row[at..].starts_with("online"))
        );
    }

    #[test]
    fn json_loses_nothing() {
        let json = escape_json(&serde_json::to_string(EVIL).unwrap());
        assert!(!json.chars().any(is_hidden));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), EVIL);
    }
}
