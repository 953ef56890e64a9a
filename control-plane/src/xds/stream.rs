//! Stage 5, the core: the state machine of one stream, aggregated or of one type, without IO.
//!
//! In: [`Request`]s, a new [`ResourceSet`] whenever there is one, the time. Out: the next [`Response`] when the
//! transport can take one, [`Event`]s for log and metrics, a [`StreamStatus`] on demand.
//! [`crate::xds::server`] is the only caller outside tests.
//!
//! **Invariants**: nothing is queued: a response is computed from the newest set when it is asked for;
//! one un-ACKed response per type, and no type waits for another as a whole; the same name and version is not sent
//! twice unless the proxy asks for it again, what refers to it was sent again, or a refusal is being isolated.
//! There is no clock, no randomness and no wire format here.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use crate::xds::order::{Gate, PUSH_ORDER, Phase, Step};
use crate::xds::resources::{Encoded, ResourceName, ResourceSet, ResourceType, TypeSet, Version};

mod asked;
mod bridge;
mod draft;
mod event;
mod gates;
mod nack;
mod placeholder;
mod quarantine;
mod request;
mod status;
mod subscription;
mod type_state;

pub use event::Event;
pub use nack::Refused;
pub use quarantine::{Quarantine, Refusal};
pub use request::{Answers, MAX_NAME_LENGTH, MAX_NAMES, Mode, Names, Request, RequestError};
pub use status::{ResourceState, ResourceStatus, StreamStatus, TypeStatus};

use bridge::bridged;
use draft::{GateKeeper, Passing};
use gates::{has_clusters, may_leave, warm_again};
use type_state::{Item, TypeState};

/// Characters that are kept of a refusal's message.
const MAX_MESSAGE: usize = 2000;

/// A response to be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its type.
    pub kind: ResourceType,
    /// What the proxy answers with; counts up on a stream from 1.
    pub nonce: u64,
    /// State of the world: the version of all that the proxy then has of the type.
    pub version: Option<Version>,
    /// The resources.
    pub resources: Vec<Arc<Encoded>>,
    /// Delta: names that do not exist, or no longer.
    pub removed: Vec<ResourceName>,
}

/// One stream.
#[derive(Debug)]
pub struct AdsStream {
    mode: Mode,
    /// The one type that travels here; `None`: all of them.
    only: Option<ResourceType>,
    set: Arc<ResourceSet>,
    /// In the order of [`ResourceType::ALL`].
    types: [TypeState; 6],
    nonce: u64,
    events: Vec<Event>,
}

impl AdsStream {
    /// A stream that has just begun; with `only` it is one of a single type.
    pub fn new(mode: Mode, only: Option<ResourceType>, set: Arc<ResourceSet>) -> Self {
        Self {
            mode,
            only,
            set,
            types: ResourceType::ALL.map(|kind| TypeState::new(kind, mode)),
            nonce: 0,
            events: Vec::new(),
        }
    }

    /// The variant of the protocol.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The one type that travels here; `None`: all of them.
    pub const fn only(&self) -> Option<ResourceType> {
        self.only
    }

    /// The set in force.
    pub const fn set(&self) -> &Arc<ResourceSet> {
        &self.set
    }

    /// Takes in a request.
    ///
    /// # Errors
    /// The stream must end with it: the request is beyond the limits.
    pub fn request(&mut self, request: &Request, now: Instant) -> Result<(), RequestError> {
        request.check(self.standing_names(request))?;
        if let Answers::Nonce(nonce) = request.answers {
            self.answer(request.kind, nonce, request.error.as_deref(), now);
        }
        let [clusters, rest @ ..] = &mut self.types;
        let set = self.set.of(request.kind);
        match rest.iter_mut().find(|state| state.kind == request.kind) {
            None => clusters.subscribe(&request.names, set, |_| false),
            Some(state) => {
                let is_warmed =
                    matches!(state.kind, ResourceType::Endpoints | ResourceType::Secret);
                let renewed = |name: &str| is_warmed && clusters.is_sent_here(name);
                state.subscribe(&request.names, set, renewed);
            }
        }
        if request.kind == ResourceType::Routes {
            // What the routes before asked of filters may have been the last that asked for it.
            let [_, _, _, extensions, ..] = &mut self.types;
            extensions.look_again(&self.set.extensions);
        }
        Ok(())
    }

    /// Names that stay subscribed whatever the request says.
    fn standing_names(&self, request: &Request) -> usize {
        let replaced = |state: &&TypeState| {
            state.kind != request.kind || matches!(request.names, Names::Change { .. })
        };
        self.types.iter().filter(replaced).map(|state| state.subscription.named().len()).sum()
    }

    fn answer(&mut self, kind: ResourceType, nonce: u64, error: Option<&str>, now: Instant) {
        let Some(state) = self.types.iter_mut().find(|state| state.kind == kind) else { return };
        let Some(message) = error else {
            if let Some(flight) = state.accept(nonce) {
                let latency = now.saturating_duration_since(flight.sent_at);
                self.events.push(Event::Acked { kind, latency });
                let accepted = flight.items.iter().filter_map(|item| item.content.as_ref());
                self.events.extend(state.vindicated(accepted));
            }
            return;
        };
        let message: Arc<str> = message.chars().take(MAX_MESSAGE).collect::<String>().into();
        if let Some((flight, culprit)) = state.refuse(nonce, &message) {
            let resources = flight.items.into_iter().map(|item| item.name).collect();
            self.events.push(Event::Nacked { kind, resources, message });
            self.events.extend(culprit.map(Event::Quarantined));
        }
    }

