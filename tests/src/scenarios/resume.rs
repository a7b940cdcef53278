use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use homeport_protocol::DeploymentState as State;

use crate::{
    lab::Lab,
    site::{BOOT_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

/// Bytes that may be fetched for each byte of the bundle.
const OVERHEAD_MAX: f64 = 1.1;

/// How long the link is down.
const CUT: Duration = Duration::from_secs(75);

pub(super) fn run(lab: &Lab) -> Result<String> {
    let full = lab.flavoured("1.1.0", "full")?;
    let mut site = Site::paired(lab, "resume")?;
    let bundle = site.operator.upload(&full)?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;

    let mut interrupted = Vec::new();
    for (cut, share) in [0.1, 0.3, 0.5, 0.7].into_iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a share of the bundle is enough")]
        let wanted = share * bundle.size as f64;
        let fetched = wait_for("the download to go on", UPDATE_LIMIT, || {
            let update = site.operator.update(deployment)?;
            ensure!(!update.state.is_final(), "the update ended early: {update:?}");
            #[expect(clippy::cast_precision_loss, reason = "a share of the bundle is enough")]
            Ok((update.bytes_fetched as f64 >= wanted).then_some(update.bytes_fetched))
        })?;
        interrupted.push(fetched);
        if cut == 2 {
            site.server.kill()?;
            site.server.resume()?;
        } else {
            // Longer than either side waits for a silent connection, and shorter than RAUC waits for its source.
            site.board.set_link(false)?;
            thread::sleep(CUT);
            site.board.set_link(true)?;
        }
    }
    let update = site
        .operator
        .wait_state(deployment, State::Verified, UPDATE_LIMIT)?;
    site.board.console().wait_ready(BOOT_LIMIT)?;
    site.ensure_running("1.1.0", "B")?;
    ensure!(
        interrupted.iter().all(|fetched| *fetched < bundle.size),
        "every interruption hit the download: {interrupted:?} of {}",
        bundle.size
    );
    #[expect(clippy::cast_precision_loss, reason = "the ratio is compared with 1.1")]
    let ratio = update.bytes_fetched as f64 / bundle.size as f64;
    ensure!(
        ratio <= OVERHEAD_MAX,
        "no block is fetched twice: {} of {} bytes",
        update.bytes_fetched,
        bundle.size
    );
    Ok(format!(
        "interrupted at {interrupted:?} of {} bytes; fetched {ratio:.3} of the bundle",
        bundle.size
    ))
}
