use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::{DeploymentState as State, FailureCode};

use crate::{
    board::Throttle,
    lab::Lab,
    name_server::NameServer,
    server::{HOST, Server},
    site::{BOOT_LIMIT, ONLINE_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

/// What is left of the board's memory.
const FREE_MEMORY_MIB: u64 = 32;
/// As slow as small serial flash.
const FLASH: Throttle = Throttle {
    bytes_per_second: 6_000_000,
    requests_per_second: 400,
};
/// A clock that nobody has set.
const NO_CLOCK: &str = "1970-01-01T00:00:00";
/// 1971-01-01, seconds since 1970. Linux takes no time before the one at which it would have been booted in 1970.
const LONG_AGO: u32 = 365 * 24 * 60 * 60;
const NAME: &str = "server.test";
/// How long the name server takes for each answer.
const NAME_DELAY: Duration = Duration::from_secs(3);
/// An address in the board's network where nobody is.
const NOBODY: &str = "10.0.2.77";
/// Pairing asks for the name twice, and flash and memory are what they are.
const PAIR_LIMIT: Duration = Duration::from_secs(300);
/// From the loss of the name server until the agent says so: the resolver asks a silent server twice, 5 s each.
const COMPLAINT_LIMIT: Duration = Duration::from_secs(300);

pub(super) fn run(lab: &Lab) -> Result<String> {
    let bundle = lab.good("1.1.0")?;
    let folder = lab.folder.join("frugal");
    let _ = fs::remove_dir_all(&folder);
    let server = Server::start_as(NAME, &lab.programs.server, &folder, 0)?;
    let mut site = Site::around(lab, &folder, server, |options| {
        options.conditions.clock = Some(NO_CLOCK.to_owned());
        options.conditions.throttle = Some(FLASH);
    })?;
    let names = NameServer::start(NAME, NAME_DELAY)?;
    forget_the_time(&site)?;
    without_ipv6(&site)?;
    slow_names(&site, &names)?;
    let left = little_memory(&site)?;

    site.pair_within(PAIR_LIMIT)
        .context("pairing without clock, memory and quick names")?;
    ensure!(names.questions() > 0, "the name was looked up");
    ensure!(
        site.check("date +%Y")? == "1971",
        "setting the clock is not the agent's business"
    );

    let told = full_disk(&site, lab)?;

    let bundle = site.operator.upload(&bundle)?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    site.operator
        .wait_state(deployment, State::Verified, UPDATE_LIMIT)?;
    site.board.console().wait_ready(BOOT_LIMIT)?;
    site.ensure_running("1.1.0", "B")?;

    let complaint = no_names(&site, &names)?;
    Ok(format!(
        "in 1971, with {left} kB of memory, slow flash and names, no IPv6: paired and updated; \
         full disk: \"{told}\"; no names: \"{complaint}\""
    ))
}

fn forget_the_time(site: &Site) -> Result<()> {
    // systemd sets a clock without battery to its own build time.
    site.check(&format!("date -s @{LONG_AGO}")).map(drop)
}

fn without_ipv6(site: &Site) -> Result<()> {
    site.check("for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e $file ] || echo 1 >$file; done")
        .map(drop)
}

/// Names come only from a server that is slow. It is reached through the board's own loopback: a resolver knows no ports.
fn slow_names(site: &Site, names: &NameServer) -> Result<()> {
    site.check(&format!(
        "systemd-run --quiet --unit=names systemd-socket-activate --listen=127.0.0.1:53 \
         /usr/lib/systemd/systemd-socket-proxyd {HOST}:{}",
        names.port()
    ))?;
    resolve_with(site, "nameserver 127.0.0.1\\noptions use-vc\\n")
}

fn resolve_with(site: &Site, configuration: &str) -> Result<()> {
    site.check(&format!(
        "umount /etc/hosts /etc/resolv.conf 2>/dev/null; \
         echo 127.0.0.1 localhost >/run/hosts && printf '{configuration}' >/run/resolv.conf && \
         mount --bind /run/hosts /etc/hosts && mount --bind /run/resolv.conf /etc/resolv.conf && \
         systemctl restart homeport-agent.service"
    ))
    .map(drop)
}

/// Fills the memory of the board until little is left; answers with how much, in kB.
fn little_memory(site: &Site) -> Result<u64> {
    let available = |site: &Site| -> Result<u64> {
        let text = site.check("sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")?;
        text.parse().with_context(|| format!("not a number: {text}"))
    };
    let surplus = (available(site)? / 1024).saturating_sub(FREE_MEMORY_MIB);
    site.check("mkdir /run/filler && mount -t tmpfs -o size=100% filler /run/filler")?;
    site.check(&format!(
        "dd if=/dev/zero of=/run/filler/file bs=1M count={surplus} 2>/dev/null"
    ))?;
    available(site)
}

/// The disk is full: the agent starts, connects, says so, and refuses an update with the reason. Then there is room
/// again, and all is well.
fn full_disk(site: &Site, lab: &Lab) -> Result<String> {
    site.check(
        "mkdir /data/filler && cd /data/filler && for size in 16M 1M 64K 4K; do \
         while fallocate -l $size $size.$((count = count + 1)) 2>/dev/null; do :; done; done; \
         ! dd if=/dev/zero of=rest bs=4K count=1 2>/dev/null",
    )?;
    site.check("systemctl restart homeport-agent.service")?;
    let fault = wait_for("the agent to tell about the full disk", ONLINE_LIMIT, || {
        Ok(site.agent_status()?["queue"]["fault"].as_str().map(str::to_owned))
    })?;
    site.online().context("with a full disk")?;
    let bundle = site.operator.upload(&lab.good("1.2.0")?)?;
    let refused = site.operator.deploy(&bundle, &site.device)?;
    let update = site.operator.wait_end(refused, UPDATE_LIMIT)?;
    let code = update.reason.as_ref().map(|reason| reason.code);
    ensure!(
        update.state == State::Failed && code == Some(FailureCode::DiskFull),
        "an update needs room: {update:?}"
    );
    site.check("rm -r /data/filler")?;
    wait_for("the agent to be content again", ONLINE_LIMIT, || {
        Ok(site.agent_status()?["queue"]["fault"].is_null().then_some(()))
    })?;
    Ok(fault)
}

/// Nobody answers questions about names: the agent lives, answers, says why it is offline, and comes back.
fn no_names(site: &Site, names: &NameServer) -> Result<String> {
    resolve_with(site, &format!("nameserver {NOBODY}\\n"))?;
    let complaint = wait_for("the agent to miss the name", COMPLAINT_LIMIT, || {
        let link = site.agent_status()?["link"].clone();
        ensure!(
            link["connected"] == false,
            "without a name it is connected: {link}"
        );
        Ok(link["error"].as_str().map(str::to_owned))
    })?;
    slow_names(site, names)?;
    site.online().context("when names are back")?;
    Ok(complaint)
}
