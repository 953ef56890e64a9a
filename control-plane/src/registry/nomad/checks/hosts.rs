//! Whom the checks may be asked of: how many requests a host has, and when one that cannot be asked is asked again.
//!
//! In: requests that begin and end, and how, at a time. Out: whether there is room for one more, and from when on.

use std::collections::BTreeMap;
use std::time::Duration;

use service::backoff::Backoff;
use tokio::time::Instant;

/// Requests under way to one host.
pub(super) const MOST: usize = 4;
/// So many failures in a row, with pauses between them, speak for all allocations of a host.
const FAILURES: u32 = 2;
/// Pauses for a host that cannot be asked.
const PAUSE_MIN: Duration = Duration::from_millis(500);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The hosts that are asked or cannot be.
#[derive(Default)]
pub(super) struct Hosts {
    failing: BTreeMap<String, Failing>,
    asking: BTreeMap<String, usize>,
}

struct Failing {
    backoff: Backoff,
    ask_at: Instant,
    failures: u32,
}

impl Hosts {
    /// Whether one more request may go to a host.
    pub(super) fn has_room(&self, node: &str) -> bool {
        let most = if self.failing.contains_key(node) { 1 } else { MOST };
        self.asking.get(node).is_none_or(|asking| *asking < most)
    }

    /// From when on a host may be asked; `None`: always.
    pub(super) fn ask_at(&self, node: &str) -> Option<Instant> {
        self.failing.get(node).map(|host| host.ask_at)
    }

    pub(super) fn begin(&mut self, node: &str) {
        *self.asking.entry(node.to_owned()).or_default() += 1;
    }

    pub(super) fn end(&mut self, node: &str) {
        if let Some(asking) = self.asking.get_mut(node) {
            *asking -= 1;
            if *asking == 0 {
                self.asking.remove(node);
            }
        }
    }

    /// It answered; whether it did not before.
    pub(super) fn answered(&mut self, node: &str) -> bool {
        self.failing.remove(node).is_some()
    }

    /// It did not; whether that speaks for all that is on it.
    pub(super) fn failed(&mut self, node: &str, now: Instant) -> bool {
        let new =
            || Failing { backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX), ask_at: now, failures: 0 };
        let host = self.failing.entry(node.to_owned()).or_insert_with(new);
        // Of the requests that were under way at once, the first counts.
        if host.ask_at <= now {
            host.ask_at = now + host.backoff.next_pause(PAUSE_MIN);
            host.failures += 1;
        }
        host.failures >= FAILURES
    }

    /// Forgets the hosts that are no longer needed; those that could not be asked.
    pub(super) fn retain(&mut self, is_needed: impl Fn(&str) -> bool) -> Vec<String> {
        let left = self.failing.keys().filter(|node| !is_needed(node));
        let left: Vec<String> = left.cloned().collect();
        self.failing.retain(|node, _| is_needed(node));
        left
    }
}
