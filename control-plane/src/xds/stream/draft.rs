//! Deciding what the next response of one type carries.
//!
//! In: a [`TypeState`], the set in force, a gate. Out: the items of one response, or nothing to say.
//!
//! **Invariants**: a response puts or removes, never both; one response of a type is in flight at a time;
//! EDS, SDS and RDS that left the set are forgotten without a word, since a live referrer would lose them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::xds::order::Phase;
use crate::xds::resources::{Encoded, ResourceName, ResourceType, TypeSet, Version};

use super::placeholder::empty_routes;
use super::request::Mode;
use super::type_state::{ACK_PATIENCE, Held, InFlight, Item, Need, TypeState, state_version};

/// About how many bytes a response may have; the rest follows after its ACK.
const CHUNK: usize = 1 << 20;

/// What becomes of one name.
#[derive(Debug)]
enum Decision {
    /// The proxy has what it is to have.
    Settled,
    /// Nothing to say, and nothing to remember.
    Forget,
    /// Send this.
    Put(Arc<Encoded>),
    /// Answer that it does not exist.
    Absent,
    /// Take it away.
    Remove,
}

/// What a gate looks at.
#[derive(Debug)]
pub(super) enum Passing<'a> {
    /// A resource about to be sent.
    Put(&'a Encoded),
    /// A resource about to be taken away, and whether this stream brought it.
    Remove {
        /// Its name.
        name: &'a ResourceName,
        /// Whether it was sent on this stream rather than brought from another.
        is_sent_here: bool,
    },
}

/// Where resources wait.
pub(super) struct GateKeeper<'a> {
    /// Whether a resource may go.
    pub is_open: &'a dyn Fn(&Passing<'_>) -> bool,
    /// How long it waits at most.
    pub patience: Duration,
    /// Names that went because their patience ended.
    pub expired: Vec<ResourceName>,
}

impl TypeState {
    /// The items of the next response of one phase; `None`: nothing to say now.
    pub(super) fn draft(
        &mut self,
        phase: Phase,
        set: &TypeSet,
        gate: &mut GateKeeper<'_>,
        now: Instant,
    ) -> Option<Vec<Item>> {
        if self.in_flight.as_ref().is_some_and(|flight| !flight.is_overdue) {
            return None;
        }
        if phase == Phase::Put && self.in_flight.is_none() {
            while let Some(group) = self.nacks.next_group() {
                let items = self.still_wanted(group, set);
                if !items.is_empty() {
                    return Some(items);
                }
            }
        }
        let items = self.collect(phase, set, gate, now);
        let is_owed = phase == Phase::Put && self.is_owed() && self.waiting.is_empty();
        if items.is_empty() && !is_owed {
            return None;
        }
        if phase == Phase::Put {
            self.is_answer_owed = false;
            self.is_state_owed = false;
        }
        Some(items)
    }

    /// What of a refused group is to be tried alone.
    fn still_wanted(&self, group: Vec<(ResourceName, Version)>, set: &TypeSet) -> Vec<Item> {
        let wanted = group.into_iter().filter_map(|(name, version)| {
            let content = set.resources.get(&name).filter(|content| content.version == version)?;
            let is_news = self.held.get(&name).is_none_or(|held| held.version != version);
            (is_news && self.subscription.covers(&name))
                .then(|| Item { name, content: Some(content.clone()) })
        });
        wanted.collect()
    }

