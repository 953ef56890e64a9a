//! When the catalog is whole enough to be served.
//!
//! Complete: every name of the listing was observed once, or has left it, and the documents were read.
//! An empty listing is complete. Until then the last good state from disk serves, if a source fails or the grace is
//! over; without one, what is there serves after the deadline, with a warning.
//!
//! **Invariants**: pure; `now` is milliseconds of the process's clock; once complete, for ever complete.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

/// Whether a snapshot may be served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Not yet; xDS streams are refused so that Envoy tries the next replica.
    #[default]
    Starting,
    /// What was on disk, with whatever was observed since.
    LastGood,
    /// Something did not answer by the deadline.
    Partial,
    /// Everything was observed.
    Complete,
}

impl Readiness {
    /// Whether xDS is served.
    pub const fn is_ready(&self) -> bool {
        !matches!(self, Self::Starting)
    }

    /// What limits it, for people.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("waiting for the registry's first complete answer"),
            Self::LastGood => {
                Some("serving the last good state from disk: the registry has not answered yet")
            }
            Self::Partial => Some("the registry did not answer for every service by the deadline"),
            Self::Complete => None,
        }
    }
}

/// How long to wait for what, in milliseconds from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateTimes {
    /// Before the last good state serves although no source failed.
    pub last_good_after_ms: u64,
    /// Before an incomplete catalog serves.
    pub deadline_ms: u64,
}

/// What has been observed since the start.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, each set once")]
pub struct Gate {
    times: GateTimes,
    has_last_good: bool,
    source_failed: bool,
    listing: Option<BTreeSet<Arc<str>>>,
    observed: BTreeSet<Arc<str>>,
    documents: bool,
    is_complete: bool,
}

impl Gate {
    /// A gate at the start of the process.
    pub const fn new(times: GateTimes, has_last_good: bool) -> Self {
        Self {
            times,
            has_last_good,
            source_failed: false,
            listing: None,
            observed: BTreeSet::new(),
            documents: false,
            is_complete: false,
        }
    }

    /// The registry listed its names.
    pub fn on_listing(&mut self, names: &BTreeSet<Arc<str>>) {
        if !self.is_complete {
            self.listing = Some(names.clone());
            self.settle();
        }
    }

    /// A name was observed.
    pub fn on_service(&mut self, name: &Arc<str>) {
        if !self.is_complete {
            self.observed.insert(name.clone());
            self.settle();
        }
    }

    /// The documents were read.
    pub fn on_documents(&mut self) {
        self.documents = true;
        self.settle();
    }

    /// A source failed.
    pub const fn on_source_failed(&mut self) {
        self.source_failed = true;
    }

    /// Whether everything was observed.
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the catalog may be served at `now_ms` since the start.
    pub const fn readiness(&self, now_ms: u64) -> Readiness {
        if self.is_complete {
            Readiness::Complete
        } else if self.has_last_good
            && (self.source_failed || now_ms >= self.times.last_good_after_ms)
        {
            Readiness::LastGood
        } else if self.listing.is_some() && now_ms >= self.times.deadline_ms {
            Readiness::Partial
        } else {
            Readiness::Starting
        }
    }

    /// When to ask again, in milliseconds since the start; `None` when time changes nothing any more.
    pub fn next_change_ms(&self, now_ms: u64) -> Option<u64> {
        let GateTimes { last_good_after_ms, deadline_ms } = self.times;
        let last_good = self.has_last_good.then_some(last_good_after_ms);
        let times = [last_good, self.listing.is_some().then_some(deadline_ms)];
        let next = times.into_iter().flatten().filter(|at| *at > now_ms).min();
        next.filter(|_| !self.is_complete)
    }

    fn settle(&mut self) {
        let Some(listing) = &self.listing else { return };
        if self.documents && listing.is_subset(&self.observed) {
            self.is_complete = true;
            self.listing = None;
            self.observed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMES: GateTimes = GateTimes { last_good_after_ms: 3_000, deadline_ms: 30_000 };

    fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn an_empty_listing_with_its_documents_is_complete() {
        let mut gate = Gate::new(TIMES, false);
        gate.on_listing(&names(&[]));
        assert_eq!(gate.readiness(0), Readiness::Starting);
        gate.on_documents();
        assert_eq!(gate.readiness(0), Readiness::Complete);
    }

    #[test]
    fn a_service_that_leaves_the_listing_is_not_waited_for() {
        let mut gate = Gate::new(TIMES, false);
        gate.on_documents();
        gate.on_listing(&names(&["orders", "quotes"]));
        gate.on_service(&"orders".into());
        assert_eq!(gate.readiness(10), Readiness::Starting);
        gate.on_listing(&names(&["orders"]));
        assert_eq!(gate.readiness(10), Readiness::Complete);
    }

    #[test]
    fn the_deadline_serves_what_is_there_but_never_nothing() {
        let mut gate = Gate::new(TIMES, false);
        assert_eq!(gate.readiness(60_000), Readiness::Starting);
        gate.on_listing(&names(&["orders"]));
        assert_eq!(gate.next_change_ms(0), Some(30_000));
        assert_eq!(gate.readiness(30_000), Readiness::Partial);
    }

    #[test]
    fn the_last_good_state_serves_when_a_source_fails_or_the_grace_is_over() {
        let mut gate = Gate::new(TIMES, true);
        assert_eq!(gate.readiness(2_999), Readiness::Starting);
        assert_eq!(gate.readiness(3_000), Readiness::LastGood);
        gate.on_source_failed();
        assert_eq!(gate.readiness(1), Readiness::LastGood);
    }

    proptest! {
        #[test]
        fn any_order_of_observations_completes(order in Just(vec!["a", "b", "c", "d"]).prop_shuffle(), listing_at in 0_usize..5) {
            let mut gate = Gate::new(TIMES, false);
            gate.on_documents();
            for (index, name) in order.iter().enumerate() {
                if index == listing_at {
                    gate.on_listing(&names(&["a", "b", "c", "d"]));
                }
                prop_assert!(!gate.is_complete());
                gate.on_service(&Arc::from(*name));
            }
            gate.on_listing(&names(&["a", "b", "c", "d"]));
            prop_assert!(gate.is_complete());
        }
    }
}
