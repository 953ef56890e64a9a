//! Random worlds, random clients: whatever the order of events, both ends agree when nothing happens any more.
//!
//! The client (`model/client.rs`) is written from the protocol's description, not from the server; here it answers late,
//! loses its stream, drops what it asked for and asks again.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::proxy::*;
use super::tokens::is_bad;
use crate::xds::stream::*;
use client::Client;
use steps::{Step, steps, text};

mod client;
mod steps;

/// Both ends and the network between them.
#[derive(Debug)]
struct Play {
    proxy: Proxy,
    client: Client,
    sent_here: BTreeMap<(ResourceType, ResourceName), Version>,
    /// How often what may be sent again unchanged: it was asked for, what refers to it was sent, a refusal is being
    /// isolated, or it had left.
    excuses: BTreeMap<(ResourceType, ResourceName), usize>,
    last_sent: BTreeMap<ResourceType, Instant>,
    /// What the set's routes begin with, and what they ask of the filter.
    rules: (&'static str, String),
    /// Whether routes may ask for what the filter does not have: it refused something, the server waited in vain, or
    /// the client came back with what the server does not know.
    are_rules_excused: bool,
}

impl Play {
    fn new(mode: Mode) -> Self {
        let mut play = Self {
            proxy: Proxy::new(mode, World::default()),
            client: Client::default(),
            sent_here: BTreeMap::new(),
            excuses: BTreeMap::new(),
            last_sent: BTreeMap::new(),
            rules: ("to", String::new()),
            are_rules_excused: false,
        };
        play.open();
        play
    }

    fn mode(&self) -> Mode {
        self.proxy.stream.mode()
    }

    fn open(&mut self) {
        for kind in ResourceType::ALL {
            self.request(kind, Answers::Nothing, None);
        }
    }

    fn request(&mut self, kind: ResourceType, answers: Answers, error: Option<String>) {
        let request = self.client.request(self.mode(), kind, answers, error);
        if let Names::Change { subscribe, .. } = &request.names {
            subscribe.iter().for_each(|name| self.excuse(kind, name));
        }
        self.proxy.request(&request);
    }

    fn excuse(&mut self, kind: ResourceType, name: &str) {
        *self.excuses.entry((kind, name.into())).or_default() += 1;
    }

