//! How the result of a command looks.

use homeport_api::CommandKind;
use serde_json::{Map, Value};

use super::schema::{field_order, resolved};
use crate::{
    human,
    output::{Line, Table, Tone, cell, pair_lines},
};

/// Numbers in `_ms` from this one on are times since 1970, below it spans.
const FIRST_TIME_MS: f64 = 1e11;
/// Characters of a result that one line of many shows.
const BRIEF_LENGTH: usize = 120;

/// The result over several lines: `name  value`, and a table for each list of objects. The kind's schema tells the order of fields.
pub(super) fn lines(result: &Value, kind: Option<&CommandKind>) -> Vec<Line> {
    let root = kind.map_or(&Value::Null, |kind| &kind.result);
    let mut pairs = Vec::new();
    let mut tables = Vec::new();
    sort(root, root, "", result, &mut pairs, &mut tables);
    let mut lines: Vec<Line> = pair_lines(&pairs).collect();
    let alone = tables.len() == 1;
    for (name, table) in tables {
        if !alone || !lines.is_empty() {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.push(Line::default().and(name, Tone::Strong));
        }
        lines.extend(table.lines());
    }
    lines
}

/// The result in one line, as far as it fits there.
pub(super) fn brief(result: &Value) -> String {
    let mut parts = Vec::new();
    for (name, value) in result.as_object().into_iter().flatten() {
        let text = match value {
            Value::Array(items) if items.iter().any(Value::is_object) => items.len().to_string(),
            value => text(name, value),
        };
        if !text.is_empty() {
            parts.push(format!("{}={text}", label(name)));
        }
    }
    let line = parts.join(" ");
    match line.char_indices().nth(BRIEF_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn sort(
    root: &Value,
    schema: &Value,
    path: &str,
    value: &Value,
    pairs: &mut Vec<(String, String)>,
    tables: &mut Vec<(String, Table)>,
) {
    let Value::Object(object) = value else {
        pairs.push((label(path), text(path, value)));
        return;
    };
    let schema = resolved(root, schema);
    for name in in_order(schema, object.keys().map(String::as_str)) {
        let Some(value) = object.get(name) else { continue };
        let below = &schema["properties"][name];
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        match value {
            Value::Object(_) => sort(root, below, &path, value, pairs, tables),
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
                let rows: Vec<_> = items.iter().filter_map(Value::as_object).collect();
                let items = resolved(root, &resolved(root, below)["items"]);
                tables.push((label(&path), table(items, &rows)));
            }
            value => pairs.push((label(&path), text(name, value))),
        }
    }
}

fn table(schema: &Value, rows: &[&Map<String, Value>]) -> Table {
    let names = in_order(schema, rows.iter().flat_map(|row| row.keys().map(String::as_str)));
    let header: Vec<String> = names.iter().map(|name| label(name).to_uppercase()).collect();
    let mut table = Table::new(&header);
    for row in rows {
        table.row(
            names
                .iter()
                .map(|name| cell(row.get(*name).map(|value| text(name, value)).unwrap_or_default())),
        );
    }
    table
}

/// The names that are there: first those that the schema knows, in its order.
fn in_order<'a>(schema: &'a Value, present: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let present: Vec<&str> = present.collect();
    let mut names = field_order(schema);
    names.retain(|name| present.contains(name));
    for name in present {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A field's name for people: its unit is with the value, but for per cents.
fn label(name: &str) -> String {
    let units = [("_bytes", ""), ("_ms", ""), ("_s", ""), ("_percent", " %")];
    let found = units
        .iter()
        .find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, unit)));
    let (name, unit) = found.unwrap_or((name, &""));
    name.replace('_', " ") + unit
}

#[allow(clippy::cast_possible_truncation, reason = "times are far from the limits")]
fn text(name: &str, value: &Value) -> String {
    let number = value.as_f64();
    match (value, number) {
        (Value::Null, _) => String::new(),
        (Value::String(text), _) => text.clone(),
        (Value::Array(items), _) => {
            let items: Vec<String> = items.iter().map(|item| text(name, item)).collect();
            items.join(", ")
        }
        (Value::Number(_), Some(_)) if name.ends_with("_bytes") => {
            value.as_u64().map_or_else(|| value.to_string(), human::size)
        }
        (Value::Number(_), Some(number)) if name.ends_with("_ms") && number >= FIRST_TIME_MS => {
            human::absolute(number as i64)
        }
        (Value::Number(_), Some(_)) if name.ends_with("_ms") => format!("{value} ms"),
        (Value::Number(_), Some(_)) if name.ends_with("_s") => format!("{value} s"),
        (value, _) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::schema::tests::kind, *};

    fn shown(result: &Value, name: &str) -> Vec<String> {
        let kind = kind(name);
        lines(result, Some(&kind))
            .iter()
            .map(|line| line.render(false))
            .collect()
    }

    #[test]
    fn a_list_of_objects_is_a_table_in_the_order_of_the_schema() {
        let result = json!({
            "left_out": 3,
            "processes": [
                { "pid": 1, "parent": 0, "user": "root", "state": "S", "memory_bytes": 12_000_000, "cpu_s": 1.5, "cpu_percent": 0.1, "name": "init", "arguments": "" },
                { "pid": 12, "parent": 1, "user": "app", "state": "R", "memory_bytes": 900, "cpu_s": 20, "cpu_percent": 9, "name": "app", "arguments": "-x", "newer": true },
            ],
        });
        assert_eq!(
            shown(&result, "ps"),
            [
                "left out  3",
                "",
                "processes",
                "PID  PARENT  USER  STATE  MEMORY   CPU    CPU %  NAME  ARGUMENTS  NEWER",
                "1    0       root  S      12.0 MB  1.5 s  0.1    init",
                "12   1       app   R      900 B    20 s   9      app   -x         true",
            ]
        );
    }

    #[test]
    fn anything_else_is_names_and_values() {
        let result = json!({ "unit": "app.service", "description": "App", "active": "active", "state": "running", "pid": 7,
            "memory_bytes": null, "more": { "deep": [1, 2] } });
        assert_eq!(
            shown(&result, "service"),
            [
                "unit         app.service",
                "description  App",
                "active       active",
                "state        running",
                "pid          7",
                "more.deep    1, 2",
            ]
        );
        assert!(shown(&json!({}), "run").is_empty());
        assert_eq!(shown(&json!([1, "a"]), "run"), ["1, a"]);
    }

    #[test]
    fn one_line_has_the_most_important() {
        let result =
            json!({ "agent": "0.1.0", "processes": [{}, {}], "uptime_s": 7, "text": "x".repeat(500) });
        let line = brief(&result);
        assert!(line.starts_with("agent=0.1.0 processes=2 text=xxx"), "{line}");
        assert_eq!(line.chars().count(), BRIEF_LENGTH + 1);
    }
}
