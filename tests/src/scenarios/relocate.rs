use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::DeploymentState as State;

use crate::{
    lab::Lab,
    site::{BOOT_LIMIT, ONLINE_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

/// Address of the PostgreSQL that `scripts/with-postgres` started, without a database.
const CLUSTER: &str = "HOMEPORT_TEST_POSTGRES";

pub(super) fn run(lab: &Lab) -> Result<String> {
    let cluster = std::env::var(CLUSTER).context("run this beside scripts/with-postgres")?;
    let bundle = lab.good("1.1.0")?;
    let mut site = Site::paired(lab, "relocate")?;
    let first = wait_for("telemetry", ONLINE_LIMIT, || {
        let series = site.operator.telemetry(&site.device, "cpu.busy")?;
        Ok(series.points.first().copied())
    })?;

    let bundle = site.operator.upload(&bundle)?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    let begun = wait_for("the update to begin", UPDATE_LIMIT, || {
        let state = site.operator.update(deployment)?.state;
        Ok((state != State::Offered).then_some(state))
    })?;
    site.server.stop()?;

    let name = format!("relocate{}", std::process::id());
    let made = Command::new("createdb")
        .args(["--maintenance-db", &format!("{cluster}/postgres"), &name])
        .status()
        .context("cannot run createdb")?;
    ensure!(made.success(), "createdb ended with {made}");
    let database = format!("{cluster}/{name}");
    let copied = Command::new(&lab.programs.server)
        .args(["database", "copy", "--database", &database, "--data-dir"])
        .arg(site.server.data())
        .output()?;
    let said = String::from_utf8_lossy(&copied.stdout);
    ensure!(copied.status.success(), "the copy failed: {copied:?}");
    site.server.use_database(database);
    site.server.resume()?;

    // The operator's session goes on too.
    site.online()?;
    let update = site.operator.wait_end(deployment, UPDATE_LIMIT)?;
    ensure!(update.state == State::Verified, "the update goes on: {update:?}");
    site.board.console().wait_ready(BOOT_LIMIT)?;
    site.ensure_running("1.1.0", "B")?;
    let states: Vec<_> = site
        .operator
        .history(deployment)?
        .iter()
        .map(|change| change.state)
        .collect();
    ensure!(
        states.first() == Some(&State::Offered)
            && states.contains(&begun)
            && states.last() == Some(&State::Verified),
        "the history has both halves: {states:?}"
    );
    let series = site.operator.telemetry(&site.device, "cpu.busy")?;
    ensure!(
        series
            .points
            .first()
            .is_some_and(|point| point.at_ms <= first.at_ms),
        "telemetry from before the move is there"
    );
    let rows = said
        .lines()
        .rev()
        .find(|line| line.starts_with("Copied"))
        .unwrap_or_default();
    Ok(format!(
        "moved to PostgreSQL while it was {}: {rows} verified {}",
        begun.as_str(),
        update.version
    ))
}
