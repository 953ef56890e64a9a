//! What the pipeline needs of stage 1: the seam at which tests put entries of their own, and what stands there otherwise.

use std::path::PathBuf;
use std::time::Duration;

use service::ErrorChain;
use tracing::warn;

use crate::logs::config::Sources;
use crate::logs::entry::{Entry, SourceId};
use crate::logs::position::{Positions, SourcePosition};
use crate::logs::read::journal::{Headroom, Settings, directories, headroom};
use crate::logs::read::{ReadError, Reader, Step};

/// Entries count as at risk when journald can write so much before it deletes the file that they are in …
const MARGIN_BYTES: u64 = 32 * 1024 * 1024;
/// … or begin so many files.
const MARGIN_FILES: u64 = 1;

/// Sources of entries, read from where a saved position says.
pub trait Source {
    /// Fills `entry` with the next one, or says what else is the case. `now_us` is the wall clock.
    ///
    /// # Errors
    /// When a source cannot be read now; it is tried again in its turn.
    fn next(&mut self, entry: &mut Entry, now_us: u64) -> Result<Step, ReadError>;

    /// Waits until there may be more, at most this long.
    ///
    /// # Errors
    /// When the system cannot wait.
    fn wait(&mut self, longest: Duration) -> Result<(), ReadError>;

    /// A source's lasting name.
    fn name(&self, source: SourceId) -> &str;

    /// Whether entries after these places (by the source's name) are about to be deleted.
    fn is_at_risk(&mut self, through: &dyn Fn(&str) -> Option<String>) -> bool;

    /// Lets go of files, deleted ones among them; reading goes on where it was.
    fn release(&mut self);
}

/// The host's journals and files.
#[derive(Debug)]
pub struct HostSource {
    reader: Reader,
    journals: Vec<Watched>,
}

/// A journal, and by what rules journald deletes from it.
#[derive(Debug)]
struct Watched {
    name: String,
    directory: Option<PathBuf>,
    namespace: Option<String>,
    settings: Settings,
}

impl Watched {
    /// Whether what follows this place is about to be deleted.
    fn is_at_risk(&self, through: &str) -> bool {
        // Looked for each time: journald makes them when it needs them, such as at `journalctl --flush`.
        let directories = directories(self.directory.as_ref(), self.namespace.as_deref());
        match headroom(&directories, &self.settings, through) {
            Ok(Headroom { bytes, files, .. }) => bytes < MARGIN_BYTES || files <= MARGIN_FILES,
            Err(error) => {
                // To spool in vain is better than to lose.
                warn!(journal = self.name, error = %ErrorChain(&error), "It cannot be told how near journald is to deleting");
                true
            }
        }
    }
}

impl HostSource {
    /// Opens the sources; the second value are the positions of those that had none.
    ///
    /// # Errors
    /// When libsystemd is missing, a journal cannot be opened, or a saved position is none.
    pub fn open(
        sources: &Sources,
        saved: &Positions,
        now_us: u64,
    ) -> Result<(Self, Vec<(SourceId, SourcePosition)>), ReadError> {
        let (journal, files) = (sources.journal.as_ref(), sources.files.as_ref());
        let (reader, begun) = Reader::open(journal, files, saved, now_us)?;
        let journals = journal.map_or_else(Vec::new, |config| {
            let named = config.namespaces.iter().map(|name| Some(name.as_str()));
            let all = std::iter::once(None).chain(named);
            all.map(|namespace| Watched {
                name: namespace.map_or("journal".to_owned(), |name| format!("journal:{name}")),
                directory: config.directory.clone(),
                namespace: namespace.map(str::to_owned),
                settings: Settings::read(namespace),
            })
            .collect()
        });
        Ok((Self { reader, journals }, begun))
    }
}

impl Source for HostSource {
    fn next(&mut self, entry: &mut Entry, now_us: u64) -> Result<Step, ReadError> {
        self.reader.next(entry, now_us)
    }

    fn wait(&mut self, longest: Duration) -> Result<(), ReadError> {
        self.reader.wait(longest)
    }

    fn name(&self, source: SourceId) -> &str {
        self.reader.name(source)
    }

    fn is_at_risk(&mut self, through: &dyn Fn(&str) -> Option<String>) -> bool {
        let is_at_risk = |journal: &Watched| {
            through(&journal.name).is_some_and(|through| journal.is_at_risk(&through))
        };
        self.journals.iter().any(is_at_risk)
    }

    fn release(&mut self) {
        self.reader.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a closed journal file with one entry.
    fn header(number: u64) -> Vec<u8> {
        let mut bytes = vec![0; 208];
        bytes[..8].copy_from_slice(b"LPKSHHRH");
        // Archived; the sequence; how many entries, the last and the first number.
        (bytes[16], bytes[72]) = (2, 7);
        for (at, value) in [(152, 1), (160, number), (168, number)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_journal_whose_directory_comes_after_the_start_is_watched_too() {
        let folder = tempfile::tempdir().unwrap();
        let watched = Watched {
            name: "journal".to_owned(),
            directory: Some(folder.path().to_owned()),
            namespace: None,
            settings: Settings::default(),
        };
        let machine = folder.path().join("0123456789abcdef0123456789abcdef");
        std::fs::create_dir(&machine).unwrap();
        // As many files as journald keeps.
        for number in 1..=100 {
            std::fs::write(machine.join(format!("system@{number}.journal")), header(number))
                .unwrap();
        }
        assert!(watched.is_at_risk("head"));
    }
}
