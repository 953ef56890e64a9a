//! What any client may expect of any discovery service: each rule for delta and state of the world, aggregated and by
//! type, for each resource type that it concerns.
//!
//! A cell of that table is one stream. Whatever a rule does not name must not be sent: every step compares all that
//! was said, and nonces and versions are checked along the way.

use std::collections::{BTreeMap, BTreeSet};

use super::proxy::*;
use crate::xds::stream::*;

const NAMED: [ResourceType; 6] = ResourceType::ALL;
const WILDCARDS: [ResourceType; 2] = [Cluster, Listener];

type Rule = fn(&mut Cell);

const RULES: [(&str, &[ResourceType], Rule); 11] = [
    ("a wildcard gets everything in a single response", &WILDCARDS, wildcard_gets_everything),
    ("a wildcard hears of an update", &WILDCARDS, wildcard_hears_of_an_update),
    ("a wildcard hears of what is new", &WILDCARDS, wildcard_hears_of_what_is_new),
    ("a wildcard hears of what leaves", &WILDCARDS, wildcard_hears_of_what_leaves),
    ("names get those resources only", &NAMED, names_get_those_resources_only),
    ("names hear of their updates only", &NAMED, names_hear_of_their_updates_only),
    ("missing names are told, and come when they exist", &NAMED, missing_names_come_later),
    ("names added later are answered alone", &NAMED, names_added_later_are_answered),
    ("dropped names are heard of no more", &NAMED, dropped_names_are_heard_of_no_more),
    ("who dropped every name hears nothing", &NAMED, who_dropped_everything_hears_nothing),
    ("a dropped name that is asked for again is answered", &NAMED, re_added_names_are_answered),
];

/// One stream of the table, and what has been said on it.
struct Cell {
    title: String,
    proxy: Proxy,
    kind: ResourceType,
    subscribed: BTreeSet<String>,
    last_nonce: u64,
    /// State of the world: the state that a version stands for.
    states: BTreeMap<Version, Vec<String>>,
}

impl Cell {
    fn new(title: String, mode: Mode, is_aggregated: bool, kind: ResourceType) -> Self {
        let mut proxy = Proxy::new(mode, world(&[(kind, "a=1"), (kind, "b=1"), (kind, "c=1")]));
        proxy.reopen((!is_aggregated).then_some(kind));
        let (subscribed, states) = (BTreeSet::new(), BTreeMap::new());
        Self { title, proxy, kind, subscribed, last_nonce: 0, states }
    }

    fn is_delta(&self) -> bool {
        self.proxy.stream.mode() == Mode::Delta
    }

    fn wildcard(&mut self) {
        if self.is_delta() {
            self.proxy.ask(self.kind, &[]);
        } else {
            self.proxy.list(self.kind, &[], "");
        }
    }

    /// Changes the subscription; `-name` drops.
    fn subscribe(&mut self, names: &[&str]) {
        for name in names {
            match name.strip_prefix('-') {
                Some(name) => drop(self.subscribed.remove(name)),
                None => drop(self.subscribed.insert((*name).to_owned())),
            }
        }
        if self.is_delta() {
            self.proxy.ask(self.kind, names);
        } else {
            let whole: Vec<&str> = self.subscribed.iter().map(String::as_str).collect();
            self.proxy.list(self.kind, &whole, "");
        }
    }

    fn change(&mut self, lines: &[&str]) {
        let changes: Vec<_> = lines.iter().map(|line| (self.kind, *line)).collect();
        self.proxy.change(&changes);
    }

    /// All that is said, which must be one response at most: `news`, or where states travel whole, `whole`.
    fn expect(&mut self, news: Option<&str>, whole: Option<&str>) {
        let is_whole = !self.is_delta() && self.kind.has_wildcard();
        let expected: Vec<String> = (if is_whole { whole } else { news })
            .map(|text| format!("{} {text}", self.kind.as_str()).trim().to_owned())
            .into_iter()
            .collect();
        let mut said = Vec::new();
        while let Some(response) = self.proxy.next() {
            self.check_nonce_and_version(&response);
            said.push(line(&response));
            self.proxy.ack(&response);
        }
        assert_eq!(said, expected, "{}", self.title);
    }

    fn check_nonce_and_version(&mut self, response: &Response) {
        assert!(response.nonce > self.last_nonce, "{}: a nonce came twice", self.title);
        self.last_nonce = response.nonce;
        if self.kind.has_wildcard()
            && let Some(version) = response.version
        {
            let state = response.resources.iter();
            let state: Vec<_> = state.map(|it| format!("{} {}", it.name, it.version)).collect();
            let known = self.states.entry(version).or_insert_with(|| state.clone());
            assert_eq!(*known, state, "{}: one version, two states", self.title);
        }
    }

    fn silence(&mut self) {
        self.expect(None, None);
    }
}

fn wildcard_gets_everything(cell: &mut Cell) {
    cell.wildcard();
    cell.expect(Some("a=1 b=1 c=1"), Some("a=1 b=1 c=1"));
    cell.silence();
}

fn wildcard_hears_of_an_update(cell: &mut Cell) {
    wildcard_gets_everything(cell);
    cell.change(&["b=2"]);
    cell.expect(Some("b=2"), Some("a=1 b=2 c=1"));
}

