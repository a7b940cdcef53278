//! Durations, times and sizes as people read and write them.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::TimeZone};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// Reads `90`, `90s`, `15m`, `1h30m`, `7d`, `2w`. A number without a unit is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write it like 90s, 15m, 1h30m or 7d");
    let mut seconds = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let amount: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_len = rest[digits..].chars().next().map_or(0, char::len_utf8);
        let unit = match &rest[digits..digits + unit_len] {
            "" if digits == text.trim().len() => 1,
            "s" => 1,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => WEEK,
            _ => return Err(wrong()),
        };
        seconds = amount
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(wrong)?;
        rest = &rest[digits + unit_len..];
    }
    Ok(Duration::from_secs(seconds))
}

/// `45 s`, `12 min`, `3 h`, `9 d`: rounded to the largest unit that fits.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    let (unit, name) = match seconds {
        s if s < 2 * MINUTE => (1, "s"),
        s if s < 2 * HOUR => (MINUTE, "min"),
        s if s < 2 * DAY => (HOUR, "h"),
        _ => (DAY, "d"),
    };
    format!("{} {name}", (seconds + unit / 2) / unit)
}

/// `3 min ago`, `in 59 min`, `now`; `never` without a time.
pub(crate) fn relative(at_ms: Option<i64>) -> String {
    at_ms.map_or_else(|| "never".to_owned(), |at| relative_to(at, now_ms()))
}

/// Date and time of day in the local time zone.
pub(crate) fn absolute(at_ms: i64) -> String {
    local(at_ms, "%Y-%m-%d %H:%M:%S")
}

/// Time of day in the local time zone.
pub(crate) fn clock(at_ms: i64) -> String {
    local(at_ms, "%H:%M:%S")
}

/// `512 B`, `13.4 MB`: powers of 1000.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn relative_to(at_ms: i64, now_ms: i64) -> String {
    let distance = Duration::from_millis(at_ms.abs_diff(now_ms));
    if distance < Duration::from_secs(2) {
        "now".to_owned()
    } else if at_ms < now_ms {
        format!("{} ago", duration(distance))
    } else {
        format!("in {}", duration(distance))
    }
}

fn local(at_ms: i64, format: &str) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(
        |_| at_ms.to_string(),
        |time| time.to_zoned(TimeZone::system()).strftime(format).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("1h30m", 5400),
            (" 7d", 604_800),
            ("2w", 1_209_600),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "1x", "1h30", "-1s", "1.5h", "99999999999999999w", "1é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_relative() {
        assert_eq!(relative_to(1_000, 1_500), "now");
        assert_eq!(relative_to(0, 45_000), "45 s ago");
        assert_eq!(relative_to(0, 45 * 60_000), "45 min ago");
        assert_eq!(relative_to(3_590_000, 0), "in 60 min");
        assert_eq!(relative_to(0, 3 * 24 * 3_600_000), "3 d ago");
        assert_eq!(relative(None), "never");
        assert_eq!(relative_to(i64::MIN, i64::MAX), "213503982335 d ago");
    }

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_000), "1.0 kB");
        assert_eq!(size(13_421_772), "13.4 MB");
        assert_eq!(size(999_990_000), "1.0 GB");
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }
}
