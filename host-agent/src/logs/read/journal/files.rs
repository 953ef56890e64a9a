//! Headers of journal files: which entries each holds, and how large it is.
//!
//! In: directories. Out: a [`Listing`]. Read with plain reads, beside libsystemd, which does not tell these numbers. Called
//! when a gap is judged, at a start, and to see how near journald is to deleting something. The layout is that of
//! `systemd.io/JOURNAL_FILE_FORMAT`, little endian, the first 208 bytes, which every version has.
//!
//! **Invariant**: a file that vanishes, is empty or is no journal is left out; it fails nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
const HEADER: usize = 208;
/// `STATE_ARCHIVED`.
const ARCHIVED: u8 = 2;

/// What a file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The sequence that numbers its entries.
    pub(super) sequence: u128,
    /// The boot of its last entry.
    pub(super) boot: u128,
    /// Number of its first entry; 0 without entries.
    pub(super) head: u64,
    /// Number of its last entry; 0 without entries.
    pub(super) tail: u64,
    /// How many entries it has.
    pub(super) entries: u64,
    /// When its first entry was written, microseconds since the epoch.
    pub(super) head_us: u64,
    /// When its last entry was written.
    pub(super) tail_us: u64,
    /// Nothing will be added to it.
    pub(super) is_archived: bool,
}

impl Header {
    /// Reads the beginning of a file; `None` when it is no journal.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let wide = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let id = |at: usize| Some(u128::from_be_bytes(bytes.get(at..at + 16)?.try_into().ok()?));
        if bytes.get(..8)? != SIGNATURE {
            return None;
        }
        Some(Self {
            is_archived: *bytes.get(16)? == ARCHIVED,
            boot: id(56)?,
            sequence: id(72)?,
            entries: wide(152)?,
            tail: wide(160)?,
            head: wide(168)?,
            head_us: wide(184)?,
            tail_us: wide(192)?,
        })
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JournalFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Bytes that it takes on disk.
    pub(super) size: u64,
    /// journald will not add to it: archived, or set aside after a crash (`*.journal~`).
    pub(super) is_closed: bool,
    /// What its header says.
    pub(super) header: Header,
}

/// The files of a journal at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// In the order of their paths.
    pub(super) files: Vec<JournalFile>,
}

impl Listing {
    /// Reads the headers of all files in these directories.
    pub(super) fn of(directories: &[PathBuf]) -> Self {
        let mut files: Vec<JournalFile> =
            directories.iter().flat_map(|directory| files_in(directory)).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// The last number of each sequence.
    pub(super) fn tails(&self) -> BTreeMap<u128, u64> {
        let mut tails = BTreeMap::new();
        for Header { sequence, tail, .. } in self.files.iter().map(|file| file.header) {
            let known = tails.entry(sequence).or_insert(tail);
            *known = tail.max(*known);
        }
        tails
    }

    /// How many of the numbers `from..=to` of a sequence lie in no file's range.
    pub(super) fn missing(&self, sequence: u128, from: u64, to: u64) -> u64 {
        let headers = self.files.iter().map(|file| file.header);
        let mut ranges: Vec<(u64, u64)> = headers
            .filter(|header| header.sequence == sequence && header.entries > 0)
            .map(|header| (header.head.max(from), header.tail.min(to)))
            .filter(|(head, tail)| head <= tail)
            .collect();
        ranges.sort_unstable();
        let mut missing = 0;
        let mut next = from;
        for (head, tail) in ranges {
            missing += head.saturating_sub(next);
            next = next.max(tail.saturating_add(1));
        }
        missing + to.saturating_add(1).saturating_sub(next)
    }
}

fn files_in(directory: &Path) -> Vec<JournalFile> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| journal_file(entry.path())).collect()
}

fn journal_file(path: PathBuf) -> Option<JournalFile> {
    let name = path.file_name()?.to_str()?;
    let is_aside = name.ends_with(".journal~");
    if !is_aside && !name.ends_with(".journal") {
        return None;
    }
    let mut file = File::open(&path).ok()?;
    let mut bytes = [0; HEADER];
    file.read_exact(&mut bytes).ok()?;
    let header = Header::parse(&bytes)?;
    // `st_blocks` counts units of 512 bytes.
    let size = file.metadata().ok()?.blocks() * 512;
    let is_closed = is_aside || header.is_archived || name.contains('@');
    Some(JournalFile { path, size, is_closed, header })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sequence: u128, head: u64, tail: u64) -> JournalFile {
        let header = Header {
            sequence,
            boot: 1,
            head,
            tail,
            entries: tail + 1 - head,
            head_us: head,
            tail_us: tail,
            is_archived: true,
        };
        JournalFile { path: PathBuf::from("x"), size: 1, is_closed: true, header }
    }

    #[test]
    fn only_numbers_that_no_file_holds_are_missing() {
        let listing =
            Listing { files: vec![file(1, 100, 199), file(1, 150, 250), file(2, 1, 999)] };
        assert_eq!(listing.missing(1, 50, 99), 50);
        assert_eq!(listing.missing(1, 50, 120), 50);
        assert_eq!(listing.missing(1, 120, 240), 0);
        assert_eq!(listing.missing(1, 240, 260), 10);
        assert_eq!(listing.missing(1, 1, 300), 149);
        assert_eq!(listing.missing(3, 1, 10), 10);
        assert_eq!(listing.tails(), BTreeMap::from([(1, 250), (2, 999)]));
    }

    #[test]
    fn what_is_no_journal_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.journal"), b"too short").unwrap();
        fs::write(folder.path().join("b.journal"), [0; 4096]).unwrap();
        fs::write(folder.path().join("c.log"), b"LPKSHHRH").unwrap();
        let gone = folder.path().join("gone");
        assert_eq!(Listing::of(&[folder.path().to_owned(), gone]), Listing::default());
    }
}