    /// Takes in what the proxy is to have from now on.
    pub fn update(&mut self, set: Arc<ResourceSet>) {
        for state in &mut self.types {
            state.update(self.set.of(state.kind), set.of(state.kind));
        }
        self.set = set;
    }

    /// Takes in what is known of the proxy's class.
    pub fn quarantine(&mut self, quarantine: &Arc<Quarantine>) {
        for state in &mut self.types {
            state.quarantine(quarantine);
        }
    }

    /// The next response, if there is something to say; to be called when the transport can take one.
    pub fn next_response(&mut self, now: Instant) -> Option<Response> {
        for state in &mut self.types {
            if state.note_overdue(now) {
                self.events.push(Event::AckOverdue { kind: state.kind });
            }
        }
        PUSH_ORDER.iter().find_map(|step| {
            let items = self.draft(step, now)?;
            Some(self.send(step, items, now))
        })
    }

    fn draft(&mut self, step: &Step, now: Instant) -> Option<Vec<Item>> {
        let [clusters, endpoints, secrets, extensions, listeners, routes] = &mut self.types;
        let set = &self.set;
        let wanted = match step.kind {
            ResourceType::Extension => bridged(&set.extensions, extensions, routes),
            kind => Cow::Borrowed(&**set.of(kind)),
        };
        let is_told = step.gate != Gate::RoutesReady || extensions.pending.is_empty();
        let state = match step.kind {
            // Referrers travel elsewhere: a cluster leaves when they had their time, which is no failure.
            ResourceType::Cluster if self.only.is_some() => {
                let unheard = &mut Vec::new();
                return Self::pull(clusters, step, &set.clusters, now, unheard, &|passing| {
                    matches!(passing, Passing::Put(_))
                });
            }
            ResourceType::Cluster => {
                let events = &mut self.events;
                return Self::pull(clusters, step, &set.clusters, now, events, &|passing| {
                    may_leave(passing, extensions, listeners, routes)
                });
            }
            ResourceType::Endpoints => endpoints,
            ResourceType::Secret => secrets,
            ResourceType::Extension => extensions,
            ResourceType::Listener => listeners,
            ResourceType::Routes => routes,
        };
        Self::pull(state, step, &wanted, now, &mut self.events, &|passing| {
            step.gate == Gate::Open || (is_told && has_clusters(passing, clusters, set))
        })
    }

    fn pull(
        state: &mut TypeState,
        step: &Step,
        wanted: &TypeSet,
        now: Instant,
        events: &mut Vec<Event>,
        is_open: &dyn Fn(&Passing<'_>) -> bool,
    ) -> Option<Vec<Item>> {
        if state.is_settled() && !state.is_owed() {
            return None;
        }
        let mut gate = GateKeeper { is_open, patience: step.gate.patience(), expired: Vec::new() };
        let items = state.draft(step.phase, wanted, &mut gate, now);
        let kind = step.kind;
        events.extend(gate.expired.into_iter().map(|name| Event::GateExpired { kind, name }));
        items
    }

    fn send(&mut self, step: &Step, items: Vec<Item>, now: Instant) -> Response {
        self.nonce += 1;
        let [clusters, endpoints, secrets, extensions, listeners, routes] = &mut self.types;
        if step.kind == ResourceType::Cluster && step.phase == Phase::Put {
            warm_again(&items, endpoints, secrets);
        }
        let state = match step.kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoints => endpoints,
            ResourceType::Secret => secrets,
            ResourceType::Extension => extensions,
            ResourceType::Listener => listeners,
            ResourceType::Routes => routes,
        };
        let mut resources: Vec<_> = items.iter().filter_map(|item| item.content.clone()).collect();
        let mut removed = Vec::new();
        if self.mode == Mode::Delta {
            let gone = items.iter().filter(|item| item.content.is_none());
            removed = gone.map(|item| item.name.clone()).collect();
        }
        state.launch(self.nonce, items, now);
        let version = (self.mode == Mode::Sotw).then(|| {
            let (whole, version) = state.whole_state();
            if state.is_full_state() {
                resources = whole;
            }
            version
        });
        Response { kind: step.kind, nonce: self.nonce, version, resources, removed }
    }

    /// When [`Self::next_response`] is to be called again although nothing happened.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = self.types.iter().filter_map(|state| {
            let gate = match state.kind {
                ResourceType::Cluster => Gate::ReferrersSettled,
                _ => Gate::ClustersHeld,
            };
            state.deadline(gate.patience())
        });
        deadlines.min()
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// How every type that travels here stands.
    pub fn status(&self) -> StreamStatus {
        let types = self.types.iter();
        let types = types.filter(|state| self.only.is_none_or(|kind| kind == state.kind));
        let [_, _, _, extensions, _, routes] = &self.types;
        let status = |state: &TypeState| match state.kind {
            ResourceType::Extension => {
                state.status(&bridged(&self.set.extensions, extensions, routes))
            }
            kind => state.status(self.set.of(kind)),
        };
        StreamStatus { types: types.map(status).collect() }
    }
}

#[cfg(test)]
mod tests;
