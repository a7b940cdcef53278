//! A power cut: the disk that it leaves.

use std::{fmt, fs::File, os::unix::fs::FileExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;

use super::write_log::{Entry, Write, WriteLog};

/// Disks write a sector whole or not at all.
const SECTOR: usize = 512;

/// What a disk makes of writes that were not flushed when the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All are there: the disk has no cache, or only the board was reset.
    Nothing,
    /// None is there.
    Everything,
    /// Each is there, or is not, or is torn: some of its sectors are there.
    Some,
}

/// What became of the writes that were not flushed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// Writes that are there.
    pub kept: usize,
    /// Writes that are not.
    pub lost: usize,
    /// Writes of which some sectors are there.
    pub torn: usize,
}

// === impl Loss ===

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nothing => "nothing",
            Self::Everything => "everything",
            Self::Some => "some",
        })
    }
}

/// Makes `disk`, a raw image, from the image `before` and what the board did up to `position` in the log.
pub fn make(
    log: &WriteLog,
    before: &Path,
    disk: &Path,
    position: usize,
    loss: Loss,
    random: &mut Rng,
) -> Result<Fate> {
    let copied = Command::new("cp")
        .arg("--sparse=always")
        .args([before, disk])
        .status()?;
    ensure!(copied.success(), "cannot copy {}", before.display());
    let target = File::options()
        .write(true)
        .open(disk)
        .with_context(|| format!("cannot write {}", disk.display()))?;
    let done = &log.entries[..position];
    let flushed = done.iter().rposition(|entry| *entry == Entry::Flush).unwrap_or(0);
    let mut fate = Fate::default();
    for (index, entry) in done.iter().enumerate() {
        let Entry::Write(write) = entry else { continue };
        let data = log.data(write)?;
        if index < flushed || write.durable {
            target.write_all_at(&data, write.offset)?;
        } else {
            settle(&target, write, &data, loss, random, &mut fate)?;
        }
    }
    Ok(fate)
}

/// Decides about a write that was not flushed.
fn settle(
    target: &File,
    write: &Write,
    data: &[u8],
    loss: Loss,
    random: &mut Rng,
    fate: &mut Fate,
) -> Result<()> {
    let share = match loss {
        Loss::Nothing => 2,
        Loss::Everything => 0,
        Loss::Some => random.u8(0..4),
    };
    match share {
        0 => fate.lost += 1,
        1 if data.len() > SECTOR => {
            fate.torn += 1;
            let mut place = write.offset;
            for sector in data.chunks(SECTOR) {
                if random.bool() {
                    target.write_all_at(sector, place)?;
                }
                place += sector.len() as u64;
            }
        }
        _ => {
            fate.kept += 1;
            target.write_all_at(data, write.offset)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::write_log::tests::log, *};

    fn cut(position: usize, loss: Loss, seed: u64) -> (Vec<u8>, Fate) {
        let folder = tempfile::tempdir().unwrap();
        let (before, disk) = (folder.path().join("before"), folder.path().join("disk"));
        std::fs::write(&before, vec![0; 8 * 512]).unwrap();
        let log = log(
            &folder.path().join("log"),
            &[
                (0, Some(&[1; 512])),
                (0, None),
                (1, Some(&[2; 2048])),
                (5, Some(&[3; 512])),
                (0, None),
            ],
        );
        let fate = make(&log, &before, &disk, position, loss, &mut Rng::with_seed(seed)).unwrap();
        let sectors = std::fs::read(&disk).unwrap();
        (sectors.chunks(512).map(|sector| sector[0]).collect(), fate)
    }

    #[test]
    fn what_was_flushed_is_always_there() {
        for loss in [Loss::Nothing, Loss::Everything, Loss::Some] {
            for seed in 0..20 {
                assert_eq!(cut(5, loss, seed).0, [1, 2, 2, 2, 2, 3, 0, 0]);
                assert_eq!(cut(4, loss, seed).0[0], 1);
            }
        }
    }

    #[test]
    fn what_was_not_flushed_is_as_the_loss_says() {
        assert_eq!(cut(4, Loss::Nothing, 1).0, [1, 2, 2, 2, 2, 3, 0, 0]);
        assert_eq!(cut(3, Loss::Nothing, 1).0, [1, 2, 2, 2, 2, 0, 0, 0]);
        let (sectors, fate) = cut(4, Loss::Everything, 1);
        assert_eq!(sectors, [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fate.lost, 2);
        let fates: Vec<_> = (0..40).map(|seed| cut(4, Loss::Some, seed)).collect();
        assert!(fates.iter().any(|(_, fate)| fate.torn == 1));
        assert!(
            fates
                .iter()
                .any(|(sectors, _)| sectors[1] == 0 && sectors[5] == 3)
        );
        assert!(
            fates
                .iter()
                .all(|(_, fate)| fate.kept + fate.lost + fate.torn == 2)
        );
    }

    #[test]
    fn the_same_seed_makes_the_same_disk() {
        assert_eq!(cut(4, Loss::Some, 7), cut(4, Loss::Some, 7));
    }
}
