//! One segment file: names, framing, scanning, cutting.
//!
//! Every function names the file in its arguments; errors go up as the system gives them and are named there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Durability;

/// What every segment begins with.
const MAGIC: &[u8; BEGIN as usize] = b"AYSEGv1\n";
/// Offset of a segment's first record.
pub(super) const BEGIN: u32 = 8;
/// Bytes before a record's payload: its length and its checksum.
pub(super) const FRAME: usize = 8;

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.seg"))
}

/// The numbers of the segments in a folder, in their order; other files are left alone.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Adds `[length][crc32c][payload]` to `to`.
pub(super) fn frame(to: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let sum =
        parts.iter().fold(crc32c::crc32c(&length), |sum, part| crc32c::crc32c_append(sum, part));
    to.extend_from_slice(&length);
    to.extend_from_slice(&sum.to_le_bytes());
    for part in parts {
        to.extend_from_slice(part);
    }
}

/// The length and checksum that a frame announces.
pub(super) fn announced(frame: [u8; FRAME]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = frame;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// Whether the payload is what its frame announced.
pub(super) fn is_whole(length: u32, sum: u32, payload: &[u8]) -> bool {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), payload) == sum
}

/// What is in a segment.
pub(super) struct Scan {
    /// Length up to the end of the last whole record.
    pub whole: u32,
    /// Records up to there.
    pub records: u64,
    /// Bytes behind it.
    pub rest: u64,
}

/// Visits the whole records of a segment. It is read at once: segments are a few megabytes.
pub(super) fn scan(path: &Path, mut visit: impl FnMut(u32, &[u8])) -> io::Result<Scan> {
    let bytes = std::fs::read(path)?;
    let mut scan = Scan { whole: 0, records: 0, rest: bytes.len() as u64 };
    let Some(mut left) = bytes.strip_prefix(MAGIC) else { return Ok(scan) };
    scan.whole = BEGIN;
    while let Some((frame, behind)) = left.split_first_chunk::<FRAME>() {
        let (length, sum) = announced(*frame);
        let Some((payload, behind)) = behind.split_at_checked(length as usize) else { break };
        if !is_whole(length, sum, payload) {
            break;
        }
        let at = bytes.len() - left.len();
        let (Ok(at), Ok(end)) = (u32::try_from(at), u32::try_from(bytes.len() - behind.len()))
        else {
            break;
        };
        visit(at, payload);
        scan.whole = end;
        scan.records += 1;
        left = behind;
    }
    scan.rest = left.len() as u64;
    Ok(scan)
}

/// Makes the file shorter, if it is longer.
pub(super) fn cut(path: &Path, length: u32) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() > u64::from(length) {
        file.set_len(u64::from(length))?;
    }
    Ok(())
}

/// A new segment with its beginning.
pub(super) fn create(path: &Path, durability: Durability) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    file.write_all_at(MAGIC, 0)?;
    if durability == Durability::PowerLoss
        && let Some(folder) = path.parent()
    {
        // The file's name is the folder's content.
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

pub(super) fn write(file: &File, at: u32, bytes: &[u8], durability: Durability) -> io::Result<()> {
    file.write_all_at(bytes, u64::from(at))?;
    match durability {
        Durability::ProcessEnd => Ok(()),
        Durability::PowerLoss => file.sync_data(),
    }
}
