use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::DeploymentState as State;

use crate::{
    board::facts::repository,
    lab::Lab,
    site::{BOOT_LIMIT, COMMAND_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

/// How long the gate is watched while it must stay shut.
const GATE_WATCHED: Duration = Duration::from_secs(20);

pub(super) fn run(lab: &Lab) -> Result<String> {
    let first = lab.good("1.1.0")?;
    let second = lab.good("1.2.0")?;
    let third = lab.good("1.3.0")?;
    let site = Site::paired(lab, "update")?;

    // As an operator does it: one command that ends when the device is verified.
    let path = first.to_str().context("path is not text")?;
    let watched = site.operator.run(&[
        "deploy",
        path,
        "--device",
        &site.device,
        "--watch",
        "--timeout",
        "15m",
        "--json",
    ])?;
    let last = watched.lines().last().unwrap_or_default();
    ensure!(last.contains("verified"), "watching ends with verified: {last}");
    site.board.console().wait_ready(BOOT_LIMIT)?;
    site.ensure_running("1.1.0", "B")?;
    let update = site.shown()?.update.context("the device shows its update")?;
    ensure!(
        update.state == State::Verified,
        "the device shows the end: {update:?}"
    );
    let fetched = update.bytes_fetched;
    ensure!(
        fetched > 0 && fetched < update.bundle_size / 4,
        "an adaptive update fetches little: {update:?}"
    );
    let deployment = update.deployment.context("a deployment brought it")?;
    let history = site.operator.history(deployment)?;
    let states: Vec<_> = history.iter().map(|change| change.state).collect();
    let expected = [
        State::Downloading,
        State::Installing,
        State::Installed,
        State::Rebooting,
        State::Trial,
        State::Verified,
    ];
    let mut told = states.iter();
    ensure!(
        expected.iter().all(|state| told.any(|seen| seen == state)),
        "every state was told: {states:?}"
    );

    from_the_page(&site, &second, "1.2.0")?;
    site.board.console().wait_ready(BOOT_LIMIT)?;
    site.ensure_running("1.2.0", "A")?;
    gate_holds(&site, &third)?;
    Ok(format!(
        "{fetched} of {} bytes fetched; from the page too; mark-good waited for the gate",
        update.bundle_size
    ))
}

/// Uploads and deploys in a real Chromium, and watches there until the device is verified.
fn from_the_page(site: &Site, bundle: &Path, version: &str) -> Result<()> {
    let output = Command::new("npm")
        .args(["run", "--silent", "board"])
        .current_dir(repository().join("server/web"))
        .env("HOMEPORT_URL", site.server.url())
        .env("HOMEPORT_PASSWORD", site.server.admin_password()?)
        .env("HOMEPORT_DEVICE", &site.device)
        .env("HOMEPORT_BUNDLE", bundle)
        .env("HOMEPORT_VERSION", version)
        .output()
        .context("cannot run npm")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "the page does not update the board: {said}"
    );
    Ok(())
}

/// `rauc-mark-good` must not run in a new slot that has not reached the server.
fn gate_holds(site: &Site, bundle: &Path) -> Result<()> {
    let bundle = site.operator.upload(bundle)?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    site.operator
        .wait_state(deployment, State::Rebooting, UPDATE_LIMIT)?;
    site.board.set_link(false)?;
    let boot = site.board.console().wait_ready(BOOT_LIMIT)?;
    ensure!(
        boot.version == "1.3.0" && boot.slot == "B",
        "the new slot is tried: {boot:?}"
    );
    // The console answers before a slow board has come that far.
    wait_for("the boot check to start", BOOT_LIMIT, || {
        let gate = site
            .board
            .console()
            .run("systemctl is-active homeport-boot-check.service", COMMAND_LIMIT)?;
        Ok((gate.text == "activating").then_some(()))
    })?;
    let watched_since = std::time::Instant::now();
    wait_for("the gate to have been watched", GATE_WATCHED * 3, || {
        let mark_good = site
            .board
            .console()
            .run("systemctl is-active rauc-mark-good.service", COMMAND_LIMIT)?;
        ensure!(
            mark_good.text != "active",
            "rauc-mark-good ran before the server was reached"
        );
        Ok((watched_since.elapsed() > GATE_WATCHED).then_some(()))
    })?;
    let gate = site
        .board
        .console()
        .run("systemctl is-active homeport-boot-check.service", COMMAND_LIMIT)?;
    ensure!(
        gate.text == "activating",
        "the boot check still waits for the server: {}",
        gate.text
    );
    let update = site.operator.update(deployment)?;
    ensure!(
        update.state != State::Verified,
        "an unreachable device is not verified"
    );

    site.board.set_link(true)?;
    site.operator
        .wait_state(deployment, State::Verified, UPDATE_LIMIT)?;
    wait_for("rauc-mark-good", COMMAND_LIMIT, || {
        let mark_good = site
            .board
            .console()
            .run("systemctl is-active rauc-mark-good.service", COMMAND_LIMIT)?;
        Ok((mark_good.text == "active").then_some(()))
    })?;
    site.ensure_running("1.3.0", "B")
}
