//! Which of two versions is older.
//!
//! Versions of images are free text. Two that both read as Semantic Versioning 2.0.0 (with one to three numbers, an optional
//! leading `v`, and numbers of any length, so that dates work) are compared by its rules: `2.0.0-rc.1` is before `2.0.0`, and
//! what follows a `+` does not count. All others are compared as RPM does: runs of digits as numbers, runs of letters as
//! text, everything else only separates, `~` sorts before nothing at all.

use std::cmp::Ordering;

pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    match (Semantic::parse(left), Semantic::parse(right)) {
        (Some(left), Some(right)) => left.compare(&right),
        _ => compare_segments(left, right),
    }
}

struct Semantic<'a> {
    numbers: [&'a str; 3],
    pre_release: Option<&'a str>,
}

// === impl Semantic ===

impl<'a> Semantic<'a> {
    fn parse(version: &'a str) -> Option<Self> {
        let version = version.trim();
        let version = version.strip_prefix('v').unwrap_or(version);
        let version = version
            .split_once('+')
            .map_or(version, |(version, _build)| version);
        let (core, pre_release) = match version.split_once('-') {
            Some((core, pre_release)) => (core, Some(pre_release)),
            None => (version, None),
        };
        let mut numbers = ["0"; 3];
        for (index, number) in core.split('.').enumerate() {
            if !is_number(number) {
                return None;
            }
            *numbers.get_mut(index)? = number;
        }
        Some(Self { numbers, pre_release })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let mut ordering = Ordering::Equal;
        for (left, right) in self.numbers.iter().zip(other.numbers) {
            ordering = ordering.then_with(|| compare_numbers(left, right));
        }
        ordering.then_with(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => compare_pre_releases(left, right),
        })
    }
}

fn compare_pre_releases(left: &str, right: &str) -> Ordering {
    let mut rights = right.split('.');
    for left in left.split('.') {
        let Some(right) = rights.next() else {
            return Ordering::Greater;
        };
        let ordering = match (is_number(left), is_number(right)) {
            (true, true) => compare_numbers(left, right),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => left.cmp(right),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    if rights.next().is_some() {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

fn compare_segments(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        left = left.trim_start_matches(is_separator);
        right = right.trim_start_matches(is_separator);
        match (left.strip_prefix('~'), right.strip_prefix('~')) {
            (Some(l), Some(r)) => {
                (left, right) = (l, r);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        let ordering = match (left.is_empty(), right.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {
                let (l, r) = (segment(left), segment(right));
                (left, right) = (&left[l.len()..], &right[r.len()..]);
                match (is_number(l), is_number(r)) {
                    (true, true) => compare_numbers(l, r),
                    (true, false) => Ordering::Greater,
                    (false, true) => Ordering::Less,
                    (false, false) => l.cmp(r),
                }
            }
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

/// The run of digits or of letters that `text` starts with.
fn segment(text: &str) -> &str {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text
        .find(|c: char| c.is_ascii_digit() != digits || is_separator(c) || c == '~')
        .unwrap_or(text.len());
    &text[..end]
}

fn is_separator(c: char) -> bool {
    !c.is_alphanumeric() && c != '~'
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Compares by length first, so that no number is too long.
fn compare_numbers(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_what_people_call_versions() {
        let older_to_newer = [
            ("1.0.0", "1.0.1"),
            ("1.9", "1.10"),
            ("1.0.0-rc.1", "1.0.0"),
            ("1.0.0-rc.2", "1.0.0-rc.10"),
            ("1.0.0-alpha", "1.0.0-alpha.1"),
            ("1.0.0-1", "1.0.0-alpha"),
            ("v1.2.3", "1.2.4"),
            ("2026.09.30", "2026.11.21"),
            ("20260930120000", "20261121205200"),
            ("99999999999999999999998", "99999999999999999999999"),
            ("1.2.3.4", "1.2.3.5"),
            ("1.2.3", "1.2.3.1"),
            ("5.1~rc1_final", "5.1_final"),
            ("r12", "r13"),
            ("kirkstone-4", "scarthgap-1"),
            ("", "1"),
        ];
        for (older, newer) in older_to_newer {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} < {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} > {older}");
        }
    }

    #[test]
    fn knows_equal_versions() {
        for (left, right) in [
            ("1.0", "1.0.0"),
            ("1.0.0+a", "1.0.0+b"),
            ("01.2", "1.02"),
            ("a_1", "a.1"),
        ] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} = {right}");
        }
    }

    proptest::proptest! {
        #[test]
        fn is_antisymmetric_and_never_panics(left in "\\PC{0,12}", right in "\\PC{0,12}") {
            proptest::prop_assert_eq!(compare(&left, &right), compare(&right, &left).reverse());
        }
    }
}
