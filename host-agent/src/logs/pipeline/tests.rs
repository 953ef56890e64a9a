//! The whole synchronous half against a source and a destination that tests hold in their hands: kills at any moment, outcomes
//! in any order, a destination that takes nothing while journald deletes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Instant;

use prometheus_client::registry::Registry;
use service::config::Problems;

use super::metrics::LogMetrics;
use super::*;
use crate::logs::deliver::Parcel;
use crate::logs::entry::{Entry, RecordId};
use crate::logs::read::{ReadError, Step};
use crate::logs::route::{DestinationId, Routes};
use crate::logs::shape::{RawShape, Rules};
use crate::logs::store::PositionFile;

const ENTRIES: u64 = 2_000;
const LIMITS: Limits = Limits { bytes: 1 << 20, records: 7 };
const PACE: Pace = Pace { linger: Duration::ZERO, longest: Duration::from_secs(1) };

/// A source that has no position when a test says so.
const NEW: SourceId = SourceId(1);

/// Entries 1 to [`ENTRIES`]; 3, 13, … are the first fragment of a line whose last one is 8, 18, …
struct Script {
    next: u64,
    through: u64,
    is_at_risk: Arc<AtomicBool>,
}

impl Script {
    fn open(saved: &Positions, is_at_risk: &Arc<AtomicBool>) -> Self {
        let saved = saved.sources.get("journal").cloned().unwrap_or_default();
        let number = |cursor: &String| cursor.parse::<u64>().unwrap();
        let through = saved.through.parse().unwrap_or(0);
        let next = saved.open.iter().map(number).min().unwrap_or(through + 1);
        Self { next, through, is_at_risk: Arc::clone(is_at_risk) }
    }
}

impl Source for Script {
    fn next(&mut self, entry: &mut Entry, _now_us: u64) -> Result<Step, ReadError> {
        let number = self.next;
        if number > ENTRIES {
            return Ok(Step::End);
        }
        self.next += 1;
        entry.source = SourceId(0);
        entry.id = RecordId { sequence: 1, number };
        entry.cursor = number.to_string();
        entry.realtime_us = number;
        entry.fields.clear();
        entry.fields.push("MESSAGE", number.to_string().as_bytes());
        entry.fields.push("CONTAINER_NAME", format!("c{}", number % 3).as_bytes());
        entry.fields.push("CONTAINER_ID_FULL", b"c");
        let part = match number % 10 {
            3 => Some((number, "1", "false")),
            8 => Some((number - 5, "2", "true")),
            _ => None,
        };
        if let Some((id, ordinal, last)) = part {
            entry.fields.push("CONTAINER_PARTIAL_ID", id.to_string().as_bytes());
            entry.fields.push("CONTAINER_PARTIAL_ORDINAL", ordinal.as_bytes());
            entry.fields.push("CONTAINER_PARTIAL_LAST", last.as_bytes());
            if last == "false" {
                entry.fields.push("CONTAINER_PARTIAL_MESSAGE", b"true");
            }
        }
        Ok(Step::Entry { again: number <= self.through })
    }

    fn wait(&mut self, longest: Duration) -> Result<(), ReadError> {
        std::thread::park_timeout(longest.min(Duration::from_millis(1)));
        Ok(())
    }

    fn name(&self, source: SourceId) -> &str {
        if source == NEW { "new" } else { "journal" }
    }

    fn is_at_risk(&mut self, _through: &dyn Fn(&str) -> Option<String>) -> bool {
        self.is_at_risk.load(Relaxed)
    }

    fn release(&mut self) {}
}

/// The messages of all records, in order: fragments are joined.
fn expected() -> BTreeSet<String> {
    let text = |number: u64| match number % 10 {
        3 => Some(format!("{number}{}", number + 5)),
        8 => None,
        _ => Some(number.to_string()),
    };
    (1..=ENTRIES).filter_map(text).collect()
}

fn messages(parcel: &Parcel) -> Vec<String> {
    let mut rest = &*parcel.message.entries;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let entry = rmpv::decode::read_value(&mut rest).unwrap();
        let record = entry.as_array().unwrap()[1].as_map().unwrap().clone();
        let message = record.iter().find(|(name, _)| name.as_str() == Some("message"));
        messages.push(message.unwrap().1.as_str().unwrap().to_owned());
    }
    messages
}

/// A pipeline whose output is the test.
struct Run {
    flight: Arc<Flight>,
    file: PositionFile,
    parcels: mpsc::Receiver<Parcel>,
    stop: CancellationToken,
    thread: JoinHandle<Ended>,
    /// Taken and without an outcome.
    held: VecDeque<Parcel>,
    /// Records of each batch that was taken.
    taken: BTreeMap<u64, u64>,
}

struct Lab {
    store: Store,
    runtime: tokio::runtime::Runtime,
    is_at_risk: Arc<AtomicBool>,
    metrics: LogMetrics,
    registry: Registry,
    spool_bytes: u64,
    begun: Vec<(SourceId, SourcePosition)>,
    received: BTreeMap<String, u32>,
}

