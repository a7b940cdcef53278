//! The device's own telemetry, read from the kernel: one SenML pack per interval. What a machine lacks is left out.
//!
//! A pack has no more series than the server keeps of a device. How many that leaves out is counted, and goes with it.

mod network;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use homeport_protocol::{
    Record,
    limits::MAX_SERIES,
    senml::{self, Pack},
    series,
};
use homeport_system::{Ticks, clock::now_ms, file};
use tracing::warn;

use crate::{
    config::{self, Source},
    link::Outbox,
};

/// Longest file of the kernel that is read, in bytes: /proc/stat of a machine with hundreds of cores, /proc/net/dev of one
/// with thousands of interfaces.
const MAX_FILE: u64 = 1024 * 1024;

/// Where the kernel tells about thermal zones.
const THERMAL: &str = "sys/class/thermal";

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
    /// Where `proc` and `sys` are.
    root: PathBuf,
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
        for mount in config.mounts.iter().filter(|mount| series::disk(mount).is_none()) {
            warn!(
                "telemetry.mounts: {mount} is not sampled: its name is too long for a series; mount it at a shorter path"
            );
        }
        Self::of("/".into(), config)
    }

    fn of(root: PathBuf, config: config::Telemetry) -> Self {
        Self {
            cpu: CpuTime::now(&root),
            config,
            root,
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
                Source::Memory => memory(&self.root, &mut batch.records),
                Source::Disk => disk(&self.config.mounts, &mut batch),
                Source::Temperature => temperature(&self.root.join(THERMAL), &mut batch.records),
                Source::Uptime => uptime(&self.root, &mut batch.records),
                Source::Network => {
                    let net_dev = read(&self.root, "proc/net/dev").unwrap_or_default();
                    network::sample(
                        &self.config,
                        &net_dev,
                        &self.root.join(network::SYSFS),
                        &mut batch,
                    );
                }
            }
        }
        batch.limit();
        batch
    }

    fn cpu(&mut self, records: &mut Vec<Record>) {
        if let Some(now) = CpuTime::now(&self.root) {
            if let Some(share) = self.cpu.and_then(|before| now.share_since(before)) {
                records.push(Record::number(series::CPU_BUSY, "/", share));
            }
            self.cpu = Some(now);
        }
        let load = read(&self.root, "proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok());
        records.extend(load.map(|load| Record::number(series::CPU_LOAD, "", load)));
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
            self.records
                .push(Record::number(series::AGENT_LEFT_OUT, "", left_out));
        }
        if dropped > 0.0 {
            self.records
                .push(Record::number(series::AGENT_DROPPED, "", dropped));
        }
        if let Some(first) = self.records.first_mut() {
            first.base_time = Some(now);
        }
        Pack(self.records)
    }
}

fn memory(root: &Path, records: &mut Vec<Record>) {
    let Some(text) = read(root, "proc/meminfo") else {
        return;
    };
    for (key, name) in [
        ("MemTotal:", series::MEMORY_TOTAL),
        ("MemAvailable:", series::MEMORY_AVAILABLE),
    ] {
        let kibibytes = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        records.extend(kibibytes.map(|kibibytes| bytes(name, kibibytes.saturating_mul(1024))));
    }
}

fn disk(mounts: &[String], batch: &mut Batch) {
    for mount in mounts {
        let Ok(usage) = rustix::fs::statvfs(mount.as_str()) else {
            continue;
        };
        let Some(names) = series::disk(mount) else {
            batch.left_out += 2;
            continue;
        };
        let blocks = [usage.f_blocks, usage.f_bavail];
        let sizes = blocks.map(|blocks| blocks.saturating_mul(usage.f_frsize));
        batch
            .records
            .extend(names.into_iter().zip(sizes).map(|(name, size)| bytes(name, size)));
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
            found.insert(number, (kind, f64::from(millidegrees) / 1000.0));
        }
    }
    let kinds: Vec<String> = found.values().map(|(kind, _)| kind.clone()).collect();
    for (number, (kind, degrees)) in found {
        // Boards have several zones of one type; then only the number tells them apart, and a type must not look like one.
        let is_unique = kinds.iter().filter(|other| **other == kind).count() == 1;
        let zone = if is_unique && !kind.is_empty() && kind.parse::<u32>().is_err() {
            kind
        } else {
            number.to_string()
        };
        // Sensors that have no value tell one that cannot be.
        if senml::is_possible("Cel", degrees) {
            let name = series::temperature(&zone);
            records.extend(name.map(|name| Record::number(name, "Cel", degrees)));
        }
    }
}

fn uptime(root: &Path, records: &mut Vec<Record>) {
    let seconds = read(root, "proc/uptime").and_then(|text| text.split(' ').next()?.parse().ok());
    records.extend(seconds.map(|seconds| Record::number(series::UPTIME, "s", seconds)));
}

fn bytes(name: impl Into<String>, count: u64) -> Record {
    #[expect(
        clippy::cast_precision_loss,
        reason = "SenML values are floats; exact up to 8 PiB"
    )]
    let value = count as f64;
    Record::number(name, "B", value)
}

