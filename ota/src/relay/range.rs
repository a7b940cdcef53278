//! The `Range` header of RFC 9110, as far as a server with one representation and single ranges needs it.

use std::ops::Range;

/// What a client asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range, or one in a form that may be ignored.
    Everything,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Bytes that are not there.
    Unsatisfiable,
}

// === impl Wanted ===

impl Wanted {
    /// Reads `header` for a representation of `size` bytes.
    pub(super) fn parse(header: Option<&str>, size: u64) -> Self {
        let Some((first, last)) = header
            .and_then(|header| header.strip_prefix("bytes="))
            .filter(|ranges| !ranges.contains(','))
            .and_then(|range| range.trim().split_once('-'))
        else {
            return Self::Everything;
        };
        let part = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
            (Ok(first), Err(_)) if last.is_empty() => first..size,
            (Err(_), Ok(length)) if first.is_empty() => size.saturating_sub(length)..size,
            _ => return Self::Everything,
        };
        if part.is_empty() {
            Self::Unsatisfiable
        } else {
            Self::Part(part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_single_ranges() {
        let cases = [
            (None, Wanted::Everything),
            (Some("bytes=0-3"), Wanted::Part(0..4)),
            (Some("bytes=90-"), Wanted::Part(90..100)),
            (Some("bytes=-8"), Wanted::Part(92..100)),
            (Some("bytes=-800"), Wanted::Part(0..100)),
            (Some("bytes=99-500"), Wanted::Part(99..100)),
            (Some("bytes=100-"), Wanted::Unsatisfiable),
            (Some("bytes=100-200"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=0-1,3-4"), Wanted::Everything),
            (Some("bytes=5-4"), Wanted::Everything),
            (Some("lines=1-2"), Wanted::Everything),
            (Some("bytes=0-18446744073709551615"), Wanted::Part(0..100)),
        ];
        for (header, wanted) in cases {
            assert_eq!(Wanted::parse(header, 100), wanted, "{header:?}");
        }
    }
}
