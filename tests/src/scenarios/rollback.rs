use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::{DeploymentState as State, FailureCode};

use crate::{
    lab::{FACTORY_VERSION, Lab},
    site::{BOOT_LIMIT, Site, UPDATE_LIMIT},
};

pub(super) fn run(lab: &Lab) -> Result<String> {
    let unhealthy = lab.flavoured("1.1.0", "unhealthy")?;
    let panicking = lab.flavoured("1.2.0", "panic")?;
    let site = Site::paired(lab, "rollback")?;

    let detail = rolls_back(&site, &unhealthy, FailureCode::HealthCheck)?;
    ensure!(
        detail.contains("50-broken"),
        "the reason names the check: {detail}"
    );
    let boots = rolls_back(&site, &panicking, FailureCode::BootFailed)?;
    Ok(format!("health check: \"{detail}\"; kernel panic: \"{boots}\""))
}

fn rolls_back(site: &Site, bundle: &Path, code: FailureCode) -> Result<String> {
    let bundle = site.operator.upload(bundle)?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    let update = site.operator.wait_end(deployment, UPDATE_LIMIT)?;
    ensure!(
        update.state == State::RolledBack,
        "{} should be rolled back: {update:?}",
        bundle.version
    );
    let reason = update.reason.context("a rollback has a reason")?;
    ensure!(reason.code == code, "the reason should be {code:?}: {reason:?}");
    // The greetings of the boots on the way, until the one that stays.
    while site.board.console().wait_ready(BOOT_LIMIT)?.version != FACTORY_VERSION {}
    site.ensure_running(FACTORY_VERSION, "A")?;
    Ok(reason.detail)
}
