//! The device's own telemetry, read from the kernel: one SenML pack per interval. What a machine lacks is left out.
//!
//! A pack has no more series than the server keeps of a device. How many that leaves out is counted, and goes with it.

mod network;

use std::{collections::BTreeMap, fs, path::Path};

use homeport_protocol::{
    Record,
    limits::MAX_SERIES,
    senml::{self, Pack},
};
use homeport_system::{Ticks, clock::now_ms, file};

use crate::{
    config::{self, Source},
    link::Outbox,
};

/// Longest file of the kernel that is read, in bytes: /proc/stat of a machine with hundreds of cores, /proc/net/dev of one
/// with thousands of interfaces.
const MAX_FILE: u64 = 1024 * 1024;

/// Where the kernel tells about thermal zones.
const THERMAL: &str = "/sys/class/thermal";

/// Series about the agent itself: those that [`Batch::finish`] adds.
const OWN_SERIES: usize = 2;

/// Clock ticks that `/proc/stat` counts in, of which only the ratio matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTime {
    busy: u64,
    total: u64,
}

/// Reads the sources again and again.
#[derive(Debug)]
pub(crate) struct Telemetry {
    config: config::Telemetry,
    cpu: Option<CpuTime>,
    /// Whether a batch has ever left something out: from then on, each says how much.
    has_left_out: bool,
}

/// What one interval gives.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<Record>,
    /// Series that there was no room for.
    left_out: usize,
}

// === impl Telemetry ===

impl Telemetry {
    pub(crate) fn new(config: config::Telemetry) -> Self {
        Self {
            config,
            cpu: read("/proc/stat").and_then(|text| CpuTime::parse(&text)),
            has_left_out: false,
        }
    }

    /// Queues a pack every interval, for ever.
    pub(crate) async fn run(mut self, outbox: &Outbox) {
        if self.config.interval.is_zero() {
            return std::future::pending().await;
        }
        let mut ticks = Ticks::every(self.config.interval);
        loop {
            let batch = self.sample();
            self.has_left_out |= batch.left_out > 0;
            outbox.note_left_out(batch.left_out);
            let status = outbox.status();
            let pack = batch.finish(
                self.has_left_out,
                status.dropped_reports + status.dropped_telemetry,
            );
            if !pack.0.is_empty() {
                outbox.telemetry(pack).await;
            }
            ticks.next().await;
        }
    }

    fn sample(&mut self) -> Batch {
        let mut batch = Batch::default();
        for source in self.config.sources.clone() {
            match source {
                Source::Cpu => self.cpu(&mut batch.records),
                Source::Memory => memory(&mut batch.records),
                Source::Disk => disk(&self.config.mounts, &mut batch.records),
                Source::Temperature => temperature(Path::new(THERMAL), &mut batch.records),
                Source::Uptime => uptime(&mut batch.records),
                Source::Network => {
                    let net_dev = read("/proc/net/dev").unwrap_or_default();
                    network::sample(&self.config, &net_dev, Path::new(network::SYSFS), &mut batch);
                }
            }
        }
        batch.limit();
        batch
    }

    fn cpu(&mut self, records: &mut Vec<Record>) {
        if let Some(now) = read("/proc/stat").and_then(|text| CpuTime::parse(&text)) {
            if let Some(share) = self.cpu.and_then(|before| now.share_since(before)) {
                records.push(Record::number("cpu.busy", "/", share));
            }
            self.cpu = Some(now);
        }
        let load = read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok());
        records.extend(load.map(|load| Record::number("cpu.load1", "", load)));
    }
}

// === impl Batch ===

impl Batch {
    /// Keeps what the server has room for.
    fn limit(&mut self) {
        const ROOM: usize = MAX_SERIES - OWN_SERIES;
        self.left_out += self.records.len().saturating_sub(ROOM);
        self.records.truncate(ROOM);
    }

