//! A registry at work, and the catalog that it fills.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consul::ConsulConfig;
use control_plane::catalog::SystemCatalog;
use control_plane::catalog::gate::{GateTimes, Readiness};
use control_plane::catalog::store::CatalogStore;
use control_plane::registry::consul::{ConsulRegistry, ConsulRegistryConfig};
use control_plane::registry::{RegisteredInstance, Registry, RegistryEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::catalogue::Expected;

/// Longer than anything here takes in a debug build on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);
const TIMES: GateTimes = GateTimes { last_good_after_ms: 0, deadline_ms: u64::MAX };

/// The catalog's systems.
type Systems = BTreeMap<String, Arc<SystemCatalog>>;

/// A running registry; ends with its value.
pub(crate) struct World {
    events: mpsc::Receiver<RegistryEvent>,
    store: CatalogStore,
    seen: BTreeMap<Arc<str>, Vec<RegisteredInstance>>,
    _running: JoinSet<()>,
}

impl World {
    pub(crate) fn start(consul: ConsulConfig) -> Self {
        let registry = ConsulRegistry::new(consul, ConsulRegistryConfig::default()).unwrap();
        let (sender, events) = mpsc::channel(4096);
        let mut running = JoinSet::new();
        running.spawn(async move {
            registry.run(sender, CancellationToken::new()).await.unwrap();
        });
        Self {
            events,
            store: CatalogStore::new(TIMES, None),
            seen: BTreeMap::new(),
            _running: running,
        }
    }

    fn apply(&mut self, event: RegistryEvent) {
        if let RegistryEvent::Service { name, instances } = &event {
            self.seen.insert(Arc::clone(name), instances.clone());
        }
        if let RegistryEvent::Source { error: Some(error), .. } = &event {
            println!("    a source fails: {error}");
        }
        self.store.apply(event, 0);
    }

    /// Until what was seen satisfies `predicate`.
    pub(crate) async fn until(&mut self, what: &str, predicate: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !predicate(self) {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => {
                    self.apply(event);
                    while let Ok(event) = self.events.try_recv() {
                        self.apply(event);
                    }
                }
                Ok(None) => panic!("the registry ended while waiting until {what}"),
                Err(_) => panic!("not within {DEADLINE:?}: {what}"),
            }
        }
    }

    /// Until the catalog is complete.
    pub(crate) async fn until_complete(&mut self) {
        self.until("the catalog is complete", |world| {
            world.store.readiness(0) == Readiness::Complete
        })
        .await;
    }

    /// Until every service has the instances it should have, and the snapshot is what they come to.
    pub(crate) async fn until_equal(&mut self, expected: &Expected) {
        let sorted = sorted(expected);
        let differing = |world: &Self| -> Vec<Arc<str>> {
            let differs = |(name, instances): &(&Arc<str>, &Vec<RegisteredInstance>)| {
                world.seen.get(*name) != Some(*instances)
            };
            sorted.iter().filter(differs).map(|(name, _)| Arc::clone(name)).collect()
        };
        self.until("every service is as registered", |world| differing(world).is_empty()).await;
        assert_eq!(self.systems(), systems_of(&sorted));
    }

    /// Whether a service has the instances it should have.
    pub(crate) fn has(&self, expected: &Expected, name: &str) -> bool {
        let instances = expected.get(name).cloned().map(in_order);
        self.seen.get(name) == instances.as_ref()
    }

    fn systems(&mut self) -> Systems {
        systems(&mut self.store)
    }
}

/// What a catalog that was told this at once holds.
fn systems_of(expected: &Expected) -> Systems {
    let mut store = CatalogStore::new(TIMES, None);
    for (name, instances) in expected {
        let event = RegistryEvent::Service { name: Arc::clone(name), instances: instances.clone() };
        store.apply(event, 0);
    }
    systems(&mut store)
}

fn systems(store: &mut CatalogStore) -> Systems {
    let snapshot = store.publish();
    snapshot.systems.iter().map(|(name, system)| (name.to_string(), Arc::clone(system))).collect()
}

fn sorted(expected: &Expected) -> Expected {
    let each = expected.iter();
    each.map(|(name, instances)| (Arc::clone(name), in_order(instances.clone()))).collect()
}

/// As the registry lists them.
fn in_order(mut instances: Vec<RegisteredInstance>) -> Vec<RegisteredInstance> {
    instances.sort_by(|left, right| (&left.node, &left.id).cmp(&(&right.node, &right.id)));
    instances
}
