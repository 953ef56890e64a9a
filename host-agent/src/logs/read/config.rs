//! `[logs.journal]` and `[logs.files]`: what is read, and from where at the first start.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Problems;

/// Shorter pieces of a line would cost more in names than they hold.
const SHORTEST_PIECE: usize = 1024;
/// Longer ones would make memory a matter of what tasks write.
const LONGEST_PIECE: usize = 1024 * 1024;

/// `[logs.journal]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawJournal {
    /// Whether the host's journal is read.
    pub enabled: bool,
    /// Journal namespaces (`LogNamespace=` of units) that are read too, each with a position of its own.
    pub namespaces: Vec<String>,
    /// Which entries are read: those that have all fields of one of these groups, such as `[["_SYSTEMD_UNIT=docker.service"],
    /// ["_TRANSPORT=kernel", "PRIORITY=3"]]`. Several values of one field in a group: any of them. None: all entries.
    pub matches: Vec<Vec<String>>,
    /// Where the first start begins: `end` (what comes from then on), `boot` (this boot's entries) or `hours`.
    pub begin: Begin,
    /// With `begin = "hours"`: how far back.
    pub begin_hours: u32,
    /// The agent's own unit. Its lines are read like others, but at most so many in a minute as the next key says.
    pub own_unit: String,
    /// Lines of the agent itself that are read in a minute, so that what it says about sending is not sent in a circle.
    /// 0: none. `journalctl -u` shows them all.
    pub own_lines_per_minute: u32,
    /// Reads journal files below this directory instead of the host's.
    pub directory: Option<PathBuf>,
}

impl Default for RawJournal {
    fn default() -> Self {
        Self {
            enabled: true,
            namespaces: Vec::new(),
            matches: Vec::new(),
            begin: Begin::End,
            begin_hours: 24,
            own_unit: "host-agent.service".to_owned(),
            own_lines_per_minute: 60,
            directory: None,
        }
    }
}

/// Where the first start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// What comes from then on.
    End,
    /// The entries of this boot.
    Boot,
    /// The entries of the last hours.
    Hours,
}

/// `[logs.files]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFiles {
    /// Nomad's data directory, below which `exec` and `raw_exec` tasks write: `alloc/ID/alloc/logs/TASK.stdout.N`.
    /// Without it no files are read.
    pub nomad_data_dir: Option<PathBuf>,
    /// Whether the first start reads what is there already. Files that come later are always read from their beginning.
    pub from_beginning: bool,
    /// How often files are looked at, milliseconds.
    pub poll_ms: u64,
    /// Longer lines are read in pieces of so many bytes.
    pub line_bytes: usize,
}

impl Default for RawFiles {
    fn default() -> Self {
        Self { nomad_data_dir: None, from_beginning: false, poll_ms: 250, line_bytes: 64 * 1024 }
    }
}

/// Which journals are read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// Namespaces beside the host's own journal.
    pub namespaces: Vec<String>,
    /// Groups of `FIELD=VALUE`; an entry must match one group. Empty: all entries.
    pub matches: Vec<Vec<String>>,
    /// Where a source without a position begins.
    pub begin: FirstStart,
    /// The agent's own unit.
    pub own_unit: String,
    /// How many of its lines are read in a minute.
    pub own_lines_per_minute: u32,
    /// Where journal files are, if not where journald keeps them.
    pub directory: Option<PathBuf>,
}

/// Where a journal without a saved position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstStart {
    /// After its last entry.
    End,
    /// At the first entry of this boot.
    Boot,
    /// At the first entry that is younger.
    Ago(Duration),
}

/// Which files are read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Nomad's data directory.
    pub nomad_data_dir: PathBuf,
    /// Whether the first start reads what is there already.
    pub from_beginning: bool,
    /// How often files are looked at.
    pub poll: Duration,
    /// The longest piece of a line.
    pub line_bytes: usize,
}

impl RawJournal {
    /// What it means; `None` when no journal is read.
    pub fn resolve(self, problems: &mut Problems) -> Option<JournalConfig> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        for name in self.namespaces.iter().filter(|name| !is_name(name)) {
            let message = format!("{name:?} is no namespace: letters, digits, `_`, `-` and `.`");
            problems.add("logs.journal.namespaces", message);
        }
        for group in &self.matches {
            if group.is_empty() {
                problems.add("logs.journal.matches", "an empty group would match everything");
            }
            for one in group.iter().filter(|one| !is_match(one)) {
                let message = format!("{one:?}: write FIELD=VALUE, the field in capitals");
                problems.add("logs.journal.matches", message);
            }
        }
        let begin = match self.begin {
            Begin::End => FirstStart::End,
            Begin::Boot => FirstStart::Boot,
            Begin::Hours => {
                FirstStart::Ago(Duration::from_secs(u64::from(self.begin_hours) * 3600))
            }
        };
        self.enabled.then_some(JournalConfig {
            namespaces: self.namespaces,
            matches: self.matches,
            begin,
            own_unit: self.own_unit,
            own_lines_per_minute: self.own_lines_per_minute,
            directory: self.directory,
        })
    }
}

/// Whether libsystemd takes it: a field's name of capitals, digits and `_`, then `=`.
fn is_match(text: &str) -> bool {
    text.split_once('=').is_some_and(|(field, _)| {
        let is_of_a_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        !field.is_empty() && field.len() <= 64 && field.bytes().all(is_of_a_name)
    })
}

impl RawFiles {
    /// What it means; `None` when no files are read.
    pub fn resolve(self, problems: &mut Problems) -> Option<FilesConfig> {
        if self.poll_ms == 0 {
            problems.add("logs.files.poll_ms", "must be at least 1");
        }
        let pieces = SHORTEST_PIECE as u64..=LONGEST_PIECE as u64;
        problems.within("logs.files.line_bytes", self.line_bytes as u64, pieces);
        Some(FilesConfig {
            nomad_data_dir: self.nomad_data_dir?,
            from_beginning: self.from_beginning,
            poll: Duration::from_millis(self.poll_ms.max(1)),
            line_bytes: self.line_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named_with_its_key() {
        let journal = RawJournal {
            namespaces: vec!["a b".to_owned()],
            matches: vec![vec![], vec!["unit=x".to_owned(), "_PID=1".to_owned()]],
            ..RawJournal::default()
        };
        let files = RawFiles { poll_ms: 0, line_bytes: 1, ..RawFiles::default() };
        let mut problems = Problems::default();
        journal.resolve(&mut problems);
        files.resolve(&mut problems);
        let text = problems.finish(None, Some(())).unwrap_err().to_string();
        let keys: Vec<&str> =
            text.lines().skip(1).filter_map(|line| line.trim().split(':').next()).collect();
        assert_eq!(
            keys,
            [
                "logs.journal.namespaces",
                "logs.journal.matches",
                "logs.journal.matches",
                "logs.files.poll_ms",
                "logs.files.line_bytes"
            ]
        );
    }

    #[test]
    fn without_a_data_directory_no_files_are_read() {
        let mut problems = Problems::default();
        assert_eq!(RawFiles::default().resolve(&mut problems), None);
        problems.finish(None, Some(())).unwrap();
    }
}