    /// `dropped`: messages that were lost since the agent was started.
    fn finish(mut self, tells_left_out: bool, dropped: u64) -> Pack {
        #[expect(
            clippy::cast_precision_loss,
            reason = "SenML values are floats; counts and milliseconds fit exactly"
        )]
        let (left_out, dropped, now) = (self.left_out as f64, dropped as f64, now_ms() as f64 / 1000.0);
        if tells_left_out {
            self.records.push(Record::number("agent.left-out", "", left_out));
        }
        if dropped > 0.0 {
            self.records.push(Record::number("agent.dropped", "", dropped));
        }
        if let Some(first) = self.records.first_mut() {
            first.base_time = Some(now);
        }
        Pack(self.records)
    }
}

fn memory(records: &mut Vec<Record>) {
    let Some(text) = read("/proc/meminfo") else {
        return;
    };
    for (key, name) in [
        ("MemTotal:", "memory.total"),
        ("MemAvailable:", "memory.available"),
    ] {
        let kibibytes = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        records.extend(kibibytes.map(|kibibytes| bytes(name, kibibytes.saturating_mul(1024))));
    }
}

fn disk(mounts: &[String], records: &mut Vec<Record>) {
    for mount in mounts {
        let Ok(usage) = rustix::fs::statvfs(mount.as_str()) else {
            continue;
        };
        let name = match mount.trim_matches('/') {
            "" => "root".to_owned(),
            path => series(&path.replace('/', "-")),
        };
        let size = |blocks: u64| blocks.saturating_mul(usage.f_frsize);
        records.push(bytes(format!("disk.{name}.total"), size(usage.f_blocks)));
        records.push(bytes(format!("disk.{name}.available"), size(usage.f_bavail)));
    }
}

fn temperature(thermal: &Path, records: &mut Vec<Record>) {
    let Ok(zones) = fs::read_dir(thermal) else {
        return;
    };
    let mut found = BTreeMap::new();
    for zone in zones.flatten() {
        let folder = zone.path();
        let number = zone
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix("thermal_zone")?.parse::<u32>().ok());
        let millidegrees = file::read_line(&folder.join("temp")).and_then(|text| text.parse::<i32>().ok());
        if let (Some(number), Some(millidegrees)) = (number, millidegrees) {
            let kind = file::read_line(&folder.join("type")).unwrap_or_default();
            found.insert(number, (series(&kind), f64::from(millidegrees) / 1000.0));
        }
    }
    let kinds: Vec<String> = found.values().map(|(kind, _)| kind.clone()).collect();
    for (number, (kind, degrees)) in found {
        // Boards have several zones of one type; then only the number tells them apart.
        let is_unique = kinds.iter().filter(|other| **other == kind).count() == 1;
        let name = if is_unique && !kind.is_empty() {
            kind
        } else {
            number.to_string()
        };
        // Sensors that have no value tell one that cannot be.
        if senml::is_possible("Cel", degrees) {
            records.push(Record::number(format!("temperature.{name}"), "Cel", degrees));
        }
    }
}

fn uptime(records: &mut Vec<Record>) {
    let seconds = read("/proc/uptime").and_then(|text| text.split(' ').next()?.parse().ok());
    records.extend(seconds.map(|seconds| Record::number("uptime", "s", seconds)));
}

fn bytes(name: impl Into<String>, count: u64) -> Record {
    #[expect(
        clippy::cast_precision_loss,
        reason = "SenML values are floats; exact up to 8 PiB"
    )]
    let value = count as f64;
    Record::number(name, "B", value)
}

/// `text` in the characters that names of series may have (RFC 8428 section 4.5.1).
fn series(text: &str) -> String {
    const MAX_PART: usize = 64;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-:._".contains(c);
    text.chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .take(MAX_PART)
        .collect()
}

fn read(path: &str) -> Option<String> {
    String::from_utf8(file::read_limited(Path::new(path), MAX_FILE).ok()?).ok()
}

// === impl CpuTime ===

