//! The state directory: how far each destination was delivered, kept over restarts, kills, power cuts and full disks.
//!
//! In: [`Saved`] after every acknowledged batch. Out: the newest that is whole, at the next start.
//!
//! ```text
//! lock                       locked while an agent runs
//! NAME.position.a, .b, .c    one destination: three slots, written in turn and in place
//! ```
//!
//! A slot is never overwritten while it is the newest, nor while it is the newest that was synced. So a kill in the middle of
//! a write leaves the one before, and a power cut leaves the last synced one. Files keep their blocks, so that a full disk
//! does not stop positions.
//!
//! **Invariants**: one process at a time has the directory; positions that cannot be understood end the start with the next
//! move, because starting over silently would lose or repeat days of logs. **Absent**: what cursors mean.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::logs::position::Positions;

mod slot;

use slot::{Found, Slot};

/// What is kept of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The last batch before which all are delivered, dead-lettered or counted as lost.
    pub delivered: u64,
    /// How far each source had come with it.
    #[serde(flatten)]
    pub positions: Positions,
}

/// Why positions cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of the state directory.
    #[error("cannot {step} {}", file.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// To what.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another agent has the directory.
    #[error("the state directory {} is in use by another host-agent: stop it, or give this one its own `logs.state_dir`", .0.display())]
    InUse(PathBuf),
    /// A later version wrote the file.
    #[error("{} was written by a later version (form {form}, this one knows {}): run that version, or delete {destination}.position.* to begin anew as `logs.journal.begin` says", file.display(), slot::FORM)]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its form.
        form: u32,
        /// Whose it is.
        destination: String,
    },
    /// No slot is whole.
    #[error("{} cannot be understood ({why}), and no other slot is whole: restore it, or delete {destination}.position.* to begin anew as `logs.journal.begin` says, which loses or repeats what lies between", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Whose it is.
        destination: String,
    },
}

impl StoreError {
    fn io(step: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, file: file.to_owned(), source }
    }
}

/// The state directory, locked.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// Locked as long as this value lives.
    _lock: File,
}

impl Store {
    /// Makes the directory if need be and locks it.
    ///
    /// # Errors
    /// When it cannot be written, or another process has it.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(StoreError::io("make the folder", directory))?;
        let file = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .map_err(StoreError::io("open", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(StoreError::io("lock", &file)(source)),
        }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a destination's positions are written, and what they were: `None` when the destination is new.
    ///
    /// # Errors
    /// When a slot cannot be read, or none can be understood.
    pub fn position(&self, destination: &str) -> Result<(PositionFile, Option<Saved>), StoreError> {
        let mut newest: Option<(usize, u64, Saved)> = None;
        let mut damaged = None;
        let mut slots = Vec::new();
        for (index, letter) in ["a", "b", "c"].into_iter().enumerate() {
            let path = self.directory.join(format!("{destination}.position.{letter}"));
            let (slot, found) = Slot::open(&path)?;
            slots.push(slot);
            match found {
                Found::Empty => {}
                Found::Whole { generation, saved } => {
                    if newest.as_ref().is_none_or(|(_, known, _)| generation > *known) {
                        newest = Some((index, generation, saved));
                    }
                }
                Found::Newer(form) => {
                    let destination = destination.to_owned();
                    return Err(StoreError::Newer { file: path, form, destination });
                }
                Found::Damaged(why) => damaged = Some((path, why)),
            }
        }
        if let (None, Some((file, why))) = (&newest, damaged) {
            return Err(StoreError::Damaged { file, why, destination: destination.to_owned() });
        }
        let folder = File::open(&self.directory).and_then(|folder| folder.sync_all());
        folder.map_err(StoreError::io("sync", &self.directory))?;
        let at = newest.as_ref().map_or(0, |(index, ..)| *index);
        let generation = newest.as_ref().map_or(0, |(_, generation, _)| *generation);
        // What was read from the disk may not have been synced by who wrote it.
        let file = PositionFile { slots, latest: at, synced: at, generation };
        Ok((file, newest.map(|(.., saved)| saved)))
    }
}

/// Where one destination's position is written; one writer.
#[derive(Debug)]
pub struct PositionFile {
    slots: Vec<Slot>,
    latest: usize,
    synced: usize,
    generation: u64,
}

impl PositionFile {
    /// Replaces what was saved; survives the end of this process, however it comes.
    ///
    /// # Errors
    /// When it cannot be written: what was saved before stays.
    pub fn save(&mut self, saved: &Saved) -> Result<(), StoreError> {
        let free = (0..3).find(|slot| *slot != self.latest && *slot != self.synced).unwrap_or(0);
        let generation = self.generation.saturating_add(1);
        if let Some(slot) = self.slots.get_mut(free) {
            slot.write(generation, saved)?;
        }
        (self.latest, self.generation) = (free, generation);
        Ok(())
    }

