//! Byte ranges (RFC 9110 section 14).

use http::{HeaderMap, header};

/// The part of a file that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selected {
    /// All of it.
    Whole,
    /// From the first to the last byte, both included.
    Part(u64, u64),
    /// Bytes beyond the end of the file.
    Outside,
}

/// The part of a file of `size` bytes with this `etag` that a request asks for. The server does not support several ranges at a time: it
/// answers with the whole file, as the RFC allows.
pub(crate) fn select(headers: &HeaderMap, etag: &str, size: u64) -> Selected {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // The client cannot use a range of a file other than the one that it began with.
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(etag) {
        return Selected::Whole;
    }
    let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Selected::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Selected::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Selected::Whole,
        (Some(first), _) if first >= size => Selected::Outside,
        (Some(first), Some(last)) => Selected::Part(first, last.min(size - 1)),
        (Some(first), None) if last.is_empty() => Selected::Part(first, size - 1),
        (None, Some(0)) if first.is_empty() => Selected::Outside,
        (None, Some(_)) if first.is_empty() && size == 0 => Selected::Outside,
        (None, Some(length)) if first.is_empty() => Selected::Part(size.saturating_sub(length), size - 1),
        _ => Selected::Whole,
    }
}

/// Selects the range that `bytes` ask for: a size of 8 bytes, then the header.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((size, range)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(range) = http::HeaderValue::from_bytes(range) else {
        return;
    };
    let size = u64::from_be_bytes(*size);
    let headers = HeaderMap::from_iter([(header::RANGE, range)]);
    if let Selected::Part(first, last) = select(&headers, "", size) {
        assert!(first <= last && last < size, "{first}-{last} of {size} bytes");
    }
}

/// Digits only: `parse` alone takes a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn selected(range: &str, size: u64) -> Selected {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(range).unwrap())]);
        select(&headers, "\"a\"", size)
    }

    #[test]
    fn ranges_of_the_rfc() {
        assert_eq!(selected("bytes=0-499", 10_000), Selected::Part(0, 499));
        assert_eq!(selected("bytes=9500-", 10_000), Selected::Part(9500, 9999));
        assert_eq!(selected("bytes=-500", 10_000), Selected::Part(9500, 9999));
        assert_eq!(selected("bytes=-20000", 10_000), Selected::Part(0, 9999));
        assert_eq!(selected("bytes=0-20000", 10_000), Selected::Part(0, 9999));
        assert_eq!(selected("bytes=10000-", 10_000), Selected::Outside);
        assert_eq!(selected("bytes=-0", 10_000), Selected::Outside);
        for whole in [
            "bytes=5-1",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=a-",
        ] {
            assert_eq!(selected(whole, 10_000), Selected::Whole, "{whole}");
        }
    }

    #[test]
    fn a_changed_file_is_sent_whole() {
        let mut headers = HeaderMap::from_iter([
            (header::RANGE, HeaderValue::from_static("bytes=1-2")),
            (header::IF_RANGE, HeaderValue::from_static("\"a\"")),
        ]);
        assert_eq!(select(&headers, "\"a\"", 10), Selected::Part(1, 2));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"b\""));
        assert_eq!(select(&headers, "\"a\"", 10), Selected::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_inside(range in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
            if let Selected::Part(first, last) = selected(&range, size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