impl CpuTime {
    /// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal (guest times are in user's).
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<u64> = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_ascii_whitespace()
            .take(8)
            .map(|field| field.parse().ok())
            .collect::<Option<_>>()?;
        let total = fields.iter().sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        Some(Self {
            busy: total - idle,
            total,
        })
    }

    /// 0 to 1; `None` when no time has passed. Counters of a kernel may step back a little.
    fn share_since(self, before: Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|total| *total > 0)?;
        let busy = self.busy.saturating_sub(before.busy).min(total);
        #[expect(clippy::cast_precision_loss, reason = "ticks of one interval")]
        let share = busy as f64 / total as f64;
        Some(share)
    }
}

#[cfg(test)]
mod tests {
    use homeport_protocol::{Sequenced, limits::MAX_PAYLOAD, senml::Value};

    use super::*;
    use crate::config::Config;

    #[test]
    fn the_share_of_busy_time_is_that_since_the_sample_before() {
        let before = CpuTime::parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1").unwrap();
        let now = CpuTime::parse("cpu  150 0 100 800 150 0 0 0 0 0").unwrap();
        assert!((now.share_since(before).unwrap() - 0.25).abs() < 1e-9);
        assert_eq!(now.share_since(now), None);
        assert_eq!(before.share_since(now), None);
        assert_eq!(CpuTime::parse("intr 1"), None);
        assert_eq!(CpuTime::parse(""), None);
    }

    #[test]
    fn this_machine_has_telemetry_with_valid_names() {
        let mut telemetry = Telemetry::new(Config::default().telemetry);
        let pack = telemetry.sample().finish(false, 0);
        let samples = pack.resolve(0.0).unwrap();
        for name in [
            "cpu.load1",
            "memory.total",
            "memory.available",
            "disk.root.total",
            "uptime",
        ] {
            assert!(samples.iter().any(|sample| sample.name == name), "{name}");
        }
        let now = samples[0].time;
        assert!(
            samples
                .iter()
                .all(|sample| sample.time.to_bits() == now.to_bits())
        );
    }

    #[test]
    fn a_batch_fits_what_the_server_takes_and_says_what_it_left_out() {
        let full = |count: usize| {
            let mut batch = Batch {
                records: (0..count)
                    .map(|number| Record::number(format!("{number:0128}"), "Cel", 0.1))
                    .collect(),
                left_out: 7,
            };
            batch.limit();
            batch
        };
        let pack = full(1000).finish(true, 3);
        let message = Sequenced {
            queue: u64::MAX,
            sequence: u64::MAX,
            message: pack.clone(),
        };
        assert!(message.encode().len() <= MAX_PAYLOAD);
        let samples = pack.resolve(0.0).unwrap();
        assert_eq!(samples.len(), MAX_SERIES);
        let own: Vec<_> = samples[MAX_SERIES - 2..]
            .iter()
            .map(|sample| (sample.name.as_str(), &sample.value))
            .collect();
        assert_eq!(
            own,
            [
                ("agent.left-out", &Value::Number(7.0 + 490.0)),
                ("agent.dropped", &Value::Number(3.0))
            ]
        );
        assert_eq!(full(3).finish(false, 0).0.len(), 3);
    }

    #[test]
    fn temperatures_below_absolute_zero_are_none() {
        let thermal = tempfile::tempdir().unwrap();
        for (zone, kind, temp) in [
            ("0", "cpu", "-40000"),
            ("1", "modem", "-274000"),
            ("2", "x", "nan"),
        ] {
            let folder = thermal.path().join(format!("thermal_zone{zone}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("type"), kind).unwrap();
            fs::write(folder.join("temp"), temp).unwrap();
        }
        let mut records = Vec::new();
        temperature(thermal.path(), &mut records);
        assert_eq!(records, [Record::number("temperature.cpu", "Cel", -40.0)]);
    }

    #[test]
    fn what_does_not_exist_is_left_out() {
        let mut records = Vec::new();
        disk(&["/no/such/mount".to_owned()], &mut records);
        assert!(records.is_empty());
        assert_eq!(series("a b/é"), "a_b__");
    }
}
