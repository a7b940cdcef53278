//! Gives the memory of program text back that only rare work needed.
//!
//! Linux maps 64 kB of a program around each page that is touched, and leaves it mapped for as long as memory lasts. An
//! agent that has been started, paired and called once has nearly all of itself and of the C library in its memory, for a
//! minute's work that needs a third of it. What is given back stays in the kernel's page cache: it is there again without
//! a read of the flash, unless somebody else needed the room more.

use std::{
    io,
    ops::Range,
    path::Path,
    ptr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::mm::{Advice, madvise};

use crate::file;

/// Shortest time between two times of giving back: shorter than the minute after which telemetry or the watchdog wakes the
/// agent, long enough for it to cost nothing while the agent is busy.
const PAUSE: Duration = Duration::from_secs(15);

/// Longest list of mappings that is read, in bytes: ten times that of the agent.
const MAX_SMAPS: u64 = 512 * 1024;

/// What is mapped of the program and its libraries, and can be mapped again from their files at any time.
#[derive(Debug)]
pub(crate) struct Text {
    mappings: Vec<Range<usize>>,
    given_back: Mutex<Option<Instant>>,
}

// === impl Text ===

impl Text {
    /// The text of this process. Call it before there are threads: what is mapped by then stays where it is until the
    /// process ends.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let smaps = file::read_limited(Path::new("/proc/self/smaps"), MAX_SMAPS)?;
        let mappings = clean_mappings(&String::from_utf8_lossy(&smaps));
        Ok(Self {
            mappings,
            given_back: Mutex::new(None),
        })
    }

    /// Gives all of it back, unless that was done a moment ago.
    pub(crate) fn give_back_at_times(&self) {
        let now = Instant::now();
        let mut given_back = self.given_back.lock().unwrap_or_else(PoisonError::into_inner);
        if given_back.is_none_or(|last| now.duration_since(last) >= PAUSE) {
            *given_back = Some(now);
            self.give_back();
        }
    }

    fn give_back(&self) {
        for mapping in &self.mappings {
            let start = ptr::without_provenance_mut(mapping.start);
            // SAFETY: the mapping is private to this process, cannot be written to, and holds nothing that its file does not
            // hold, so whoever reads it next finds the same bytes. It is of a file that code comes from and was there
            // before there were threads: of the program, or of a library that came with its start. Neither is unmapped or
            // replaced while the process lives.
            #[allow(unsafe_code)]
            let result = unsafe { madvise(start, mapping.len(), Advice::LinuxDontNeed) };
            // Locked memory, which somebody wanted to stay.
            if let Err(error) = result {
                tracing::debug!("cannot give text back: {error}");
            }
        }
    }
}

/// The mappings of programs' files that were never written to and cannot be, from `/proc/PID/smaps` (proc_pid_smaps(5)).
/// Data that was relocated and then protected is no such mapping: it has pages of its own, in memory or in swap. Nor is what
/// somebody mapped of a file that no code comes from: it may be unmapped one day.
fn clean_mappings(smaps: &str) -> Vec<Range<usize>> {
    let (mut clean, mut programs) = (Vec::new(), Vec::new());
    let mut current: Option<Heading> = None;
    let mut has_own_pages = true;
    for line in smaps.lines() {
        if let Some(heading) = Heading::parse(line) {
            if heading.permissions == "r-xp" {
                programs.push(heading.file);
            }
            current = Some(heading);
            has_own_pages = true;
        } else if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            has_own_pages = anonymous.trim() != "0 kB";
        } else if let Some(swap) = line.strip_prefix("Swap:") {
            let is_clean = !has_own_pages && swap.trim() == "0 kB";
            clean.extend(
                current
                    .take()
                    .filter(|heading| is_clean && heading.is_read_only_file()),
            );
        }
    }
    clean.retain(|heading| programs.contains(&heading.file));
    clean.into_iter().map(|heading| heading.addresses).collect()
}

/// First line of a mapping: `start-end permissions offset device inode path`.
struct Heading<'a> {
    addresses: Range<usize>,
    permissions: &'a str,
    /// Device and inode; no file has the inode 0.
    file: (&'a str, &'a str),
}

// === impl Heading ===