    /// The client asks for what it wants by now.
    fn follow_up(&mut self) {
        for kind in [Endpoints, Secret, Extension, Routes] {
            let asked = self.client.asked.get(&kind).cloned().unwrap_or_default();
            if self.client.wants(kind) != asked {
                self.request(kind, Answers::Nothing, None);
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Service(n, Some(content)) => {
                let cluster = format!("s{n}={}", text(*content));
                self.proxy.change(&[(Cluster, &cluster), (Endpoints, &format!("s{n}=e"))]);
                self.mend_routes();
            }
            Step::Service(n, None) => {
                let gone = format!("-s{n}");
                self.proxy.world.remove(Cluster, gone.trim_start_matches('-'));
                self.proxy.world.remove(Endpoints, gone.trim_start_matches('-'));
                self.excuse(Endpoints, gone.trim_start_matches('-'));
                self.mend_routes();
            }
            Step::Endpoints(n, content) => {
                let name = ResourceName::from(format!("s{n}"));
                if self.proxy.stream.set().endpoints.resources.contains_key(&name) {
                    let content = if *content == 3 { text(3) } else { format!("e{content}") };
                    self.proxy.change(&[(Endpoints, &format!("s{n}={content}"))]);
                }
            }
            Step::Routes(services) => self.route_to(services.iter().map(|n| format!("s{n}"))),
            Step::Rules(asked, content, is_bad) => {
                let asked: Vec<String> = asked.iter().map(|n| format!("x{n}")).collect();
                let asked = asked.join(",");
                self.proxy.world.put(Extension, "f", &format!("{}?{asked}", text(*content)));
                self.rules = (if *is_bad { "bad" } else { "to" }, asked);
                self.mend_routes();
            }
            Step::Listener(n, Some(content)) => {
                self.proxy.change(&[(Listener, &format!("l{n}={}", text(*content)))]);
            }
            Step::Listener(n, None) => self.proxy.change(&[(Listener, &format!("-l{n}"))]),
            Step::Secret(Some(content)) => {
                self.proxy.change(&[(Secret, &format!("leaf={}", text(*content)))]);
            }
            Step::Secret(None) => {
                self.proxy.change(&[(Secret, "-leaf")]);
                self.excuse(Secret, "leaf");
            }
            Step::Curious(n) => {
                let name = ResourceName::from(format!("s{n}"));
                if !self.client.curious.remove(&name) {
                    self.client.curious.insert(name);
                }
                self.follow_up();
            }
            Step::Secretive => {
                self.client.is_secretive ^= true;
                self.follow_up();
            }
            Step::Send => drop(self.send()),
            Step::Answer => drop(self.answer()),
            Step::Reconnect => self.reconnect(),
            Step::Wait(seconds) => self.proxy.wait(u64::from(*seconds)),
        }
    }

    /// Sets are consistent in themselves: routes name only clusters that are there.
    fn mend_routes(&mut self) {
        let routes = self.proxy.stream.set().routes.resources.get("r").cloned();
        let named = routes.iter().flat_map(|routes| routes.clusters.iter());
        let named: Vec<String> = named.map(ToString::to_string).collect();
        self.route_to(named.into_iter());
    }

    fn route_to(&mut self, services: impl Iterator<Item = String>) {
        let set = self.proxy.world.publish();
        let known: Vec<_> =
            services.filter(|name| set.clusters.resources.contains_key(name.as_str())).collect();
        let (content, asked) = &self.rules;
        let routes = format!("r={content}>{}?{asked}", known.join(","));
        self.proxy.change(&[(Routes, &routes)]);
    }

    fn send(&mut self) -> Option<()> {
        let response = self.proxy.next()?;
        for content in &response.resources {
            let key = (response.kind, content.name.clone(), content.version);
            let is_again = self.client.refused.contains(&key);
            assert!(!is_again, "{key:?} was refused alone and is sent again");
        }
        let last_sent = self.last_sent.insert(response.kind, self.proxy.now);
        let is_overdue = last_sent.is_some_and(|at| self.proxy.now - at >= Duration::from_secs(30));
        let mut in_flight = self.client.unanswered.iter();
        let is_alone = in_flight.all(|other| other.kind != response.kind);
        assert!(is_alone || is_overdue, "one un-ACKed response of a type");
        self.check_order(&response);
        if self.mode() == Mode::Delta {
            response.resources.iter().for_each(|content| self.check_repetition(content));
        }
        self.client.unanswered.push_back(response);
        Some(())
    }

    /// Nothing is sent twice without a cause.
    fn check_repetition(&mut self, content: &Encoded) {
        let key = (content.kind, content.name.clone());
        let last = self.sent_here.insert(key.clone(), content.version);
        let is_held = self.client.holds.get(&key).map(|it| it.version) == Some(content.version);
        let excuses = self.excuses.entry(key.clone()).or_default();
        let is_excused = *excuses > 0;
        *excuses = excuses.saturating_sub(1);
        assert!(
            is_excused || !(is_held && last == Some(content.version)),
            "{key:?} is sent again unchanged"
        );
        if content.kind == Cluster {
            self.excuse(Endpoints, &content.name);
            self.excuse(Secret, "leaf");
        }
    }

    /// No routes to a cluster that the client does not have, and no loss of one that its routes name.
    fn check_order(&mut self, response: &Response) {
        let events = self.proxy.stream.take_events();
        if events.iter().any(|event| matches!(event, Event::GateExpired { .. })) {
            self.are_rules_excused = true;
            return;
        }
        let is_refused = |name: &ResourceName| {
            let status = self.proxy.stream.status();
            let clusters = &status.types.first().unwrap().resources;
            clusters.iter().any(|r| r.name == *name && matches!(r.state, ResourceState::Nacked(_)))
        };
        for content in &response.resources {
            for cluster in content.clusters.iter() {
                let is_there = self.client.holds.contains_key(&(Cluster, cluster.clone()));
                assert!(is_there || is_refused(cluster), "routes before cluster {cluster}");
            }
        }
        let routes = self.client.holds.get(&(Routes, "r".into()));
        for gone in response.removed.iter().filter(|_| response.kind == Cluster) {
            let is_named = routes.is_some_and(|routes| routes.clusters.contains(gone));
            assert!(!is_named, "cluster {gone} leaves while routes name it");
        }
    }

    fn answer(&mut self) -> Option<()> {
        let response = self.client.unanswered.pop_front()?;
        let error = self.client.apply(self.mode(), &response);
        self.are_rules_excused |= error.is_some() && response.kind == Extension;
        self.check_rules();
        if error.is_some() {
            for content in &response.resources {
                self.excuse(content.kind, &content.name);
            }
        }
        let is_partial = self.mode() == Mode::Delta || !response.kind.has_wildcard();
        if error.is_some() && response.resources.len() == 1 && is_partial {
            let content = response.resources.first().unwrap();
            self.client.refused.insert((response.kind, content.name.clone(), content.version));
        }
        self.request(response.kind, Answers::Nonce(response.nonce), error);
        self.follow_up();
        Some(())
    }

    /// Routes in force ask for nothing that the filter in force does not have.
    fn check_rules(&mut self) {
        let (filter, routes) = (self.held(Extension, "f"), self.held(Routes, "r"));
        let (Some(filter), Some(routes)) = (filter, routes) else { return };
        let is_whole = routes.requirements.is_subset(&filter.requirements);
        let asked = (&routes.requirements, &filter.requirements);
        assert!(is_whole || self.are_rules_excused, "routes ask for the first: {asked:?}");
        let is_at_rest = self.is_current(Extension, "f") && self.is_current(Routes, "r");
        self.are_rules_excused &= !(is_whole && is_at_rest);
    }

    fn held(&self, kind: ResourceType, name: &str) -> Option<&Arc<Encoded>> {
        self.client.holds.get(&(kind, name.into()))
    }

    /// Whether the client has what the set has under a name, or nothing.
    fn is_current(&self, kind: ResourceType, name: &str) -> bool {
        let wanted = self.proxy.stream.set().of(kind).resources.get(name).map(|it| it.version);
        self.held(kind, name).is_none_or(|held| Some(held.version) == wanted)
    }

    fn reconnect(&mut self) {
        let is_known = self.is_current(Extension, "f") && self.is_current(Routes, "r");
        self.are_rules_excused |= !is_known;
        self.proxy.reopen(None);
        self.client.unanswered.clear();
        self.client.refused.clear();
        self.client.asked.clear();
        self.sent_here.clear();
        self.excuses.clear();
        self.open();
    }

    /// Lets both ends talk until neither has anything to say.
    fn settle(&mut self) {
        for _ in 0..1000 {
            if self.send().is_some() || self.answer().is_some() {
                continue;
            }
            let Some(deadline) = self.proxy.stream.deadline() else { return };
            self.proxy.now = self.proxy.now.max(deadline);
            if self.proxy.stream.deadline().is_some_and(|at| at > self.proxy.now) {
                continue;
            }
            if self.send().is_none() && self.proxy.stream.deadline().is_none() {
                return;
            }
        }
        panic!("both ends talk without end: {:?}", self.proxy.stream);
    }

    /// The client has the newest of everything that it asks for and accepts; the rest is named as refused.
    fn check_agreement(&self) {
        let set = self.proxy.stream.set().clone();
        for of in &self.proxy.stream.status().types {
            for resource in &of.resources {
                let held = self.client.holds.get(&(of.kind, resource.name.clone()));
                match &resource.state {
                    ResourceState::Acked => assert_eq!(held.unwrap().version, resource.version),
                    ResourceState::Nacked(_) => {
                        let wanted = &set.of(of.kind).resources[&resource.name];
                        assert!(is_bad(wanted), "{resource:?} is held back for nothing");
                    }
                    ResourceState::Unasked => {
                        assert!(!self.client.wants(of.kind).contains(&resource.name));
                    }
                    ResourceState::Pending => panic!("{resource:?} never settles"),
                }
            }
        }
        for name in self.client.names(Cluster) {
            assert!(set.clusters.resources.contains_key(&name), "{name} was never taken away");
        }
    }
}

fn play(mode: Mode, steps: &[Step]) {
    let mut play = Play::new(mode);
    for step in steps {
        play.take(step);
    }
    play.settle();
    play.check_agreement();
    play.reconnect();
    let set = play.proxy.stream.set().clone();
    let mut wanted = ResourceType::ALL.iter().flat_map(|kind| set.of(*kind).resources.values());
    if wanted.any(|content| is_bad(content)) {
        return;
    }
    // Who holds nothing is answered, if only with what is absent. In state of the world lists of names are answered anew.
    let said: Vec<_> = std::iter::from_fn(|| play.proxy.next()).collect();
    let is_held = |it: &Response| {
        it.removed.iter().any(|name| play.client.holds.contains_key(&(it.kind, name.clone())))
    };
    let is_news = |it: &Response| {
        (!it.resources.is_empty() || is_held(it)) && (mode == Mode::Delta || it.kind.has_wildcard())
    };
    let news: Vec<_> = said.into_iter().filter(is_news).collect();
    assert_eq!(news, [], "a reconnect without news is silent");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_client_and_the_stream_agree_at_rest(steps in steps()) {
        play(Mode::Delta, &steps);
    }

    #[test]
    fn a_state_of_the_world_client_and_the_stream_agree_at_rest(steps in steps()) {
        play(Mode::Sotw, &steps);
    }
}
