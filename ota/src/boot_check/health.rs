//! The programs in `health.d`, with which a product tells whether it works.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use homeport_system::program::{self, ProgramError};
use tokio::process::Command;

/// `EX_TEMPFAIL` of sysexits.h: not healthy yet, ask again.
const TEMPORARY_FAILURE: i32 = 75;
/// How much of the end of a check's output goes into the reason, in bytes.
const DETAIL: usize = 600;

/// What a check said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    /// Not yet; the detail says why.
    NotYet(String),
    Bad(String),
}

/// The checks in `dirs`, sorted by name. A name in a later directory replaces the same one of an earlier directory; a
/// replacement that is no executable file (such as a link to `/dev/null`) removes it.
pub(super) fn checks(dirs: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut checks = BTreeMap::new();
    for dir in dirs {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden {
                checks.insert(entry.file_name(), entry.path());
            }
        }
    }
    Ok(checks.into_values().filter(|path| is_executable(path)).collect())
}

/// Runs one check for at most `limit`.
pub(super) async fn run(check: &Path, limit: Duration) -> Health {
    let name = check.display();
    let ended = match program::run(Command::new(check), limit).await {
        Ok(ended) => ended,
        Err(ProgramError::BeingWritten) => return Health::NotYet(format!("{name} is being written")),
        Err(ProgramError::Start(error)) => return Health::Bad(format!("{name} cannot be run: {error}")),
        Err(ProgramError::Timeout(limit)) => {
            return Health::Bad(format!("{name} did not end within {} s", limit.as_secs()));
        }
        Err(ProgramError::Wait(error)) => return Health::Bad(format!("{name} failed: {error}")),
    };
    if ended.status.success() {
        return Health::Good;
    }
    let mut said = ended.tail(DETAIL);
    if said.is_empty() {
        "it wrote nothing".clone_into(&mut said);
    }
    if ended.status.code() == Some(TEMPORARY_FAILURE) {
        Health::NotYet(format!("{name} is not satisfied yet: {said}"))
    } else {
        Health::Bad(format!("{name} failed ({}): {said}", ended.status))
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn write(dir: &Path, name: &str, script: &str, mode: u32) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Runs a check that was just written. A child that another test forks meanwhile has it open until it execs.
    async fn run_written(check: &Path, limit: Duration) -> Health {
        loop {
            match run(check, limit).await {
                Health::NotYet(why) if why.contains("being written") => tokio::task::yield_now().await,
                health => return health,
            }
        }
    }

    #[test]
    fn later_directories_replace_and_remove() {
        let dir = tempfile::tempdir().unwrap();
        let (vendor, local) = (dir.path().join("vendor"), dir.path().join("local"));
        write(&vendor, "20-b", "", 0o755);
        write(&vendor, "10-a", "", 0o755);
        write(&vendor, "30-c", "", 0o755);
        write(&vendor, "README", "", 0o644);
        write(&vendor, ".hidden", "", 0o755);
        write(&local, "20-b", "", 0o755);
        std::os::unix::fs::symlink("/dev/null", local.join("30-c")).unwrap();
        let missing = dir.path().join("missing");
        let found = checks(&[vendor.clone(), missing, local.clone()]).unwrap();
        assert_eq!(found, [vendor.join("10-a"), local.join("20-b")]);
    }

    #[tokio::test]
    async fn exit_codes_decide() {
        let dir = tempfile::tempdir().unwrap();
        let run = async |name: &str, script: &str| {
            run_written(&write(dir.path(), name, script, 0o755), LIMIT).await
        };
        assert_eq!(run("good", "exit 0").await, Health::Good);
        assert!(
            matches!(run("later", "echo warming up; exit 75").await, Health::NotYet(why) if why.contains("warming up"))
        );
        assert!(
            matches!(run("bad", "echo broken >&2; exit 3").await, Health::Bad(why) if why.contains("broken"))
        );
        assert!(matches!(run("killed", "kill -9 $$").await, Health::Bad(why) if why.contains("signal")));
    }

    #[tokio::test]
    async fn a_check_that_is_being_written_is_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let check = write(dir.path(), "new", "exit 0", 0o755);
        let writer = fs::OpenOptions::new().append(true).open(&check).unwrap();
        assert!(matches!(run(&check, LIMIT).await, Health::NotYet(_)));
        drop(writer);
        assert_eq!(run_written(&check, LIMIT).await, Health::Good);
    }

    #[tokio::test]
    async fn a_check_that_hangs_or_floods_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let hanging = write(dir.path(), "hanging", "exec sleep 1000", 0o755);
        assert!(
            matches!(run_written(&hanging, Duration::from_millis(200)).await, Health::Bad(why) if why.contains("did not end"))
        );
        let flooding = write(dir.path(), "flooding", "yes | head -c 1000000; exit 1", 0o755);
        assert!(matches!(run_written(&flooding, LIMIT).await, Health::Bad(why) if why.len() < 1000));
    }
}
