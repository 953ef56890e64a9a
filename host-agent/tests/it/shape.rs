//! Shaping and routing at their seam: entries in, records out.

mod command;
mod golden;
mod joining;
mod losses;
mod names;
mod properties;
mod replay;

use std::sync::Arc;
use std::time::{Duration, Instant};

use host_agent::instances::Instances;
use host_agent::logs::entry::{Entry, Fields, RecordId, SourceId};
use host_agent::logs::shape::{Now, RawRule, RawShape, Rules, Shaped, Shaper};
use serde::Deserialize;
use service::config::Problems;

/// When the first entry of a test was written.
const BEGIN_US: u64 = 1_795_287_947_000_000;

/// The rules of a test, in TOML as in the agent's file, without `logs.`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRules {
    shape: RawShape,
    rules: Vec<RawRule>,
}

fn rules(text: &str) -> Arc<Rules> {
    let raw: RawRules = toml::from_str(text).unwrap();
    let mut problems = Problems::default();
    let rules = Rules::resolve(&raw.shape, &raw.rules, &mut problems);
    Arc::new(problems.finish(None, Some(rules)).unwrap())
}

/// What came out, as far as most tests look: JSON of the record, or a drop or loss in words.
struct Bench {
    shaper: Shaper,
    instances: Instances,
    start: Instant,
    now: Duration,
    count: u64,
    out: Vec<String>,
}

impl Bench {
    fn new(rules_text: &str) -> Self {
        Self {
            shaper: Shaper::new(rules(rules_text)),
            instances: Instances::default(),
            start: Instant::now(),
            now: Duration::ZERO,
            count: 0,
            out: vec![],
        }
    }

    fn clock(&self) -> Now {
        let us = u64::try_from(self.now.as_micros()).unwrap();
        Now { monotonic: self.start + self.now, realtime_us: BEGIN_US + us }
    }

    /// The next entry, written now.
    fn entry(&mut self, fields: &[(&str, &str)]) -> Entry {
        self.count += 1;
        let mut entry = Entry {
            source: SourceId(0),
            id: RecordId { sequence: 1, number: self.count },
            cursor: format!("c{}", self.count),
            realtime_us: self.clock().realtime_us,
            fields: Fields::default(),
        };
        for (name, value) in fields {
            entry.fields.push(name, value.as_bytes());
        }
        entry
    }

    fn push(&mut self, fields: &[(&str, &str)]) {
        let entry = self.entry(fields);
        self.push_entry(&entry);
    }

    fn push_entry(&mut self, entry: &Entry) {
        let (now, out) = (self.clock(), &mut self.out);
        self.shaper.push(entry, now, &self.instances, &mut |shaped| out.push(said(&shaped)));
    }

    fn replay(&mut self, entry: &Entry, begins: bool) {
        let (now, out) = (self.clock(), &mut self.out);
        let emit = &mut |shaped: Shaped<'_>| out.push(said(&shaped));
        self.shaper.replay(entry, begins, now, &self.instances, emit);
    }

    /// Lets time pass, and what is due come out.
    fn pass(&mut self, span: Duration) {
        self.now += span;
        let (now, out) = (self.clock(), &mut self.out);
        if self.shaper.next_deadline().is_some_and(|deadline| deadline <= now.monotonic) {
            self.shaper.expire(now, &self.instances, &mut |shaped| out.push(said(&shaped)));
        }
    }

    fn open(&self) -> Vec<String> {
        self.shaper.open().map(|(_, cursor)| cursor.to_owned()).collect()
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out)
    }
}

/// The message with marks and the number of entries, or what else came out.
fn said(shaped: &Shaped<'_>) -> String {
    match shaped {
        Shaped::Record(record) => {
            let fields = serde_json::to_value(record).unwrap();
            let marks = fields.get("marks").map(|marks| format!(" {marks}")).unwrap_or_default();
            let message = record.message().unwrap_or_default();
            format!("{}: {message} ×{}{marks}", record.id.number, record.entries)
        }
        Shaped::Dropped { rule, entries } => format!("dropped by {rule} ×{entries}"),
        Shaped::Lost(lost) => {
            let writer = lost.writer.unwrap_or("?");
            format!("lost {} of {writer}: {}", lost.count, lost.reason.as_str())
        }
    }
}
