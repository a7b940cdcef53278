//! Names of series tell apart what they are about. `series.json` says how; the page's tests read it too.

#![allow(clippy::unwrap_used)] // All of it is a test.

use homeport_protocol::{Record, limits::MAX_NAME, senml::Pack, series};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Examples {
    written: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    kind: String,
    of: String,
    names: Vec<String>,
}

fn names(kind: &str, of: &str) -> Option<Vec<String>> {
    match kind {
        "disk" => series::disk(of).map(Vec::from),
        "network" => series::network(of).map(Vec::from),
        _ => series::temperature(of).map(|name| vec![name]),
    }
}

/// The rule in the documentation of [`series`], backwards.
fn read_back(kind: &str, name: &str) -> Option<String> {
    let rest = name.strip_prefix(kind)?.strip_prefix('.')?;
    let part = match kind {
        "disk" => rest.strip_suffix(".total")?,
        "network" => rest.strip_suffix(".rx")?,
        _ => rest,
    };
    if (kind, part) == ("disk", "root") {
        return Some("/".to_owned());
    }
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        (bytes, rest) = match (first, after) {
            (b':', [high, low, after @ ..]) => {
                let digits = std::str::from_utf8(&[*high, *low]).ok()?.to_owned();
                bytes.push(u8::from_str_radix(&digits, 16).ok()?);
                (bytes, after)
            }
            (byte, after) => {
                bytes.push(*byte);
                (bytes, after)
            }
        };
    }
    String::from_utf8(bytes).ok()
}

fn is_valid(name: &str) -> bool {
    Pack(vec![Record::number(name, "", 1.0)]).resolve(0.0).is_ok()
}

#[test]
fn names_are_those_of_the_examples() {
    let examples: Examples = serde_json::from_str(include_str!("series.json")).unwrap();
    for Example {
        kind,
        of,
        names: expected,
    } in examples.written
    {
        assert_eq!(names(&kind, &of).unwrap(), expected, "{kind} {of}");
    }
}

#[test]
fn a_mount_has_one_name_however_its_slashes_are_written() {
    assert_eq!(series::disk("/data/"), series::disk("/data"));
    assert_eq!(series::disk("data"), series::disk("/data"));
    assert_eq!(series::disk(""), series::disk("/"));
}

#[test]
fn names_that_are_too_long_are_none() {
    let longest = format!("/{}", "a".repeat(MAX_NAME - "disk./.available".len()));
    let [total, available] = series::disk(&longest).unwrap();
    assert!(is_valid(&total) && available.len() == MAX_NAME && is_valid(&available));
    assert_eq!(series::disk(&format!("{longest}a")), None);
    assert_eq!(series::disk(&format!("/{}", "é".repeat(19))), None, "escaped");
}

proptest! {
    #[test]
    fn names_are_valid_and_lose_nothing(
        kind in prop::sample::select(vec!["disk", "network", "temperature"]),
        of in "[a-z:/._ -]{0,12}|\\PC{0,8}|.{0,8}",
    ) {
        let of = if kind == "disk" { format!("/{}", of.trim_matches('/')) } else { of };
        let names = names(kind, &of).unwrap();
        prop_assert!(names.iter().all(|name| is_valid(name)), "{names:?}");
        prop_assert_eq!(read_back(kind, &names[0]), Some(of));
    }
}
