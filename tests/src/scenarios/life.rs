use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::{DeploymentState as State, FailureCode};

use crate::{
    lab::Lab,
    site::{BOOT_LIMIT, ONLINE_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

pub(super) fn run(lab: &Lab) -> Result<String> {
    let good = lab.good("1.1.0")?;
    let unhealthy = lab.flavoured("1.2.0", "unhealthy")?;
    let mut site = Site::start(lab, &lab.folder.join("life"), 0)?;
    site.pair()?;
    telemetry_arrives(&site)?;

    let bundle = site.operator.upload(&good)?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    let update = site
        .operator
        .wait_state(deployment, State::Verified, UPDATE_LIMIT)?;
    ensure!(
        update.bytes_fetched < update.bundle_size / 4,
        "an adaptive update fetches little: {update:?}"
    );
    site.board.console().wait_ready(BOOT_LIMIT)?;
    site.ensure_running("1.1.0", "B")?;

    let bundle = site.operator.upload(&unhealthy)?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    let cut_in = wait_for("the installation", UPDATE_LIMIT, || {
        let state = site.operator.update(deployment)?.state;
        ensure!(!state.is_final(), "the update ended early: {state:?}");
        let early = matches!(state, State::Offered | State::Waiting | State::Downloading);
        Ok((!early).then_some(state))
    })?;
    let superblock = superblock_of_data(&site)?;
    site.board.power_cut()?;
    tear(&site, superblock)?;
    site.board.power_on()?;
    let boot = site.board.console().wait_ready(BOOT_LIMIT)?;
    let said = fs::read_to_string(site.board.folder().join("serial.log"))?;
    ensure!(
        said.contains("trying backup blocks"),
        "the torn superblock was noticed and replaced"
    );
    if boot.version == "1.1.0" {
        boot_is_marked_good(&site)?;
    }
    let ended = site.operator.wait_end(deployment, UPDATE_LIMIT)?;
    let reason = ended.reason.context("a rollback has a reason")?;
    ensure!(
        ended.state == State::RolledBack && reason.code == FailureCode::HealthCheck,
        "an unhealthy version is rolled back: {:?}, {reason:?}",
        ended.state
    );
    let still_to_come: &[&str] = match boot.version.as_str() {
        "1.1.0" => &["1.2.0", "1.1.0"],
        _ => &["1.1.0"],
    };
    for version in still_to_come {
        while &site.board.console().wait_ready(BOOT_LIMIT)?.version != version {}
    }
    site.ensure_running("1.1.0", "B")?;
    Ok(format!(
        "paired, sent telemetry, {} of {} bytes fetched and verified; power and a superblock cut while {}, then rolled back: {}",
        update.bytes_fetched,
        update.bundle_size,
        cut_in.as_str(),
        reason.detail
    ))
}

/// Where on the disk the superblock of the data partition is.
fn superblock_of_data(site: &Site) -> Result<u64> {
    let start: u64 = site
        .check("cat /sys/class/block/$(awk '$2 == \"/data\" { print substr($1, 6) }' /proc/mounts)/start")?
        .trim()
        .parse()?;
    Ok(start * 512 + 1024)
}

/// Leaves of the superblock's last write the first of its two sectors: the other one has the checksum.
fn tear(site: &Site, superblock: u64) -> Result<()> {
    const MOUNT_TIME: u64 = 0x2c;
    site.board.fill_disk(superblock + MOUNT_TIME, 4, 0x5a)
}

/// Although an installation goes on right after the power cut: RAUC does not mark slots while it is busy.
fn boot_is_marked_good(site: &Site) -> Result<()> {
    let ask = "systemctl show --property ActiveState --value rauc-mark-good.service";
    let state = wait_for("the boot to complete", BOOT_LIMIT, || {
        let state = site.check(ask)?;
        Ok(matches!(state.as_str(), "active" | "failed").then_some(state))
    })?;
    ensure!(state == "active", "rauc-mark-good.service has {state}");
    Ok(())
}

fn telemetry_arrives(site: &Site) -> Result<()> {
    let sample = wait_for("telemetry", ONLINE_LIMIT, || {
        let series = site.operator.telemetry(&site.device, "memory.available")?;
        Ok(series.points.last().copied())
    })?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    ensure!(
        sample.value > 0.0 && (now - sample.at_ms).abs() < 600_000,
        "a sample of now: {sample:?}"
    );
    Ok(())
}
