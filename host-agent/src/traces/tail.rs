//! Tail sampling: which traces of this host are passed on, decided after waiting for what happens in them.
//!
//! Accepted spans wait in the queue for `wait`; meanwhile a table collects what is known of their traces. When a span's time has
//! come, its trace is kept if a span of it failed or was slow, or if its id falls into the share of the System, as long as the
//! System's rate allows. A trace that is kept stays kept.
//!
//! **This is within one host.** Hosts do not tell each other what they saw: of a trace that failed on another host only the
//! share's part is kept here. Shares are taken by the trace's id (its last 56 bits, as OpenTelemetry's consistent probability
//! sampling does), so with equal shares all hosts keep the same traces. What comes later than `wait` after a trace was let go is
//! judged by what is known then.
//!
//! **Invariants**: memory is bounded by `traces`; the oldest is forgotten first and is then judged by its share alone; sampling
//! decided by the application (head sampling) is not undone: what it did not send, nobody has.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::otlp::{Decision, Edited, Editor, Facts, edit, read};

/// What is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct TailRules {
    /// How long spans wait.
    pub wait: Duration,
    /// Traces that are remembered.
    pub traces: usize,
    /// Whether traces with an error are kept.
    pub errors: bool,
    /// Traces with a span that took so long are kept.
    pub slow: Option<Duration>,
    /// Of the others, so many percent.
    pub percent: f64,
    /// The same for single Systems.
    pub systems: BTreeMap<String, f64>,
    /// Of the others, spans a second and System at the most.
    pub rate: Option<u32>,
}

/// Why a trace is kept or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A span failed.
    Error,
    /// A span was slow.
    Slow,
    /// It is in the share.
    Share,
    /// It is not in the share.
    Out,
    /// It is in the share, but there were too many.
    Rate,
}

impl Verdict {
    const fn is_kept(self) -> bool {
        matches!(self, Self::Error | Self::Slow | Self::Share)
    }
}

/// The table.
#[derive(Debug)]
pub struct Tail {
    rules: TailRules,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    traces: BTreeMap<u128, Seen>,
    order: VecDeque<u128>,
    rates: BTreeMap<Arc<str>, Bucket>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    is_error: bool,
    is_slow: bool,
    decided: Option<Verdict>,
}

/// Tokens of a System: refilled with time, one second's worth at the most.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    since: Instant,
}

impl Tail {
    /// Knows no trace yet.
    pub fn new(rules: TailRules) -> Self {
        Self { rules, table: Mutex::default() }
    }

    /// How long spans wait.
    pub const fn wait(&self) -> Duration {
        self.rules.wait
    }

    /// Takes note of spans that were accepted.
    pub fn observe(&self, spans: &[Facts]) {
        let mut table = self.lock();
        for span in spans {
            let took = Duration::from_nanos(span.end_ns.saturating_sub(span.start_ns));
            let is_slow = self.rules.slow.is_some_and(|slow| took >= slow);
            let seen = table.seen(span.trace, self.rules.traces);
            seen.is_error |= span.is_error && self.rules.errors;
            seen.is_slow |= is_slow;
        }
    }

    /// The spans of a request that are kept, and how many are not. What cannot be read is kept: it was when it was accepted.
    pub fn filter(
        &self,
        request: &[u8],
        system: Option<&Arc<str>>,
        now: Instant,
    ) -> Option<(Edited, u32)> {
        let mut filter = Filter { tail: self, table: self.lock(), system, now, out: 0 };
        let edited = edit(request, &mut filter).ok()?;
        let out = filter.out;
        drop(filter);
        Some((edited, out))
    }

    /// Traces that are remembered now.
    pub fn known(&self) -> usize {
        self.lock().traces.len()
    }

    fn share(&self, system: Option<&Arc<str>>) -> f64 {
        system
            .and_then(|system| self.rules.systems.get(&**system))
            .copied()
            .unwrap_or(self.rules.percent)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic in another task leaves at worst one trace half noted.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a trace is within a share, by the randomness in the last 56 bits of its id.
fn is_in_share(trace: u128, percent: f64) -> bool {
    const RANGE: u64 = 1 << 56;
    let random = trace & u128::from(RANGE - 1);
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    let place = random as f64 / RANGE as f64;
    place < percent / 100.0
}

impl Table {
    fn seen(&mut self, trace: u128, most: usize) -> &mut Seen {
        if !self.traces.contains_key(&trace) {
            while self.traces.len() >= most.max(1) {
                let Some(oldest) = self.order.pop_front() else { break };
                self.traces.remove(&oldest);
            }
            self.order.push_back(trace);
        }
        self.traces.entry(trace).or_default()
    }

    fn is_within_rate(&mut self, rate: u32, system: Option<&Arc<str>>, now: Instant) -> bool {
        let rate = f64::from(rate);
        let system = system.cloned().unwrap_or_else(|| Arc::from(""));
        let bucket = self.rates.entry(system).or_insert(Bucket { tokens: rate, since: now });
        let passed = now.saturating_duration_since(bucket.since).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate).min(rate);
        bucket.since = now;
        let is_within = bucket.tokens >= 1.0;
        // A trace that is kept stays kept, so its later spans may overdraw.
        bucket.tokens -= if is_within { 1.0 } else { 0.0 };
        is_within
    }

    fn overdraw(&mut self, system: Option<&Arc<str>>) {
        if let Some(bucket) = system.and_then(|system| self.rates.get_mut(system)) {
            bucket.tokens -= 1.0;
        }
    }
}

struct Filter<'a> {
    tail: &'a Tail,
    table: MutexGuard<'a, Table>,
    system: Option<&'a Arc<str>>,
    now: Instant,
    out: u32,
}

impl Filter<'_> {
    fn judge(&mut self, trace: u128) -> Verdict {
        let rules = &self.tail.rules;
        let seen = self.table.traces.get(&trace).copied().unwrap_or_default();
        let verdict = match seen {
            Seen { is_error: true, .. } => Verdict::Error,
            Seen { is_slow: true, .. } => Verdict::Slow,
            Seen { decided: Some(Verdict::Share), .. } => {
                self.table.overdraw(self.system);
                Verdict::Share
            }
            Seen { decided: Some(decided), .. } => decided,
            _ if !is_in_share(trace, self.tail.share(self.system)) => Verdict::Out,
            _ => match rules.rate {
                Some(rate) if !self.table.is_within_rate(rate, self.system, self.now) => {
                    Verdict::Rate
                }
                _ => Verdict::Share,
            },
        };
        if let Some(seen) = self.table.traces.get_mut(&trace) {
            seen.decided = Some(verdict);
        }
        verdict
    }
}

impl Editor for Filter<'_> {
    fn resource(&mut self, _resource: &[u8], _scopes: &[&[u8]]) -> Decision {
        Decision::Keep
    }

    fn scope(&mut self, _scope: &[u8]) -> Decision {
        Decision::Keep
    }

    fn span(&mut self, span: &[u8]) -> Decision {
        match read(span) {
            Ok(facts) if !self.judge(facts.trace).is_kept() => {
                self.out += 1;
                Decision::Drop
            }
            _ => Decision::Keep,
        }
    }
}

#[cfg(test)]
mod tests;
