//! A file of lines that rotates by size and is on the disk before anyone relies on it.
//!
//! In: whole lines. Out: `PATH`, and older files as `PATH.1`, `PATH.2` … up to the configured number. Used by the file output and
//! for dead letters. Synchronous; callers run it where blocking is allowed.
//!
//! **Invariants**: after `Ok` the lines survive a power cut; after an error the file ends where it ended before, unless
//! the disk refuses even that, and then the torn line gets its end before the next one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::config::LineFileConfig;

/// A step on the file that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}", path.display())]
pub struct LineFileError {
    pub(super) step: &'static str,
    pub(super) path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

/// The current file.
#[derive(Debug)]
pub(super) struct LineFile {
    config: LineFileConfig,
    file: File,
    size: u64,
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LineFileError + 'a {
    move |source| LineFileError { step, path: path.to_owned(), source }
}

impl LineFile {
    /// Opens it for appending; folders that are missing are made.
    ///
    /// # Errors
    /// When this user may not make or write it.
    pub(super) fn open(config: LineFileConfig) -> Result<Self, LineFileError> {
        let folder = folder(&config.path);
        fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
        let path = &config.path;
        let mut options = OpenOptions::new();
        let options = options.create(true).read(true).append(true);
        let mut file = options.open(path).map_err(failed("open", path))?;
        let mut size = file.metadata().map_err(failed("read the size of", path))?.len();
        if size > 0 && !ends_with_line_end(&mut file).map_err(failed("read the end of", path))? {
            file.write_all(b"\n").map_err(failed("end the torn line of", path))?;
            size += 1;
        }
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("save the folder", folder))?;
        Ok(Self { config, file, size })
    }

    /// Appends lines and waits until they are on the disk; rotates first when they would make the file too large.
    ///
    /// # Errors
    /// Then none of the lines count as written.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), LineFileError> {
        let length = lines.len() as u64;
        if self.size > 0 && self.size + length > self.config.max_bytes {
            self.rotate()?;
        }
        let path = &self.config.path;
        let written = self.file.write_all(lines).map_err(failed("write", path));
        let saved = written.and_then(|()| self.file.sync_data().map_err(failed("save", path)));
        match saved {
            Ok(()) => {
                self.size += length;
                Ok(())
            }
            Err(error) => {
                if let Err(source) = self.file.set_len(self.size) {
                    let back = failed("take back half a write to", path)(source);
                    tracing::warn!(error = %service::ErrorChain(&back), "Lines are torn");
                    // Opening again ends the torn line.
                    *self = Self::open(self.config.clone())?;
                }
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> Result<(), LineFileError> {
        for number in (1..self.config.keep).rev() {
            let from = numbered(&self.config.path, number - 1);
            let renamed = fs::rename(&from, numbered(&self.config.path, number));
            unless_gone(renamed).map_err(failed("rotate", &from))?;
        }
        if self.config.keep == 1 {
            let path = &self.config.path;
            unless_gone(fs::remove_file(path)).map_err(failed("remove", path))?;
        }
        *self = Self::open(self.config.clone())?;
        Ok(())
    }
}

/// A file that somebody has moved or removed is out of the way.
fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn ends_with_line_end(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// `PATH` for 0, else `PATH.NUMBER`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_owned(),
        number => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            name.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: PathBuf, max_bytes: u64, keep: u32) -> LineFileConfig {
        LineFileConfig { path, max_bytes, keep }
    }

    fn text(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/demand/x.jsonl");
        let mut file = LineFile::open(config(path.clone(), 4, 3)).unwrap();
        for line in ["a\n", "b\n", "c\n", "dddddddd\n", "e\n", "f\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path).as_deref(), Some("e\nf\n"));
        assert_eq!(text(&numbered(&path, 1)).as_deref(), Some("dddddddd\n"));
        assert_eq!(text(&numbered(&path, 2)).as_deref(), Some("c\n"));
        assert_eq!(text(&numbered(&path, 3)), None);
    }

    #[test]
    fn a_file_goes_on_after_a_restart_and_a_torn_line_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        fs::write(&path, "whole\ntor").unwrap();
        let mut file = LineFile::open(config(path.clone(), 100, 1)).unwrap();
        file.append(b"next\n").unwrap();
        assert_eq!(text(&path).as_deref(), Some("whole\ntor\nnext\n"));
    }

    #[test]
    fn only_the_current_file_is_kept_where_one_is_configured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        let mut file = LineFile::open(config(path.clone(), 3, 1)).unwrap();
        file.append(b"a\n").unwrap();
        file.append(b"b\n").unwrap();
        assert_eq!(text(&path).as_deref(), Some("b\n"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::remove_file(&path).unwrap();
        file.append(b"c\n").unwrap();
        assert_eq!(text(&path).as_deref(), Some("c\n"), "somebody removed it");
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let mut file = LineFile::open(config("/dev/full".into(), 100, 1)).unwrap();
        let error = file.append(b"a\n").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/full");
    }
}