    /// Makes what was saved last survive the end of the machine too.
    ///
    /// # Errors
    /// When it cannot be synced: what was synced before stays.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if let Some(slot) = self.slots.get(self.latest) {
            slot.sync()?;
        }
        self.synced = self.latest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::position::SourcePosition;

    fn saved(delivered: u64) -> Saved {
        let position =
            SourcePosition { through: format!("s=1;i={delivered}"), open: vec!["s=1;i=1".into()] };
        let sources = [("journal".to_owned(), position)].into();
        Saved { delivered, positions: Positions { sources } }
    }

    fn found(store: &Store) -> Option<Saved> {
        store.position("fluentd").unwrap().1
    }

    /// Cuts every slot but the oldest `keep` of the newest generations: what a power cut may leave.
    fn tear(folder: &Path, letters: &[&str]) {
        for letter in letters {
            let file = folder.join(format!("fluentd.position.{letter}"));
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len().min(60);
            bytes[middle] ^= 0xff;
            fs::write(&file, bytes).unwrap();
        }
    }

    #[test]
    fn what_was_saved_last_is_found_again_and_a_new_destination_has_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (mut file, before) = store.position("fluentd").unwrap();
        assert_eq!(before, None);
        for number in 1..20 {
            file.save(&saved(number)).unwrap();
            if number % 5 == 0 {
                file.sync().unwrap();
            }
            assert_eq!(found(&store), Some(saved(number)));
        }
        let (mut again, _) = store.position("fluentd").unwrap();
        again.save(&saved(20)).unwrap();
        assert_eq!(found(&store), Some(saved(20)));
    }

    #[test]
    fn whatever_is_torn_after_it_the_synced_one_is_found_and_without_any_the_start_is_refused() {
        for after in 1..5_usize {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            let (mut file, _) = store.position("fluentd").unwrap();
            file.save(&saved(1)).unwrap();
            file.sync().unwrap();
            for number in (2..).take(after) {
                file.save(&saved(number)).unwrap();
            }
            let letters: Vec<&str> = ["a", "b", "c"]
                .into_iter()
                .enumerate()
                .filter_map(|(index, letter)| (index != file.synced).then_some(letter))
                .collect();
            tear(folder.path(), &letters[..after.min(2)]);
            assert!(found(&store).is_some());
            tear(folder.path(), &letters[after.min(2)..]);
            assert_eq!(found(&store), Some(saved(1)));
            let last = ["a", "b", "c"][file.synced];
            tear(folder.path(), &[last]);
            let error = store.position("fluentd").unwrap_err().to_string();
            assert!(error.contains("cannot be understood (its "), "{error}");
        }
    }

    #[test]
    fn a_later_version_s_positions_are_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        fs::write(folder.path().join("fluentd.position.b"), "ayatori-position 2 1 2 0\n{}")
            .unwrap();
        let error = store.position("fluentd").unwrap_err().to_string();
        assert!(error.contains("written by a later version (form 2, this one knows 1)"), "{error}");
        assert!(error.contains("delete fluentd.position.*"), "{error}");
    }

    #[test]
    fn two_agents_cannot_have_one_directory() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(folder.path()).unwrap();
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is in use by another host-agent"), "{error}");
        drop(first);
        Store::open(folder.path()).unwrap();
    }
}
