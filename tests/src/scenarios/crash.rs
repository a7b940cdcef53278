use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::DeploymentState as State;

use crate::{
    lab::Lab,
    site::{BOOT_LIMIT, COMMAND_LIMIT, ONLINE_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

/// Telemetry is sent this often while the server is killed, so that losses would show.
const INTERVAL_SECONDS: i64 = 2;

/// How often the server is killed.
const SERVER_KILLS: usize = 3;

pub(super) fn run(lab: &Lab) -> Result<String> {
    let first = lab.good("1.1.0")?;
    let mut site = Site::paired(lab, "crash")?;
    let samples = server_killed(&mut site)?;
    let killed = agent_killed(&site, &first)?;
    Ok(format!(
        "{samples} samples over {SERVER_KILLS} server kills, none lost, none twice; agent killed in {}",
        killed.join(", ")
    ))
}

/// Kills the server while telemetry arrives. Every sample that the device took must be there once.
fn server_killed(site: &mut Site) -> Result<usize> {
    // The root file system is read-only: the device's own configuration is put over it for this boot.
    site.check(&format!(
        "mkdir -p /run/faster && mount --bind /run/faster /etc/homeport && \
         printf '[telemetry]\\ninterval = {INTERVAL_SECONDS}\\n' > /etc/homeport/agent.toml && \
         chmod -R a+rX /run/faster && systemctl restart homeport-agent.service"
    ))?;
    site.online()?;
    let start = latest(site)?.context("telemetry came before")?;
    for _ in 0..SERVER_KILLS {
        let before = latest(site)?.unwrap_or(start);
        wait_for("samples", ONLINE_LIMIT, || {
            Ok((latest(site)? >= Some(before + 5 * INTERVAL_SECONDS * 1000)).then_some(()))
        })?;
        site.server.kill()?;
        site.server.resume()?;
        site.online()?;
    }
    let end = latest(site)?.unwrap_or(start);
    wait_for("samples after the last kill", ONLINE_LIMIT, || {
        Ok((latest(site)? >= Some(end + 5 * INTERVAL_SECONDS * 1000)).then_some(()))
    })?;
    let points = site.operator.telemetry(&site.device, "uptime")?.points;
    let times: Vec<_> = points
        .iter()
        .map(|point| point.at_ms)
        .filter(|at| *at > start + 2 * INTERVAL_SECONDS * 1000)
        .collect();
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        ensure!(gap > 0, "a sample is there twice: {pair:?}");
        ensure!(
            gap < INTERVAL_SECONDS * 2000 - 1,
            "samples are missing for {gap} ms before {}",
            pair[1]
        );
    }
    site.check("umount -l /etc/homeport; systemctl restart homeport-agent.service")?;
    site.online()?;
    Ok(times.len())
}

fn latest(site: &Site) -> Result<Option<i64>> {
    Ok(site
        .operator
        .telemetry(&site.device, "uptime")?
        .points
        .last()
        .map(|point| point.at_ms))
}

/// Kills the agent as soon as each state is seen. The update must go on by itself.
fn agent_killed(site: &Site, file: &std::path::Path) -> Result<Vec<String>> {
    let bundle = site.operator.upload(file)?;
    let mut events = site
        .operator
        .command(&["events", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot watch events")?;
    let lines = BufReader::new(events.stdout.take().context("no output")?).lines();
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    let mut killed: Vec<String> = Vec::new();
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(&line?)?;
        let update = &event["update"];
        if event["type"] != "update" || update["deployment"] != deployment {
            continue;
        }
        let state: State = serde_json::from_value(update["state"].clone())?;
        if state.is_final() {
            break;
        }
        let name = state.as_str().to_owned();
        // Offered is the server's; in rebooting the console goes down with the board.
        if killed.contains(&name) || matches!(state, State::Offered | State::Rebooting) {
            continue;
        }
        if state == State::Trial {
            site.board.console().wait_ready(BOOT_LIMIT)?;
        }
        site.board
            .console()
            .run(
                "systemctl kill --signal=KILL homeport-agent.service",
                COMMAND_LIMIT,
            )
            .with_context(|| format!("killing the agent in {name}"))?;
        killed.push(name);
    }
    events.kill()?;
    events.wait()?;
    site.operator
        .wait_state(deployment, State::Verified, UPDATE_LIMIT)?;
    site.ensure_running("1.1.0", "B")?;
    ensure!(
        killed.len() >= 2,
        "the agent was killed in more than one state: {killed:?}"
    );
    Ok(killed)
}
