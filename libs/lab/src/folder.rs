//! A folder for what a test's processes write: gone after a success, kept and named after a failure.
//!
//! Processes that were killed a moment ago may still write, and tasks of a Nomad end a moment after their agent: the folder
//! is removed as soon as nobody does any more. What a killed test left is removed by the next lab: each folder has a file that
//! its owner holds locked, and the kernel gives the lock back when the owner ends, however it does (flock(2)).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::LabError;

const PREFIX: &str = "ayatori-";
/// Locked by the owner.
const OWNER: &str = ".owner";
/// Says that people want to look at the folder.
const KEPT: &str = ".kept";
/// Within which everything that writes has ended.
const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A folder of the lab's; dropped, it is removed, but kept where its thread panics.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The lock, as long as it is open.
    _owner: File,
    is_kept: bool,
}

impl Folder {
    /// Makes one whose name says what for, and removes those of labs that were killed.
    pub fn new(what: &str) -> Result<Self, LabError> {
        let root = std::env::temp_dir();
        remove_stale(&root);
        Self::below(&root, what)
            .map_err(LabError::io(format!("make a folder in {}", root.display())))
    }

    fn below(root: &Path, what: &str) -> io::Result<Self> {
        let path =
            tempfile::Builder::new().prefix(&format!("{PREFIX}{what}-")).tempdir_in(root)?.keep();
        // Locked before it has its name: nobody finds it unlocked.
        let new = path.join(".new");
        let owner = File::create(&new)?;
        owner.lock()?;
        fs::rename(new, path.join(OWNER))?;
        Ok(Self { path, _owner: owner, is_kept: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to people, for good; gives its path.
    pub fn keep(mut self) -> Result<PathBuf, LabError> {
        self.mark_kept()
            .map_err(LabError::io(format!("keep the folder {}", self.path.display())))?;
        Ok(self.path.clone())
    }

    fn mark_kept(&mut self) -> io::Result<()> {
        self.is_kept = true;
        File::create(self.path.join(KEPT)).map(drop)
    }
}

impl Drop for Folder {
    #[expect(clippy::print_stdout, reason = "where the logs of a failed test are")]
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if std::thread::panicking() {
            match self.mark_kept() {
                Ok(()) => println!("Logs and configurations are kept in {}", self.path.display()),
                Err(error) => {
                    println!("{} is kept until the next test: {error}", self.path.display())
                }
            }
        } else if let Err(error) = remove(&self.path, DEADLINE) {
            println!("{} is left: somebody writes there: {error}", self.path.display());
        }
    }
}

/// Removes a folder, once nobody makes files in it while that goes on.
#[expect(clippy::disallowed_methods, reason = "a drop cannot await")]
fn remove(path: &Path, deadline: Duration) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if begin.elapsed() >= deadline => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
            Ok(()) => return Ok(()),
        }
    }
}

/// Removes the folders of labs that were killed. Whatever cannot be looked at or removed is somebody else's.
fn remove_stale(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && !path.join(KEPT).exists() && is_orphan(&path.join(OWNER)) {
            fs::remove_dir_all(&path).ok();
        }
    }
}

fn is_orphan(owner: &Path) -> bool {
    File::open(owner).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_goes_though_somebody_still_writes_when_it_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::below(root.path(), "test").unwrap();
        // Twenty files a moment, for half a second, wherever the folder then is.
        let busy = folder.path().join("busy");
        fs::create_dir(&busy).unwrap();
        let writer = std::thread::spawn(move || {
            let begin = Instant::now();
            for number in 0.. {
                let is_over = begin.elapsed() > Duration::from_millis(500);
                let is_written = File::create(busy.join(format!("{number}"))).is_ok();
                if is_over || !(is_written || busy.exists()) {
                    break;
                }
            }
        });
        drop(folder);
        writer.join().unwrap();
        assert_eq!(names(root.path()), Vec::<String>::new());
    }

    #[test]
    fn a_folder_is_kept_for_people_and_only_that_of_a_killed_lab_is_removed_by_the_next() {
        let root = tempfile::tempdir().unwrap();
        let kept = Folder::below(root.path(), "failed").unwrap().keep().unwrap();
        let mine = Folder::below(root.path(), "running").unwrap();
        let other = root.path().join("ayatori-by-hand");
        fs::create_dir(&other).unwrap();
        // What a kill does: the lock is given back, nothing is removed.
        let mut killed = Folder::below(root.path(), "killed").unwrap();
        killed.is_kept = true;
        let left = killed.path().to_owned();
        remove_stale(root.path());
        assert!(left.exists(), "its owner lives");
        drop(killed);
        remove_stale(root.path());
        assert!(!left.exists());
        assert!(kept.exists() && mine.path().exists() && other.exists());
    }

    #[test]
    fn a_folder_of_a_test_that_fails_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::below(root.path(), "fails").unwrap();
        let path = folder.path().to_owned();
        let failed = std::thread::spawn(move || {
            let _folder = folder;
            panic!("as a test does");
        });
        assert!(failed.join().is_err());
        remove_stale(root.path());
        assert!(path.join(KEPT).exists());
    }
}
