//! A proxy in the hands of a test: it says what the test wants and writes down what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::*;
use super::tokens;

pub(in crate::xds::stream) use ResourceType::{
    Cluster, Endpoints, Extension, Listener, Routes, Secret,
};

/// What proxies are to have, as a test changes it.
#[derive(Debug, Clone, Default)]
pub(in crate::xds::stream) struct World {
    generation: u64,
    resources: BTreeMap<(ResourceType, ResourceName), Arc<Encoded>>,
    /// Clusters that only go to who asks for them by name.
    on_demand: Arc<BTreeSet<ResourceName>>,
    set: Arc<ResourceSet>,
}

impl World {
    /// Puts a resource; `>a,b` at the end of its content are clusters that it names, `?x,y` token requirements.
    pub(in crate::xds::stream) fn put(&mut self, kind: ResourceType, name: &str, content: &str) {
        let (rest, asked) = content.split_once('?').unwrap_or((content, ""));
        let (_, clusters) = rest.split_once('>').unwrap_or((rest, ""));
        let list = |text: &str| -> Vec<ResourceName> {
            text.split(',').filter(|name| !name.is_empty()).map(ResourceName::from).collect()
        };
        let bytes = match kind {
            Extension if content.contains('?') => tokens::config(rest, &list(asked)),
            _ => content.to_owned().into_bytes(),
        };
        let name = ResourceName::from(name);
        let encoded = Encoded {
            kind,
            name: name.clone(),
            version: Version::of(&bytes),
            any: bytes.into(),
            clusters: list(clusters).into(),
            requirements: list(asked).into_iter().collect(),
        };
        self.resources.insert((kind, name), Arc::new(encoded));
    }

    /// Says which clusters only go to who asks for them by name.
    pub(in crate::xds::stream) fn on_demand(&mut self, names: &[&str]) {
        self.on_demand = Arc::new(names.iter().map(|name| ResourceName::from(*name)).collect());
    }

    pub(in crate::xds::stream) fn remove(&mut self, kind: ResourceType, name: &str) {
        self.resources.remove(&(kind, name.into()));
    }

    /// The set of all that was put, with the changes since the last one named.
    pub(in crate::xds::stream) fn publish(&mut self) -> Arc<ResourceSet> {
        self.generation += 1;
        let [clusters, endpoints, secrets, extensions, listeners, routes] =
            ResourceType::ALL.map(|kind| self.type_set(kind));
        self.set = Arc::new(ResourceSet {
            generation: self.generation,
            clusters,
            endpoints,
            secrets,
            extensions,
            listeners,
            routes,
        });
        self.set.clone()
    }

    fn type_set(&self, kind: ResourceType) -> Arc<TypeSet> {
        let all = self.resources.iter().filter(|((of, _), _)| *of == kind);
        let resources: BTreeMap<_, _> =
            all.map(|((_, name), content)| (name.clone(), content.clone())).collect();
        let old = self.set.of(kind);
        let names = old.resources.keys().chain(resources.keys());
        let mut changed: Vec<_> = names
            .filter(|name| {
                let is_flipped = kind == Cluster
                    && old.on_demand.contains(*name) != self.on_demand.contains(*name);
                is_flipped || old.resources.get(*name) != resources.get(*name)
            })
            .cloned()
            .collect();
        changed.sort();
        changed.dedup();
        if changed.is_empty() {
            return old.clone();
        }
        let (generation, previous) = (self.generation, old.generation);
        let on_demand = if kind == Cluster { self.on_demand.clone() } else { Arc::default() };
        Arc::new(TypeSet { generation, previous, changed: changed.into(), resources, on_demand })
    }
}

/// A stream, the world behind it and a clock.
#[derive(Debug)]
pub(in crate::xds::stream) struct Proxy {
    pub stream: AdsStream,
    pub world: World,
    pub now: Instant,
}

impl Proxy {
    pub(in crate::xds::stream) fn new(mode: Mode, mut world: World) -> Self {
        Self { stream: AdsStream::new(mode, None, world.publish()), world, now: Instant::now() }
    }

    /// The same proxy on a new stream, which carries one type or all.
    pub(in crate::xds::stream) fn reopen(&mut self, only: Option<ResourceType>) {
        let set = self.stream.set().clone();
        self.stream = AdsStream::new(self.stream.mode(), only, set);
    }

    /// A delta proxy before a world with these clusters, each `name=content`.
    pub(in crate::xds::stream) fn delta(resources: &[(ResourceType, &str)]) -> Self {
        Self::new(Mode::Delta, world(resources))
    }

    pub(in crate::xds::stream) fn sotw(resources: &[(ResourceType, &str)]) -> Self {
        Self::new(Mode::Sotw, world(resources))
    }