impl<'a> Heading<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        Some(Self {
            addresses: usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?,
            permissions: words.next()?,
            file: (words.nth(1)?, words.next()?),
        })
    }

    fn is_read_only_file(&self) -> bool {
        matches!(self.permissions, "r--p" | "r-xp") && self.file.1 != "0"
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, iter, os::fd::AsFd, slice};

    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    use super::*;

    const SMAPS: &str = "\
7f10a000-7f10c000 r--p 00000000 fe:03 77         /usr/bin/agent
Size:                  8 kB
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
SwapPss:               0 kB
VmFlags: rd mr mw me
7f10c000-7f20c000 r-xp 00002000 fe:03 77         /usr/bin/agent
Anonymous:             0 kB
Swap:                  0 kB
7f20c000-7f20d000 r--p 00102000 fe:03 77         /usr/bin/agent
Anonymous:             4 kB
Swap:                  0 kB
7f20d000-7f20e000 r--p 00103000 fe:03 77         /usr/bin/agent
Anonymous:             0 kB
Swap:                  4 kB
7f20e000-7f20f000 rw-p 00104000 fe:03 77         /usr/bin/agent
Anonymous:             0 kB
Swap:                  0 kB
7f210000-7f211000 r--s 00000000 fe:03 77         /usr/bin/agent
Anonymous:             0 kB
Swap:                  0 kB
7f211000-7f212000 r--p 00000000 fe:03 78         /usr/share/data
Anonymous:             0 kB
Swap:                  0 kB
7f212000-7f213000 r-xp 00000000 00:00 0          [vdso]
Anonymous:             0 kB
Swap:                  0 kB
ffff0000-ffff1000 r--p 00000000 00:00 0
Anonymous:             0 kB
Swap:                  0 kB
";

    #[test]
    fn only_what_a_programs_file_holds_and_nobody_can_write_is_text() {
        assert_eq!(
            clean_mappings(SMAPS),
            [0x7f10_a000..0x7f10_c000, 0x7f10_c000..0x7f20_c000]
        );
    }

    #[test]
    fn a_kernel_that_does_not_tell_enough_leaves_no_text() {
        assert!(clean_mappings("").is_empty());
        assert!(clean_mappings(&SMAPS.replace("Anonymous:", "Anon:")).is_empty());
        assert!(clean_mappings(&SMAPS.replace("Swap:", "Pages:")).is_empty());
        assert!(clean_mappings(&SMAPS.replace("r-xp ", "r-xp").replace("r--p ", "r--p")).is_empty());
    }

    #[test]
    fn this_process_has_text_and_lives_without() {
        let mut text = Text::of_this_process().unwrap();
        let here = this_process_has_text_and_lives_without as *const () as usize;
        // Other tests have threads here, and mappings that come and go.
        text.mappings.retain(|mapping| mapping.contains(&here));
        assert_eq!(text.mappings.len(), 1);
        text.give_back_at_times();
        let first = *text.given_back.lock().unwrap();
        text.give_back_at_times();
        assert!(first.is_some());
        assert_eq!(*text.given_back.lock().unwrap(), first, "not twice in a moment");
    }

    #[test]
    #[allow(unsafe_code)]
    fn what_is_given_back_is_not_resident_and_still_there() {
        const SIZE: usize = 256 * 1024;
        let content: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        // SAFETY: a new mapping, of a file that this test alone knows.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                SIZE,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file.as_file().as_fd(),
                0,
            )
        };
        let start = start.unwrap();
        // SAFETY: mapped until the end of the test, and nobody writes to the file.
        let mapped = unsafe { slice::from_raw_parts(start.cast::<u8>(), SIZE) };
        assert_eq!(mapped, content);
        let resident = || {
            let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
            let lines = smaps.lines().skip_while(|line| {
                Heading::parse(line).is_none_or(|heading| heading.addresses.start != start as usize)
            });
            let mut lines = lines.filter_map(|line| line.strip_prefix("Rss:"));
            lines.next().unwrap().trim().to_owned()
        };
        assert_eq!(resident(), "256 kB");

        let text = Text {
            mappings: iter::once(start as usize..start as usize + SIZE).collect(),
            given_back: Mutex::new(None),
        };
        text.give_back();
        assert_eq!(resident(), "0 kB");
        assert_eq!(mapped, content);
        // SAFETY: nobody looks at it any more.
        unsafe { munmap(start, SIZE) }.unwrap();
    }
}
