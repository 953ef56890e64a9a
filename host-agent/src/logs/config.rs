//! `[logs]`: what is read, what becomes of it, and where it goes.
//!
//! In: the raw tables. Out: [`LogsConfig`], or every problem with its key. The stages' own tables are resolved beside them.
//!
//! **Invariants**: a destination's settings are one value ([`DestinationConfig`]): when it is equal after the file was read
//! again, the pipeline goes on undisturbed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Problems;

use crate::logs::batch::builder::Limits;
use crate::logs::deliver::config::{OutputConfig, RawDestination};
use crate::logs::pipeline::{Decisions, Pace};
use crate::logs::read::config::{FilesConfig, FirstStart, JournalConfig, RawFiles, RawJournal};
use crate::logs::route::{DestinationId, RawRoute, Routes};
use crate::logs::shape::{RawRule, RawShape, Rules};
use crate::logs::test_rules::expect::RawTest;

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;
/// A record waits for its batch this many times the linger at the most, while there is always more to read.
const LONGEST_LINGERS: u32 = 4;
/// Names of destinations are names of files.
const LONGEST_NAME: usize = 63;

/// `[logs]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLogs {
    /// Folder of saved positions, spools and dead letters. One agent at a time has it.
    pub state_dir: PathBuf,
    /// The journals that are read.
    pub journal: RawJournal,
    /// Files of Nomad's `exec` and `raw_exec` tasks.
    pub files: RawFiles,
    /// What holds for all records.
    pub shape: RawShape,
    /// How records are gathered.
    pub batch: RawBatch,
    /// The queue on disk for what journald is about to delete.
    pub spool: RawSpool,
    /// What becomes of records, in order: [logs-rules.md](logs-rules.md).
    pub rules: Vec<RawRule>,
    /// Which destinations get them, in order; without any, all get all: [logs-rules.md](logs-rules.md).
    pub routes: Vec<RawRoute>,
    /// Tests of rules and routes, which `host-agent test-rules` runs.
    pub tests: Vec<RawTest>,
    /// Where they go, by name; without any, no logs are read.
    pub destinations: BTreeMap<String, RawDestination>,
}

/// `[logs.batch]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBatch {
    /// A batch is sent when it has so many records …
    pub max_records: usize,
    /// … or so many KiB, before compression. Fluentd's `chunk_size_limit` must not be smaller.
    pub max_kib: usize,
    /// The first record after a quiet moment is sent at once; what follows within so many milliseconds goes together.
    pub linger_ms: u64,
}

impl Default for RawBatch {
    fn default() -> Self {
        Self { max_records: 2_000, max_kib: 1_024, linger_ms: 25 }
    }
}

/// `[logs.spool]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSpool {
    /// Largest size of each destination's spool; over it the oldest records are lost, and counted.
    pub max_mib: u64,
}

impl Default for RawSpool {
    fn default() -> Self {
        Self { max_mib: 1_024 }
    }
}

impl Default for RawLogs {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/ayatori/host-agent"),
            journal: RawJournal::default(),
            files: RawFiles::default(),
            shape: RawShape::default(),
            batch: RawBatch::default(),
            spool: RawSpool::default(),
            rules: Vec::new(),
            routes: Vec::new(),
            tests: Vec::new(),
            destinations: BTreeMap::new(),
        }
    }
}

/// What the logs part works with.
#[derive(Debug)]
pub struct LogsConfig {
    /// Positions, spools, dead letters.
    pub state_dir: PathBuf,
    /// Pipelines by name.
    pub destinations: BTreeMap<String, DestinationConfig>,
    sources: Sources,
    rules: Arc<Rules>,
    routes: Arc<Routes>,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Journals.
    pub journal: Option<JournalConfig>,
    /// Files.
    pub files: Option<FilesConfig>,
}

