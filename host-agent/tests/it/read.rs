//! Reading, against a real journald, a real dockerd and files as Nomad writes them.

#![expect(clippy::indexing_slicing, reason = "a test may fail where it stands")]

mod docker;
mod faults;
mod files;
mod fixtures;
mod journal;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use host_agent::logs::entry::{Entry, Fields, RecordId, SourceId};
use host_agent::logs::position::{Positions, SourcePosition};
use host_agent::logs::read::config::{FilesConfig, JournalConfig, RawJournal};
use host_agent::logs::read::{LossCause, Reader, Step};
use lab::journald::{Journald, Settings};
use service::config::Problems;

const DEADLINE: Duration = Duration::from_secs(20);

/// A journald below a folder of the test; `None` after `SKIP`.
async fn journald(test: &str, folder: &Path, settings: Settings) -> Option<Journald> {
    if let Err(why) = Journald::is_possible() {
        lab::parts::skip(test, "journald", &why);
        return None;
    }
    Some(Journald::start(folder, settings).await.unwrap())
}

fn config(directory: &Path) -> JournalConfig {
    let raw = RawJournal { directory: Some(directory.to_owned()), ..RawJournal::default() };
    raw.resolve(&mut Problems::default()).unwrap()
}

/// The whole journal, as a first start in an empty one would.
fn head() -> Positions {
    at("journal", position("head"))
}

fn at(source: &str, position: SourcePosition) -> Positions {
    Positions { sources: BTreeMap::from([(source.to_owned(), position)]) }
}

fn position(through: &str) -> SourcePosition {
    SourcePosition { through: through.to_owned(), open: Vec::new() }
}

/// One thing that came, without journald's own entries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Line(String),
    Again(String),
    Lost(LossCause, Option<u64>),
    Ended(String),
}

/// A reader, and what came of it.
struct Reading {
    reader: Reader,
    entry: Entry,
    /// Cursors by line.
    cursors: BTreeMap<String, String>,
    ids: Vec<RecordId>,
    begun: Vec<SourcePosition>,
}

impl Reading {
    fn journal(config: &JournalConfig, saved: &Positions) -> Self {
        Self::open(Some(config), None, saved)
    }

    fn open(
        journal: Option<&JournalConfig>,
        files: Option<&FilesConfig>,
        saved: &Positions,
    ) -> Self {
        let (reader, begun) = Reader::open(journal, files, saved, 1).unwrap();
        let entry = Entry {
            source: SourceId(0),
            id: RecordId { sequence: 0, number: 0 },
            cursor: String::new(),
            realtime_us: 0,
            fields: Fields::default(),
        };
        let begun = begun.into_iter().map(|(_, position)| position).collect();
        Self { reader, entry, cursors: BTreeMap::new(), ids: Vec::new(), begun }
    }

    /// All that there is now.
    fn drain(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            match self.reader.next(&mut self.entry, 1).unwrap() {
                Step::Entry { again } => {
                    let text = self.entry.fields.get("MESSAGE").unwrap_or_default();
                    let text = String::from_utf8_lossy(text).into_owned();
                    if self.entry.fields.get("_TRANSPORT") == Some(b"driver") {
                        continue;
                    }
                    self.ids.push(self.entry.id);
                    self.cursors.insert(text.clone(), self.entry.cursor.clone());
                    all.push(if again { Got::Again(text) } else { Got::Line(text) });
                }
                Step::Skipped => {}
                Step::Lost(loss) => all.push(Got::Lost(loss.cause, loss.entries)),
                Step::Ended(source) => all.push(Got::Ended(self.reader.name(source).to_owned())),
                Step::End => return all,
            }
        }
    }

    /// Reads until so many things came, and gives all of them.
    fn read(&mut self, count: usize) -> Vec<Got> {
        let begin = Instant::now();
        let mut all = self.drain();
        while all.len() < count {
            assert!(begin.elapsed() < DEADLINE, "{} of {count} came: {all:?}", all.len());
            self.reader.wait(Duration::from_millis(50)).unwrap();
            all.extend(self.drain());
        }
        all
    }

    fn after(&self, line: &str) -> Positions {
        at("journal", position(self.cursors.get(line).expect("the line was read")))
    }
}

fn lines(range: std::ops::Range<u32>) -> Vec<Got> {
    range.map(|number| Got::Line(format!("line {number}"))).collect()
}

fn send(journald: &Journald, range: std::ops::Range<u32>) {
    for number in range {
        journald.send(&[("MESSAGE", format!("line {number}").as_bytes())]).unwrap();
    }
}