    /// Changes the world: `name=content` puts, `-name` removes.
    pub(in crate::xds::stream) fn change(&mut self, resources: &[(ResourceType, &str)]) {
        for (kind, line) in resources {
            match line.strip_prefix('-') {
                Some(name) => self.world.remove(*kind, name),
                None => put(&mut self.world, *kind, line),
            }
        }
        let set = self.world.publish();
        self.stream.update(set);
    }

    pub(in crate::xds::stream) fn request(&mut self, request: &Request) {
        self.stream.request(request, self.now).unwrap();
    }

    /// Delta: asks for names; `-name` unsubscribes.
    pub(in crate::xds::stream) fn ask(&mut self, kind: ResourceType, names: &[&str]) {
        self.ask_holding(kind, names, &[]);
    }

    /// Delta: asks for names, bringing `name=content` from an earlier stream.
    pub(in crate::xds::stream) fn ask_holding(
        &mut self,
        kind: ResourceType,
        names: &[&str],
        holding: &[&str],
    ) {
        let (gone, wanted): (Vec<&str>, _) = names.iter().partition(|name| name.starts_with('-'));
        let initial = holding.iter().map(|line| {
            let (name, content) = line.split_once('=').unwrap();
            (name.to_owned(), Version::of(content.as_bytes()).to_string())
        });
        let names = Names::Change {
            subscribe: wanted.into_iter().map(ToOwned::to_owned).collect(),
            unsubscribe: gone.iter().map(|name| name.trim_start_matches('-').to_owned()).collect(),
            initial: initial.collect(),
        };
        self.request(&Request { kind, answers: Answers::Nothing, error: None, names });
    }

    /// State of the world: asks for exactly these names, showing a version.
    pub(in crate::xds::stream) fn list(
        &mut self,
        kind: ResourceType,
        names: &[&str],
        version: &str,
    ) {
        let names = whole(names, version);
        self.request(&Request { kind, answers: Answers::Nothing, error: None, names });
    }

    /// What would be sent now.
    pub(in crate::xds::stream) fn next(&mut self) -> Option<Response> {
        self.stream.next_response(self.now)
    }

    /// The next responses as text, without answering them.
    pub(in crate::xds::stream) fn told(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).map(|response| line(&response)).collect()
    }

    /// The next responses as text; each is ACKed, until there are none.
    pub(in crate::xds::stream) fn told_and_acked(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(response) = self.next() {
            lines.push(line(&response));
            self.ack(&response);
        }
        lines
    }

    pub(in crate::xds::stream) fn ack(&mut self, response: &Response) {
        self.answer(response.kind, response.nonce, None);
    }

    pub(in crate::xds::stream) fn nack(&mut self, response: &Response, message: &str) {
        self.answer(response.kind, response.nonce, Some(message));
    }

    /// Answers a nonce without changing the subscription.
    pub(in crate::xds::stream) fn answer(
        &mut self,
        kind: ResourceType,
        nonce: u64,
        error: Option<&str>,
    ) {
        let state = self.stream.types.iter().find(|state| state.kind == kind).unwrap();
        let named: Vec<String> =
            state.subscription.named().iter().map(ToString::to_string).collect();
        let names = match self.stream.mode() {
            Mode::Delta => Names::Change {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                initial: BTreeMap::new(),
            },
            Mode::Sotw => Names::Whole { names: named, version: String::new() },
        };
        let error = error.map(ToOwned::to_owned);
        self.request(&Request { kind, answers: Answers::Nonce(nonce), error, names });
    }

    pub(in crate::xds::stream) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

pub(in crate::xds::stream) fn whole(names: &[&str], version: &str) -> Names {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Names::Whole { names, version: version.to_owned() }
}

/// `name=content`.
fn put(world: &mut World, kind: ResourceType, line: &str) {
    let (name, content) = line.split_once('=').unwrap();
    world.put(kind, name, content);
}

pub(in crate::xds::stream) fn world(resources: &[(ResourceType, &str)]) -> World {
    let mut world = World::default();
    for (kind, line) in resources {
        put(&mut world, *kind, line);
    }
    world
}

/// A response as text: `cluster a=1 b=2 -c`; routes that do not exist show as `name=none`, a filter's configuration with
/// the requirements that it has.
pub(in crate::xds::stream) fn line(response: &Response) -> String {
    let mut line = response.kind.as_str().to_owned();
    for content in &response.resources {
        let text = match (content.any.first(), content.kind) {
            (Some(0x0a), Routes) => "none".to_owned(),
            (Some(0x0a), _) => tokens::line(content),
            _ => String::from_utf8(content.any.to_vec()).unwrap(),
        };
        line += &format!(" {}={text}", content.name);
    }
    for name in &response.removed {
        line += &format!(" -{name}");
    }
    line
}
