//! What a proxy asks for, and what it says it holds from an earlier stream.
//!
//! In: the names of a request. Out: what of a type is to be looked at, and what the proxy is believed to hold.
//!
//! **Invariants**: a claim counts in the first request of a type only; a version that is not ours equals no content.

use std::collections::BTreeMap;

use crate::xds::resources::{TypeSet, Version};

use super::request::{Mode, Names};
use super::subscription::{Change, intern};
use super::type_state::{Held, Need, TypeState, state_version};

impl TypeState {
    /// Takes in a request's names; `is_renewed` tells names whose referrer was sent on this stream.
    pub(super) fn subscribe(
        &mut self,
        names: &Names,
        set: &TypeSet,
        is_renewed: impl Fn(&str) -> bool,
    ) {
        self.on_demand = set.on_demand.clone();
        let change = self.subscription.apply(self.kind, names, set);
        if change == Change::default() {
            return;
        }
        let is_empty_handed = match names {
            Names::Change { initial, .. } => {
                if change.is_first {
                    self.believe(initial, set);
                }
                initial.is_empty()
            }
            Names::Whole { .. } => true,
        };
        if change.wildcard_began {
            self.is_answer_owed = is_empty_handed;
            for name in set.resources.keys() {
                self.need(name, Need::IfChanged);
            }
        }
        for name in change.added {
            let is_known = change.is_first && self.held.contains_key(&name) && !is_renewed(&name);
            self.is_answer_owed |= self.is_full_state();
            self.need(&name, if is_known { Need::IfChanged } else { Need::Always });
        }
        for name in change.removed {
            if self.mode == Mode::Delta && self.subscription.is_wildcard() {
                self.need(&name, Need::Always);
            }
        }
        self.forget_uncovered();
        if let Names::Whole { version, .. } = names
            && change.is_first
            && self.subscription.is_wildcard()
        {
            self.believe_version(version, set);
        }
    }

    /// Whether the proxy is to have this: it asked for it by name, or for everything.
    ///
    /// What it has once been sent stays its own: it would otherwise keep for ever what it was sent last.
    pub(super) fn is_due(&self, name: &str) -> bool {
        let is_left_out = || {
            self.mode == Mode::Delta
                && self.on_demand.contains(name)
                && !self.subscription.named().contains(name)
                && !self.held.contains_key(name)
                && !self.is_in_flight(name)
        };
        self.subscription.covers(name) && !is_left_out()
    }

    /// Delta: the proxy tells what it holds from an earlier stream.
    fn believe(&mut self, initial: &BTreeMap<String, String>, set: &TypeSet) {
        for (name, version) in initial {
            if !self.subscription.covers(name) {
                continue;
            }
            let name = intern(set, name);
            // A version that is not ours equals no content.
            let version =
                Version::parse(version).unwrap_or_else(|| Version::of(version.as_bytes()));
            let content =
                set.resources.get(&name).filter(|known| known.version == version).cloned();
            self.held.insert(name.clone(), Held { version, content, is_sent_here: false });
            self.need(&name, Need::IfChanged);
        }
    }

    /// State of the world: the proxy tells the version of all that it holds from an earlier stream.
    ///
    /// With a wildcard only: who lists names may have dropped one and asked again since it saw that version.
    fn believe_version(&mut self, version: &str, set: &TypeSet) {
        let wanted = set.resources.values();
        let ours = state_version(wanted.map(|content| (&*content.name, content.version)));
        if Version::parse(version) != Some(ours) {
            return;
        }
        self.is_answer_owed = false;
        self.has_accepted = true;
        self.pending.clear();
        for (name, content) in &set.resources {
            let (version, content) = (content.version, Some(content.clone()));
            self.held.insert(name.clone(), Held { version, content, is_sent_here: false });
        }
    }

    fn forget_uncovered(&mut self) {
        let subscription = &self.subscription;
        self.held.retain(|name, _| subscription.covers(name));
        self.pending.retain(|name, _| subscription.covers(name));
        self.waiting.retain(|name, _| subscription.covers(name));
    }
}
