//! Telemetry of devices.

use homeport_api::{Permission, Point, Series};
use homeport_protocol::senml::{self, Pack, Value};

pub(crate) mod http;
mod rows;

pub use self::rows::{MAX_VALUE, Range, Sample};
use crate::{
    access::Actor,
    fleet::{Fleet, FleetError},
    mqtt::HandlerError,
    text::told,
};

/// How far in the future a sample may be, in milliseconds: clocks differ. A later sample comes from a device with a wrong clock, and would
/// never be pruned.
const FUTURE: i64 = 24 * 60 * 60 * 1000;

// === impl Fleet ===

impl Fleet {
    /// Telemetry of a device.
    pub async fn series(&self, actor: &Actor, id: String, range: Range) -> Result<Vec<Series>, FleetError> {
        self.ask_long(actor, move |tx, access| {
            access.device(tx, &id, Permission::TelemetryRead)?;
            Ok(tx.samples(&id, &range)?)
        })
        .await
    }
}

/// The samples that can be stored, and the number of those that cannot.
pub(crate) fn samples(pack: &Pack, now_ms: i64) -> Result<(Vec<Sample>, usize), HandlerError> {
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 280,000 years")]
    let now = now_ms as f64 / 1000.0;
    let told = pack
        .resolve(now)
        .map_err(|error| HandlerError::Refused(error.to_string()))?;
    let count = told.len();
    let samples: Vec<_> = told
        .into_iter()
        .filter_map(sample)
        .filter(|sample| sample.at_ms <= now_ms.saturating_add(FUTURE))
        .collect();
    let refused = count - samples.len();
    Ok((samples, refused))
}

fn sample(sample: senml::Sample) -> Option<Sample> {
    let value = match sample.value {
        Value::Number(number) => number,
        Value::Flag(flag) => f64::from(u8::from(flag)),
        // Telemetry only holds values that can be drawn and averaged.
        Value::Text(_) => return None,
    };
    if !senml::is_possible(&sample.unit, value) || !value.is_finite() || value.abs() > MAX_VALUE {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let at_ms = (sample.time * 1000.0).round() as i64;
    Some(Sample {
        name: sample.name,
        unit: told(&sample.unit),
        at_ms,
        // SQLite has no negative zero.
        value: value + 0.0,
    })
}

pub(crate) fn series_of(samples: &[Sample]) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for sample in samples {
        let point = Point {
            at_ms: sample.at_ms,
            value: sample.value,
        };
        match series.iter_mut().find(|series| series.name == sample.name) {
            Some(series) => series.points.push(point),
            None => series.push(Series {
                name: sample.name.clone(),
                unit: sample.unit.clone(),
                points: vec![point],
            }),
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use homeport_protocol::Record;

    use super::*;

    #[test]
    fn what_cannot_be_is_refused_and_counted() {
        let text = Record {
            text: Some("warm".to_owned()),
            value: None,
            ..Record::number("text", "", 0.0)
        };
        let future = Record {
            time: Some(4e9),
            ..Record::number("future", "", 0.0)
        };
        let pack = Pack(vec![
            Record::number("temperature.modem", "Cel", -274.0),
            Record::number("temperature.cpu", "Cel", -40.0),
            Record::number("temperature.probe", "K", -1.0),
            Record::number("sum", "", 1.7e308),
            Record::number("none", "", f64::NAN),
            Record::number("none", "", f64::INFINITY),
            Record::number("zero", "", -0.0),
            text,
            future,
        ]);
        let (samples, refused) = samples(&pack, 1_795_000_000_000).unwrap();
        let names: Vec<_> = samples.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!((names, refused), (vec!["temperature.cpu", "zero"], 7));
        assert!(samples[1].value.is_sign_positive(), "SQLite knows no other zero");
    }
}