    fn collect(
        &mut self,
        phase: Phase,
        set: &TypeSet,
        gate: &mut GateKeeper<'_>,
        now: Instant,
    ) -> Vec<Item> {
        let mut items = Vec::new();
        let (mut size, mut is_full) = (0, false);
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|name, need| {
            if is_full {
                return true;
            }
            let content = match (self.decide(name, *need, set), phase) {
                (Decision::Settled, _) => {
                    self.waiting.remove(name);
                    return false;
                }
                (Decision::Forget, _) => {
                    self.held.remove(name);
                    self.waiting.remove(name);
                    return false;
                }
                (Decision::Put(content), Phase::Put) => Some(content),
                (Decision::Absent, Phase::Put) | (Decision::Remove, Phase::Remove) => None,
                _ => return true,
            };
            let bytes = name.len() + content.as_ref().map_or(0, |content| content.any.len());
            is_full = size > 0 && size + bytes > CHUNK && !self.is_full_state();
            if is_full {
                return true;
            }
            if !self.passes(name, content.as_deref(), phase, gate, now) {
                return true;
            }
            size += bytes;
            items.push(Item { name: name.clone(), content });
            false
        });
        self.pending = pending;
        items
    }

    fn passes(
        &mut self,
        name: &ResourceName,
        content: Option<&Encoded>,
        phase: Phase,
        gate: &mut GateKeeper<'_>,
        now: Instant,
    ) -> bool {
        let is_open = match (content, phase) {
            (Some(content), _) => (gate.is_open)(&Passing::Put(content)),
            (None, Phase::Put) => true,
            (None, Phase::Remove) => {
                let is_sent_here = self.held.get(name).is_some_and(|held| held.is_sent_here);
                (gate.is_open)(&Passing::Remove { name, is_sent_here })
            }
        };
        if !is_open {
            let since = *self.waiting.entry(name.clone()).or_insert(now);
            if now < since + gate.patience {
                return false;
            }
            gate.expired.push(name.clone());
        }
        self.waiting.remove(name);
        true
    }

    fn decide(&self, name: &ResourceName, need: Need, set: &TypeSet) -> Decision {
        let is_always = need == Need::Always;
        if !self.subscription.covers(name) {
            return Decision::Forget;
        }
        let Some(wanted) = set.resources.get(name) else {
            let is_held = self.held.contains_key(name) || self.is_in_flight(name);
            return match self.kind {
                ResourceType::Cluster | ResourceType::Listener if is_held => Decision::Remove,
                _ if is_always => self.absent(name),
                _ => Decision::Forget,
            };
        };
        let hold = self.class.hold(self.kind, name, wanted.version);
        if hold.is_some() || self.nacks.holds_back(name, wanted.version) {
            return self.in_its_place(name, is_always, hold.and_then(|hold| hold.fallback));
        }
        if !is_always && self.known_version(name) == Some(wanted.version) {
            return Decision::Settled;
        }
        Decision::Put(wanted.clone())
    }

    /// What stands in for content that is held back: what this proxy accepted last, else what its class did.
    fn in_its_place(
        &self,
        name: &ResourceName,
        is_always: bool,
        fallback: Option<&Arc<Encoded>>,
    ) -> Decision {
        let fallback = fallback.filter(|it| !self.nacks.holds_back(name, it.version)).cloned();
        match (self.known_version(name), self.held.get(name)) {
            (Some(_), _) if !is_always => Decision::Settled,
            (_, Some(held)) => {
                held.content.clone().or(fallback).map_or(Decision::Settled, Decision::Put)
            }
            (_, None) if fallback.is_some() => fallback.map_or(Decision::Settled, Decision::Put),
            (_, None) if is_always => self.absent(name),
            (_, None) => Decision::Settled,
        }
    }

    /// The answer to a question for what does not exist, such that nothing keeps warming for it.
    fn absent(&self, name: &ResourceName) -> Decision {
        if self.kind == ResourceType::Routes {
            // Envoy keeps a listener warming when its routes are said not to exist.
            let empty = empty_routes(name);
            if !self.nacks.holds_back(name, empty.version) {
                return Decision::Put(Arc::new(empty));
            }
        }
        match self.mode {
            Mode::Delta => Decision::Absent,
            // The absence from a full state says it; other types have no words for it.
            Mode::Sotw => Decision::Settled,
        }
    }

    fn is_in_flight(&self, name: &ResourceName) -> bool {
        let mut items = self.in_flight.iter().flat_map(|flight| &flight.items);
        items.any(|item| item.name == *name && item.content.is_some())
    }

    /// The version that the proxy has, or will have once it answers what is overdue.
    fn known_version(&self, name: &ResourceName) -> Option<Version> {
        let mut items = self.in_flight.iter().flat_map(|flight| &flight.items);
        match items.find(|item| item.name == *name) {
            Some(item) => item.content.as_ref().map(|content| content.version),
            None => self.held.get(name).map(|held| held.version),
        }
    }

    /// Puts a response in flight; what it overtakes is judged together with it.
    pub(super) fn launch(&mut self, nonce: u64, items: Vec<Item>, now: Instant) {
        let mut all = items;
        if let Some(overdue) = self.in_flight.take() {
            let newer: BTreeSet<ResourceName> = all.iter().map(|item| item.name.clone()).collect();
            all.extend(overdue.items.into_iter().filter(|item| !newer.contains(&item.name)));
        }
        self.in_flight = Some(InFlight { nonce, items: all, sent_at: now, is_overdue: false });
    }

    /// Notes a late ACK; true the first time.
    pub(super) fn note_overdue(&mut self, now: Instant) -> bool {
        match &mut self.in_flight {
            Some(flight) if !flight.is_overdue && now >= flight.sent_at + ACK_PATIENCE => {
                flight.is_overdue = true;
                true
            }
            _ => false,
        }
    }

    /// State of the world: everything that the proxy has once it accepts what is in flight, and its version.
    pub(super) fn whole_state(&self) -> (Vec<Arc<Encoded>>, Version) {
        let mut state = self.held.clone();
        let sent = self.in_flight.iter().flat_map(|flight| &flight.items);
        for item in sent.filter(|item| self.subscription.covers(&item.name)) {
            match &item.content {
                Some(content) => {
                    let held = Held {
                        version: content.version,
                        content: Some(content.clone()),
                        is_sent_here: true,
                    };
                    state.insert(item.name.clone(), held);
                }
                None => drop(state.remove(&item.name)),
            }
        }
        let version = state_version(state.iter().map(|(name, held)| (&**name, held.version)));
        (state.into_values().filter_map(|held| held.content).collect(), version)
    }
}
