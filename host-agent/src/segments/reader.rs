//! Reads committed records by position, from any thread, while the writer goes on.
//!
//! Needs no shared state: a position says which file and where; what is committed does not change. A record whose segment was
//! dropped meanwhile is [`ReadError::Gone`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{Position, file};

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its segment was dropped.
    #[error("the segment {0:016x} is gone")]
    Gone(u64),
    /// It is not what was written.
    #[error("the record at {:016x}+{} is damaged", .0.segment, .0.offset)]
    Damaged(Position),
    /// The system says why.
    #[error("cannot read the segment {segment:016x}")]
    Io {
        /// Its number.
        segment: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// Whether the record is lost: trying again is of no use. What the process or the system lacks (open files, memory) passes.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Damaged(_) => true,
            Self::Io { source, .. } => source.raw_os_error() == Some(libc::EIO),
        }
    }
}

/// Reads the segments of one folder. The segment read last stays open.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    open: Option<(u64, File)>,
}

impl Reader {
    /// Of this folder.
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder, open: None }
    }

    /// The record at `position`.
    ///
    /// # Errors
    /// When it is gone, damaged or cannot be read.
    pub fn read(&mut self, position: Position) -> Result<Vec<u8>, ReadError> {
        self.at(position)?.ok_or(ReadError::Damaged(position))
    }

    /// The first record at or after `position`, and where the one after it would be; `None` at the end of what is committed
    /// before `end`. Going through a queue with this reads everything in order.
    ///
    /// # Errors
    /// When a record is damaged or cannot be read; go on with the next segment's beginning then.
    pub fn next(
        &mut self,
        position: Position,
        end: Position,
    ) -> Result<Option<(Position, Vec<u8>, Position)>, ReadError> {
        let mut at = Position { offset: position.offset.max(file::BEGIN), ..position };
        while at < end {
            match self.at(at) {
                Ok(Some(payload)) => {
                    let length = u32::try_from(file::FRAME + payload.len()).unwrap_or(u32::MAX);
                    let next = Position { offset: at.offset.saturating_add(length), ..at };
                    return Ok(Some((at, payload, next)));
                }
                Ok(None) | Err(ReadError::Gone(_)) => {
                    at = Position { segment: at.segment + 1, offset: file::BEGIN };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The record at exactly `position`; `None` where its segment ends there.
    fn at(&mut self, position: Position) -> Result<Option<Vec<u8>>, ReadError> {
        let segment = position.segment;
        let failed = |source| ReadError::Io { segment, source };
        let file = self.file(segment)?;
        let mut frame = [0; file::FRAME];
        match file.read_exact_at(&mut frame, u64::from(position.offset)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other.map_err(failed)?,
        }
        let (length, sum) = file::announced(frame);
        let left =
            file.metadata().map_err(failed)?.len().saturating_sub(u64::from(position.offset));
        if u64::from(length) + file::FRAME as u64 > left {
            return Err(ReadError::Damaged(position));
        }
        let mut payload = vec![0; length as usize];
        file.read_exact_at(&mut payload, u64::from(position.offset) + file::FRAME as u64)
            .map_err(failed)?;
        if file::is_whole(length, sum, &payload) {
            Ok(Some(payload))
        } else {
            Err(ReadError::Damaged(position))
        }
    }

    fn file(&mut self, segment: u64) -> Result<&File, ReadError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            let path = file::path(&self.folder, segment);
            let opened = File::open(&path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => ReadError::Gone(segment),
                _ => ReadError::Io { segment, source },
            })?;
            self.open = Some((segment, opened));
        }
        self.open.as_ref().map(|(_, file)| file).ok_or(ReadError::Gone(segment))
    }
}
