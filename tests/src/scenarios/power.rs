use std::{
    hash::{BuildHasher as _, RandomState},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use homeport_protocol::DeploymentState as State;

use crate::{
    lab::{FACTORY_VERSION, Lab},
    site::{BOOT_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

const CUTS: usize = 10;

/// How often the bootloader tries a slot.
const BOOT_TRIES: usize = 3;

/// Cuts fall uniformly into this time after power came on or a deployment was offered: boot, download, installation, reboot and trial all
/// lie in it.
const CUT_WITHIN_MS: u64 = 60_000;

pub(super) fn run(lab: &Lab) -> Result<String> {
    let mut site = Site::paired(lab, "power")?;
    let mut running = FACTORY_VERSION.to_owned();
    let mut cuts = Vec::new();
    let mut verified = 0;
    // Every update takes at least one cut: on a quick board one is often over before the second.
    while cuts.len() < CUTS {
        let version = format!("1.{}.0", verified + 1);
        let bundle = site.operator.upload(&lab.good(&version)?)?;
        let mut deployment = site.operator.deploy(&bundle, &site.device)?;
        let mut trials_cut = 0;
        let mut booted = running.clone();
        loop {
            if cuts.len() < CUTS {
                // The point is that nothing is waited for: the moment is random.
                let moment = Duration::from_millis(random() % CUT_WITHIN_MS);
                thread::sleep(moment);
                let state = site.operator.update(deployment)?.state;
                site.board.power_cut()?;
                // The server knows of a reboot that the device began, the console of one that the last cut began.
                let on_trial = matches!(state, State::Installed | State::Rebooting | State::Trial)
                    || booted == version && !state.is_final();
                trials_cut += usize::from(on_trial);
                cuts.push(format!("{} at {:.1} s", state.as_str(), moment.as_secs_f64()));
                eprintln!("power: cut {} of {CUTS}: {}", cuts.len(), cuts[cuts.len() - 1]);
                site.board.power_on()?;
                let boot = site.board.console().wait_ready(BOOT_LIMIT).context("bricked")?;
                ensure!(
                    boot.version == running || boot.version == version,
                    "neither old nor new runs: {boot:?}"
                );
                booted = boot.version;
            }
            let settled = wait_for("the update to go on", UPDATE_LIMIT, || {
                let update = site.operator.update(deployment)?;
                let enough = cuts.len() < CUTS || update.state.is_final();
                Ok(enough.then_some(update))
            })?;
            // Three trials that power cuts ended are, to the bootloader, a system that does not start.
            if settled.state == State::RolledBack && trials_cut >= BOOT_TRIES {
                trials_cut = 0;
                booted.clone_from(&running);
                deployment = site.operator.deploy(&bundle, &site.device)?;
            } else if settled.state.is_final() {
                ensure!(
                    settled.state == State::Verified,
                    "{version} must end verified: {settled:?}; cuts: {cuts:?}"
                );
                break;
            }
        }
        let slot = site.running()?.slot;
        site.ensure_running(&version, &slot)
            .with_context(|| format!("verified {version} must be what runs; cuts: {cuts:?}"))?;
        running = version;
        verified += 1;
    }
    Ok(format!(
        "{CUTS} cuts over {verified} updates, all verified: {}",
        cuts.join(", ")
    ))
}

/// A random number, from the keys that the standard library draws from the system.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
