//! Backup and restore, with the real program.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Device, Person, Server, bundle, give_data, is_on_postgres, json as body, program, until,
};

fn run(action: &str, file: &Path, data_dir: &Path, options: &[&str]) -> Output {
    program(data_dir)
        .arg(action)
        .args(options)
        .arg(file)
        .output()
        .unwrap()
}

fn back_up(server: &Server, file: &Path) {
    let output = run("backup", file, server.data_dir(), &[]);
    assert!(output.status.success(), "{output:?}");
}

fn restore(file: &Path, data_dir: &Path, options: &[&str]) -> String {
    let output = run("restore", file, data_dir, options);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The reason that a failed command gave.
fn refusal(output: Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn directory() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

fn upload(person: &Person, version: &str) -> (String, Vec<u8>) {
    let file = bundle(version, 200_000);
    let mut uploaded = person.send("POST", "/api/v1/bundles", file.as_slice());
    assert_eq!(uploaded.status(), 201);
    (body(&mut uploaded)["id"].as_str().unwrap().to_owned(), file)
}

fn download(server: &Server, device: &Device, id: &str) -> Vec<u8> {
    let url = format!("{}/device/v1/bundles/{id}", server.url());
    let mut answer = device.new_agent().get(url).call().unwrap();
    assert_eq!(answer.status(), 200);
    answer.body_mut().read_to_vec().unwrap()
}

/// Everything in a directory but the lock, by name.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with("lock") {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

fn is_revoked(person: &Person, device: &Device) -> bool {
    let device = person.get(&format!("/api/v1/devices/{}", device.id));
    device["revoked"].as_bool().unwrap()
}

#[test]
fn a_backup_under_load_becomes_a_working_server() {
    let (server, files) = (Server::start(), directory());
    let person = server.log_in();
    let device = person.pair(&server);
    let (id, file) = upload(&person, "1");
    let done = AtomicBool::new(false);
    let backup = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..500 {
                if done.load(Relaxed) {
                    break;
                }
                let (id, _) = upload(&person, "2");
                person.pair(&server);
                let deleted = person.send("DELETE", &format!("/api/v1/bundles/{id}"), ());
                assert_eq!(deleted.status(), 204);
            }
        });
        let backups: Vec<_> = (0..5)
            .map(|number| {
                let backup = files.path().join(format!("{number}.tar"));
                back_up(&server, &backup);
                backup
            })
            .collect();
        done.store(true, Relaxed);
        backups[4].clone()
    });
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(files.path()).unwrap().count(),
        5,
        "nothing else is left"
    );

    // An administrator's usual tools can check it.
    let unpacked = directory();
    let mut tar = Command::new("tar");
    let status = tar.arg("-xf").arg(&backup).current_dir(unpacked.path()).status();
    assert!(status.unwrap().success());
    let mut sums = Command::new("sha256sum");
    let status = sums
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(unpacked.path())
        .status();
    assert!(status.unwrap().success());

    drop(server);
    let new = directory();
    restore(&backup, new.path(), &[]);
    let server = Server::start_in(new);
    let person = server.log_in();
    assert!(device.works(&server));
    device.connect(&server);
    assert_eq!(download(&server, &device, &id), file);
    for bundle in person.list("/api/v1/bundles") {
        download(&server, &device, bundle["id"].as_str().unwrap());
    }
}

#[test]
fn an_older_state_leaves_what_came_since() {
    let (server, files) = (Server::start(), directory());
    let person = server.log_in();
    let (renewing, revoked, deleted) = (person.pair(&server), person.pair(&server), person.pair(&server));
    let (first, _) = upload(&person, "1");
    let backup = files.path().join("backup.tar");
    back_up(&server, &backup);
    let output = run("backup", &backup, server.data_dir(), &[]);
    assert!(refusal(output).contains("exists already"));

    let renewed = renewing.renew(&server, &renewing.agent).unwrap();
    person.revoke(&revoked);
    let path = format!("/api/v1/devices/{}", deleted.id);
    assert_eq!(person.send("DELETE", &path, ()).status(), 204);
    let since = person.pair(&server);
    let (second, file) = upload(&person, "2");
    let output = run("restore", &backup, server.data_dir(), &["--replace"]);
    assert!(refusal(output).contains("in use"));

    let data = server.kill();
    fs::write(data.path().join("notes.txt"), "mine").unwrap();
    fs::write(data.path().join("bundles/notes.txt"), "mine").unwrap();
    let before = content(data.path());
    let output = run("restore", &backup, data.path(), &[]);
    assert!(refusal(output).contains("is not empty"));
    assert_eq!(content(data.path()), before);
    let said = restore(&backup, data.path(), &["--replace"]);
    assert!(said.contains(&second) && !said.contains(&first), "{said}");

    let server = Server::start_in(data);
    let person = server.log_in();
    assert!(renewed.works(&server) && renewing.works(&server));
    for device in [&revoked, &deleted] {
        assert!(is_revoked(&person, device) && !device.works(&server));
    }
    assert!(!since.works(&server));
    assert_eq!(download(&server, &renewed, &second), file);
    assert_eq!(person.list("/api/v1/bundles").len(), 2);
    for name in ["notes.txt", "bundles/notes.txt"] {
        assert_eq!(fs::read_to_string(server.data_dir().join(name)).unwrap(), "mine");
    }
    let aside = fs::read_dir(server.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("replaced-")
        });
    let rows = if is_on_postgres() {
        "postgresql.db"
    } else {
        "homeport.db"
    };
    assert!(aside.unwrap().join(rows).exists());
    // Still the same after another start, which sweeps.
    let server = Server::start_in(server.kill());
    assert_eq!(download(&server, &renewed, &second), file);
}

