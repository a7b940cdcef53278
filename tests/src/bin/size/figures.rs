//! What the agent costs a device: the figures, and how they are read from a board.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use homeport_tests::{
    lab::Lab,
    site::{COMMAND_LIMIT, ONLINE_LIMIT, Site},
    wait::wait_for,
};

/// After pairing or a restart, what only the start needs comes to its end: inventory, name look-ups, helper threads.
const SETTLE: Duration = Duration::from_secs(80);

/// Minutes between two probes of a connection without traffic, when nothing is configured, and hours of a day.
const KEEP_ALIVE_MINUTES: f64 = 15.0;
const MINUTES_PER_DAY: f64 = 24.0 * 60.0;

/// Everything that is told of the agent as it is now, one fact a line.
const LOOK: &str = "p=$(systemctl show -p MainPID --value homeport-agent)
sed 's/^/uptime /' /proc/uptime
grep -h ^voluntary_ctxt_switches: /proc/$p/task/*/status
grep ^VmHWM: /proc/$p/status
grep ^IpExt: /proc/net/netstat
grep -E '^(Rss|Pss|Anonymous):' /proc/$p/smaps_rollup
grep ^Threads: /proc/$p/status";

/// Has the kernel forget the most that the agent ever had in memory (proc_pid_clear_refs(5)).
const FORGET_PEAK: &str = "echo 5 > /proc/$(systemctl show -p MainPID --value homeport-agent)/clear_refs";

/// A connection that carries nothing but its own probes, one every minute, so that they can be counted.
const SILENCE: &str = "mkdir -p /run/homeport-size /run/systemd/system/homeport-agent.service.d
printf '[link]\\nkeep-alive = \"60s\"\\n[telemetry]\\ninterval = \"0\"\\n' > /run/homeport-size/agent.toml
printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/homeport-agent --config /run/homeport-size run\\n' \\
    > /run/systemd/system/homeport-agent.service.d/size.conf
systemctl daemon-reload
systemctl restart homeport-agent";

/// One kind of figure.
#[derive(Debug)]
pub(crate) struct Measure {
    /// Key in the file of budgets.
    pub(crate) key: &'static str,
    /// Heading of the table's column.
    pub(crate) title: &'static str,
    /// Digits after the point.
    pub(crate) digits: usize,
    /// Where to look when there is more of it than before.
    pub(crate) cause: &'static str,
}

pub(crate) const COUNT: usize = 8;

/// All kinds, in the order of the table's columns.
pub(crate) const MEASURES: [Measure; COUNT] = [
    Measure {
        key: "binary-bytes",
        title: "binary, bytes",
        digits: 0,
        cause: "a new dependency, or a generic function that is made for one more type: docs/development/footprint.md",
    },
    Measure {
        key: "rss-kib",
        title: "RSS, KiB",
        digits: 0,
        cause: "code or data that an idle agent touches: compare /proc/PID/smaps of both versions",
    },
    Measure {
        key: "rss-peak-kib",
        title: "RSS at most, KiB",
        digits: 0,
        cause: "code or data that the start, pairing or the minute's sample touches",
    },
    Measure {
        key: "pss-kib",
        title: "PSS, KiB",
        digits: 0,
        cause: "pages that no other process shares: the binary's own text, and the heap",
    },
    Measure {
        key: "anonymous-kib",
        title: "of it anonymous, KiB",
        digits: 0,
        cause: "heap, stacks and relocated data",
    },
    Measure {
        key: "threads",
        title: "threads",
        digits: 0,
        cause: "a helper thread that does not end",
    },
    Measure {
        key: "wakeups-per-minute",
        title: "wake-ups a minute",
        digits: 1,
        cause: "a timer that ticks while nothing happens: strace -f -r -p PID",
    },
    Measure {
        key: "idle-bytes-per-day",
        title: "bytes a day, silent",
        digits: 0,
        cause: "the keep-alive, or something that is sent unasked",
    },
];

/// The figures of one board, in the order of [`MEASURES`], and what telemetry adds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    pub(crate) board: String,
    pub(crate) values: [f64; COUNT],
    /// Sent and received in an hour with telemetry as it is by default, bytes.
    pub(crate) telemetry_bytes_per_hour: f64,
}

/// What a look at the board tells.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sample {
    uptime_seconds: f64,
    wakeups: f64,
    /// Bytes of IP packets, in both directions, headers and all.
    bytes: f64,
    rss_kib: f64,
    /// The most since the watch began.
    rss_peak_kib: f64,
    pss_kib: f64,
    anonymous_kib: f64,
    threads: f64,
}

// === impl Figures ===

impl Figures {
    /// Boots the board, pairs it, and watches the agent do nothing, twice for as long as `window`: with telemetry and
    /// without.
    pub(crate) fn measure(lab: &Lab, window: Duration) -> Result<Self> {
        let binary = std::fs::metadata(&lab.agent)
            .with_context(|| format!("no agent at {}", lab.agent.display()))?
            .len();
        let mut site = Site::start(lab, &lab.folder.join("size"), 0)?;
        site.pair()?;
        let (start, usual) = watch(&site, window)?;
        let minutes = (usual.uptime_seconds - start.uptime_seconds) / 60.0;
        let wakeups = (usual.wakeups - start.wakeups) / minutes;
        let telemetry_bytes_per_hour = (usual.bytes - start.bytes) / minutes * 60.0;

        site.check(SILENCE)?;
        wait_for("the silent agent to be connected", ONLINE_LIMIT, || {
            let is_connected = site.agent_status()?["link"]["connected"] == true;
            Ok(is_connected.then_some(()))
        })?;
        let (start, silent) = watch(&site, window)?;
        // One probe a minute here, one in fifteen minutes there.
        let probe = (silent.bytes - start.bytes) / ((silent.uptime_seconds - start.uptime_seconds) / 60.0);
        #[expect(clippy::cast_precision_loss, reason = "a file of a few megabytes")]
        let binary = binary as f64;
        Ok(Self {
            board: lab.board.clone(),
            values: [
                binary,
                usual.rss_kib,
                usual.rss_peak_kib,
                usual.pss_kib,
                usual.anonymous_kib,
                usual.threads,
                wakeups,
                probe * MINUTES_PER_DAY / KEEP_ALIVE_MINUTES,
            ],
            telemetry_bytes_per_hour,
        })
    }
}

/// Looks, lets `window` pass, and looks again.
fn watch(site: &Site, window: Duration) -> Result<(Sample, Sample)> {
    let look = || Sample::parse(&site.board.console().check(LOOK, COMMAND_LIMIT)?);
    thread::sleep(SETTLE);
    site.check(FORGET_PEAK)?;
    let start = look()?;
    thread::sleep(window);
    let end = look()?;
    ensure!(
        end.wakeups >= start.wakeups && end.uptime_seconds > start.uptime_seconds,
        "the agent or the board restarted while it was watched"
    );
    Ok((start, end))
}

// === impl Sample ===

impl Sample {
    fn parse(text: &str) -> Result<Self> {
        let mut sample = Self::default();
        let mut names = Vec::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(key) = words.next() else {
                continue;
            };
            if key == "IpExt:" {
                // Two lines: names, then values.
                if names.is_empty() {
                    names = words.collect();
                } else {
                    let counters = names.iter().zip(words);
                    sample.bytes = counters
                        .filter(|(name, _)| matches!(**name, "InOctets" | "OutOctets"))
                        .map(|(_, value)| value.parse::<f64>())
                        .sum::<Result<f64, _>>()?;
                }
                continue;
            }
            let value: f64 = words
                .next()
                .and_then(|word| word.parse().ok())
                .with_context(|| format!("no number in {line:?}"))?;
            match key {
                "uptime" => sample.uptime_seconds = value,
                "voluntary_ctxt_switches:" => sample.wakeups += value,
                "Rss:" => sample.rss_kib = value,
                "VmHWM:" => sample.rss_peak_kib = value,
                "Pss:" => sample.pss_kib = value,
                "Anonymous:" => sample.anonymous_kib = value,
                "Threads:" => sample.threads = value,
                _ => {}
            }
        }
        let parts = [
            sample.uptime_seconds,
            sample.wakeups,
            sample.bytes,
            sample.rss_kib,
            sample.rss_peak_kib,
            sample.threads,
        ];
        ensure!(
            parts.iter().all(|part| *part > 0.0),
            "the board tells too little: {text}"
        );
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "uptime 100.50 99.00
voluntary_ctxt_switches:\t40
voluntary_ctxt_switches:\t2
VmHWM:\t    4400 kB
IpExt: InNoRoutes InOctets OutOctets InMcastOctets
IpExt: 0 1000 500 7
Rss:                4000 kB
Pss:                3000 kB
Anonymous:           600 kB
Threads:\t2";

    #[test]
    fn a_look_is_understood() {
        let sample = Sample::parse(SAID).unwrap();
        let expected = Sample {
            uptime_seconds: 100.5,
            wakeups: 42.0,
            bytes: 1500.0,
            rss_kib: 4000.0,
            rss_peak_kib: 4400.0,
            pss_kib: 3000.0,
            anonymous_kib: 600.0,
            threads: 2.0,
        };
        assert_eq!(sample, expected);
    }

    #[test]
    fn a_look_at_an_agent_that_is_not_there_is_none() {
        let without = SAID.replace("Rss:  ", "grep: ");
        assert!(Sample::parse(&without).is_err());
        assert!(Sample::parse("").is_err());
    }
}
