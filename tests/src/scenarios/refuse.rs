use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use homeport_api::Bundle;
use homeport_protocol::{DeploymentState as State, FailureCode};

use crate::{
    board::image::BundleOptions,
    lab::{FACTORY_VERSION, Lab},
    site::{Site, UPDATE_LIMIT},
};

pub(super) fn run(lab: &Lab) -> Result<String> {
    let stranger = lab.bundle(
        "1.1.0",
        &BundleOptions {
            wrong_signer: true,
            ..BundleOptions::default()
        },
    )?;
    let foreign = lab.bundle(
        "1.1.0",
        &BundleOptions {
            compatible: Some("somebody-elses-board".to_owned()),
            ..BundleOptions::default()
        },
    )?;
    let older = lab.good("0.9.0")?;
    let full = lab.flavoured("1.1.0", "full")?;
    let full_too = lab.flavoured("1.2.0", "full")?;
    let site = Site::paired(lab, "refuse")?;

    let mut seen = Vec::new();
    let mut refuse =
        |what: &str, file: &Path, code: FailureCode, spoil: &dyn Fn(&Bundle) -> Result<()>| -> Result<()> {
            let detail = refused(&site, file, code, spoil).with_context(|| format!("case: {what}"))?;
            seen.push(format!("{what}: {detail}"));
            Ok(())
        };
    refuse("wrong signer", &stranger, FailureCode::Signature, &|_| Ok(()))?;
    refuse("wrong compatible", &foreign, FailureCode::Incompatible, &|_| {
        Ok(())
    })?;
    refuse("older than allowed", &older, FailureCode::VersionTooOld, &|_| {
        Ok(())
    })?;
    refuse("truncated", &full, FailureCode::Truncated, &|bundle| {
        truncate(&stored(&site, bundle))
    })?;
    refuse("tampered", &full_too, FailureCode::Corrupt, &|bundle| {
        tamper(&stored(&site, bundle))
    })?;

    let deleted = lab.good("1.3.0")?;
    refuse(
        "deleted on the server",
        &deleted,
        FailureCode::BundleGone,
        &|bundle| fs::remove_file(stored(&site, bundle)).context("cannot delete the stored bundle"),
    )?;

    let large = lab.flavoured("1.4.0", "full")?;
    site.check("dd if=/dev/zero of=/data/filler bs=1M 2>/dev/null; sync; df /data | tail -1")?;
    refuse("disk full", &large, FailureCode::DiskFull, &|_| Ok(()))?;
    site.check("rm /data/filler")?;
    Ok(seen.join("; "))
}

/// Deploys a bundle that is spoiled after its upload, and checks that the device refuses it and is otherwise untouched.
fn refused(
    site: &Site,
    file: &Path,
    code: FailureCode,
    spoil: &dyn Fn(&Bundle) -> Result<()>,
) -> Result<String> {
    let bundle = site.operator.upload(file)?;
    spoil(&bundle)?;
    let boot_id = site.check("cat /proc/sys/kernel/random/boot_id")?;
    let deployment = site.operator.deploy(&bundle, &site.device)?;
    let update = site.operator.wait_end(deployment, UPDATE_LIMIT)?;
    let reason = update
        .reason
        .clone()
        .with_context(|| format!("a refusal has a reason: {update:?}"))?;
    ensure!(
        update.state == State::Failed && reason.code == code,
        "should fail as {code:?}: {update:?}"
    );
    ensure!(!reason.detail.is_empty(), "a refusal is explained: {reason:?}");
    ensure!(
        site.check("cat /proc/sys/kernel/random/boot_id")? == boot_id,
        "the board must not have rebooted"
    );
    site.ensure_running(FACTORY_VERSION, "A")?;
    site.online()?;
    Ok(reason.detail)
}

/// The file in the server's store: named by its hash.
fn stored(site: &Site, bundle: &Bundle) -> PathBuf {
    site.server
        .data()
        .join("bundles")
        .join(format!("{}.raucb", bundle.id))
}

fn truncate(file: &Path) -> Result<()> {
    let length = fs::metadata(file)?.len();
    OpenOptions::new().write(true).open(file)?.set_len(length / 2)?;
    Ok(())
}

/// Flips a byte in the middle of the payload; the signature, at the end, stays whole.
fn tamper(file: &Path) -> Result<()> {
    let mut open = OpenOptions::new().read(true).write(true).open(file)?;
    let middle = SeekFrom::Start(open.metadata()?.len() / 2);
    let mut byte = [0];
    open.seek(middle)?;
    open.read_exact(&mut byte)?;
    open.seek(middle)?;
    open.write_all(&[!byte[0]])?;
    Ok(())
}
