//! What devices measured.

use homeport_api::{Point, Series};

use crate::{
    api_path::ApiPath,
    args,
    error::Result,
    find, human,
    output::{Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const CURVE_WIDTH: usize = 30;

/// `homeport device telemetry`
pub(crate) fn run(telemetry: &args::Telemetry, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    let device = find::device(&client, &telemetry.device)?;
    let span = i64::try_from(telemetry.since.as_millis()).unwrap_or(i64::MAX);
    let from_ms = human::now_ms().saturating_sub(span).max(0);
    let mut path = ApiPath::new("devices")
        .join(&device.id)
        .join("telemetry")
        .query("from_ms", from_ms)
        .query("points", telemetry.points);
    if let Some(name) = &telemetry.name {
        path = path.query("name", name);
    }
    let series: Vec<Series> = client.get(&path)?;
    if output.json {
        return output.json(&series);
    }
    let mut table = Table::new(&["NAME", "LAST", "UNIT", "MIN", "MAX", "WHEN", "COURSE"]);
    for series in series {
        let Some(last) = series.points.last() else {
            continue;
        };
        let values = series.points.iter().map(|point| point.value);
        table.row([
            cell(series.name),
            (number(last.value), Tone::Strong),
            cell(series.unit),
            cell(number(values.clone().fold(f64::INFINITY, f64::min))),
            cell(number(values.fold(f64::NEG_INFINITY, f64::max))),
            cell(human::relative(Some(last.at_ms))),
            (curve(&series.points), Tone::Busy),
        ]);
    }
    let span = human::duration(telemetry.since);
    output.table(
        &table,
        &format!("No telemetry in the last {span}; --since looks further back."),
    )
}

/// At most six digits, without zeros that say nothing.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 1000.0 { 0 } else { 2 };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The last samples as a line of bars between the least and the greatest.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float as an int saturates, and the index is limited"
)]
fn curve(points: &[Point]) -> String {
    let points = &points[points.len().saturating_sub(CURVE_WIDTH)..];
    let values = points.iter().map(|point| point.value);
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let range = values.clone().fold(f64::NEG_INFINITY, f64::max) - least;
    values
        .map(|value| {
            let height = if range > 0.0 { (value - least) / range } else { 0.0 };
            BARS[((height * 7.99) as usize).min(BARS.len() - 1)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(12.0), "12");
        assert_eq!(number(0.126), "0.13");
        assert_eq!(number(1_234_567.8), "1234568");
        assert_eq!(number(100.0), "100");
    }

    #[test]
    fn a_curve_spans_all_heights() {
        let points: Vec<Point> = [0.0, 5.0, 10.0, f64::NAN]
            .into_iter()
            .map(|value| Point { at_ms: 0, value })
            .collect();
        assert_eq!(curve(&points), "▁▄█▁");
        assert_eq!(curve(&points[..1]), "▁");
        assert_eq!(curve(&[]), "");
    }
}
