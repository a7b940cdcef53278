//! Counters of network interfaces.

use std::path::Path;

use homeport_protocol::{Record, series};

use super::{Batch, bytes};
use crate::config;

/// Where the kernel tells about interfaces: one with a link `device` is hardware.
pub(super) const SYSFS: &str = "sys/class/net";

/// Most interfaces that are sampled without being named in the configuration.
const MAX_INTERFACES: usize = 64;

/// Series of an interface.
const SERIES: usize = 2;

/// Samples the interfaces of `net_dev`, the text of `/proc/net/dev`, hardware first.
pub(super) fn sample(config: &config::Telemetry, net_dev: &str, sysfs: &Path, batch: &mut Batch) {
    let room = match config.interfaces.as_slice() {
        [] => MAX_INTERFACES * SERIES,
        _ => usize::MAX,
    };
    let mut others = Vec::new();
    let mut records = Vec::new();
    for line in net_dev.lines() {
        let Some((interface, counters)) = line.split_once(':') else {
            continue;
        };
        let interface = interface.trim();
        let is_hardware = sysfs.join(interface).join("device").exists();
        if is_wanted(config, interface, is_hardware) {
            let kind = if is_hardware { &mut records } else { &mut others };
            read(interface, counters, kind);
        }
    }
    records.append(&mut others);
    batch.left_out += records.len().saturating_sub(room);
    records.truncate(room);
    batch.records.append(&mut records);
}

/// Software makes interfaces for a moment, each with a name of its own: those that look so are left alone.
fn is_wanted(config: &config::Telemetry, interface: &str, is_hardware: bool) -> bool {
    if !config.interfaces.is_empty() {
        return config.interfaces.iter().any(|wanted| wanted == interface);
    }
    let is_ignored = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => interface.starts_with(start),
        None => interface == pattern,
    };
    interface != "lo" && (!config.ignore_interfaces.iter().any(is_ignored) || is_hardware)
}

/// Columns: eight of reception, the first of them bytes, then those of transmission.
fn read(interface: &str, counters: &str, records: &mut Vec<Record>) {
    let mut counters = counters.split_ascii_whitespace().map(str::parse::<u64>);
    if let (Some(Ok(received)), Some(Ok(sent)), Some([rx, tx])) =
        (counters.next(), counters.nth(7), series::network(interface))
    {
        records.push(bytes(rx, received));
        records.push(bytes(tx, sent));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    /// What the kernel writes: `lo`, `eth0` and `count` others, whose names begin with `prefix`.
    fn net_dev(prefix: &str, count: usize) -> String {
        let heads = "Inter-|   Receive                                                |  Transmit\n face |bytes    \
             packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
        let others = (0..count).map(|number| format!("{prefix}{number:07}"));
        let names = ["lo".to_owned()]
            .into_iter()
            .chain(others)
            .chain(["eth0".to_owned()]);
        let lines = names.enumerate().map(|(number, name)| {
            let (received, sent) = (1000 + number, 2000 + number);
            format!("{name:>6}: {received} 1 0 0 0 0 0 0 {sent} 2 0 0 0 0 0 0\n")
        });
        [heads.to_owned()].into_iter().chain(lines).collect()
    }

    /// A machine whose only network hardware is called `hardware`.
    fn sampled(telemetry: &config::Telemetry, net_dev: &str, hardware: &str) -> (Vec<String>, usize) {
        let sysfs = tempfile::tempdir().unwrap();
        fs::create_dir_all(sysfs.path().join(hardware).join("device")).unwrap();
        let mut batch = Batch::default();
        sample(telemetry, net_dev, sysfs.path(), &mut batch);
        let names = batch.records.into_iter().map(|record| record.name.unwrap());
        (names.collect(), batch.left_out)
    }

    #[test]
    fn interfaces_that_come_and_go_have_no_series() {
        let telemetry = Config::default().telemetry;
        let (names, left_out) = sampled(&telemetry, &net_dev("veth", 600), "eth0");
        assert_eq!(names, ["network.eth0.rx", "network.eth0.tx"]);
        assert_eq!(left_out, 0);
        let bridges = "br-0a1b2c: 1 1 1 1 1 1 1 1 2\nbr0: 1 1 1 1 1 1 1 1 2\nwwan0: 1 1 1 1 1 1 1 1 2\n";
        let (names, _) = sampled(&telemetry, bridges, "eth0");
        assert_eq!(
            names,
            [
                "network.br0.rx",
                "network.br0.tx",
                "network.wwan0.rx",
                "network.wwan0.tx"
            ]
        );
        // Hardware is never one of them, whatever its name.
        let (names, _) = sampled(&telemetry, &net_dev("veth", 1), "veth0000000");
        assert_eq!(names.len(), 4);
        let all = config::Telemetry {
            ignore_interfaces: Vec::new(),
            ..telemetry
        };
        assert_eq!(sampled(&all, &net_dev("veth", 2), "eth0").0.len(), 6);
    }

    #[test]
    fn too_many_interfaces_are_bounded_and_counted_and_hardware_comes_first() {
        let telemetry = Config::default().telemetry;
        let (names, left_out) = sampled(&telemetry, &net_dev("tun", 600), "eth0");
        assert_eq!(names.len(), MAX_INTERFACES * SERIES);
        assert_eq!(names[..SERIES], ["network.eth0.rx", "network.eth0.tx"]);
        assert_eq!(left_out, (601 - MAX_INTERFACES) * SERIES);
    }

    #[test]
    fn named_interfaces_are_all_there_is() {
        let telemetry = config::Telemetry {
            interfaces: vec!["veth0000003".to_owned(), "no-such-interface".to_owned()],
            ..Config::default().telemetry
        };
        let (names, _) = sampled(&telemetry, &net_dev("veth", 10), "eth0");
        assert_eq!(names, ["network.veth0000003.rx", "network.veth0000003.tx"]);
        let (names, _) = sampled(&telemetry, "veth0000003: 1 2", "eth0");
        assert!(names.is_empty(), "a line that is cut");
    }
}