/// What a pipeline is restarted for when it changes.
#[derive(Debug, Clone)]
pub struct DestinationConfig {
    /// What is read.
    pub sources: Sources,
    /// Where it goes.
    pub output: OutputConfig,
    /// What `output` was made from: it has secrets and certificates in it, which say nothing about equality.
    made_from: MadeFrom,
    /// When a batch is full.
    pub limits: Limits,
    /// When it is sent otherwise.
    pub pace: Pace,
    /// Bytes of the spool.
    pub spool_bytes: u64,
}

/// A destination as it was written, with checksums of the files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MadeFrom {
    raw: RawDestination,
    files: Vec<Option<u32>>,
}

impl MadeFrom {
    fn new(raw: &RawDestination) -> Self {
        // A file that cannot be read is a problem of its own, which resolving reports.
        let sum = |file| std::fs::read(file).ok().map(|bytes| crc32c::crc32c(&bytes));
        Self { raw: raw.clone(), files: raw.files().map(sum).collect() }
    }
}

impl PartialEq for DestinationConfig {
    fn eq(&self, other: &Self) -> bool {
        self.sources == other.sources
            && self.made_from == other.made_from
            && (self.limits, self.pace) == (other.limits, other.pace)
            && self.spool_bytes == other.spool_bytes
    }
}

impl RawLogs {
    /// What it means.
    pub fn resolve(self, problems: &mut Problems) -> LogsConfig {
        let sources = Sources {
            journal: self.journal.resolve(problems),
            files: self.files.resolve(problems),
        };
        if sources.journal.is_none() && sources.files.is_none() && !self.destinations.is_empty() {
            problems.add("logs.destinations", "nothing is read: logs.journal.enabled is false and logs.files.nomad_data_dir is not set");
        }
        let rules = Arc::new(Rules::resolve(&self.shape, &self.rules, problems));
        let names: Vec<&str> = self.destinations.keys().map(String::as_str).collect();
        let routes = Arc::new(Routes::resolve(&self.routes, &names, problems));
        let (limits, pace) = self.batch.resolve(problems);
        if self.spool.max_mib < 16 {
            problems.add("logs.spool.max_mib", "must be at least 16");
        }
        let spool_bytes = self.spool.max_mib.saturating_mul(MIB);
        let mut destinations = BTreeMap::new();
        for (name, raw) in self.destinations {
            let key = format!("logs.destinations.{name}");
            if !is_name(&name) {
                problems.add(&key, "a destination's name has lower-case letters, digits and `-`");
                continue;
            }
            let made_from = MadeFrom::new(&raw);
            if let Some(output) = raw.resolve(&key, &name, &self.state_dir, problems) {
                let sources = sources.clone();
                let config =
                    DestinationConfig { sources, output, made_from, limits, pace, spool_bytes };
                destinations.insert(name, config);
            }
        }
        LogsConfig { state_dir: self.state_dir, destinations, sources, rules, routes }
    }
}

impl RawBatch {
    fn resolve(&self, problems: &mut Problems) -> (Limits, Pace) {
        if self.max_records == 0 {
            problems.add("logs.batch.max_records", "must be at least 1");
        }
        problems.within("logs.batch.max_kib", self.max_kib as u64, 16..=65_536);
        let linger = Duration::from_millis(self.linger_ms);
        let limits = Limits { bytes: self.max_kib.saturating_mul(KIB), records: self.max_records };
        (limits, Pace { linger, longest: linger.saturating_mul(LONGEST_LINGERS) })
    }
}

fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_good)
}

impl LogsConfig {
    /// The rules.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// The routes.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The sources, from now on: what `host-agent tail` reads.
    pub fn tail_sources(&self) -> Sources {
        let mut sources = self.sources.clone();
        if let Some(journal) = &mut sources.journal {
            journal.begin = FirstStart::End;
        }
        if let Some(files) = &mut sources.files {
            files.from_beginning = false;
        }
        sources
    }

    /// The rules and routes as this destination's pipeline takes them.
    pub fn decisions(&self, destination: &str) -> Decisions {
        let index = self.destinations.keys().position(|name| name == destination);
        let index = index.and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX);
        Decisions {
            rules: Arc::clone(&self.rules),
            routes: Arc::clone(&self.routes),
            destination: DestinationId(index),
        }
    }
}
