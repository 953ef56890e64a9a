//! A bounded queue's memory on disk: records appended to segment files, read again by position, dropped from the oldest on.
//!
//! For whatever part of the agent must keep what it has acknowledged: traces keep accepted spans in it, logs what journald is
//! about to delete; it knows nothing of either (one folder for each user).
//! In: bytes of any kind. Out: the same bytes by [`Position`], also after a restart or kill -9.
//!
//! ```text
//!  DIR/lock                     held while the queue is open
//!  DIR/0000000000000007.seg     "AYSEGv1\n"  then  [length u32 LE][crc32c u32 LE of length and payload][payload] …
//!  DIR/0000000000000008.seg     the newest; appended to
//! ```
//!
//! How it is used: [`Segments::open`] hands every record that is there to the caller, oldest first; [`Segments::append`] only
//! remembers a record and says where it will be; [`Segments::commit`] writes all that was appended with one write and, with
//! [`Durability::PowerLoss`], one `fdatasync`: that is the group commit. Only after it may anything be acknowledged.
//! [`Reader`] reads by position from other threads; [`Segments::drop_before`] deletes whole segments.
//!
//! **Invariants**
//! - What was committed is read again byte for byte, or named as damaged; a damaged record never stops the process.
//! - A commit that fails (no space) leaves the file as it was before; what was appended since then is not there.
//! - A torn tail is cut off at the next start and counted; after damage inside a segment the rest of that segment is given up
//!   and counted, other segments are not concerned.
//! - Positions only grow, over restarts too, unless the folder was empty.
//!
//! **Absent**: limits (the caller knows whose bytes they are: [`Segments::bytes`]), an async interface (it blocks: give it a
//! thread), compaction, encryption.

mod file;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

pub use reader::{ReadError, Reader};

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The segment's number, which is its file's name.
    pub segment: u64,
    /// Bytes from the segment's beginning.
    pub offset: u32,
}

/// What a commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, kill -9 included, but not of the machine.
    ProcessEnd,
    /// The machine's sudden end too: `fdatasync` before the commit returns.
    PowerLoss,
}

/// How a queue is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder; made when it is missing.
    pub folder: PathBuf,
    /// After so many bytes a new segment begins, at the next commit.
    pub segment_bytes: u32,
    /// What a commit outlives.
    pub durability: Durability,
}

/// What a start found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whole records.
    pub records: u64,
    /// Bytes that a write cut short left at the end of the newest segment; they were never acknowledged.
    pub torn_bytes: u64,
    /// Bytes inside segments that cannot be read any more.
    pub damaged_bytes: u64,
}

/// Why a queue cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Another process has it.
    #[error("the queue in {} is in use by another process; give each agent a folder of its own", .0.display())]
    InUse(PathBuf),
    /// A step failed.
    #[error("cannot {step} {}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl SegmentError {
    fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }
}

/// The writing side; there is one.
#[derive(Debug)]
pub struct Segments {
    options: Options,
    /// Committed length of each segment that is on disk.
    sizes: BTreeMap<u64, u32>,
    newest: u64,
    /// The newest segment; `None` until the first commit into it.
    file: Option<File>,
    /// Framed records that are not written.
    pending: Vec<u8>,
    _lock: File,
}

impl Segments {
    /// Opens the queue and hands every whole record in it to `visit`, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be made, read or locked; never because of what is in the files.
    pub fn open(
        options: Options,
        mut visit: impl FnMut(Position, &[u8]),
    ) -> Result<(Self, Recovery), SegmentError> {
        let folder = &options.folder;
        std::fs::create_dir_all(folder).map_err(SegmentError::io("make the folder", folder))?;
        let lock = lock(folder)?;
        let numbers = file::list(folder).map_err(SegmentError::io("list", folder))?;
        let last = numbers.last().copied();
        let mut recovery = Recovery::default();
        let mut sizes = BTreeMap::new();
        for number in numbers {
            let path = file::path(folder, number);
            let scan = file::scan(&path, |offset, payload| {
                visit(Position { segment: number, offset }, payload);
            })
            .map_err(SegmentError::io("read", &path))?;
            recovery.records += scan.records;
            if Some(number) == last {
                recovery.torn_bytes += scan.rest;
            } else {
                recovery.damaged_bytes += scan.rest;
            }
            sizes.insert(number, scan.whole);
        }
        // Never append behind a tail that may be torn: a new segment begins, and the old tail is cut off where it ends.
        if let Some(last) = last {
            file::cut(&file::path(folder, last), sizes.get(&last).copied().unwrap_or_default())
                .map_err(SegmentError::io("cut the torn tail of", &file::path(folder, last)))?;
        }
        let newest = last.map_or(1, |last| last + 1);
        let segments =
            Self { options, sizes, newest, file: None, pending: Vec::new(), _lock: lock };
        Ok((segments, recovery))
    }

