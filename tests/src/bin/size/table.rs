//! The table of figures, for people and for docs/SPECIFICATION.md.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::figures::{Figures, MEASURES};

/// Lines of the document between which the table stands.
const BEGIN: &str = "<!-- figures of ./just size: begin -->\n";
const END: &str = "<!-- figures of ./just size: end -->\n";

/// The whole table.
pub(crate) fn render(all: &[Figures]) -> String {
    let rows = all.iter().map(|figures| (figures.board.clone(), row(figures)));
    lay_out(&rows.collect())
}

/// `document` with these figures in its table. Rows of boards that were not measured stay.
pub(crate) fn update(document: &str, all: &[Figures]) -> Result<String> {
    let marked = "the document has no place for the table";
    let (before, rest) = document.split_once(BEGIN).context(marked)?;
    let (table, after) = rest.split_once(END).context(marked)?;
    let mut rows = BTreeMap::new();
    // Two lines of heading.
    for line in table.lines().skip(2) {
        let board = line
            .trim_start_matches("| ")
            .split(' ')
            .next()
            .unwrap_or_default();
        rows.insert(board.to_owned(), line.to_owned());
    }
    rows.extend(all.iter().map(|figures| (figures.board.clone(), row(figures))));
    Ok(format!("{before}{BEGIN}{}{END}{after}", lay_out(&rows)))
}

fn lay_out(rows: &BTreeMap<String, String>) -> String {
    let titles: Vec<_> = MEASURES.iter().map(|measure| measure.title).collect();
    let heading = format!(
        "| board | {} | bytes an hour, with telemetry |",
        titles.join(" | ")
    );
    let rule = format!("|---|{}---|", "---|".repeat(titles.len()));
    let lines = [heading, rule].into_iter().chain(rows.values().cloned());
    lines.map(|line| line + "\n").collect()
}

fn row(figures: &Figures) -> String {
    let values = MEASURES.iter().zip(figures.values);
    let mut cells = vec![figures.board.clone()];
    cells.extend(values.map(|(measure, value)| number(value, measure.digits)));
    cells.push(number(figures.telemetry_bytes_per_hour, 0));
    format!("| {} |", cells.join(" | "))
}

/// With a comma after each three digits before the point.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text
        .find('.')
        .map_or((text.as_str(), ""), |point| text.split_at(point));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::COUNT;

    fn figures(board: &str, value: f64) -> Figures {
        Figures {
            board: board.to_owned(),
            values: [value; COUNT],
            telemetry_bytes_per_hour: 7.0,
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_234_567.4, 0), "1,234,567");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(3.25, 1), "3.2");
        assert_eq!(number(1000.0, 1), "1,000.0");
    }

    #[test]
    fn a_board_that_was_not_measured_keeps_its_row() {
        let empty = format!("before\n{BEGIN}{END}after\n");
        let both = [figures("b", 1.0), figures("a", 2.0)];
        let first = update(&empty, &both).unwrap();
        assert!(
            first.starts_with("before\n") && first.ends_with("after\n"),
            "{first}"
        );
        assert!(first.contains(&render(&both)), "{first}");
        let second = update(&first, &[figures("b", 3.0)]).unwrap();
        assert_eq!(second, first.replace(&row(&both[0]), &row(&figures("b", 3.0))));
        assert!(second.contains(&row(&both[1])), "{second}");
    }

    #[test]
    fn a_document_without_a_place_is_refused() {
        assert!(update("text", &[]).is_err());
    }
}
