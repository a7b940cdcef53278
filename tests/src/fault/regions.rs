//! The partitions of a disk image, by name: what a write was about.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};

const SECTOR: u64 = 512;
/// UEFI specification, 5.3: the header is in the second sector, the entries usually follow it.
const HEADER_AT: u64 = SECTOR;
const SIGNATURE: &[u8] = b"EFI PART";
const ENTRIES_AT: usize = 72;
const ENTRY_COUNT: usize = 80;
const ENTRY_SIZE: usize = 84;
const MAX_ENTRIES: u32 = 128;
const FIRST_SECTOR: usize = 32;
const LAST_SECTOR: usize = 40;
const NAME: std::ops::Range<usize> = 56..128;

/// Contents of the system, not the bootloader's.
const NOT_LOADER: [&str; 3] = ["rootfs-a", "rootfs-b", "data"];

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its name in the partition table.
    pub name: String,
    start: u64,
    end: u64,
}

/// All partitions of a disk.
#[derive(Debug)]
pub struct Regions(Vec<Region>);

// === impl Region ===

impl Region {
    /// Whether the bootloader keeps its environment here.
    #[must_use]
    pub fn is_loader(&self) -> bool {
        !NOT_LOADER.contains(&self.name.as_str())
    }
}

// === impl Regions ===

impl Regions {
    /// Reads the GPT of a raw image.
    pub fn read(image: &Path) -> Result<Self> {
        let file = File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
        let mut header = [0; 512];
        file.read_exact_at(&mut header, HEADER_AT)?;
        ensure!(
            header.starts_with(SIGNATURE),
            "{} has no partition table",
            image.display()
        );
        let (first, size) = (long(&header, ENTRIES_AT)? * SECTOR, word(&header, ENTRY_SIZE)?);
        let mut regions = Vec::new();
        for index in 0..word(&header, ENTRY_COUNT)?.min(MAX_ENTRIES) {
            let mut entry = [0; 128];
            file.read_exact_at(&mut entry, first + u64::from(index) * u64::from(size))?;
            let units: Vec<u16> = entry[NAME]
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .take_while(|unit| *unit != 0)
                .collect();
            let end = (long(&entry, LAST_SECTOR)? + 1) * SECTOR;
            if !units.is_empty() {
                regions.push(Region {
                    name: String::from_utf16_lossy(&units),
                    start: long(&entry, FIRST_SECTOR)? * SECTOR,
                    end,
                });
            }
        }
        Ok(Self(regions))
    }

    /// The partition at this place of the disk, in bytes.
    #[must_use]
    pub fn at(&self, offset: u64) -> Option<&Region> {
        self.0
            .iter()
            .find(|region| (region.start..region.end).contains(&offset))
    }
}

fn long(bytes: &[u8], at: usize) -> Result<u64> {
    let eight = bytes.get(at..at + 8).context("cut off")?;
    Ok(u64::from_le_bytes(eight.try_into()?))
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).context("cut off")?;
    Ok(u32::from_le_bytes(four.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_found_by_place() {
        let mut disk = vec![0; 8192];
        disk[512..520].copy_from_slice(SIGNATURE);
        disk[512 + ENTRIES_AT] = 2;
        disk[512 + ENTRY_COUNT] = 4;
        disk[512 + ENTRY_SIZE] = 128;
        for (index, name, first, last) in [(0, "boot", 10_u8, 11_u8), (1, "data", 12, 15)] {
            let entry = &mut disk[1024 + index * 128..];
            entry[FIRST_SECTOR] = first;
            entry[LAST_SECTOR] = last;
            for (place, unit) in name.encode_utf16().enumerate() {
                entry[NAME.start + place * 2..][..2].copy_from_slice(&unit.to_le_bytes());
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk");
        std::fs::write(&image, disk).unwrap();
        let regions = Regions::read(&image).unwrap();
        assert_eq!(regions.at(9 * 512), None);
        assert!(regions.at(12 * 512 - 1).unwrap().is_loader());
        assert_eq!(regions.at(12 * 512).unwrap().name, "data");
        assert!(!regions.at(12 * 512).unwrap().is_loader());
    }
}