    /// Remembers a record, given in parts, and says where it will be once it is committed.
    pub fn append(&mut self, parts: &[&[u8]]) -> Position {
        let offset = self.committed() as usize + self.pending.len();
        file::frame(&mut self.pending, parts);
        Position { segment: self.newest, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    /// Bytes that were appended and not committed: commit well before a gigabyte.
    pub const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Writes what was appended, with one write, and makes it as durable as the options say.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it is there, and its positions name nothing.
    pub fn commit(&mut self) -> Result<(), SegmentError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let path = file::path(&self.options.folder, self.newest);
        let length = self.committed();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(
                file::create(&path, self.options.durability)
                    .map_err(SegmentError::io("create", &path))?,
            ),
        };
        if let Err(error) = file::write(file, length, &pending, self.options.durability) {
            // What is behind the committed length would be taken for records after a restart.
            let undone = if length == file::BEGIN {
                self.file = None;
                std::fs::remove_file(&path)
            } else {
                file::cut(&path, length)
            };
            undone.map_err(SegmentError::io("undo a failed write to", &path))?;
            return Err(SegmentError::io("write", &path)(error));
        }
        let length = length.saturating_add(u32::try_from(pending.len()).unwrap_or(u32::MAX));
        self.sizes.insert(self.newest, length);
        if length >= self.options.segment_bytes {
            self.newest += 1;
            self.file = None;
        }
        // The memory is used again, unless one commit was unusually large.
        if pending.capacity() <= 4 << 20 {
            self.pending = pending;
            self.pending.clear();
        }
        Ok(())
    }

    /// Deletes every segment that lies wholly before `position`; with [`Segments::end`], all but the one being written.
    ///
    /// # Errors
    /// When a file cannot be deleted; those before it are.
    pub fn drop_before(&mut self, position: Position) -> Result<(), SegmentError> {
        while let Some((&number, _)) = self.sizes.first_key_value()
            && number < position.segment
        {
            self.drop_segment(number)?;
        }
        Ok(())
    }

    /// Deletes one segment, wherever it stands; if it is the one being written, the next commit begins another.
    ///
    /// # Errors
    /// When its file cannot be deleted.
    pub fn drop_segment(&mut self, number: u64) -> Result<(), SegmentError> {
        let path = file::path(&self.options.folder, number);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SegmentError::io("delete", &path)(error));
            }
            _ => self.sizes.remove(&number),
        };
        if number == self.newest {
            self.newest += 1;
            self.file = None;
        }
        Ok(())
    }

    /// Deletes every segment.
    ///
    /// # Errors
    /// When a file cannot be deleted; those before it are.
    pub fn clear(&mut self) -> Result<(), SegmentError> {
        while let Some((&number, _)) = self.sizes.first_key_value() {
            self.drop_segment(number)?;
        }
        Ok(())
    }

    /// Where the next record will be.
    pub fn end(&self) -> Position {
        let offset = self.committed() as usize + self.pending.len();
        Position { segment: self.newest, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    /// Where the oldest record is, or would be.
    pub fn oldest(&self) -> Position {
        let segment = self.sizes.first_key_value().map_or(self.newest, |(&number, _)| number);
        Position { segment, offset: file::BEGIN }
    }

    /// The numbers of the segments that are on disk, oldest first.
    pub fn numbers(&self) -> Vec<u64> {
        self.sizes.keys().copied().collect()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.sizes.values().map(|&size| u64::from(size)).sum()
    }

    /// A handle that reads by position, for other threads.
    pub fn reader(&self) -> Reader {
        Reader::new(self.options.folder.clone())
    }

    fn committed(&self) -> u32 {
        self.sizes.get(&self.newest).copied().unwrap_or(file::BEGIN)
    }
}

fn lock(folder: &Path) -> Result<File, SegmentError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(SegmentError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SegmentError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(SegmentError::io("lock", &path)(source)),
    }
}
