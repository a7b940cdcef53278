//! Telemetry as SenML (RFC 8428) in its CBOR form: an array of maps with small integer labels.
//! Names that agent and server use themselves are in [`crate::series`].

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{
    DecodeError,
    limits::{MAX_NAME, MAX_RECORDS},
};

/// One SenML record. Absent fields are `None`; base fields hold for the records after them (RFC 8428 section 4.1).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// `bn`: put before the names of this and the following records.
    pub base_name: Option<String>,
    /// `bt`: added to the times of this and the following records, seconds.
    pub base_time: Option<f64>,
    /// `n`.
    pub name: Option<String>,
    /// `u`, from the SenML units registry.
    pub unit: Option<String>,
    /// `v`.
    pub value: Option<f64>,
    /// `vs`.
    pub text: Option<String>,
    /// `vb`.
    pub flag: Option<bool>,
    /// `t`, seconds since 1970 (or relative to now when below 2^28, RFC 8428 section 4.5.3).
    pub time: Option<f64>,
}

/// The records of one telemetry message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pack(pub Vec<Record>);

/// One sample after base fields are resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Full name.
    pub name: String,
    /// Unit, empty without one.
    pub unit: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub time: f64,
    /// The value.
    pub value: Value,
}

/// The value of a [`Sample`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `v`
    Number(f64),
    /// `vs`
    Text(String),
    /// `vb`
    Flag(bool),
}

/// Times below this are relative to now (RFC 8428 section 4.5.3), in seconds.
pub const RELATIVE_TIME_LIMIT: f64 = 268_435_456.0;

// Labels of RFC 8428 section 6, table 4.
const BASE_NAME: i8 = -2;
const BASE_TIME: i8 = -3;
const NAME: i8 = 0;
const UNIT: i8 = 1;
const VALUE: i8 = 2;
const TEXT: i8 = 3;
const FLAG: i8 = 4;
const TIME: i8 = 6;

// === impl Record ===

impl Record {
    /// A number with a name and unit; its time is the base time.
    #[must_use]
    pub fn number(name: impl Into<String>, unit: &str, value: f64) -> Self {
        Self {
            name: Some(name.into()),
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
            value: Some(value),
            ..Self::default()
        }
    }
}

impl Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(base_name) = &self.base_name {
            map.serialize_entry(&BASE_NAME, base_name)?;
        }
        if let Some(base_time) = &self.base_time {
            map.serialize_entry(&BASE_TIME, base_time)?;
        }
        if let Some(name) = &self.name {
            map.serialize_entry(&NAME, name)?;
        }
        if let Some(unit) = &self.unit {
            map.serialize_entry(&UNIT, unit)?;
        }
        if let Some(value) = &self.value {
            map.serialize_entry(&VALUE, value)?;
        }
        if let Some(text) = &self.text {
            map.serialize_entry(&TEXT, text)?;
        }
        if let Some(flag) = &self.flag {
            map.serialize_entry(&FLAG, flag)?;
        }
        if let Some(time) = &self.time {
            map.serialize_entry(&TIME, time)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordVisitor;

        impl<'de> Visitor<'de> for RecordVisitor {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a SenML record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut record = Record::default();
                while let Some(label) = map.next_key::<Label>()? {
                    match label {
                        Label::Known(BASE_NAME) => record.base_name = Some(map.next_value()?),
                        Label::Known(BASE_TIME) => record.base_time = Some(map.next_value::<Number>()?.0),
                        Label::Known(NAME) => record.name = Some(map.next_value()?),
                        Label::Known(UNIT) => record.unit = Some(map.next_value()?),
                        Label::Known(VALUE) => record.value = Some(map.next_value::<Number>()?.0),
                        Label::Known(TEXT) => record.text = Some(map.next_value()?),
                        Label::Known(FLAG) => record.flag = Some(map.next_value()?),
                        Label::Known(TIME) => record.time = Some(map.next_value::<Number>()?.0),
                        Label::Known(_) | Label::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(record)
            }
        }

        deserializer.deserialize_map(RecordVisitor)
    }
}

/// A map key: ours are small integers, extensions may be anything (RFC 8428 section 4.4).
enum Label {
    Known(i8),
    Other,
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = ciborium::Value::deserialize(deserializer)?;
        let known = key.as_integer().and_then(|label| i8::try_from(label).ok());
        Ok(known.map_or(Self::Other, Self::Known))
    }
}

/// A number that the sender may have encoded as integer or float.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match ciborium::Value::deserialize(deserializer)? {
            ciborium::Value::Float(float) => Some(float),
            #[expect(
                clippy::cast_precision_loss,
                reason = "SenML values are floats; RFC 8428 section 4.3"
            )]
            ciborium::Value::Integer(integer) => Some(i128::from(integer) as f64),
            _ => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Self(number)),
            None => Err(serde::de::Error::custom(
                "a SenML number is a finite integer or float",
            )),
        }
    }
}

