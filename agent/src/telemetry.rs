//! The device's own telemetry, read from the kernel: one SenML pack per interval. What a machine lacks is left out.

use std::{collections::BTreeMap, fs, path::Path};

use homeport_protocol::{Record, senml::Pack};

use crate::{
    clock,
    config::{self, Source},
    file,
    outbox::Outbox,
    ticks::Ticks,
};

/// Longest file of the kernel that is read, in bytes: /proc/stat of a machine with hundreds of cores.
const MAX_FILE: u64 = 256 * 1024;

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
}

// === impl Telemetry ===

impl Telemetry {
    pub(crate) fn new(config: config::Telemetry) -> Self {
        Self {
            config,
            cpu: read("/proc/stat").and_then(|text| CpuTime::parse(&text)),
        }
    }

    /// Queues a pack every interval, for ever.
    pub(crate) async fn run(mut self, outbox: &Outbox) {
        if self.config.interval.is_zero() {
            return std::future::pending().await;
        }
        let mut ticks = Ticks::every(self.config.interval);
        loop {
            let pack = self.sample();
            if !pack.0.is_empty() {
                outbox.telemetry(pack).await;
            }
            ticks.next().await;
        }
    }

    fn sample(&mut self) -> Pack {
        let mut records = Vec::new();
        for source in self.config.sources.clone() {
            match source {
                Source::Cpu => self.cpu(&mut records),
                Source::Memory => memory(&mut records),
                Source::Disk => disk(&self.config.mounts, &mut records),
                Source::Temperature => temperature(&mut records),
                Source::Uptime => uptime(&mut records),
                Source::Network => network(&self.config.interfaces, &mut records),
            }
        }
        if let Some(first) = records.first_mut() {
            #[expect(
                clippy::cast_precision_loss,
                reason = "SenML times are floats; milliseconds fit exactly"
            )]
            let now = clock::now_ms() as f64 / 1000.0;
            first.base_time = Some(now);
        }
        Pack(records)
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

fn temperature(records: &mut Vec<Record>) {
    let Ok(zones) = fs::read_dir("/sys/class/thermal") else {
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
        records.push(Record::number(format!("temperature.{name}"), "Cel", degrees));
    }
}

fn uptime(records: &mut Vec<Record>) {
    let seconds = read("/proc/uptime").and_then(|text| text.split(' ').next()?.parse().ok());
    records.extend(seconds.map(|seconds| Record::number("uptime", "s", seconds)));
}

fn network(interfaces: &[String], records: &mut Vec<Record>) {
    for line in read("/proc/net/dev").unwrap_or_default().lines() {
        let Some((interface, counters)) = line.split_once(':') else {
            continue;
        };
        let interface = interface.trim();
        let is_wanted = if interfaces.is_empty() {
            interface != "lo"
        } else {
            interfaces.iter().any(|wanted| wanted == interface)
        };
        if !is_wanted {
            continue;
        }
        // Columns: eight of reception, the first of them bytes, then those of transmission.
        let mut counters = counters.split_ascii_whitespace().map(str::parse::<u64>);
        if let (Some(Ok(received)), Some(Ok(sent))) = (counters.next(), counters.nth(7)) {
            let interface = series(interface);
            records.push(bytes(format!("network.{interface}.rx"), received));
            records.push(bytes(format!("network.{interface}.tx"), sent));
        }
    }
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
        let pack = telemetry.sample();
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
    fn what_does_not_exist_is_left_out() {
        let mut records = Vec::new();
        disk(&["/no/such/mount".to_owned()], &mut records);
        network(&["no-such-interface".to_owned()], &mut records);
        assert!(records.is_empty());
        assert_eq!(series("a b/é"), "a_b__");
    }
}
