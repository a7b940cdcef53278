//! The RAUC backend against a real `rauc service` on a private bus, with files for slots.
//!
//! Needs rauc, dbus-daemon, openssl and root (RAUC mounts bundles), so it is not run by default: `./just root-test` runs it
//! with the RAUC 1.8 of Debian 12, the oldest that is supported. Boards have a newer one.

#![allow(clippy::expect_used, clippy::unwrap_used)] // All of it is a test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use homeport_ota::{
    Backend, BackendError,
    backend::{InstallRequest, Mark, rauc::Rauc},
};
use homeport_protocol::FailureCode;

const TIMEOUT: Duration = Duration::from_secs(60);
const TRANSACTION: &str = "7b0c7c4e-1c5f-4d0f-9a55-0c8f7d9e2b11";

/// A bus with RAUC on it; both end with this.
struct Device {
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

// === impl Device ===

impl Device {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut device = Self {
            dir,
            children: Vec::new(),
        };
        device.make_keys("right");
        device.make_keys("wrong");
        let top = device.dir.path().display().to_string();
        device.write("bus.conf", &BUS.replace("@top@", &top), 0o644);
        device.write("bootloader", &BOOTLOADER.replace("@top@", &top), 0o755);
        device.write("system.conf", &SYSTEM.replace("@top@", &top), 0o644);
        for slot in ["slot0", "slot1"] {
            fs::File::create(device.path(slot))
                .unwrap()
                .set_len(4 << 20)
                .unwrap();
        }
        let bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={top}/bus.conf"))
            .arg("--nofork")
            .stderr(Stdio::null())
            .spawn();
        device.children.push(bus.unwrap());
        device.wait_for("bus");
        let rauc = Command::new("rauc")
            .args([
                "--conf",
                &format!("{top}/system.conf"),
                "--override-boot-slot=A",
                "service",
            ])
            .env("DBUS_SYSTEM_BUS_ADDRESS", device.address())
            .stdout(Stdio::null())
            .stderr(fs::File::create(device.path("rauc.log")).unwrap())
            .spawn();
        device.children.push(rauc.unwrap());
        device
    }

    async fn backend(&self) -> Rauc {
        let address = self.address();
        let connection = zbus::connection::Builder::address(address.as_str())
            .unwrap()
            .build()
            .await
            .unwrap();
        let rauc = Rauc::connect(connection).await;
        let ready = async {
            while rauc.compatible().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, ready).await.expect("RAUC starts");
        rauc
    }

    fn bundle(&self, name: &str, key: &str, compatible: &str, version: &str) -> String {
        let content = self.path(&format!("{name}.content"));
        fs::create_dir(&content).unwrap();
        fs::write(content.join("rootfs.img"), vec![7; 1 << 20]).unwrap();
        let manifest = format!(
            "[update]\ncompatible={compatible}\nversion={version}\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=rootfs.img\n"
        );
        fs::write(content.join("manifest.raucm"), manifest).unwrap();
        let bundle = self.path(&format!("{name}.raucb"));
        run(Command::new("rauc")
            .arg("bundle")
            .arg(format!("--cert={}", self.path(&format!("{key}.cert")).display()))
            .arg(format!("--key={}", self.path(&format!("{key}.key")).display()))
            .arg(&content)
            .arg(&bundle));
        bundle.display().to_string()
    }

