//! Which files there are: `DATA/alloc/ALLOCATION/alloc/logs/TASK.stdout.N`.
//!
//! In: Nomad's data directory. Out: numbers of files by stream, and files opened safely. Allocation directories belong to root
//! (0700), so the agent needs `CAP_DAC_READ_SEARCH`; with it a link that a task puts into its directory could lead anywhere.
//! So no link is followed on the way, and only regular files are opened: no FIFO blocks, no other file is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// What one task writes to one of its outputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamName {
    pub(super) allocation: String,
    pub(super) task: String,
    /// `stdout` or `stderr`.
    pub(super) output: String,
}

impl StreamName {
    /// The source's lasting name.
    pub(super) fn source(&self) -> String {
        format!("file:{}/{}.{}", self.allocation, self.task, self.output)
    }

    /// Of a source; `None` when it is no file's.
    pub(super) fn of_source(name: &str) -> Option<Self> {
        let (allocation, rest) = name.strip_prefix("file:")?.split_once('/')?;
        let (task, output) = rest.rsplit_once('.')?;
        Some(Self {
            allocation: allocation.to_owned(),
            task: task.to_owned(),
            output: output.to_owned(),
        })
    }

    /// Where its file of a number is.
    pub(super) fn path(&self, data_dir: &Path, number: u64) -> PathBuf {
        let name = format!("{}.{}.{number}", self.task, self.output);
        logs_of(data_dir, &self.allocation).join(name)
    }
}

fn logs_of(data_dir: &Path, allocation: &str) -> PathBuf {
    data_dir.join("alloc").join(allocation).join("alloc").join("logs")
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The numbers of all files by stream.
    pub(super) streams: BTreeMap<StreamName, BTreeSet<u64>>,
    /// Allocations whose files cannot be listed now; that does not mean that they have none.
    pub(super) unknown: BTreeMap<String, io::Error>,
}

/// `None` where nothing is, which is no failure: an allocation may go at any moment, or not be set up yet.
pub(super) fn unless_absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        other => other.map(Some),
    }
}

/// Finds all files.
///
/// # Errors
/// When the directory of allocations cannot be read; one that is not there yet has none.
pub(super) fn scan(data_dir: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let Some(allocations) = unless_absent(fs::read_dir(data_dir.join("alloc")))? else {
        return Ok(found);
    };
    for allocation in allocations.flatten() {
        let Ok(allocation) = allocation.file_name().into_string() else { continue };
        let files = match unless_absent(fs::read_dir(logs_of(data_dir, &allocation))) {
            Ok(files) => files.into_iter().flatten(),
            Err(error) => {
                found.unknown.insert(allocation, error);
                continue;
            }
        };
        for file in files.flatten() {
            let name = file.file_name();
            if let Some((task, output, number)) = name.to_str().and_then(parts) {
                let name = StreamName {
                    allocation: allocation.clone(),
                    task: task.to_owned(),
                    output: output.to_owned(),
                };
                found.streams.entry(name).or_default().insert(number);
            }
        }
    }
    Ok(found)
}

/// `TASK.stdout.N`; a task's name may have dots.
fn parts(name: &str) -> Option<(&str, &str, u64)> {
    let (rest, number) = name.rsplit_once('.')?;
    let (task, output) = rest.rsplit_once('.')?;
    let is_output = matches!(output, "stdout" | "stderr");
    (is_output && !task.is_empty()).then_some((task, output, number.parse().ok()?))
}

/// A file, and which one it is on its disk.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) inode: u64,
    pub(super) size: u64,
}

/// Opens a regular file, following no link below the data directory.
///
/// # Errors
/// What the system says; a link or anything but a regular file is refused.
pub(super) fn open(data_dir: &Path, path: &Path) -> io::Result<Opened> {
    let root = File::open(data_dir)?;
    let below = path.strip_prefix(data_dir).map_err(io::Error::other)?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
    let file = File::from(openat2(&root, below, how)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(Opened { inode: metadata.ino(), size: metadata.len(), file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_taken_apart() {
        assert_eq!(parts("web.stdout.0"), Some(("web", "stdout", 0)));
        assert_eq!(parts("a.b.stderr.12"), Some(("a.b", "stderr", 12)));
        for other in [".web.stdout.fifo", "web.stdout", "web.log.1", ".stdout.1", "web.stdout.x"] {
            assert_eq!(parts(other), None, "{other}");
        }
        let name = StreamName {
            allocation: "1f".to_owned(),
            task: "a.b".to_owned(),
            output: "stderr".to_owned(),
        };
        assert_eq!(StreamName::of_source(&name.source()), Some(name));
        assert_eq!(StreamName::of_source("journal:x"), None);
    }

    #[test]
    fn a_link_is_not_followed_wherever_it_is() {
        let data = tempfile::tempdir().unwrap();
        let logs = logs_of(data.path(), "1f");
        fs::create_dir_all(&logs).unwrap();
        let secret = data.path().join("secret");
        fs::write(&secret, "x").unwrap();
        std::os::unix::fs::symlink(&secret, logs.join("t.stdout.0")).unwrap();
        fs::create_dir_all(data.path().join("alloc/2f")).unwrap();
        std::os::unix::fs::symlink(
            data.path().join("alloc/1f/alloc"),
            data.path().join("alloc/2f/alloc"),
        )
        .unwrap();
        fs::write(logs.join("t.stdout.1"), "y").unwrap();
        let try_open = |allocation: &str, number| {
            let path = logs_of(data.path(), allocation).join(format!("t.stdout.{number}"));
            open(data.path(), &path).map(|opened| opened.size).map_err(|error| error.raw_os_error())
        };
        assert_eq!(try_open("1f", 0), Err(Some(libc::ELOOP)));
        assert_eq!(try_open("2f", 1), Err(Some(libc::ELOOP)));
        assert_eq!(try_open("1f", 1), Ok(1));
    }
}
