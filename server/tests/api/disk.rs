//! A disk that is full: devices wait, operators work.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use homeport_protocol::{Record, Sequenced, senml::Pack};
use mqtt_proto::v5;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Server, is_on_postgres, until};

/// Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` for a user who may not mount one.
    fn mount(folder: &Path) -> Option<Self> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return None;
        }
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48m", "small"]).arg(folder);
        assert!(mount.status().unwrap().success());
        Some(Self(folder.to_owned()))
    }

    /// Takes all the room that there is.
    fn fill(&self) {
        let mut foreign = File::create(self.0.join("foreign")).unwrap();
        while foreign.write_all(&[7; 4096]).is_ok() {}
        while foreign.write_all(&[7]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("foreign")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn health(server: &Server) -> String {
    let mut response = server
        .agent()
        .get(format!("{}/api/v1/health", server.url()))
        .call()
        .unwrap();
    let health: Value = response.body_mut().read_json().unwrap();
    let status = health["status"].as_str().unwrap().to_owned();
    assert_eq!(
        response.status().as_u16(),
        if status == "ok" || status == "disk-low" {
            200
        } else {
            503
        }
    );
    status
}

fn batch(sequence: u64) -> Vec<u8> {
    Sequenced {
        queue: 1,
        sequence,
        message: Pack(vec![Record::number("n", "", 1.0)]),
    }
    .encode()
}

#[test]
fn operators_work_on_a_full_disk() {
    if is_on_postgres() {
        // Its rows are on another disk.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        eprintln!("not tested: a small disk can be mounted by root only");
        return;
    };
    let server = Server::start_in(Arc::new(TempDir::new_in(folder.path()).unwrap()));
    let person = server.log_in();
    let device = person.pair(&server);
    let doomed = person.pair(&server);
    let mut link = device.connect(&server);
    assert!(link.publish_once("telemetry", batch(1)));
    assert_eq!(health(&server), "ok");

    disk.fill();
    until(|| health(&server) == "disk-full");
    assert!(link.publish("telemetry", 2, batch(2)));
    let Some(v5::Packet::Puback(refused)) = link.receive() else {
        panic!("the device is told");
    };
    assert_eq!(refused.reason_code, v5::PubackReasonCode::QuotaExceeded);
    let person = server.log_in();
    let deleted = person.send("DELETE", &format!("/api/v1/devices/{}", doomed.id), ());
    assert_eq!(deleted.status().as_u16(), 204);

    let server = Server::start_in(server.kill());
    let person = server.log_in();
    assert_eq!(person.list("/api/v1/devices").len(), 1);
    disk.free();
    until(|| health(&server) == "ok");
    let mut link = device.connect(&server);
    assert!(link.publish_once("telemetry", batch(2)));
}
