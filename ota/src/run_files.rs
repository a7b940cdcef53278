//! The files in `/run/homeport` through which the agent's processes and root's units talk. Gone after a reboot.

use std::{fs, io, path::Path};

/// Created by the daemon when the server has answered in this boot; the boot check waits for it.
pub const SERVER_REACHED: &str = "server-reached";

/// Created to ask for a reboot; `homeport-reboot.path` sees it and reboots as root.
pub const REBOOT: &str = "reboot";

/// Notes that the server was reached in this boot. Called by the daemon whenever its connection is accepted.
pub fn mark_server_reached(run_dir: &Path) -> io::Result<()> {
    fs::write(run_dir.join(SERVER_REACHED), [])
}

/// Asks for a reboot. A path unit sees only a file that appears, so an old one is removed first.
pub fn request_reboot(run_dir: &Path) -> io::Result<()> {
    let path = run_dir.join(REBOOT);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(path, [])
}
