//! One resource type on one stream: what the proxy asks for, holds, and is still to be told.
//!
//! In: ACKs, NACKs, new sets; subscriptions by [`super::asked`]. Out: what [`super::draft`] makes a response of, and
//! what [`super::status`] shows.
//!
//! **Invariants**: `held` is what the proxy accepted (or claimed on reconnect), never what was merely sent;
//! `pending` is empty exactly when there is nothing to look at; names are shared with the set, not copied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::xds::resources::{Encoded, ResourceName, ResourceType, TypeSet, Version};

use super::Event;
use super::nack::{Nacks, Refused};
use super::quarantine::{Quarantine, Refusal};
use super::request::Mode;
use super::subscription::Subscription;

/// How long an ACK may take before the next response of the type may overtake it.
pub(super) const ACK_PATIENCE: Duration = Duration::from_secs(30);

/// A resource that the proxy has.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Its version there.
    pub version: Version,
    /// Its bytes; absent when the proxy brought it from another stream and the set has moved on.
    pub content: Option<Arc<Encoded>>,
    /// Whether this stream sent it.
    pub is_sent_here: bool,
}

/// How much a name needs an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// If the proxy holds something else.
    IfChanged,
    /// In any case: it asked, or what refers to it was sent again.
    Always,
}

/// One line of a response.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The resource.
    pub name: ResourceName,
    /// Its content; `None`: it does not exist.
    pub content: Option<Arc<Encoded>>,
}

/// A response that waits for its ACK.
#[derive(Debug)]
pub(super) struct InFlight {
    pub nonce: u64,
    pub items: Vec<Item>,
    pub sent_at: Instant,
    /// The ACK is late: new differences may follow without it.
    pub is_overdue: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct TypeState {
    pub kind: ResourceType,
    pub mode: Mode,
    pub subscription: Subscription,
    pub held: BTreeMap<ResourceName, Held>,
    pub pending: BTreeMap<ResourceName, Need>,
    /// The next response goes out even if it is empty.
    pub is_answer_owed: bool,
    /// State of the world: the proxy refused before it accepted anything, so that what it holds is not known.
    pub is_state_owed: bool,
    /// Whether the proxy has accepted anything of this type.
    pub has_accepted: bool,
    /// Names that wait at a gate, since when.
    pub waiting: BTreeMap<ResourceName, Instant>,
    pub in_flight: Option<InFlight>,
    pub nacks: Nacks,
    /// What other proxies of the class refused.
    pub class: Arc<Quarantine>,
    /// What of the set only goes to who asks for it by name.
    pub on_demand: Arc<BTreeSet<ResourceName>>,
}

impl TypeState {
    pub(super) fn new(kind: ResourceType, mode: Mode) -> Self {
        Self {
            kind,
            mode,
            subscription: Subscription::default(),
            held: BTreeMap::new(),
            pending: BTreeMap::new(),
            is_answer_owed: false,
            is_state_owed: false,
            has_accepted: false,
            waiting: BTreeMap::new(),
            in_flight: None,
            nacks: Nacks::default(),
            class: Arc::default(),
            on_demand: Arc::default(),
        }
    }

    /// Whether each response carries everything: LDS and CDS in state of the world.
    pub(super) fn is_full_state(&self) -> bool {
        self.mode == Mode::Sotw && self.kind.has_wildcard()
    }

    /// Notes that a name is to be looked at.
    pub(super) fn need(&mut self, name: &ResourceName, need: Need) {
        let known = self.pending.entry(name.clone()).or_insert(need);
        *known = need.max(*known);
    }

    /// Notes what differs between two sets.
    pub(super) fn update(&mut self, old: &Arc<TypeSet>, new: &Arc<TypeSet>) {
        if Arc::ptr_eq(old, new) || !self.subscription.is_asked() {
            return;
        }
        self.on_demand = new.on_demand.clone();
        if old.generation > 0 && new.previous == old.generation {
            for name in new.changed.iter().filter(|name| self.subscription.covers(name)) {
                let known = self.pending.entry(name.clone()).or_insert(Need::IfChanged);
                *known = Need::IfChanged.max(*known);
            }
            return;
        }
        // By what there is, not by what was asked for: a stream may name far more than exists, and skips generations.
        let wanted = new.resources.keys().filter(|name| self.subscription.covers(name));
        let sent = self.in_flight.iter().flat_map(|flight| &flight.items);
        let sent = sent.filter(|item| item.content.is_some()).map(|item| &item.name);
        for name in wanted.chain(self.held.keys()).chain(sent) {
            self.pending.entry(name.clone()).or_insert(Need::IfChanged);
        }
    }

    /// The response in flight was accepted; returns it.
    pub(super) fn accept(&mut self, nonce: u64) -> Option<InFlight> {
        let flight = self.in_flight.take_if(|flight| flight.nonce == nonce)?;
        self.has_accepted = true;
        self.is_state_owed = false;
        for item in &flight.items {
            if !self.subscription.covers(&item.name) {
                continue;
            }
            if let Some(content) = &item.content {
                let held = Held {
                    version: content.version,
                    content: Some(content.clone()),
                    is_sent_here: true,
                };
                self.held.insert(item.name.clone(), held);
            } else {
                self.held.remove(&item.name);
            }
        }
        Some(flight)
    }

