//! One file of the spool: batches one after the other, appended and synced, read by place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{SpoolError, record};
use crate::logs::batch::Batch;

/// Length and checksum before each batch.
const FRAME: usize = 8;
const EXTENSION: &str = "spool";

/// A file of the spool.
#[derive(Debug)]
pub(super) struct Segment {
    file: PathBuf,
    opened: File,
    /// Bytes that are whole.
    size: u64,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    /// Where its payload begins.
    offset: u64,
    length: usize,
}

/// The files of a folder, oldest first; none when there is no folder.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SpoolError::at("read", directory)(source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(SpoolError::at("read", directory))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Segment {
    /// A new file whose first batch will be `number`.
    pub(super) fn create(directory: &Path, number: u64) -> Result<Self, SpoolError> {
        fs::create_dir_all(directory).map_err(SpoolError::at("make", directory))?;
        let file = directory.join(format!("{number:020}.{EXTENSION}"));
        let opened = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&file)
            .map_err(SpoolError::at("make", &file))?;
        // The file's name must survive a power cut as its content does.
        let folder = File::open(directory).and_then(|folder| folder.sync_all());
        folder.map_err(SpoolError::at("sync", directory))?;
        Ok(Self { file, opened, size: 0, places: Vec::new() })
    }

    /// An existing file: what is whole, the heads of its batches, and whether something was cut off.
    pub(super) fn open(file: PathBuf) -> Result<(Self, Vec<Batch>, bool), SpoolError> {
        let opened = File::options().read(true).write(true).open(&file);
        let opened = opened.map_err(SpoolError::at("open", &file))?;
        let length = opened.metadata().map_err(SpoolError::at("open", &file))?.len();
        let mut segment = Self { file, opened, size: 0, places: Vec::new() };
        let mut heads = Vec::new();
        while let Some((place, bytes)) = segment.frame_at(segment.size, length)? {
            let Some(head) = record::decode_head(&bytes) else { break };
            segment.size = place.offset.saturating_add(place.length as u64);
            segment.places.push(Place { number: head.number, ..place });
            heads.push(head);
        }
        let is_damaged = segment.size < length;
        if is_damaged {
            let cut = segment.opened.set_len(segment.size);
            cut.map_err(SpoolError::at("cut off the torn end of", &segment.file))?;
        }
        Ok((segment, heads, is_damaged))
    }

    /// The frame that begins here, if it is whole.
    fn frame_at(&self, offset: u64, end: u64) -> Result<Option<(Place, Bytes)>, SpoolError> {
        let begin = offset.saturating_add(FRAME as u64);
        if begin > end {
            return Ok(None);
        }
        let mut frame = [0; FRAME];
        self.opened
            .read_exact_at(&mut frame, offset)
            .map_err(SpoolError::at("read", &self.file))?;
        let [a, b, c, d, e, f, g, h] = frame;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if begin.saturating_add(length as u64) > end {
            return Ok(None);
        }
        let bytes = self.bytes_at(begin, length)?;
        if crc32c::crc32c(&bytes) != u32::from_le_bytes([e, f, g, h]) {
            return Ok(None);
        }
        Ok(Some((Place { number: 0, offset: begin, length }, bytes)))
    }

    fn bytes_at(&self, offset: u64, length: usize) -> Result<Bytes, SpoolError> {
        let mut bytes = vec![0; length];
        self.opened
            .read_exact_at(&mut bytes, offset)
            .map_err(SpoolError::at("read", &self.file))?;
        Ok(Bytes::from(bytes))
    }

    /// Appends a batch and syncs it; a failed one leaves the file as it was.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        let payload = record::encode(batch);
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::FileTooLarge.into());
        let length = length.map_err(SpoolError::at("append to", &self.file))?;
        let mut framed = Vec::with_capacity(FRAME + payload.len());
        framed.extend_from_slice(&length.to_le_bytes());
        framed.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
        framed.extend_from_slice(&payload);
        let written = self.opened.write_all_at(&framed, self.size);
        if let Err(source) = written.and_then(|()| self.opened.sync_data()) {
            let cut = self.opened.set_len(self.size);
            cut.map_err(SpoolError::at("cut off the torn end of", &self.file))?;
            return Err(SpoolError::at("append to", &self.file)(source));
        }
        let offset = self.size.saturating_add(FRAME as u64);
        self.places.push(Place { number: batch.number, offset, length: payload.len() });
        self.size = offset.saturating_add(payload.len() as u64);
        Ok(())
    }

    /// Bytes on disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.size
    }

    /// The number of its first batch.
    pub(super) fn first(&self) -> Option<u64> {
        self.places.first().map(|place| place.number)
    }

    /// The number of its last batch.
    pub(super) fn last(&self) -> Option<u64> {
        self.places.last().map(|place| place.number)
    }

    /// Its first batch with this number or a higher one.
    pub(super) fn read(&self, number: u64) -> Result<Option<Batch>, SpoolError> {
        let Some(place) = self.places.iter().find(|place| place.number >= number) else {
            return Ok(None);
        };
        let batch = record::decode(&self.bytes_at(place.offset, place.length)?);
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        batch.ok_or_else(damaged).map(Some).map_err(SpoolError::at("read", &self.file))
    }

    /// Its batches, without their records.
    pub(super) fn heads(&self) -> Result<Vec<Batch>, SpoolError> {
        let bytes = self.places.iter().map(|place| self.bytes_at(place.offset, place.length));
        bytes
            .filter_map(|bytes| bytes.map(|bytes| record::decode_head(&bytes)).transpose())
            .collect()
    }

    /// Deletes the file.
    pub(super) fn remove(self) -> Result<(), SpoolError> {
        fs::remove_file(&self.file).map_err(SpoolError::at("remove", &self.file))
    }
}