#[test]
fn a_device_that_is_locked_out_is_in_the_record_once_however_often_the_server_starts() {
    let (server, files) = (Server::start(), directory());
    let person = server.log_in();
    let devices = [person.pair(&server), person.pair(&server)];
    let backup = files.path().join("backup.tar");
    back_up(&server, &backup);
    let [first, second] = devices.map(|device| device.renew(&server, &device.agent).unwrap());
    drop(server);

    let entries = |person: &Person, device: &Device| {
        let audit = person.list("/api/v1/audit");
        let of_device = |entry: &&serde_json::Value| {
            entry["action"] == "device.unknown-certificate" && entry["subject"] == device.id.as_str()
        };
        audit.iter().filter(of_device).count()
    };
    let new = directory();
    restore(&backup, new.path(), &[]);
    let server = Server::start_in(new);
    let person = server.log_in();
    assert!(!first.works(&server));
    until(|| entries(&person, &first) == 1);

    let server = Server::start_in(server.kill());
    let person = server.log_in();
    assert!(!first.works(&server) && !second.works(&server));
    // They are looked at in turn.
    until(|| entries(&person, &second) == 1);
    assert_eq!(entries(&person, &first), 1);
}

#[test]
fn certificates_that_only_the_lost_database_knew_come_back_when_they_are_let() {
    let (server, files) = (Server::start(), directory());
    let person = server.log_in();
    let (renewing, revoked) = (person.pair(&server), person.pair(&server));
    let unused = revoked.renew(&server, &revoked.agent).unwrap();
    person.revoke(&revoked);
    let backup = files.path().join("backup.tar");
    back_up(&server, &backup);
    let renewed = renewing.renew(&server, &renewing.agent).unwrap();
    let since = person.pair(&server);
    drop(server);

    let new = directory();
    let said = restore(&backup, new.path(), &[]);
    assert!(said.contains("may connect again"), "{said}");
    let server = Server::start_in(new);
    for _ in 0..3 {
        assert!(!renewed.works(&server));
    }
    let person = server.log_in();
    let is_told = || {
        let audit = person.list("/api/v1/audit");
        audit.iter().any(|entry| {
            entry["action"] == "device.unknown-certificate" && entry["subject"] == renewed.id.as_str()
        })
    };
    until(is_told);
    assert!(!renewed.works(&server) && renewing.works(&server));
    drop(server);

    let new = directory();
    restore(&backup, new.path(), &["--readmit"]);
    let server = Server::start_in(new);
    until(|| renewed.works(&server));
    renewed.connect(&server);
    assert!(
        !renewing.works(&server),
        "a renewed certificate that is used replaces the old one"
    );
    for device in [&revoked, &unused, &since] {
        assert!(!device.works(&server));
    }
    let person = server.log_in();
    assert!(is_revoked(&person, &revoked));
    person.revoke(&renewing);
    assert!(!renewed.works(&server));
    // Looked at once more, and still revoked.
    let server = Server::start_in(server.kill());
    assert!(!renewed.works(&server) && !renewed.works(&server));
}

