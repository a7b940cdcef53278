//! Values of configuration keys. An error is what the value must be instead.

use std::{path::PathBuf, time::Duration};

use toml::Value;
use tracing::level_filters::LevelFilter;

use super::{Source, authority_of};
use crate::https;

/// A value that is read as the type that its key has.
pub(super) struct Typed(pub(super) Value);

const DURATION: &str = "a duration: \"90s\", \"5min\", \"2h\", \"7d\", or a number of seconds";
const POSITIVE_DURATION: &str =
    "a duration above zero: \"90s\", \"5min\", \"2h\", \"7d\", or a number of seconds";
const SIZE: &str = "a size: \"64K\", \"8M\", \"1G\", or a number of bytes";

// === impl Typed ===

impl Typed {
    pub(super) fn level(&self) -> Result<LevelFilter, &'static str> {
        const EXPECTED: &str = "one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"";
        let level = self.0.as_str().ok_or(EXPECTED)?;
        level.parse().map_err(|_| EXPECTED)
    }

    pub(super) fn path(&self) -> Result<PathBuf, &'static str> {
        let path = self.0.as_str().map(PathBuf::from);
        path.filter(|path| path.is_absolute()).ok_or("an absolute path")
    }

    /// Empty text: none.
    pub(super) fn server_url(&self) -> Result<Option<String>, &'static str> {
        match self.0.as_str() {
            Some("") => Ok(None),
            Some(url) if authority_of(url).is_some() => Ok(Some(url.trim_end_matches('/').to_owned())),
            _ => Err("an address like \"https://fleet.example.com:8443\""),
        }
    }

    /// Empty text: none.
    pub(super) fn authority(&self) -> Result<Option<String>, &'static str> {
        match self.0.as_str() {
            Some("") => Ok(None),
            Some(authority) if https::split(authority, 1).is_some() => Ok(Some(authority.to_owned())),
            _ => Err("a host and port like \"fleet.example.com:8883\""),
        }
    }

    pub(super) fn duration(&self) -> Result<Duration, &'static str> {
        let seconds = match &self.0 {
            Value::Integer(seconds) => u64::try_from(*seconds).ok(),
            Value::String(text) => scaled(
                text,
                &[("", 1), ("s", 1), ("min", 60), ("h", 3600), ("d", 24 * 3600)],
            ),
            _ => None,
        };
        seconds.map(Duration::from_secs).ok_or(DURATION)
    }

    pub(super) fn positive_duration(&self) -> Result<Duration, &'static str> {
        match self.duration() {
            Ok(time) if !time.is_zero() => Ok(time),
            _ => Err(POSITIVE_DURATION),
        }
    }

    /// A keep-alive: the bounds are named in the message.
    pub(super) fn duration_between(&self, low: Duration, high: Duration) -> Result<Duration, &'static str> {
        match self.duration() {
            Ok(time) if (low..=high).contains(&time) => Ok(time),
            _ => Err("a duration from \"10s\" to \"15min\""),
        }
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        let bytes = match &self.0 {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::String(text) => scaled(text, &[("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)]),
            _ => None,
        };
        bytes.ok_or(SIZE)
    }

    pub(super) fn flag(&self) -> Result<bool, &'static str> {
        self.0.as_bool().ok_or("true or false")
    }

    pub(super) fn texts(&self) -> Result<Vec<String>, &'static str> {
        let texts = self.0.as_array().and_then(|values| {
            values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        });
        texts.ok_or("a list of texts: [\"one\", \"two\"]")
    }

    pub(super) fn sources(&self) -> Result<Vec<Source>, &'static str> {
        const EXPECTED: &str =
            "a list of \"cpu\", \"memory\", \"disk\", \"temperature\", \"uptime\", \"network\"";
        let names = self.texts().map_err(|_| EXPECTED)?;
        let sources: Option<Vec<_>> = names.iter().map(|name| Source::parse(name)).collect();
        sources.ok_or(EXPECTED)
    }
}

/// A whole number followed by one of `units`.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        let duration = |value: &str| Typed(Value::String(value.to_owned())).duration();
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5 min"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("15"), Ok(Duration::from_secs(15)));
        for bad in [
            "",
            "s",
            "5m",
            "-1s",
            "1.5h",
            "99999999999999999999",
            "9999999999999999999d",
        ] {
            assert_eq!(duration(bad), Err(DURATION), "{bad}");
        }
        let size = |value: &str| Typed(Value::String(value.to_owned())).size();
        assert_eq!(size("8M"), Ok(8 << 20));
        assert_eq!(size("8 MB"), Err(SIZE));
        assert_eq!(Typed(Value::Integer(-1)).size(), Err(SIZE));
    }
}
