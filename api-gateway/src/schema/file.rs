//! Descriptor files: what services that answer no reflection look like.
//!
//! In: a folder with descriptor sets (`protoc --descriptor_set_out --include_imports`), names of files in it.
//! Out: whether a file changed, and its content. Called by the owner of schemas, once a second for each file.
//!
//! **Invariants**: only files of the folder itself are read; an unchanged file is not read again.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use super::descriptors::{DescriptorFiles, Limits};
use super::error::Fault;

/// The folder of descriptor files.
#[derive(Debug, Clone)]
pub struct DescriptorFolder {
    /// Its path.
    pub path: PathBuf,
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

/// Why a source says nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    /// The file that cannot be used: it is read again when it changed.
    pub(super) stamp: Option<Stamp>,
}

impl DescriptorFolder {
    /// The file, unless it is still the one with this stamp.
    pub(super) async fn read(
        &self,
        name: &str,
        known: Option<Stamp>,
    ) -> Result<Option<(Stamp, DescriptorFiles)>, Failure> {
        let failure = |fault| Failure { fault, stamp: None };
        let path = self.file(name).map_err(failure)?;
        let unreadable = |source| failure(Fault::Read { path: path.clone(), source });
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
        let bytes = self.content(&path).await.map_err(unreadable)?;
        let files = if bytes.len() > self.limits.bytes {
            Err(Fault::TooLarge(self.limits.bytes))
        } else {
            DescriptorFiles::of_set(name, bytes.into(), self.limits)
        };
        let files = files.map_err(|fault| Failure { fault, stamp: Some(stamp) })?;
        Ok(Some((stamp, files)))
    }

    /// At most one byte more than is allowed, which shows that there is more.
    async fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let most = (self.limits.bytes as u64).saturating_add(1);
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(most).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    fn file(&self, name: &str) -> Result<PathBuf, Fault> {
        let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
        if is_plain { Ok(self.path.join(name)) } else { Err(Fault::BadName) }
    }
}
