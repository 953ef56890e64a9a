//! Descriptor files: what services that answer no reflection look like.
//!
//! In: a folder with descriptor sets (`protoc --descriptor_set_out --include_imports`), names of files in it.
//! Out: whether a file changed, and its content. Called by the owner of schemas, once a second for each file.
//!
//! **Invariants**: only files of the folder itself are read; an unchanged file is not read again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::descriptors::{DescriptorFiles, Limits};
use super::error::Fault;

/// The folder of descriptor files.
#[derive(Debug, Clone)]
pub struct DescriptorFolder {
    /// Its path; `None`: no file can be named.
    pub path: Option<PathBuf>,
    /// How much of a schema is read.
    pub limits: Limits,
}

/// What changes when a file does: times and size alone would miss a file that was moved into place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl DescriptorFolder {
    /// The file, unless it is still the one with this stamp.
    ///
    /// # Errors
    /// [`Fault`] says what to do.
    pub(crate) async fn read_unless(
        &self,
        name: &str,
        known: Option<Stamp>,
    ) -> Result<Option<(Stamp, DescriptorFiles)>, Fault> {
        let path = self.file(name)?;
        let unreadable = |source| Fault::Read { path: path.clone(), source };
        let found = tokio::fs::metadata(&path).await.map_err(unreadable)?;
        let stamp = Stamp {
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        if known == Some(stamp) {
            return Ok(None);
        }
        let most = self.limits.bytes as u64;
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
        // One byte more than is allowed shows that there is more.
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).await.map_err(unreadable)?;
        if bytes.len() > self.limits.bytes {
            return Err(Fault::TooLarge(self.limits.bytes));
        }
        let files = DescriptorFiles::of_set(name, Bytes::from(bytes), self.limits)?;
        Ok(Some((stamp, files)))
    }

    fn file(&self, name: &str) -> Result<PathBuf, Fault> {
        let folder = self.path.as_ref().ok_or(Fault::NoFolder)?;
        let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
        if is_plain { Ok(folder.join(name)) } else { Err(Fault::BadName) }
    }
}
