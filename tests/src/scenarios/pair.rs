use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::PairingToken;

use crate::{
    lab::Lab,
    site::{COMMAND_LIMIT, ONLINE_LIMIT, Site},
    wait::wait_for,
};

pub(super) fn run(lab: &Lab) -> Result<String> {
    let mut site = Site::unpaired(lab, "pair")?;
    ensure!(
        site.agent_status()?["pairing"]["paired"] == false,
        "a fresh board is not paired"
    );
    refused(&site, "homeport://nonsense", "damaged")?;

    let token = site.operator.token("1h")?;
    let mut forged: PairingToken = token.parse()?;
    forged.ca_fingerprint[0] ^= 1;
    refused(&site, &forged.to_string(), "fingerprint")?;

    let before_pairing = board_ms(&site)?;
    site.check(&format!("homeport-agent pair {token}"))?;
    let paired = Instant::now();
    let devices = site.operator.devices()?;
    ensure!(
        devices.len() == 1,
        "one device after one pairing, not {}",
        devices.len()
    );
    site.device.clone_from(&devices[0].id);
    site.operator.wait_online(&site.device, true, ONLINE_LIMIT)?;
    let online_after = paired.elapsed();
    let status = site.agent_status()?;
    ensure!(
        status["pairing"]["paired"] == true && status["link"]["connected"] == true,
        "the agent knows that it is online: {status}"
    );

    refused(&site, &token, "used")?;
    let short = site.operator.token("1s")?;
    let expires = SystemTime::now() + Duration::from_secs(2);
    wait_for("the short token to expire", COMMAND_LIMIT, || {
        Ok((SystemTime::now() > expires).then_some(()))
    })?;
    refused(&site, &short, "expired")?;
    ensure!(
        site.operator.devices()?.len() == 1,
        "refused tokens make no device"
    );
    site.online()
        .context("a refused token leaves the identity as it was")?;

    // Samples from before the pairing come too, those of a frozen board from long before.
    let busy = wait_for("telemetry", ONLINE_LIMIT, || {
        let series = site.operator.telemetry(&site.device, "cpu.busy")?;
        Ok(series
            .points
            .last()
            .copied()
            .filter(|point| point.at_ms >= before_pairing))
    })?;
    ensure!((0.0..=1.0).contains(&busy.value), "cpu.busy is a share: {busy:?}");
    let now = board_ms(&site)?;
    ensure!(busy.at_ms <= now, "samples carry their time: {busy:?} at {now}");
    for name in [
        "memory.available",
        "disk./data.available",
        "uptime",
        "network.eth0.rx",
        "cpu.load1",
    ] {
        site.operator.telemetry(&site.device, name)?;
    }
    let shown = site.shown()?;
    ensure!(
        shown.os_version == "1.0.0" && shown.slots.len() == 2,
        "the inventory arrived: {shown:?}"
    );
    Ok(format!(
        "online {:.1} s after pairing; used, expired, forged and damaged tokens refused",
        online_after.as_secs_f64()
    ))
}

/// The board's clock, milliseconds since 1970, rounded to the start of the next second.
fn board_ms(site: &Site) -> Result<i64> {
    let seconds: i64 = site
        .check("date +%s")?
        .trim()
        .parse()
        .context("`date` says no number")?;
    Ok((seconds + 1) * 1000)
}

/// Checks that the device refuses to pair with `token` and says why.
fn refused(site: &Site, token: &str, why: &str) -> Result<()> {
    let output = site
        .board
        .console()
        .run(&format!("homeport-agent pair --force {token}"), COMMAND_LIMIT)?;
    ensure!(output.status != 0, "the token should be refused as {why}");
    ensure!(
        output.text.contains(why),
        "the refusal should say {why:?}: {}",
        output.text
    );
    Ok(())
}
