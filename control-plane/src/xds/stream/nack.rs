//! Finding what a proxy refuses.
//!
//! In: the resources of a refused response. Out: smaller groups to try one response at a time, and in the end single
//! culprits, held back with the proxy's message.
//!
//! **Invariants**: what was refused alone is never sent again on this stream at that version (nor, once two proxies refused it, to
//! their class: `quarantine.rs`); what was refused among
//! others is sent again only inside a smaller group; new content of a name is always tried.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::xds::resources::{ResourceName, Version};

/// Refused versions that are remembered for one name: content that goes back and forth stays known.
pub(super) const REMEMBERED: usize = 4;

/// A version that the proxy refused when it was alone in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The version.
    pub version: Version,
    /// The proxy's own words.
    pub message: Arc<str>,
}

/// What is known about refusals of one type on one stream.
#[derive(Debug, Default)]
pub(super) struct Nacks {
    /// Groups still to be tried, each as a response of its own.
    groups: VecDeque<Vec<ResourceName>>,
    /// Everything in `groups`, at the version that was refused among others.
    suspects: BTreeMap<ResourceName, Version>,
    refused: BTreeMap<ResourceName, VecDeque<Refused>>,
}

impl Nacks {
    /// Takes in a refused response: splits it, or names the one that was alone in it.
    pub(super) fn refuse(
        &mut self,
        mut response: Vec<(ResourceName, Version)>,
        message: &Arc<str>,
    ) -> Option<(ResourceName, Version)> {
        if response.len() > 1 {
            let second = response.split_off(response.len() / 2);
            for half in [second, response] {
                self.groups.push_front(half.iter().map(|(name, _)| name.clone()).collect());
                self.suspects.extend(half);
            }
            return None;
        }
        let (name, version) = response.pop()?;
        let known = self.refused.entry(name.clone()).or_default();
        known.retain(|refused| refused.version != version);
        known.push_back(Refused { version, message: message.clone() });
        if known.len() > REMEMBERED {
            known.pop_front();
        }
        Some((name, version))
    }

    /// Whether this version must not travel with others: refused for good, or waiting to be tried in a group.
    pub(super) fn holds_back(&self, name: &str, version: Version) -> bool {
        self.suspects.get(name) == Some(&version) || self.refusal(name, version).is_some()
    }

    /// The refusal of exactly this version.
    pub(super) fn refusal(&self, name: &str, version: Version) -> Option<&Refused> {
        self.refused.get(name)?.iter().find(|refused| refused.version == version)
    }

    /// The next group to try; the group's names are no suspects any more.
    pub(super) fn next_group(&mut self) -> Option<Vec<(ResourceName, Version)>> {
        let group = self.groups.pop_front()?;
        Some(group.into_iter().filter_map(|name| self.suspects.remove_entry(&name)).collect())
    }

    /// Whether nothing waits to be tried.
    pub(super) fn is_settled(&self) -> bool {
        self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy that refuses every group with a bad name in it; returns the culprits and the number of responses.
    fn isolate(count: usize, bad: &[usize]) -> (Vec<String>, usize) {
        let version = |n: usize| Version::of(&n.to_be_bytes());
        let mut response: Vec<_> =
            (0..count).map(|n| (ResourceName::from(format!("{n:04}")), version(n))).collect();
        let is_bad = |name: &str| bad.contains(&name.parse().unwrap());
        let (mut nacks, mut culprits, mut sent) = (Nacks::default(), Vec::new(), 1);
        loop {
            if response.iter().any(|(name, _)| is_bad(name)) {
                culprits.extend(nacks.refuse(response, &Arc::from("bad")));
            }
            let Some(group) = nacks.next_group() else { break };
            response = group;
            sent += 1;
        }
        assert!(nacks.is_settled() && nacks.suspects.is_empty());
        (culprits.iter().map(|(name, _)| name.to_string()).collect(), sent)
    }

    #[test]
    fn halving_finds_every_culprit_and_nothing_else() {
        for (count, bad) in [(1, vec![0]), (2, vec![1]), (100, vec![37]), (100, vec![0, 50, 99])] {
            let names: Vec<String> = bad.iter().map(|n| format!("{n:04}")).collect();
            assert_eq!(isolate(count, &bad).0, names);
        }
    }

    #[test]
    fn one_culprit_among_a_hundred_takes_about_two_log_n_responses() {
        assert!(isolate(100, &[63]).1 <= 15);
    }

    #[test]
    fn a_version_refused_earlier_stays_refused_when_content_goes_back_to_it() {
        let mut nacks = Nacks::default();
        let (name, message) = (ResourceName::from("a"), Arc::from("bad"));
        for content in [b"1", b"2"] {
            nacks.refuse(vec![(name.clone(), Version::of(content))], &message);
        }
        assert!(nacks.holds_back("a", Version::of(b"1")));
        assert!(nacks.holds_back("a", Version::of(b"2")));
        assert!(!nacks.holds_back("a", Version::of(b"3")));
    }
}
