//! The services that Nomad lists, each read when something changed, and their publication.
//!
//! In: watches of the listing, one for each namespace (or one for all); reads of services; news of checks.
//! Out: [`RegistryEvent::Service`] and [`RegistryEvent::Listing`], the `nomad` source; the allocations whose checks are to
//! be asked. It owns every service's state.
//!
//! **Invariants**
//! - The listing adds names; it takes none away. A name leaves when a read of its own, in its own namespace, says that
//!   nobody is registered: a token that sees less gets 403 there, and a shorter list here.
//! - No listing is published before every namespace answered once.
//! - A name is first published with all that is known of it: every namespace that lists it, every allocation's checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::nomad::{Answer, NomadError, Query, ServiceInstance, ServiceListing, Watch, Watching};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt, unfold};
use service::pace::Pace;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Context;
use super::checks::{News, Place, Places};
use super::convert::Registered;
use super::publish::Published;
use super::unit::Unit;
use crate::registry::failures::Failures;
use crate::registry::hold::Hold;
use crate::registry::outlet::{Ended, chain};

/// Reads of services under way.
const READS_AT_ONCE: usize = 16;
/// Time between two readings of all services, after a burst of two: for each service, at least and at most.
const EACH: Duration = Duration::from_millis(2);
pub(super) const PACE_MIN: Duration = Duration::from_millis(100);
const PACE_MAX: Duration = Duration::from_secs(5);

/// A service in a namespace.
pub(super) type Key = (Arc<str>, Arc<str>);
type Listed = Result<Answer<Vec<ServiceListing>>, NomadError>;
type ReadAnswer = Result<Answer<Vec<ServiceInstance>>, NomadError>;

pub(super) struct Follower {
    context: Arc<Context>,
    /// By namespace as asked for: what was listed last, and its index.
    scopes: BTreeMap<Arc<str>, (BTreeSet<Key>, u64)>,
    units: BTreeMap<Key, Unit>,
    dirty: BTreeSet<Key>,
    reads: FuturesUnordered<BoxFuture<'static, (Key, ReadAnswer)>>,
    published: Published,
    failures: Failures,
    places: watch::Sender<Places>,
}

impl Follower {
    pub(super) fn new(context: Arc<Context>, places: watch::Sender<Places>) -> Self {
        Self {
            scopes: BTreeMap::new(),
            units: BTreeMap::new(),
            dirty: BTreeSet::new(),
            reads: FuturesUnordered::new(),
            published: Published::new(context.outlet.clone()),
            failures: Failures::new(context.outlet.clone(), "nomad"),
            places,
            context,
        }
    }