fn wildcard_hears_of_what_is_new(cell: &mut Cell) {
    wildcard_gets_everything(cell);
    cell.change(&["d=1"]);
    cell.expect(Some("d=1"), Some("a=1 b=1 c=1 d=1"));
}

fn wildcard_hears_of_what_leaves(cell: &mut Cell) {
    wildcard_gets_everything(cell);
    cell.change(&["-b"]);
    if cell.proxy.stream.only() == Some(Cluster) {
        // Who refers to it is not seen here; it is given time.
        cell.silence();
        cell.proxy.wait(10);
    }
    cell.expect(Some("-b"), Some("a=1 c=1"));
    assert_eq!(cell.proxy.stream.take_events().iter().filter(|e| is_gate(e)).count(), 0);
}

fn is_gate(event: &Event) -> bool {
    matches!(event, Event::GateExpired { .. })
}

fn names_get_those_resources_only(cell: &mut Cell) {
    cell.subscribe(&["a", "b"]);
    cell.expect(Some("a=1 b=1"), Some("a=1 b=1"));
    cell.silence();
}

fn names_hear_of_their_updates_only(cell: &mut Cell) {
    names_get_those_resources_only(cell);
    cell.change(&["c=2"]);
    cell.silence();
    cell.change(&["b=2"]);
    cell.expect(Some("b=2"), Some("a=1 b=2"));
    cell.change(&["b=2"]);
    cell.silence();
}

fn missing_names_come_later(cell: &mut Cell) {
    cell.subscribe(&["x"]);
    let absent = match cell.kind {
        Routes => Some("x=none"),
        _ => cell.is_delta().then_some("-x"),
    };
    cell.expect(absent, Some(""));
    cell.change(&["x=1"]);
    cell.expect(Some("x=1"), Some("x=1"));
}

fn names_added_later_are_answered(cell: &mut Cell) {
    names_get_those_resources_only(cell);
    cell.subscribe(&["c"]);
    cell.expect(Some("c=1"), Some("a=1 b=1 c=1"));
}

fn dropped_names_are_heard_of_no_more(cell: &mut Cell) {
    names_get_those_resources_only(cell);
    cell.subscribe(&["-a"]);
    cell.silence();
    cell.change(&["a=2"]);
    cell.silence();
    cell.change(&["b=2"]);
    cell.expect(Some("b=2"), Some("b=2"));
}

fn who_dropped_everything_hears_nothing(cell: &mut Cell) {
    names_get_those_resources_only(cell);
    cell.subscribe(&["-a", "-b"]);
    cell.silence();
    cell.change(&["a=2", "b=2", "c=2"]);
    cell.silence();
}

fn re_added_names_are_answered(cell: &mut Cell) {
    names_get_those_resources_only(cell);
    cell.subscribe(&["-a"]);
    cell.subscribe(&["a"]);
    cell.expect(Some("a=1"), Some("a=1 b=1"));
}

#[test]
fn every_rule_holds_for_both_variants_aggregated_or_by_type_and_every_resource_type() {
    let mut cells = 0;
    for (mode, is_aggregated) in
        [(Mode::Sotw, false), (Mode::Sotw, true), (Mode::Delta, false), (Mode::Delta, true)]
    {
        for (rule, kinds, check) in RULES {
            for kind in kinds {
                let by = if is_aggregated { "aggregated" } else { "by type" };
                let title = format!("{} {by}, {}: {rule}", mode.as_str(), kind.as_str());
                check(&mut Cell::new(title, mode, is_aggregated, *kind));
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 4 * (4 * WILDCARDS.len() + 7 * NAMED.len()));
}

#[test]
fn on_an_aggregated_stream_each_type_is_answered_by_itself() {
    for mode in [Mode::Sotw, Mode::Delta] {
        let resources = NAMED.map(|kind| (kind, "a=1"));
        let mut proxy = Proxy::new(mode, world(&resources));
        for kind in NAMED {
            match mode {
                Mode::Delta => proxy.ask(kind, &["a"]),
                Mode::Sotw => proxy.list(kind, &["a"], ""),
            }
            assert_eq!(proxy.told_and_acked(), [format!("{} a=1", kind.as_str())], "{mode:?}");
        }
        for kind in [Endpoints, Secret, Listener, Routes] {
            proxy.change(&[(kind, "a=2")]);
            assert_eq!(proxy.told_and_acked(), [format!("{} a=2", kind.as_str())], "{mode:?}");
        }
    }
}

#[test]
fn a_stream_of_listeners_or_routes_does_not_wait_for_clusters_that_travel_elsewhere() {
    for mode in [Mode::Sotw, Mode::Delta] {
        for kind in [Listener, Routes] {
            let mut proxy = Proxy::new(mode, world(&[(Cluster, "c=1"), (kind, "a=1>c")]));
            proxy.reopen(Some(kind));
            match mode {
                Mode::Delta => proxy.ask(kind, &["a"]),
                Mode::Sotw => proxy.list(kind, &["a"], ""),
            }
            assert_eq!(proxy.told_and_acked(), [format!("{} a=1>c", kind.as_str())]);
            let status = proxy.stream.status();
            assert_eq!(status.types.iter().map(|of| of.kind).collect::<Vec<_>>(), [kind]);
        }
    }
}