impl Lab {
    fn new(folder: &Path, spool_bytes: u64) -> Self {
        let mut registry = Registry::default();
        Self {
            store: Store::open(folder).unwrap(),
            runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap(),
            is_at_risk: Arc::default(),
            metrics: LogMetrics::new(&mut registry),
            registry,
            spool_bytes,
            begun: Vec::new(),
            received: BTreeMap::new(),
        }
    }

    fn start(&self) -> Run {
        let (file, saved) = self.store.position("d").unwrap();
        let metrics = self.metrics.pipeline("d");
        let folder = self.store.directory().join("spool");
        let saved = saved.unwrap_or_default();
        let begin = Begin::find(&folder, self.spool_bytes, saved, &metrics).unwrap();
        let flight = Arc::new(Flight::new(begin.saved.clone()));
        let (sender, parcels) = mpsc::channel(2);
        let mut problems = Problems::default();
        let decisions = Decisions {
            rules: Arc::new(Rules::resolve(&RawShape::default(), &[], &mut problems)),
            routes: Arc::new(Routes::resolve(&[], &["d"], &mut problems)),
            destination: DestinationId(0),
        };
        problems.finish(None, Some(())).unwrap();
        let stop = CancellationToken::new();
        let joint = Joint {
            flight: Arc::clone(&flight),
            parcels: sender,
            decisions: watch::channel(decisions.clone()).1,
            stop: stop.clone(),
            grace: Duration::from_secs(5),
            beats: Arc::default(),
            runtime: self.runtime.handle().clone(),
            metrics: metrics.clone(),
        };
        let source = Script::open(&begin.positions, &self.is_at_risk);
        let instances = watch::channel(Arc::new(Instances::default())).1;
        let last = begin.spooled.max(begin.saved.delivered);
        let from = (last, begin.positions);
        let clock = crate::app::now;
        let opened = (source, self.begun.clone());
        let reading =
            Reading::new(opened, decisions, (LIMITS, PACE), from, instances, clock, metrics);
        let numbers = (begin.saved.delivered, begin.spooled);
        let feed = Feed::new(reading, begin.spool, numbers, joint, clock);
        let thread = std::thread::spawn(move || feed.run());
        Run { flight, file, parcels, stop, thread, held: VecDeque::new(), taken: BTreeMap::new() }
    }

    /// Takes a message, if one comes soon.
    fn take(&mut self, run: &mut Run) -> bool {
        let soon = Duration::from_millis(20);
        let taken = self.runtime.block_on(async {
            tokio::time::timeout(soon, run.parcels.recv()).await.ok().flatten()
        });
        let Some(parcel) = taken else { return false };
        for message in messages(&parcel) {
            *self.received.entry(message).or_default() += 1;
        }
        *run.taken.entry(parcel.id.batch).or_default() += parcel.message.ends.len() as u64;
        run.held.push_back(parcel);
        true
    }

    fn settle(&self, run: &mut Run, index: usize) {
        if let Some(parcel) = run.held.remove(index) {
            run.flight.settle(parcel.id.batch);
        }
        self.save(run);
    }

    fn save(&self, run: &mut Run) {
        if let Some(saved) = run.flight.unsaved() {
            run.file.save(&saved).unwrap();
            run.flight.persist(saved.delivered);
        }
    }

    /// Ends it as a kill would; the records that were taken and not saved as delivered.
    fn kill(&self, run: Run) -> u64 {
        drop(run.parcels);
        assert_eq!(run.thread.join().unwrap(), Ended::OutputGone);
        let unsaved = run.taken.range(run.flight.persisted() + 1..);
        unsaved.map(|(_, records)| records).sum()
    }

    /// Takes and settles everything until all entries are delivered.
    fn drain(&mut self, mut run: Run) {
        let (end, count) = (ENTRIES.to_string(), 1 + self.begun.len());
        let is_done = |run: &Run| {
            let saved = run.flight.saved().positions.sources;
            let is_read = |at: &SourcePosition| at.through == end && at.open.is_empty();
            saved.len() == count && saved.get("journal").is_some_and(is_read)
        };
        let mut quiet = 0;
        while quiet < 200 && !(is_done(&run) && run.flight.is_empty() && run.held.is_empty()) {
            quiet = if self.take(&mut run) { 0 } else { quiet + 1 };
            while !run.held.is_empty() {
                self.settle(&mut run, 0);
            }
            self.save(&mut run);
        }
        self.save(&mut run);
        run.stop.cancel();
        assert_eq!(run.thread.join().unwrap(), Ended::Asked);
    }

    /// Reads everything into the spool.
    fn spool_all(&self) {
        self.is_at_risk.store(true, Relaxed);
        let (records, deadline) =
            (expected().len() as u64, Instant::now() + Duration::from_secs(20));
        while self.counter("mesh_logs_spooled_records_total") < records && Instant::now() < deadline
        {
            std::thread::yield_now();
        }
        assert_eq!(self.counter("mesh_logs_spooled_records_total"), records);
        self.is_at_risk.store(false, Relaxed);
    }

