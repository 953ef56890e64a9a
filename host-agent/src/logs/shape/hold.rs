//! Lines of an allocation that Consul does not know yet.
//!
//! A task writes its first lines before its registration is in Consul; without it they would have no System and go astray. So
//! the lines of an allocation wait, in order, until Consul knows it, but no longer than the limit after its first line
//! was written. A line that is older when it is read does not wait: Consul had its time. Once the limit is over the
//! allocation's lines go on without names of Consul, until it is known after all.
//!
//! Only the lines of that allocation wait. They are open: after a restart they are read again.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::instances::Instances;
use crate::logs::entry::Entry;
use crate::logs::shape::Now;

/// Lines that wait at the most; more would make saved positions long.
const MOST_ENTRIES: usize = 1_000;
/// Allocations that are remembered as waited for.
const MOST_ALLOCATIONS: usize = 4_096;

/// Lines that wait for names.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// When the wait for each unknown allocation ends or ended.
    until: BTreeMap<Box<str>, Instant>,
    waiting: BTreeMap<Box<str>, VecDeque<Held>>,
    bytes: usize,
    count: usize,
}

/// A line that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) entry: Entry,
    /// Its place in the order of reading.
    pub(super) order: u64,
}

impl Hold {
    /// Whether a line has to wait.
    pub(super) fn wants(
        &mut self,
        allocation: &str,
        entry: &Entry,
        now: Now,
        wait_us: u64,
        instances: &Instances,
    ) -> bool {
        if wait_us == 0 {
            return false;
        }
        if self.waiting.contains_key(allocation) {
            return true;
        }
        if instances.by_allocation.contains_key(allocation) {
            return false;
        }
        if let Some(until) = self.until.get(allocation) {
            return *until > now.monotonic;
        }
        // An entry of the future waits as one of now.
        let age_us = now.realtime_us.saturating_sub(entry.realtime_us);
        let wait = Duration::from_micros(wait_us.saturating_sub(age_us));
        if self.until.len() >= MOST_ALLOCATIONS {
            let first = self.until.iter().min_by_key(|(_, until)| **until);
            if let Some(allocation) = first.map(|(allocation, _)| allocation.clone()) {
                self.until.remove(&allocation);
            }
        }
        self.until.insert(allocation.into(), now.monotonic + wait);
        !wait.is_zero()
    }

    /// Makes a line wait; until when.
    pub(super) fn keep(&mut self, allocation: &str, held: Held) -> Option<Instant> {
        self.bytes += held.entry.fields.size();
        self.count += 1;
        self.waiting.entry(allocation.into()).or_default().push_back(held);
        self.until.get(allocation).copied()
    }

    /// Takes the lines of the next allocation that is known or was waited for long enough.
    pub(super) fn ready(&mut self, now: Instant, instances: &Instances) -> Option<VecDeque<Held>> {
        let is_ready = |allocation: &str| {
            instances.by_allocation.contains_key(allocation)
                || self.until.get(allocation).is_none_or(|until| *until <= now)
        };
        let ready = self.waiting.keys().find(|allocation| is_ready(allocation))?.clone();
        self.take(&ready)
    }

    /// Takes the lines of the allocation that waits longest; no line of it waits any more.
    pub(super) fn oldest(&mut self, now: Instant) -> Option<VecDeque<Held>> {
        let first = |queue: &VecDeque<Held>| queue.front().map(|held| held.order);
        let oldest = self.waiting.iter().min_by_key(|(_, queue)| first(queue))?.0.clone();
        self.until.insert(oldest.clone(), now);
        self.take(&oldest)
    }

    fn take(&mut self, allocation: &str) -> Option<VecDeque<Held>> {
        let queue = self.waiting.remove(allocation)?;
        self.count -= queue.len();
        self.bytes -= queue.iter().map(|held| held.entry.fields.size()).sum::<usize>();
        Some(queue)
    }

    /// When the next wait ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.keys().filter_map(|allocation| self.until.get(allocation)).min().copied()
    }

    /// Whether more wait than may.
    pub(super) fn is_full(&self) -> bool {
        self.count > MOST_ENTRIES
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.waiting.values().flatten()
    }
}
