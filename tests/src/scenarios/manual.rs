use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use homeport_api::{DeviceUpdate, UpdateOrigin};

use crate::{
    lab::Lab,
    server::HOST,
    site::{BOOT_LIMIT, ONLINE_LIMIT, Site, UPDATE_LIMIT},
    wait::wait_for,
};

pub(super) fn run(lab: &Lab) -> Result<String> {
    let bundle = lab.good("1.1.0")?;
    let site = Site::paired(lab, "manual")?;

    let port = serve_once(&bundle)?;
    site.board.console().check(
        &format!("wget -q -O /data/stick.raucb http://{HOST}:{port}/"),
        UPDATE_LIMIT,
    )?;
    site.board
        .console()
        .check("rauc install /data/stick.raucb", UPDATE_LIMIT)?;
    let local = wait_for("the server to show the update by hand", ONLINE_LIMIT, || {
        let updates: Vec<DeviceUpdate> = site.operator.json(&["device", "updates", &site.device])?;
        Ok(updates
            .into_iter()
            .find(|update| update.origin == UpdateOrigin::Local))
    })?;
    ensure!(
        local.version == "1.1.0" && local.deployment.is_none(),
        "it is shown as what it is: {local:?}"
    );

    site.check("rm /data/stick.raucb; systemctl reboot")?;
    let boot = site.board.console().wait_ready(BOOT_LIMIT)?;
    ensure!(
        boot.version == "1.1.0" && boot.slot == "B",
        "the new slot runs: {boot:?}"
    );
    wait_for(
        "the server to show the new version, in slot B",
        ONLINE_LIMIT,
        || {
            let shown = site.shown()?;
            let booted = shown
                .slots
                .iter()
                .any(|slot| slot.bootname == "B" && slot.state == "booted");
            Ok((shown.online && shown.os_version == "1.1.0" && booted).then_some(()))
        },
    )?;
    site.ensure_running("1.1.0", "B")?;
    let updates: Vec<DeviceUpdate> = site.operator.json(&["device", "updates", &site.device])?;
    ensure!(
        updates.len() == 1,
        "one update by hand is one update: {updates:?}"
    );
    Ok(format!(
        "`rauc install` of {} shown as a local update, {}",
        local.version,
        local.state.as_str()
    ))
}

/// Serves `file` to one HTTP client on loopback, which is how this board finds a USB stick. Returns the port.
fn serve_once(file: &Path) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let mut bytes = File::open(file).context("no bundle to serve")?;
    let length = bytes.metadata()?.len();
    thread::spawn(move || -> io::Result<()> {
        let (mut client, _) = listener.accept()?;
        for line in BufReader::new(client.try_clone()?).lines() {
            if line?.is_empty() {
                break;
            }
        }
        write!(client, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
        io::copy(&mut bytes, &mut client)?;
        Ok(())
    });
    Ok(port)
}