    fn repeats(&self) -> u64 {
        self.received.values().map(|times| u64::from(times - 1)).sum()
    }

    fn counter(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// Kills it again and again at random moments, with outcomes in random order.
fn torture(seed: u64, spool_bytes: u64) -> (Lab, u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap().keep();
    let mut lab = Lab::new(&folder, spool_bytes);
    let mut allowed = 0;
    for _ in 0..random.usize(3..12) {
        let mut run = lab.start();
        for _ in 0..random.usize(1..60) {
            lab.is_at_risk.store(random.u8(..4) == 0, Relaxed);
            match random.u8(..10) {
                0..6 => drop(lab.take(&mut run)),
                _ if !run.held.is_empty() => {
                    let index = random.usize(..run.held.len());
                    lab.settle(&mut run, index);
                }
                _ => {}
            }
        }
        allowed += lab.kill(run);
    }
    lab.is_at_risk.store(false, Relaxed);
    let run = lab.start();
    lab.drain(run);
    std::fs::remove_dir_all(folder).unwrap();
    (lab, allowed)
}

#[test]
fn whenever_it_is_killed_nothing_is_lost_and_only_what_was_on_its_way_is_repeated() {
    for seed in 0..8 {
        let (lab, allowed) = torture(seed, 1 << 30);
        let received: BTreeSet<String> = lab.received.keys().cloned().collect();
        assert_eq!(received, expected(), "seed {seed}");
        assert!(lab.repeats() <= allowed, "seed {seed}: {} of {allowed}", lab.repeats());
        assert_eq!(lab.counter("mesh_logs_lost_records_total"), 0, "seed {seed}");
    }
}

const SPOOL_FULL: &str = "mesh_logs_lost_records_total{destination=\"d\",reason=\"spool_full\"";

#[test]
fn a_spool_that_is_too_small_loses_the_oldest_and_counts_each_by_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path(), 4_096);
    lab.is_at_risk.store(true, Relaxed);
    let run = lab.start();
    let deadline = Instant::now() + Duration::from_secs(20);
    while lab.counter(SPOOL_FULL) == 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    lab.is_at_risk.store(false, Relaxed);
    lab.drain(run);
    let received: BTreeSet<String> = lab.received.keys().cloned().collect();
    let missing = expected().difference(&received).count() as u64;
    assert_ne!(missing, 0, "the spool was never too small");
    assert_eq!(missing, lab.counter(SPOOL_FULL));
    let last = expected().into_iter().max_by_key(|message| message.parse::<u64>().unwrap());
    assert!(received.contains(&last.unwrap()), "the newest is kept");
}

#[test]
fn whenever_it_is_killed_what_a_full_spool_lost_is_counted() {
    for seed in 0..8 {
        let (lab, _) = torture(seed, 4_096);
        let received: BTreeSet<String> = lab.received.keys().cloned().collect();
        let missing = expected().difference(&received).count() as u64;
        let lost = lab.counter(SPOOL_FULL);
        assert!(missing <= lost, "seed {seed}: {missing} are missing, {lost} counted");
    }
}

#[test]
fn a_destination_that_takes_nothing_is_read_past_only_while_entries_are_at_risk() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path(), 1 << 30);
    let run = lab.start();
    let deadline = Instant::now() + Duration::from_secs(20);
    // A batch has three messages, one for each container: two wait for the destination, one for room.
    while run.parcels.len() < 2 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!((run.flight.len(), lab.counter("mesh_logs_spooled_records_total")), (1, 0));
    lab.spool_all();
    assert_eq!(run.flight.len(), 1, "what is in the spool is not in memory");
    lab.kill(run);
    let again = lab.start();
    lab.drain(again);
    assert_eq!(lab.received.keys().cloned().collect::<BTreeSet<_>>(), expected());
    assert_eq!(lab.repeats(), 0);
}

#[test]
fn a_source_that_begins_does_not_overtake_what_is_in_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path(), 1 << 30);
    let run = lab.start();
    lab.spool_all();
    lab.kill(run);
    lab.begun = vec![(NEW, SourcePosition { through: "here".to_owned(), open: Vec::new() })];
    let again = lab.start();
    lab.drain(again);
    assert_eq!(lab.received.keys().cloned().collect::<BTreeSet<_>>(), expected());
    let (_, saved) = lab.store.position("d").unwrap();
    assert_eq!(saved.unwrap().positions.sources["new"].through, "here");
}

#[test]
fn a_batch_that_is_damaged_in_the_spool_is_counted_and_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path(), 1 << 30);
    let run = lab.start();
    lab.spool_all();
    let segment = folder.path().join("spool/0000000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    lab.drain(run);
    let missing = expected().len() - lab.received.len();
    assert!((1..=LIMITS.records).contains(&missing), "{missing} are missing");
    assert_eq!(lab.counter("mesh_logs_losses_total{destination=\"d\",reason=\"spool_damaged\""), 1);
}
