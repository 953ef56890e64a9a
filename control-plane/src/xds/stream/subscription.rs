//! Which names of one type a proxy asks for.
//!
//! In: the names of a request. Out: what the request changed.
//!
//! **Invariants**: the legacy wildcard (a request without names) exists for LDS and CDS only, and in state of the world
//! only until the proxy has named something; delta keeps it beside names until `*` is dropped.

use std::collections::BTreeSet;

use crate::xds::resources::{ResourceName, ResourceType, TypeSet};

use super::request::{Names, WILDCARD};

/// The subscription to one type.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    is_asked: bool,
    is_wildcard: bool,
    has_named: bool,
    named: BTreeSet<ResourceName>,
}

/// What one request changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// It is the first for the type.
    pub is_first: bool,
    /// The wildcard began.
    pub wildcard_began: bool,
    /// Names asked for now.
    pub added: Vec<ResourceName>,
    /// Names no longer asked for; a wildcard may still cover them.
    pub removed: Vec<ResourceName>,
    /// The wildcard ended.
    pub wildcard_ended: bool,
}

impl Subscription {
    /// Whether the proxy has asked for the type.
    pub(super) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Whether it asked for everything.
    pub(super) const fn is_wildcard(&self) -> bool {
        self.is_wildcard
    }

    /// Whether it asked for this name.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.is_wildcard || self.named.contains(name)
    }

    /// The names it gave.
    pub(super) const fn named(&self) -> &BTreeSet<ResourceName> {
        &self.named
    }

    /// Takes a request's names in; `set` lends its names, so that none is stored twice.
    pub(super) fn apply(&mut self, kind: ResourceType, names: &Names, set: &TypeSet) -> Change {
        let is_first = !self.is_asked;
        self.is_asked = true;
        let was_wildcard = self.is_wildcard;
        let mut change = Change { is_first, ..Change::default() };
        match names {
            Names::Change { subscribe, unsubscribe, .. } => {
                if is_first && subscribe.is_empty() {
                    self.is_wildcard = kind.has_wildcard();
                }
                for name in subscribe {
                    if name == WILDCARD {
                        self.is_wildcard = true;
                        continue;
                    }
                    let name = intern(set, name);
                    self.named.insert(name.clone());
                    change.added.push(name);
                }
                for name in unsubscribe {
                    if name == WILDCARD {
                        self.is_wildcard = false;
                    } else if let Some(name) = self.named.take(name.as_str()) {
                        change.removed.push(name);
                    } else if self.is_wildcard {
                        change.removed.push(intern(set, name));
                    }
                }
            }
            Names::Whole { names, .. } => {
                self.has_named |= !names.is_empty();
                self.is_wildcard = names.iter().any(|name| name == WILDCARD)
                    || (!self.has_named && kind.has_wildcard());
                let whole: BTreeSet<ResourceName> = names
                    .iter()
                    .filter(|name| *name != WILDCARD)
                    .map(|name| {
                        self.named.get(name.as_str()).cloned().unwrap_or_else(|| intern(set, name))
                    })
                    .collect();
                change.added = whole.difference(&self.named).cloned().collect();
                change.removed = self.named.difference(&whole).cloned().collect();
                self.named = whole;
            }
        }
        change.wildcard_began = self.is_wildcard && !was_wildcard;
        change.wildcard_ended = was_wildcard && !self.is_wildcard;
        change
    }
}

/// The set's own copy of a name, or a new one.
pub(super) fn intern(set: &TypeSet, name: &str) -> ResourceName {
    set.resources
        .get_key_value(name)
        .map_or_else(|| ResourceName::from(name), |(name, _)| name.clone())
}
