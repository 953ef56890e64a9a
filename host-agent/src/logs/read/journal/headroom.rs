//! How near journald is to deleting what a position has not read.
//!
//! In: the directories of a journal, a position, journald's configuration. Out: [`Headroom`], by which a pipeline decides to
//! copy unread entries into its spool. Called once in some seconds.
//!
//! journald deletes closed files, oldest first, whenever it begins a new one and its files are larger than allowed, more than
//! allowed, or leave less of the disk free than they should. The allowance is `journald.conf(5)`: `SystemMaxUse`,
//! `SystemKeepFree`, `SystemMaxFiles`, and `Runtime…` below `/run`, with the defaults of systemd 252.
//!
//! **Absent**: `MaxRetentionSec` and vacuums by hand, which delete without regard to room; what they take is counted as lost.

mod limits;

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use self::limits::{Limits, Space};
use super::cursor::Cursor;
use super::files::{JournalFile, Listing};

pub use self::limits::Settings;

/// What is left before something unread is deleted. The least of all directories of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// Bytes that journald can still write before it deletes a file with unread entries; `u64::MAX`: nothing is unread in files
    /// that can be deleted.
    pub bytes: u64,
    /// Files that it can still begin before that.
    pub files: u64,
    /// Bytes of files with unread entries, as they lie on disk.
    pub unread_bytes: u64,
}

impl Headroom {
    const BOUNDLESS: Self = Self { bytes: u64::MAX, files: u64::MAX, unread_bytes: 0 };
}

/// Measures it for a position, such as `SourcePosition::through`; one that is no cursor has read nothing.
///
/// # Errors
/// When the file system of a directory cannot be asked.
pub fn headroom(
    directories: &[PathBuf],
    settings: &Settings,
    through: &str,
) -> io::Result<Headroom> {
    let through = Cursor::parse(through).ok();
    let mut least = Headroom::BOUNDLESS;
    for directory in directories {
        let listing = Listing::of(std::slice::from_ref(directory));
        let limits = Limits::of(settings.of(is_volatile(directory)), space(directory)?);
        let here = judge(&listing.files, &limits, free(directory)?, through.as_ref());
        least.bytes = least.bytes.min(here.bytes);
        least.files = least.files.min(here.files);
        least.unread_bytes += here.unread_bytes;
    }
    Ok(least)
}

fn is_volatile(directory: &Path) -> bool {
    directory.starts_with("/run")
}

fn space(directory: &Path) -> io::Result<Space> {
    let found = statvfs(directory)?;
    Ok(Space { bytes: found.blocks() * found.fragment_size() })
}

fn free(directory: &Path) -> io::Result<u64> {
    let found = statvfs(directory)?;
    Ok(found.blocks_available() * found.fragment_size())
}

/// Pure: the files, the limits, and what is free on the disk.
fn judge(files: &[JournalFile], limits: &Limits, free: u64, through: Option<&Cursor>) -> Headroom {
    let is_unread = |file: &&JournalFile| {
        let header = &file.header;
        header.entries > 0
            && through.is_none_or(|through| {
                if header.sequence == through.sequence {
                    header.tail > through.number
                } else {
                    header.tail_us > through.realtime_us
                }
            })
    };
    let unread_bytes = files.iter().filter(is_unread).map(|file| file.size).sum();
    let mut closed: Vec<&JournalFile> = files.iter().filter(|file| file.is_closed).collect();
    // The order in which journald deletes.
    closed.sort_by_key(|file| (file.header.head_us, file.header.head));
    let is_read = |file: &&&JournalFile| !is_unread(file);
    let read: Vec<&&JournalFile> = closed.iter().take_while(is_read).collect();
    let used: u64 = files.iter().map(|file| file.size).sum();
    // What may be deleted first, and the room until then.
    let spare: u64 = read.iter().map(|file| file.size).sum();
    let allowed = limits.max_use.min(used.saturating_add(free).saturating_sub(limits.keep_free));
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Headroom {
        bytes: allowed.max(limits.min_use).saturating_sub(used).saturating_add(spare),
        files: limits
            .max_files
            .saturating_sub(count(files.len()))
            .saturating_add(count(read.len())),
        unread_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Header;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn file(head: u64, tail: u64, is_closed: bool) -> JournalFile {
        let header = Header {
            sequence: 1,
            boot: 1,
            head,
            tail,
            entries: tail + 1 - head,
            head_us: head,
            tail_us: tail,
            is_archived: is_closed,
        };
        JournalFile { path: PathBuf::new(), size: 8 * MIB, is_closed, header }
    }

    fn position(number: u64) -> Cursor {
        Cursor { sequence: 1, number, boot: 1, monotonic_us: 0, realtime_us: number, hash: 0 }
    }

    const LIMITS: Limits = Limits { max_use: 40 * MIB, min_use: MIB, keep_free: 0, max_files: 100 };

    #[test]
    fn files_that_were_read_are_deleted_first() {
        let files = [file(1, 100, true), file(101, 200, true), file(201, 250, false)];
        let expected = Headroom { bytes: 32 * MIB, files: 99, unread_bytes: 8 * MIB };
        assert_eq!(judge(&files, &LIMITS, u64::MAX, Some(&position(230))), expected);
        let expected = Headroom { bytes: 24 * MIB, files: 98, unread_bytes: 16 * MIB };
        assert_eq!(judge(&files, &LIMITS, u64::MAX, Some(&position(150))), expected);
        let expected = Headroom { bytes: 16 * MIB, files: 97, unread_bytes: 24 * MIB };
        assert_eq!(judge(&files, &LIMITS, u64::MAX, None), expected);
    }

    #[test]
    fn a_full_disk_leaves_less() {
        let files = [file(1, 100, true), file(101, 200, false)];
        let limits = Limits { keep_free: 10 * MIB, ..LIMITS };
        assert_eq!(judge(&files, &limits, 14 * MIB, Some(&position(50))).bytes, 4 * MIB);
        assert_eq!(judge(&files, &limits, 5 * MIB, Some(&position(50))).bytes, 0);
        assert_eq!(judge(&files, &limits, 5 * MIB, Some(&position(100))).bytes, 8 * MIB);
    }

    #[test]
    fn a_volatile_directory_is_told_by_its_path() {
        assert!(
            is_volatile(Path::new("/run/log/journal/x")) && !is_volatile(Path::new("/var/log"))
        );
    }
}
