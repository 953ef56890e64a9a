//! A client as the protocol's description has it: it applies what it accepts, refuses a response with a bad resource as a
//! whole, asks for endpoints and routes as Envoy does, and of its own accord for what may not exist.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::proxy::*;
use super::super::tokens::is_bad;
use crate::xds::stream::*;

/// The specification's client.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) holds: BTreeMap<(ResourceType, ResourceName), Arc<Encoded>>,
    pub(super) asked: BTreeMap<ResourceType, BTreeSet<ResourceName>>,
    pub(super) versions: BTreeMap<ResourceType, String>,
    pub(super) unanswered: VecDeque<Response>,
    pub(super) refused: BTreeSet<(ResourceType, ResourceName, Version)>,
    /// Endpoints that it asks for without having their cluster.
    pub(super) curious: BTreeSet<ResourceName>,
    pub(super) is_secretive: bool,
}

impl Client {
    pub(super) fn names(&self, kind: ResourceType) -> Vec<ResourceName> {
        self.holds.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Applies a response, or returns why not.
    pub(super) fn apply(&mut self, mode: Mode, response: &Response) -> Option<String> {
        let bad = response.resources.iter().find(|content| is_bad(content));
        if let Some(bad) = bad {
            return Some(format!("{} is bad", bad.name));
        }
        if mode == Mode::Sotw && response.kind.has_wildcard() {
            self.holds.retain(|(kind, _), _| *kind != response.kind);
        }
        for content in &response.resources {
            self.holds.insert((response.kind, content.name.clone()), content.clone());
        }
        for name in &response.removed {
            self.holds.remove(&(response.kind, name.clone()));
        }
        if let Some(version) = response.version {
            self.versions.insert(response.kind, version.to_string());
        }
        None
    }

    /// What it asks for of a type: endpoints of its clusters, routes while it has a listener, what it is curious about.
    pub(super) fn wants(&self, kind: ResourceType) -> BTreeSet<ResourceName> {
        match kind {
            Endpoints => self.names(Cluster).into_iter().chain(self.curious.clone()).collect(),
            Secret if self.is_secretive => ["leaf".into()].into(),
            Extension if !self.names(Listener).is_empty() => ["f".into()].into(),
            Routes if !self.names(Listener).is_empty() => ["r".into()].into(),
            _ => BTreeSet::new(),
        }
    }

    /// The request that follows an answer or opens a type.
    pub(super) fn request(
        &mut self,
        mode: Mode,
        kind: ResourceType,
        answers: Answers,
        error: Option<String>,
    ) -> Request {
        let wants = self.wants(kind);
        let is_first = !self.asked.contains_key(&kind);
        let asked = self.asked.insert(kind, wants.clone()).unwrap_or_default();
        let strings =
            |names: Vec<&ResourceName>| names.into_iter().map(ToString::to_string).collect();
        let names = match mode {
            Mode::Sotw => Names::Whole {
                names: strings(wants.iter().collect()),
                version: self.versions.get(&kind).cloned().unwrap_or_default(),
            },
            Mode::Delta => {
                let held = self.holds.iter().filter(|((of, name), _)| {
                    is_first && *of == kind && (kind.has_wildcard() || wants.contains(name))
                });
                Names::Change {
                    subscribe: strings(wants.difference(&asked).collect()),
                    unsubscribe: strings(asked.difference(&wants).collect()),
                    initial: held
                        .map(|((_, name), it)| (name.to_string(), it.version.to_string()))
                        .collect(),
                }
            }
        };
        // What is no longer asked for is dropped with its last referrer.
        self.holds
            .retain(|(of, name), _| *of != kind || kind.has_wildcard() || wants.contains(name));
        Request { kind, answers, error, names }
    }
}