/// What the kernel writes. Names in it may hold any bytes: one that is no text hides nothing else.
fn read(root: &Path, path: &str) -> Option<String> {
    let content = file::read_limited(&root.join(path), MAX_FILE).ok()?;
    Some(String::from_utf8_lossy(&content).into_owned())
}

// === impl CpuTime ===

impl CpuTime {
    fn now(root: &Path) -> Option<Self> {
        Self::parse(&read(root, "proc/stat")?)
    }

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

    /// A machine with these files below its root.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(&root, files);
        root
    }

    fn write(root: &tempfile::TempDir, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn values_are_those_that_the_kernel_writes() {
        let root = machine(&[
            ("proc/stat", "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1\n"),
            ("proc/loadavg", "0.52 0.48 0.40 1/123 4567\n"),
            (
                "proc/meminfo",
                "MemTotal:         242568 kB\nMemFree:  1 kB\nMemAvailable:     100000 kB\n",
            ),
            ("proc/uptime", "4711.25 9000.00\n"),
            (
                "proc/net/dev",
                "head|\n  eth0: 5000 1 0 0 0 0 0 0 700 2 0 0 0 0 0 0\n",
            ),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
        ]);
        let config = config::Telemetry {
            mounts: vec![root.path().display().to_string()],
            ..Config::default().telemetry
        };
        let mut telemetry = Telemetry::of(root.path().into(), config);
        write(&root, &[("proc/stat", "cpu  150 0 100 800 150 0 0 0 0 0\n")]);
        let samples = telemetry.sample().finish(false, 0).resolve(0.0).unwrap();
        let (disks, others): (Vec<_>, Vec<_>) = samples
            .iter()
            .map(|sample| match sample.value {
                Value::Number(number) => (sample.name.as_str(), sample.unit.as_str(), number),
                _ => panic!("{sample:?} is no number"),
            })
            .partition(|(name, ..)| name.starts_with("disk."));
        assert_eq!(
            others,
            [
                (series::CPU_BUSY, "/", 0.25),
                (series::CPU_LOAD, "", 0.52),
                (series::MEMORY_TOTAL, "B", 242_568.0 * 1024.0),
                (series::MEMORY_AVAILABLE, "B", 100_000.0 * 1024.0),
                ("temperature.cpu-thermal", "Cel", 48.312),
                (series::UPTIME, "s", 4711.25),
                ("network.eth0.rx", "B", 5000.0),
                ("network.eth0.tx", "B", 700.0),
            ]
        );
        // What is free changes while this runs; the size does not.
        let usage = rustix::fs::statvfs(root.path()).unwrap();
        let [total, available] = series::disk(root.path().to_str().unwrap()).unwrap();
        let size = bytes(total.as_str(), usage.f_blocks * usage.f_frsize)
            .value
            .unwrap();
        assert_eq!(disks[0], (total.as_str(), "B", size));
        assert_eq!((disks[1].0, disks[1].1), (available.as_str(), "B"));
        assert!((0.0..=size).contains(&disks[1].2));
    }

    #[test]
    fn interfaces_with_any_name_have_series_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let net_dev = b"wlan@0: 1 0 0 0 0 0 0 0 2\nwlan#0: 3 0 0 0 0 0 0 0 4\n\xff\xfe: 5 0 0 0 0 0 0 0 6\n";
        fs::write(root.path().join("proc/net/dev"), net_dev).unwrap();
        let config = config::Telemetry {
            sources: vec![Source::Network],
            ..Config::default().telemetry
        };
        let batch = Telemetry::of(root.path().into(), config).sample();
        let received = |name, value| Record::number(name, "B", value);
        for record in [
            received("network.wlan:400.rx", 1.0),
            received("network.wlan:400.tx", 2.0),
            received("network.wlan:230.rx", 3.0),
            received("network.wlan:230.tx", 4.0),
        ] {
            assert!(
                batch.records.contains(&record),
                "{record:?} in {:?}",
                batch.records
            );
        }
        assert_eq!(batch.records.len(), 6);
        assert!(batch.finish(false, 0).resolve(0.0).is_ok(), "names are valid");
    }

    #[test]
    fn a_mount_whose_name_is_too_long_is_counted() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a".repeat(100)).join("b".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let mut batch = Batch::default();
        disk(&[deep.display().to_string(), "/".to_owned()], &mut batch);
        assert_eq!((batch.records.len(), batch.left_out), (2, 2));
    }

    #[test]
    fn each_thermal_zone_has_a_name_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        for (zone, kind) in [("0", "1"), ("1", "cpu"), ("2", "cpu"), ("3", "a b"), ("4", "a_b")] {
            let folder = format!("{THERMAL}/thermal_zone{zone}");
            write(
                &root,
                &[
                    (&format!("{folder}/type"), kind),
                    (&format!("{folder}/temp"), "1000"),
                ],
            );
        }
        let mut records = Vec::new();
        temperature(&root.path().join(THERMAL), &mut records);
        let names: Vec<_> = records
            .iter()
            .filter_map(|record| record.name.as_deref())
            .collect();
        assert_eq!(
            names,
            ["0", "1", "2", "a:20b", "a_b"].map(|zone| format!("temperature.{zone}"))
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
        let mut batch = Batch::default();
        disk(&["/no/such/mount".to_owned()], &mut batch);
        assert!(batch.records.is_empty());
    }
}
