//! Which versions of one conversion's schema are alive.
//!
//! In: which version was seen, and when. Out: the versions alive, newest first. Owned by the owner of schemas.
//!
//! The newest is the one that was first seen last: the old version of a rolling update was seen before it began. With few
//! old instances left a question rarely meets one; so a version that died is remembered for a while, and does not become
//! the newest when it is met again.
//!
//! **Invariants**: the version seen last is alive; a version dies only by others being seen in its place: time without
//! answers kills none.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::descriptors::Fingerprint;
use crate::transcode::Api;

/// Versions alive at a time: more means that a service says something else each time it is asked.
const MOST_ALIVE: usize = 4;
/// Versions remembered, dead ones too.
const MOST_KNOWN: usize = 16;
/// How many times longer than it is kept a version is remembered.
const REMEMBERED: u32 = 60;

/// One version of a schema.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its name.
    pub id: Fingerprint,
    /// Compiled.
    pub api: Arc<Api>,
    /// When it was first seen.
    pub first_seen: Instant,
    /// When it was last seen.
    pub last_seen: Instant,
}

/// All versions of one schema that are remembered, newest first.
#[derive(Debug)]
pub(super) struct Versions {
    known: Vec<Known>,
    answered: Option<Instant>,
    keep: Duration,
}

#[derive(Debug)]
struct Known {
    version: Version,
    /// For how long others were seen in its place.
    unseen: Duration,
}

impl Versions {
    /// None yet; a version lives for `keep` beside newer ones.
    pub(super) fn new(keep: Duration) -> Self {
        Self { known: Vec::new(), answered: None, keep }
    }

    /// A version was seen; `pace` is how often one looks. Tells whether it is new, or alive again.
    pub(super) fn saw(
        &mut self,
        id: Fingerprint,
        api: Arc<Api>,
        now: Instant,
        pace: Duration,
    ) -> bool {
        // What passed while nobody answered counts as one pause.
        let since = self.answered.map_or(Duration::ZERO, |answered| now - answered);
        let since = since.min(pace.saturating_mul(2));
        self.answered = Some(now);
        let mut is_new = true;
        for known in &mut self.known {
            if known.version.id == id {
                is_new = known.unseen > self.keep;
                known.unseen = Duration::ZERO;
                known.version.last_seen = now;
            } else {
                known.unseen = known.unseen.saturating_add(since);
            }
        }
        if !self.known.iter().any(|known| known.version.id == id) {
            let version = Version { id, api, first_seen: now, last_seen: now };
            self.known.insert(0, Known { version, unseen: Duration::ZERO });
        }
        let remember = self.keep.saturating_mul(REMEMBERED);
        self.known.retain(|known| known.unseen <= remember);
        if self.known.len() > MOST_KNOWN {
            let longest = self.known.iter().enumerate().max_by_key(|(_, known)| known.unseen);
            let longest = longest.map(|(at, _)| at);
            longest.map(|at| self.known.remove(at));
        }
        is_new
    }

    /// The version that was seen last was seen again.
    pub(super) fn saw_last(&mut self, now: Instant, pace: Duration) {
        let last = self.known.iter().max_by_key(|known| known.version.last_seen);
        if let Some((id, api)) = last.map(|last| (last.version.id, last.version.api.clone())) {
            self.saw(id, api, now, pace);
        }
    }

    /// The compiled forms of all versions that are remembered.
    pub(super) fn compiled(&self) -> Vec<(Fingerprint, Arc<Api>)> {
        self.known.iter().map(|known| (known.version.id, known.version.api.clone())).collect()
    }

    /// The versions that requests are tried with, newest first: of too many those that were seen last.
    pub(super) fn alive(&self) -> Vec<Version> {
        let known = self.known.iter().enumerate();
        let mut alive: Vec<_> = known.filter(|(_, known)| known.unseen <= self.keep).collect();
        alive.sort_by_key(|(_, known)| known.unseen);
        alive.truncate(MOST_ALIVE);
        alive.sort_by_key(|(at, _)| *at);
        alive.into_iter().map(|(_, known)| known.version.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Duration = Duration::from_secs(5);
    const KEEP: Duration = Duration::from_secs(60);

    /// Sees versions at these seconds; says which are alive then, newest first.
    fn check(seen: &[(u64, u128)], expected: &[u128]) {
        let begin = Instant::now();
        let api = Arc::new(Api::compile(&prost_reflect::DescriptorPool::new(), &[]).unwrap());
        let mut versions = Versions::new(KEEP);
        for (second, id) in seen {
            let now = begin + Duration::from_secs(*second);
            versions.saw(Fingerprint(*id), api.clone(), now, PACE);
        }
        let alive: Vec<u128> = versions.alive().iter().map(|version| version.id.0).collect();
        assert_eq!(alive, expected, "{seen:?}");
    }

    #[test]
    fn the_version_first_seen_last_is_the_newest_and_the_old_one_lives_for_a_minute() {
        check(&[(0, 1)], &[1]);
        check(&[(0, 1), (5, 2)], &[2, 1]);
        check(&[(0, 1), (5, 2), (10, 1)], &[2, 1]);
        let mut seen = vec![(0, 1)];
        seen.extend((1..=12).map(|at| (at * 5, 2)));
        check(&seen, &[2, 1]);
        seen.push((65, 2));
        check(&seen, &[2]);
    }

    #[test]
    fn time_without_an_answer_kills_no_version() {
        check(&[(0, 1), (5, 2), (7200, 2)], &[2, 1]);
    }

    #[test]
    fn an_old_version_that_is_met_again_does_not_become_the_newest() {
        let mut seen = vec![(0, 1)];
        seen.extend((1..=40).map(|at| (at * 5, 2)));
        check(&seen, &[2]);
        seen.push((205, 1));
        check(&seen, &[2, 1]);
    }

    #[test]
    fn after_many_updates_at_once_the_version_that_is_met_again_is_alive() {
        check(&[(0, 1), (5, 2), (10, 3), (15, 4), (20, 5), (25, 1)], &[5, 4, 3, 1]);
    }

    #[test]
    fn a_service_that_says_something_else_each_time_has_a_bounded_number_of_versions() {
        let seen: Vec<(u64, u128)> = (0..1000).map(|at| (at * 5, u128::from(at))).collect();
        check(&seen, &[999, 998, 997, 996]);
    }
}