    /// Until nobody listens any more.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News>) -> Result<(), Ended> {
        let (paces, pace) = watch::channel(PACE_MIN);
        let mut listings = listings(&self.context, &pace);
        loop {
            self.begin_reads(Instant::now());
            let due = self.units.values().filter_map(Unit::due).min();
            let next = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((namespace, listed)) = listings.next() => {
                    self.list(namespace, listed).await?;
                    let services = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
                    paces.send_replace(EACH.saturating_mul(services).clamp(PACE_MIN, PACE_MAX));
                }
                Some((key, answer)) = self.reads.next(), if !self.reads.is_empty() => {
                    self.take(key, answer).await?;
                }
                Some(news) = news.recv() => self.hear(news).await?,
                () = next => {}
            }
        }
    }

    fn begin_reads(&mut self, now: Instant) {
        let is_due = |(key, unit): (&Key, &Unit)| {
            unit.due().is_some_and(|due| due <= now).then(|| key.clone())
        };
        self.dirty.extend(self.units.iter().filter_map(is_due));
        while self.reads.len() < READS_AT_ONCE
            && let Some(key) = self.dirty.pop_first()
        {
            if self.units.get_mut(&key).is_some_and(|unit| unit.begin_read(now)) {
                let context = Arc::clone(&self.context);
                self.reads.push(Box::pin(async move {
                    let (namespace, name) = &key;
                    let query = Query::service(name).in_namespace(namespace);
                    let answer = context.client.read(&query).await;
                    (key, answer)
                }));
            }
        }
    }

    /// A listing: everything in it may have changed.
    async fn list(&mut self, namespace: Arc<str>, listed: Listed) -> Result<(), Ended> {
        let subject: Arc<str> = format!("(listing of {namespace})").into();
        let answer = match listed {
            Ok(answer) => answer,
            Err(error) => return self.failures.set(subject, Some(chain(&error))).await,
        };
        self.failures.set(subject, None).await?;
        let keys = keys(&namespace, answer.value);
        let (before, index) = self.scopes.remove(&namespace).unwrap_or_default();
        let went_back = answer.index < index;
        if went_back {
            let (from, to) = (index, answer.index);
            tracing::warn!(%namespace, from, to, "Nomad's index went back; keeping what it lacks");
        }
        for key in keys.iter().chain(before.difference(&keys)) {
            let unit =
                self.units.entry(key.clone()).or_insert_with(|| new_unit(&self.context, key));
            unit.is_listed = keys.contains(key);
            if went_back {
                unit.settle(Instant::now() + self.context.config.settle);
            }
        }
        self.dirty.extend(keys.iter().cloned());
        self.scopes.insert(namespace, (keys, answer.index));
        // What left the listing stays to be read until it is known to be gone.
        let unlisted = self.units.iter().filter(|(_, unit)| !unit.is_listed);
        self.dirty.extend(unlisted.map(|(key, _)| key.clone()));
        self.publish_listing().await
    }

    async fn take(&mut self, key: Key, answer: ReadAnswer) -> Result<(), Ended> {
        let now = Instant::now();
        let settle = self.context.config.settle;
        // Nothing forgets a service while it is read.
        let Some(unit) = self.units.get_mut(&key) else { return Ok(()) };
        let before = unit.believed.clone();
        let subject: Arc<str> = format!("{} in {}", key.1, key.0).into();
        let (again, error) = match answer {
            Ok(Answer { value, index }) => {
                (unit.take(Registered::of(value), index, now, settle).await?, None)
            }
            Err(error) => {
                let error = chain(&error);
                (unit.fail(error.clone(), now).await?, Some(error))
            }
        };
        let is_news = unit.believed != before;
        if again {
            self.dirty.insert(key.clone());
        }
        self.failures.set(Arc::clone(&subject), error).await?;
        if is_news {
            self.tell_places();
            self.publish(&key.1).await?;
        }
        if self.units.get(&key).is_some_and(|unit| unit.is_over() && !again) {
            self.units.remove(&key);
            self.failures.set(subject, None).await?;
        }
        self.publish_listing().await
    }

    async fn hear(&mut self, news: News) -> Result<(), Ended> {
        match news {
            News::Host { node, error } => {
                let error = error
                    .map(|error| format!("the checks on node {node} cannot be asked for: {error}"));
                self.failures.set(format!("checks on {node}").into(), error).await
            }
            News::Health { allocation, health } => {
                self.published.set_health(allocation.clone(), health);
                let concerned: BTreeSet<Arc<str>> = self
                    .units
                    .iter()
                    .filter(|(_, unit)| {
                        let mut known = unit.believed.iter().flat_map(|b| b.allocations.values());
                        known.any(|id| *id == allocation)
                    })
                    .map(|((_, name), _)| Arc::clone(name))
                    .collect();
                for name in concerned {
                    self.publish(&name).await?;
                }
                self.publish_listing().await
            }
        }
    }

    /// The allocations whose checks are of interest.
    fn tell_places(&mut self) {
        let mut places = Places::new();
        for ((namespace, _), unit) in &self.units {
            let Some(believed) = &unit.believed else { continue };
            for one in &believed.instances {
                if let Some(allocation) = believed.allocations.get(&one.id) {
                    let place = Place { namespace: Arc::clone(namespace), node: one.node.clone() };
                    places.insert(allocation.clone(), place);
                }
            }
        }
        self.published.retain_health(&places);
        self.places.send_if_modified(|before| std::mem::replace(before, places.clone()) != places);
    }

    async fn publish(&mut self, name: &Arc<str>) -> Result<(), Ended> {
        let units = self.units.iter().filter(|((_, one), _)| one == name);
        let believed: Vec<_> = units.map(|(_, unit)| unit.believed.as_ref()).collect();
        self.published.service(name, &believed).await
    }

    async fn publish_listing(&mut self) -> Result<(), Ended> {
        if self.scopes.len() < self.context.config.namespaces.len() {
            return Ok(());
        }
        let names = self.units.keys().map(|(_, name)| Arc::clone(name)).collect();
        self.published.listing(names).await
    }
}

fn new_unit(context: &Context, (namespace, name): &Key) -> Unit {
    let subject = match &*context.config.namespaces {
        [one] if one == &**namespace => format!("service {name}"),
        _ => format!("service {name} in {namespace}"),
    };
    let hold = Hold::new(context.outlet.clone(), subject, context.config.confirm_after);
    Unit::new(hold, context.config.backoff.clone())
}

fn keys(asked: &Arc<str>, listing: Vec<ServiceListing>) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for ServiceListing { namespace, services } in listing {
        // An older Nomad leaves the namespace out where one was asked for.
        let namespace = if namespace.is_empty() { Arc::clone(asked) } else { Arc::from(namespace) };
        keys.extend(
            services.into_iter().map(|one| (Arc::clone(&namespace), Arc::from(one.service_name))),
        );
    }
    keys
}

/// The watches of all namespaces as one stream.
fn listings(
    context: &Context,
    pace: &watch::Receiver<Duration>,
) -> SelectAll<BoxStream<'static, (Arc<str>, Listed)>> {
    let watches = context.config.namespaces.iter().map(|namespace| {
        let how = Watching {
            wait: context.config.wait,
            pace: pace_of(PACE_MIN),
            backoff: context.config.backoff.clone(),
        };
        let watch = context.client.watch(Query::services().in_namespace(namespace), how);
        let state = (watch, pace.clone(), Arc::<str>::from(namespace.as_str()));
        unfold(state, next_listing).boxed()
    });
    futures::stream::select_all(watches)
}

type Listing = (Watch<Vec<ServiceListing>>, watch::Receiver<Duration>, Arc<str>);

async fn next_listing(mut listing: Listing) -> Option<((Arc<str>, Listed), Listing)> {
    let interval = *listing.1.borrow_and_update();
    listing.0.set_pace(pace_of(interval));
    let listed = listing.0.next().await;
    Some(((Arc::clone(&listing.2), listed), listing))
}

const fn pace_of(interval: Duration) -> Pace {
    Pace { burst: 2, interval }
}