    /// The response in flight was refused; returns it, and the culprit if it was alone.
    ///
    /// Names told to be gone are taken as forgotten: there is nothing smaller to try.
    pub(super) fn refuse(
        &mut self,
        nonce: u64,
        message: &Arc<str>,
    ) -> Option<(InFlight, Option<Refusal>)> {
        let flight = self.in_flight.take_if(|flight| flight.nonce == nonce)?;
        let mut suspects = Vec::new();
        for item in &flight.items {
            match &item.content {
                Some(content) => suspects.push((item.name.clone(), content.version)),
                None => drop(self.held.remove(&item.name)),
            }
        }
        self.is_state_owed = self.is_full_state() && !self.has_accepted && !suspects.is_empty();
        let culprit = self.nacks.refuse(suspects, message).map(|(name, version)| Refusal {
            kind: self.kind,
            fallback: self.held.get(&name).and_then(|held| held.content.clone()),
            name,
            refused: Refused { version, message: message.clone() },
        });
        Some((flight, culprit))
    }

    /// Takes in what is known of the proxy's class.
    pub(super) fn quarantine(&mut self, class: &Arc<Quarantine>) {
        let before = std::mem::replace(&mut self.class, class.clone());
        for name in before.names(self.kind).chain(class.names(self.kind)) {
            if self.subscription.covers(name) {
                self.pending.entry(name.clone()).or_insert(Need::IfChanged);
            }
        }
    }

    /// What of this content other proxies of the class refused.
    pub(super) fn vindicated<'a>(
        &self,
        accepted: impl Iterator<Item = &'a Arc<Encoded>>,
    ) -> Vec<Event> {
        let refused =
            accepted.filter(|it| self.class.is_suspected(self.kind, &it.name, it.version));
        let event = |content: &Arc<Encoded>| Event::Vindicated {
            kind: self.kind,
            name: content.name.clone(),
            version: content.version,
        };
        refused.map(event).collect()
    }

    /// The refusal of this version, by this proxy or by its class.
    pub(super) fn refusal(&self, name: &ResourceName, version: Version) -> Option<&Refused> {
        let of_class = || self.class.hold(self.kind, name, version).map(|hold| hold.refused);
        self.nacks.refusal(name, version).or_else(of_class)
    }

    /// Whether a response must go out even if nothing is in it that the proxy lacks.
    pub(super) const fn is_owed(&self) -> bool {
        self.is_answer_owed || self.is_state_owed
    }

    /// Whether the proxy has answered for everything that it is to have.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.is_none() && self.pending.is_empty() && self.nacks.is_settled()
    }

    /// What the proxy has, or has been sent.
    pub(super) fn contents(&self) -> impl Iterator<Item = &Arc<Encoded>> {
        let sent = self.in_flight.iter().flat_map(|flight| &flight.items);
        let sent = sent.filter_map(|item| item.content.as_ref());
        let held = self.held.values().filter_map(|held| held.content.as_ref());
        held.chain(sent)
    }

    /// Whether any of that speaks of this cluster.
    pub(super) fn names_cluster(&self, cluster: &ResourceName) -> bool {
        self.contents().any(|content| content.clusters.contains(cluster))
    }

    /// What the proxy has under this name, or will have once it answers what it was sent.
    pub(super) fn known_content(&self, name: &str) -> Option<&Arc<Encoded>> {
        let mut sent = self.in_flight.iter().flat_map(|flight| &flight.items);
        match sent.find(|item| *item.name == *name) {
            Some(item) => item.content.as_ref(),
            None => self.held.get(name)?.content.as_ref(),
        }
    }

    /// Notes where the proxy has something else than what the set has.
    pub(super) fn look_again(&mut self, set: &TypeSet) {
        for (name, wanted) in &set.resources {
            let is_known = self.known_content(name).is_some_and(|it| it.version == wanted.version);
            if self.subscription.covers(name) && !is_known {
                self.need(name, Need::IfChanged);
            }
        }
    }

    /// Whether this stream has sent the resource.
    pub(super) fn is_sent_here(&self, name: &str) -> bool {
        let mut sent = self.in_flight.iter().flat_map(|flight| &flight.items);
        sent.any(|item| *item.name == *name)
            || self.held.get(name).is_some_and(|held| held.is_sent_here)
    }

    /// When this type needs a look without any news; `patience` is that of its gate.
    pub(super) fn deadline(&self, patience: Duration) -> Option<Instant> {
        match &self.in_flight {
            Some(flight) if !flight.is_overdue => Some(flight.sent_at + ACK_PATIENCE),
            _ => self.waiting.values().min().map(|since| *since + patience),
        }
    }
}

/// The version of a whole state: the hash over names and versions, in the order of names.
pub(super) fn state_version<'a>(state: impl Iterator<Item = (&'a str, Version)>) -> Version {
    let mut text = String::new();
    for (name, version) in state {
        text.push_str(name);
        text.push(' ');
        text.push_str(&version.to_string());
        text.push('\n');
    }
    Version::of(text.as_bytes())
}