// === impl Pack ===

impl Pack {
    /// Resolves base fields (RFC 8428 section 4.6). `now` (seconds since 1970) anchors relative times.
    ///
    /// Records without a value carry base fields only and give no sample.
    pub fn resolve(&self, now: f64) -> Result<Vec<Sample>, DecodeError> {
        if self.0.len() > MAX_RECORDS {
            return Err(DecodeError::Limit("too many records in one message"));
        }
        let mut base_name = "";
        let mut base_time = 0.0;
        let mut samples = Vec::with_capacity(self.0.len());
        for record in &self.0 {
            base_name = record.base_name.as_deref().unwrap_or(base_name);
            base_time = record.base_time.unwrap_or(base_time);
            let value = match (record.value, &record.text, record.flag) {
                (Some(number), _, _) => Value::Number(number),
                (None, Some(text), _) => Value::Text(text.clone()),
                (None, None, Some(flag)) => Value::Flag(flag),
                (None, None, None) => continue,
            };
            let name = format!("{base_name}{}", record.name.as_deref().unwrap_or_default());
            if !is_name(&name) {
                return Err(DecodeError::Limit(
                    "a name is 1 to 128 of A-Z a-z 0-9 - : . / _ and starts with a letter or digit",
                ));
            }
            let mut time = base_time + record.time.unwrap_or(0.0);
            if time < RELATIVE_TIME_LIMIT {
                time += now;
            }
            let unit = record.unit.clone().unwrap_or_default();
            samples.push(Sample {
                name,
                unit,
                time,
                value,
            });
        }
        Ok(samples)
    }
}

/// Whether a number can be what its unit says: nothing is colder than absolute zero.
#[must_use]
pub fn is_possible(unit: &str, value: f64) -> bool {
    match unit {
        "Cel" => value >= -273.15,
        "K" => value >= 0.0,
        _ => true,
    }
}

/// RFC 8428 section 4.5.1.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-:./_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    #[test]
    fn base_fields_hold_for_what_follows() {
        let pack = Pack(vec![
            Record {
                base_name: Some("cpu.".into()),
                base_time: Some(1_700_000_000.0),
                ..Record::number("busy", "/", 0.5)
            },
            Record {
                time: Some(-10.0),
                ..Record::number("load1", "", 1.5)
            },
        ]);
        let samples = pack.resolve(0.0).unwrap();
        assert_eq!(samples[0].name, "cpu.busy");
        assert_eq!(samples[1].name, "cpu.load1");
        assert!((samples[1].time - 1_699_999_990.0).abs() < 1e-6);
    }

    #[test]
    fn small_times_are_relative_to_now() {
        let pack = Pack(vec![Record {
            time: Some(-60.0),
            ..Record::number("a", "", 1.0)
        }]);
        let samples = pack.resolve(1_800_000_000.0).unwrap();
        assert!((samples[0].time - 1_799_999_940.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_is_colder_than_absolute_zero() {
        assert!(is_possible("Cel", -273.15) && is_possible("K", 0.0) && is_possible("", -1e9));
        assert!(!is_possible("Cel", -273.16) && !is_possible("K", -0.01));
    }

    #[test]
    fn the_cbor_form_is_that_of_the_rfc() {
        let pack = Pack(vec![Record::number("t", "Cel", 21.5)]);
        // [{0: "t", 1: "Cel", 2: 21.5}]; the map's length is indefinite, which RFC 8428 section 6 allows.
        assert_eq!(encode(&pack), b"\x81\xbf\x00\x61t\x01\x63Cel\x02\xf9\x4d\x60\xff");
    }

    #[test]
    fn integers_are_numbers_and_extensions_are_ignored() {
        // [{0: "x", 2: 7, -1: 10, "ext_": [1]}]
        let pack: Pack = decode(b"\x81\xa4\x00\x61x\x02\x07\x20\x0a\x64ext_\x81\x01").unwrap();
        assert_eq!(pack.0, vec![Record::number("x", "", 7.0)]);
    }

    #[test]
    fn what_breaks_a_limit_is_refused() {
        let bad = |name: &str| Pack(vec![Record::number(name, "", 1.0)]).resolve(0.0).is_err();
        assert!(bad("") && bad("-a") && bad("a b") && bad(&"a".repeat(129)));
        assert!(
            Pack(vec![Record::default(); MAX_RECORDS + 1])
                .resolve(0.0)
                .is_err()
        );
        // NaN
        assert!(decode::<Pack>(b"\x81\xa2\x00\x61x\x02\xf9\x7e\x00").is_err());
    }
}
