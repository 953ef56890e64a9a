//! One slot of a position: a file that is overwritten in place.
//!
//! ```text
//! ayatori-position FORM GENERATION LENGTH CRC32C
//! JSON of LENGTH bytes, then newlines up to a whole block
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Saved, StoreError};

/// First word of a slot.
const MAGIC: &str = "ayatori-position";
/// The form that this version writes; there is no older one.
pub(super) const FORM: u32 = 1;
/// Slots grow by blocks, so that a longer position rarely needs room on a disk that may be full.
const BLOCK: usize = 4096;

/// What a slot holds.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing was written yet.
    Empty,
    /// A position.
    Whole { generation: u64, saved: Saved },
    /// A later version's.
    Newer(u32),
    /// Something else, or a torn write.
    Damaged(String),
}

/// A slot's file.
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
    opened: File,
    size: usize,
}

impl Slot {
    /// Opens or makes it, and says what it holds.
    pub(super) fn open(path: &Path) -> Result<(Self, Found), StoreError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(StoreError::io("read", path)(source)),
        };
        let opened = File::options().create(true).truncate(false).write(true).open(path);
        let opened = opened.map_err(StoreError::io("open", path))?;
        let mut slot = Self { path: path.to_owned(), opened, size: bytes.len() };
        if bytes.iter().all(|byte| *byte == b'\n') {
            slot.put(&[])?;
            return Ok((slot, Found::Empty));
        }
        Ok((slot, understand(&bytes)))
    }

    /// Overwrites it.
    pub(super) fn write(&mut self, generation: u64, saved: &Saved) -> Result<(), StoreError> {
        // A map with strings as keys has a JSON form always.
        let body = serde_json::to_string_pretty(saved).unwrap_or_default();
        let sum = crc32c::crc32c(body.as_bytes());
        let text = format!("{MAGIC} {FORM} {generation} {} {sum:08x}\n{body}", body.len());
        self.put(text.as_bytes())
    }

    fn put(&mut self, text: &[u8]) -> Result<(), StoreError> {
        let size = self.size.max(text.len().next_multiple_of(BLOCK)).max(BLOCK);
        let mut bytes = text.to_vec();
        bytes.resize(size, b'\n');
        let written = self.opened.write_all_at(&bytes, 0);
        written.map_err(StoreError::io("write", &self.path))?;
        self.size = size;
        Ok(())
    }

    /// Waits until it is on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.opened.sync_data().map_err(StoreError::io("sync", &self.path))
    }
}

fn understand(bytes: &[u8]) -> Found {
    let damaged = |why: &str| Found::Damaged(why.to_owned());
    let text = String::from_utf8_lossy(bytes);
    let Some((head, rest)) = text.split_once('\n') else { return damaged("it has no first line") };
    let words: Vec<&str> = head.split(' ').collect();
    let [MAGIC, form, generation, length, sum] = words.as_slice() else {
        return damaged("its first line is not a position's");
    };
    match form.parse() {
        Ok(FORM) => {}
        Ok(form) if form > FORM => return Found::Newer(form),
        _ => return damaged("its form is unknown"),
    }
    let body = length.parse().ok().and_then(|length: usize| rest.get(..length));
    let (Some(body), Ok(generation)) = (body, generation.parse()) else {
        return damaged("its first line does not fit");
    };
    if u32::from_str_radix(sum, 16).ok() != Some(crc32c::crc32c(body.as_bytes())) {
        return damaged("its checksum does not fit");
    }
    match serde_json::from_str(body) {
        Ok(saved) => Found::Whole { generation, saved },
        Err(error) => Found::Damaged(error.to_string()),
    }
}