#[test]
fn an_older_database_that_is_put_in_place_by_hand_deletes_nothing() {
    if is_on_postgres() {
        // This is about the file that somebody copies.
        return;
    }
    let server = Server::start();
    let device = server.log_in().pair(&server);
    let data = server.kill();
    let database = data.path().join("homeport.db");
    let old: Vec<_> = ["", "-wal"]
        .into_iter()
        .filter_map(|end| {
            let path = PathBuf::from(format!("{}{end}", database.display()));
            fs::read(&path).ok().map(|content| (path, content))
        })
        .collect();

    let server = Server::start_in(data);
    let person = server.log_in();
    let renewed = device.renew(&server, &device.agent).unwrap();
    let (id, file) = upload(&person, "1");
    let data = server.kill();
    for name in ["bundles/notes.txt", "bundles/.tmpAbCdEf"] {
        fs::write(data.path().join(name), "mine").unwrap();
    }
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", database.display()));
    }
    for (path, content) in old {
        fs::write(path, content).unwrap();
    }

    let server = Server::start_in(data);
    for name in ["notes.txt", ".tmpAbCdEf", &format!("{id}.raucb")] {
        assert!(server.data_dir().join("bundles").join(name).exists(), "{name}");
    }
    assert!(device.works(&server) && !renewed.works(&server));
    let person = server.log_in();
    assert_eq!(upload(&person, "1").0, id, "it is offered again");
    assert_eq!(download(&server, &device, &id), file);

    let data = server.kill();
    let output = program(data.path())
        .args(["readmit", "--days", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let server = Server::start_in(data);
    until(|| renewed.works(&server));
}

#[test]
fn what_is_no_whole_backup_changes_nothing() {
    let (server, files) = (Server::start(), directory());
    let person = server.log_in();
    let device = person.pair(&server);
    let (id, file) = upload(&person, "1");
    let good = files.path().join("good.tar");
    back_up(&server, &good);
    let good = fs::read(good).unwrap();
    let data = server.kill();
    let before = content(data.path());
    let bad = files.path().join("bad.tar");
    let refused = |bytes: &[u8], because: &str| {
        fs::write(&bad, bytes).unwrap();
        let said = refusal(run("restore", &bad, data.path(), &["--replace"]));
        assert!(said.contains(because), "{because}: {said}");
        assert!(content(data.path()) == before, "{because}");
    };

    refused(b"", "not a backup");
    refused(&[b'x'; 5000], "not a backup");
    refused(&bundle("1", 5000), "not a backup");
    for length in [600, good.len() / 3, good.len() / 2, good.len() - 2048] {
        refused(&good[..length], "damaged");
    }
    for at in [3000, good.len() / 2, good.len() - 2000] {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        refused(&flipped, "damaged");
    }
    let about = |format: u32| {
        let text = json!({"format": format, "server_version": "9", "created_ms": 1}).to_string();
        ("homeport-backup.json", text.into_bytes())
    };
    refused(&archive(&[about(2)]), "format 2");
    refused(
        &archive(&[about(1), ("notes.txt", b"x".to_vec())]),
        "not a backup",
    );
    refused(
        &archive(&[about(1), ("bundles/a.raucb", b"x".to_vec())]),
        "not a backup",
    );
    refused(&archive(&[about(1), ("SHA256SUMS", Vec::new())]), "damaged");

    let server = Server::start_in(data);
    assert_eq!(download(&server, &device, &id), file);
}

/// A tar archive (POSIX.1-1988) of these files.
fn archive(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in entries {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000600");
        write!(&mut header[124..136], "{:011o}", content.len()).unwrap();
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        write!(&mut header[148..156], "{sum:06o}\0").unwrap();
        archive.extend(header);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn a_backup_that_does_not_fit_leaves_nothing_behind() {
    let (server, files) = (Server::start(), directory());
    let person = server.log_in();
    let file = bundle("1", 9_000_000);
    assert_eq!(
        person.send("POST", "/api/v1/bundles", file.as_slice()).status(),
        201
    );
    // In blocks of 512 bytes: enough for the database, and not for the bundle.
    for blocks in [100, 4000] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = Command::new("sh");
        give_data(&mut command, server.data_dir());
        let output = command
            .args([
                "-c",
                &script,
                "sh",
                env!("CARGO_BIN_EXE_homeport-server"),
                "backup",
            ])
            .arg(files.path().join("backup.tar"))
            .output()
            .unwrap();
        refusal(output);
        assert_eq!(fs::read_dir(files.path()).unwrap().count(), 0, "{blocks}");
    }
    back_up(&server, &files.path().join("backup.tar"));

    let empty = directory();
    let output = run("backup", &files.path().join("other.tar"), empty.path(), &[]);
    assert!(refusal(output).contains("no database"));
}

#[test]
fn a_backup_needs_no_bundles_and_takes_no_damaged_ones() {
    let (server, files) = (Server::start(), directory());
    let person = server.log_in();
    let device = person.pair(&server);
    let (first, file) = upload(&person, "1");
    let (second, _) = upload(&person, "2");
    let path = |id: &str| server.data_dir().join(format!("bundles/{id}.raucb"));
    let without = files.path().join("without.tar");
    let output = run("backup", &without, server.data_dir(), &["--no-bundles"]);
    assert!(output.status.success(), "{output:?}");

    fs::write(path(&second), "damaged").unwrap();
    let backup = files.path().join("backup.tar");
    let said = refusal(run("backup", &backup, server.data_dir(), &[]));
    assert!(said.contains(&second) && said.contains("damaged"), "{said}");
    assert!(!backup.exists());
    fs::remove_file(path(&second)).unwrap();
    let output = run("backup", &backup, server.data_dir(), &[]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&second) && !said.contains(&first), "{said}");
    drop(server);

    let new = directory();
    let said = restore(&without, new.path(), &[]);
    assert!(
        said.contains(&first) && said.contains("upload it again"),
        "{said}"
    );
    let server = Server::start_in(new);
    let person = server.log_in();
    let uploaded = person.send("POST", "/api/v1/bundles", file.as_slice());
    assert_eq!(uploaded.status(), 200);
    assert_eq!(download(&server, &device, &first), file);
}
