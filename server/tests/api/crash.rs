//! What was acknowledged is there after a crash, once.

use std::collections::VecDeque;

use homeport_protocol::{Record, Sequenced, senml::Pack};
use mqtt_proto::v5;

use crate::support::{Link, Server};

const BATCHES: u64 = 600;
const SAMPLES: u64 = 5;
const QUEUE: u64 = 7;

/// Batches that are sent and not acknowledged, at most.
const WINDOW: usize = 8;

/// The server is killed after that many acknowledgements.
const KILLS: [u64; 3] = [50, 199, 400];

/// Seconds; some time ago, so that no clock is in the way.
fn start() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(now.as_secs() - 3600).unwrap()
}

fn value(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn batch(sequence: u64, start: i64) -> Vec<u8> {
    let records = (0..SAMPLES).map(|index| {
        let number = value((sequence - 1) * SAMPLES + index);
        Record {
            base_time: Some(value(start.unsigned_abs()) + number),
            ..Record::number("n", "", number)
        }
    });
    Sequenced {
        queue: QUEUE,
        sequence,
        message: Pack(records.collect()),
    }
    .encode()
}

/// Sends what is not acknowledged yet, until all is or `limit` acknowledgements came; how many came.
fn send(link: &mut Link, acknowledged: u64, limit: u64, start: i64) -> u64 {
    let mut waiting: VecDeque<u64> = VecDeque::new();
    let mut next = acknowledged + 1;
    let mut acknowledged = acknowledged;
    while acknowledged < limit.min(BATCHES) {
        while waiting.len() < WINDOW && next <= BATCHES {
            let id = u16::try_from(next).unwrap();
            assert!(link.publish("telemetry", id, batch(next, start)));
            waiting.push_back(next);
            next += 1;
        }
        match link.receive() {
            Some(v5::Packet::Puback(puback)) => {
                assert_eq!(puback.reason_code, v5::PubackReasonCode::Success);
                assert_eq!(waiting.pop_front(), Some(puback.pid.value().into()));
                acknowledged += 1;
            }
            other => panic!("not PUBACK: {other:?}"),
        }
    }
    acknowledged
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let mut server = Server::start();
    let device = server.log_in().pair(&server);
    let start = start();
    let mut acknowledged = 0;
    for limit in KILLS {
        let mut link = device.connect(&server);
        acknowledged = send(&mut link, acknowledged, limit, start);
        // More is on its way: it may be committed or not.
        server = Server::start_in(server.kill());
        let stored = stored(&server, device.id.as_str(), start);
        assert!(stored.len() as u64 >= acknowledged * SAMPLES);
    }
    let mut link = device.connect(&server);
    send(&mut link, acknowledged, BATCHES, start);
    let expected: Vec<f64> = (0..BATCHES * SAMPLES).map(value).collect();
    assert_eq!(stored(&server, device.id.as_str(), start), expected);

    // A repeat with another content is acknowledged and not looked at.
    let repeat = Sequenced {
        queue: QUEUE,
        sequence: 1,
        message: Pack(vec![Record::number("n", "", -1.0)]),
    };
    assert!(link.publish("telemetry", 1, repeat.encode()));
    assert!(matches!(link.receive(), Some(v5::Packet::Puback(_))));
    assert_eq!(stored(&server, device.id.as_str(), start), expected);
}

/// Every value of the series, in the order of time. One bucket holds one sample, so that a double or a gap shows.
fn stored(server: &Server, device: &str, start: i64) -> Vec<f64> {
    let span = i64::try_from(BATCHES * SAMPLES).unwrap() * 1000;
    let path = format!(
        "/api/v1/devices/{device}/telemetry?name=n&points={}&from_ms={}&to_ms={}",
        BATCHES * SAMPLES,
        start * 1000,
        start * 1000 + span
    );
    let series = server.log_in().get(&path);
    let points = series[0]["points"].as_array().unwrap();
    points
        .iter()
        .map(|point| point["value"].as_f64().unwrap())
        .collect()
}