    fn make_keys(&self, name: &str) {
        run(Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
            ])
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.cert"))));
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.path("bus").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str, mode: u32) {
        fs::write(self.path(name), content).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(self.path(name), mode).unwrap();
    }

    fn wait_for(&self, name: &str) {
        let start = std::time::Instant::now();
        while !self.path(name).exists() {
            assert!(start.elapsed() < TIMEOUT, "{name} does not appear");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn request(source: &str) -> InstallRequest {
    InstallRequest {
        source: source.to_owned(),
        transaction: TRANSACTION.to_owned(),
        manifest_hash: None,
    }
}

#[tokio::test]
#[ignore = "needs RAUC and root: `./just root-test`"]
async fn speaks_with_real_rauc() {
    let device = Device::start();
    let rauc = device.backend().await;
    assert!(rauc.name().starts_with("rauc 1."), "{}", rauc.name());
    assert_eq!(rauc.compatible().await.unwrap(), "board");
    let slots = rauc.slots().await.unwrap();
    let described: Vec<_> = slots
        .iter()
        .map(|slot| {
            (
                slot.slot.name.as_str(),
                slot.slot.bootname.as_str(),
                slot.slot.state.as_str(),
            )
        })
        .collect();
    assert_eq!(
        described,
        [("rootfs.0", "A", "booted"), ("rootfs.1", "B", "inactive")]
    );
    assert_eq!(rauc.primary().await.unwrap(), "rootfs.0");

    let good = device.bundle("good", "right", "board", "2.0.0");
    let info = rauc.inspect(&good).await.unwrap().expect("tells");
    assert_eq!(
        (info.compatible.as_str(), info.version.as_str()),
        ("board", "2.0.0")
    );
    let inspects = info.reads_everything.is_some();
    assert!(!inspects || info.reads_everything == Some(true));
    assert_eq!(info.manifest_hash.is_some(), inspects);

    let progress = Mutex::new(Vec::new());
    let note = |percent: u8, message: &str| progress.lock().unwrap().push((percent, message.to_owned()));
    let wanted = InstallRequest {
        manifest_hash: info.manifest_hash,
        ..request(&good)
    };
    let changed = tokio::join!(rauc.changed(), async {
        rauc.install(&wanted, &note).await.unwrap();
    });
    assert_eq!(changed.0.unwrap().error, None);
    let slots = rauc.slots().await.unwrap();
    let written = slots.iter().find(|slot| slot.slot.name == "rootfs.1").unwrap();
    assert_eq!(written.slot.version, "2.0.0");
    assert_eq!((written.installed_count, written.installed_ok), (1, true));
    assert!(written.slot.installed_at.ends_with('Z'));
    // RAUC 1.8 and 1.9 know no transactions and would refuse the whole call.
    assert!(written.transaction == TRANSACTION || !inspects, "{written:?}");
    assert_eq!(rauc.primary().await.unwrap(), "rootfs.1");

    rauc.mark("rootfs.1", Mark::Bad).await.unwrap();
    let slots = rauc.slots().await.unwrap();
    assert!(
        slots
            .iter()
            .any(|slot| slot.slot.name == "rootfs.1" && slot.slot.boot_status == "bad")
    );
    rauc.mark("rootfs.1", Mark::Active).await.unwrap();
    assert_eq!(rauc.primary().await.unwrap(), "rootfs.1");
    assert!(rauc.reattach(&|_, _| {}).await.is_none());
}

#[tokio::test]
#[ignore = "needs RAUC and root: `./just root-test`"]
async fn understands_what_real_rauc_dislikes() {
    let device = Device::start();
    let rauc = device.backend().await;
    let truncated = device.bundle("truncated", "right", "board", "2.0.0");
    let length = fs::metadata(&truncated).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&truncated)
        .unwrap()
        .set_len(length - 100)
        .unwrap();
    let damaged = device.bundle("damaged", "right", "board", "2.0.0");
    flip_a_byte(Path::new(&damaged));
    let cases = [
        (
            device.bundle("forged", "wrong", "board", "2.0.0"),
            FailureCode::Signature,
        ),
        (
            device.bundle("other", "right", "another", "2.0.0"),
            FailureCode::Incompatible,
        ),
        (truncated, FailureCode::Corrupt),
        // A plain bundle is signed as a whole.
        (damaged, FailureCode::Signature),
    ];
    for (bundle, code) in cases {
        let error = rauc.install(&request(&bundle), &|_, _| {}).await.unwrap_err();
        assert_eq!(error.reason().code, code, "{bundle}: {error}");
        let log = fs::read_to_string(device.path("rauc.log")).unwrap();
        assert!(!log.contains("Unsupported key") || rauc.name().starts_with("rauc 1.8"));
    }
    let slots = rauc.slots().await.unwrap();
    assert!(slots.iter().all(|slot| slot.installed_count == 0));
}

#[tokio::test]
#[ignore = "needs RAUC and root: `./just root-test`"]
async fn says_that_rauc_is_not_there() {
    let mut device = Device::start();
    let rauc = device.backend().await;
    let mut service = device.children.pop().unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(matches!(
        rauc.slots().await,
        Err(BackendError::Unreachable { .. })
    ));
}

fn flip_a_byte(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content[200] ^= 1;
    fs::write(path, content).unwrap();
}

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=@top@/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_requested_reply="true"/>
  </policy>
</busconfig>
"#;

const SYSTEM: &str = "[system]
compatible=board
bootloader=custom
statusfile=@top@/central.status
mountprefix=@top@/mnt
[handlers]
bootloader-custom-backend=@top@/bootloader
[keyring]
path=@top@/right.cert
[slot.rootfs.0]
device=@top@/slot0
type=raw
bootname=A
[slot.rootfs.1]
device=@top@/slot1
type=raw
bootname=B
";

const BOOTLOADER: &str = "#!/bin/sh
cd @top@
case $1 in
get-primary) cat primary 2>/dev/null || echo A ;;
set-primary) echo $2 > primary ;;
get-state) cat state-$2 2>/dev/null || echo good ;;
set-state) echo $3 > state-$2 ;;
esac
";
