//! Stages 1 to 4 on named cases: a directory of the file registry in, what each proxy gets out.
//!
//! `golden/CASE/*.yaml` is the registry, `proxies.json` the proxies, `expected.txt` what they get and why.
//! `UPDATE_GOLDEN=1` rewrites the expectation; read the difference before you commit it.
//! [`deprecated`] looks into the bytes of the same cases.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod deprecated;
mod history;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use contract::node::NodeMetadata;
use control_plane::catalog::gate::GateTimes;
use control_plane::catalog::store::CatalogStore;
use control_plane::mesh::{MeshModel, explain, model};
use control_plane::registry::file::{FileRegistry, Holds};
use control_plane::registry::{Registry, RegistryEvent};
use control_plane::xds::cache::{GroupKey, ResourceCache, group};
use control_plane::xds::resources::{ResourceSet, ResourceType, Version};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[derive(Deserialize)]
struct Proxy {
    cluster: String,
    mesh: serde_json::Value,
}

impl Proxy {
    fn node(&self) -> NodeMetadata {
        NodeMetadata::from_json(self.mesh.clone()).unwrap()
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn proxies(case: &Path) -> Vec<Proxy> {
    serde_json::from_slice(&std::fs::read(case.join("proxies.json")).unwrap()).unwrap()
}

/// What the file registry says of a directory, until it has said everything once.
async fn events(directory: &Path) -> Vec<RegistryEvent> {
    let (sender, mut received) = mpsc::channel(64);
    let shutdown = CancellationToken::new();
    let registry = FileRegistry {
        directory: directory.to_owned(),
        interval: Duration::from_millis(50),
        holds: Holds::Everything,
    };
    let collect = async {
        let mut events = Vec::new();
        while let Some(event) = received.recv().await {
            if matches!(event, RegistryEvent::Source { .. }) {
                break;
            }
            events.push(event);
        }
        shutdown.cancel();
        events
    };
    let (ended, events) = tokio::join!(registry.run(sender, shutdown.clone()), collect);
    ended.unwrap();
    events
}

fn build(events: impl IntoIterator<Item = RegistryEvent>) -> Arc<MeshModel> {
    let times = GateTimes { last_good_after_ms: 0, deadline_ms: 0 };
    let mut store = CatalogStore::new(times, None);
    for event in events {
        store.apply(event, 0);
    }
    Arc::new(model::derive(&MeshModel::default(), store.publish()))
}

fn resources(model: &Arc<MeshModel>, proxy: &Proxy) -> Arc<ResourceSet> {
    let mut cache = ResourceCache::new(usize::MAX);
    cache.update(model.clone());
    cache.subscribe(&proxy.node(), &proxy.cluster).borrow().clone()
}

fn versions(set: &ResourceSet) -> BTreeMap<(ResourceType, String), Version> {
    ResourceType::ALL
        .into_iter()
        .flat_map(|kind| set.of(kind).resources.values())
        .map(|resource| ((resource.kind, resource.name.to_string()), resource.version))
        .collect()
}

fn describe(model: &MeshModel, proxies: &[Proxy]) -> String {
    let mut text = String::new();
    for proxy in proxies {
        let node = proxy.node();
        let reach = group::reach(model, &GroupKey::of(&node, &proxy.cluster));
        writeln!(text, "# {} {}", node.role, proxy.cluster).unwrap();
        for item in explain::items(model, &node, &reach.tables, &reach.tcp, &reach.issuers) {
            writeln!(text, "{} {}\n    {}\n    {}", item.kind, item.name, item.what, item.because)
                .unwrap();
        }
        text.push('\n');
    }
    text.push_str("# problems\n");
    for problem in explain::all_problems(model) {
        writeln!(text, "{}\n    {}", problem.subject, problem.reason).unwrap();
    }
    text
}

#[tokio::test]
async fn every_case_gives_its_proxies_what_is_expected() {
    let mut differing = Vec::new();
    for case in cases() {
        let model = build(events(&case).await);
        let text = describe(&model, &proxies(&case));
        let file = case.join("expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != text {
            differing.push(format!("{}:\n{text}", file.display()));
        }
    }
    assert!(differing.is_empty(), "UPDATE_GOLDEN=1 rewrites:\n{}", differing.join("\n"));
}

#[tokio::test]
async fn the_same_world_gives_the_same_bytes_whatever_came_first() {
    for case in cases() {
        let events = events(&case).await;
        let forward = build(events.clone());
        for proxy in proxies(&case) {
            let expected = versions(&resources(&forward, &proxy));
            assert!(!expected.is_empty());
            for round in 0..16 {
                let mut shuffled = events.clone();
                shuffled.rotate_left(round % events.len());
                if round % 2 == 1 {
                    shuffled.reverse();
                }
                // A listing removes names that it does not have, so it may come at any time but not before its names.
                shuffled.retain(|event| !matches!(event, RegistryEvent::Listing(_)));
                assert_eq!(versions(&resources(&build(shuffled), &proxy)), expected);
            }
        }
    }
}

#[tokio::test]
async fn every_cluster_that_is_named_is_there_and_has_its_endpoints() {
    for case in cases() {
        let model = build(events(&case).await);
        for proxy in proxies(&case) {
            let set = resources(&model, &proxy);
            let named = ResourceType::ALL
                .into_iter()
                .flat_map(|kind| set.of(kind).resources.values())
                .flat_map(|resource| resource.clusters.iter());
            for cluster in named {
                assert!(set.clusters.resources.contains_key(cluster), "{cluster} is missing");
            }
            for name in set.endpoints.resources.keys() {
                assert!(set.clusters.resources.contains_key(name), "{name} belongs to no cluster");
            }
        }
    }
}

#[tokio::test]
async fn an_instance_that_flaps_changes_one_resource_of_those_who_call_it() {
    let case = cases().remove(0);
    let events = events(&case).await;
    let before = build(events.clone());
    let mut cache = ResourceCache::new(usize::MAX);
    cache.update(before.clone());
    let all = proxies(&case);
    let sets: Vec<_> =
        all.iter().map(|proxy| cache.subscribe(&proxy.node(), &proxy.cluster)).collect();
    let old: Vec<_> = sets.iter().map(|set| set.borrow().clone()).collect();

    let times = GateTimes { last_good_after_ms: 0, deadline_ms: 0 };
    let mut store = CatalogStore::new(times, None);
    for event in events {
        store.apply(event, 0);
    }
    let first = Arc::new(model::derive(&before, store.publish()));
    cache.update(first.clone());
    for (old, set) in old.iter().zip(&sets) {
        assert_eq!(versions(&set.borrow()), versions(old), "an equal world changes nothing");
    }
    let quotes = first.catalog.systems["trading"].instances["quotes"][0].clone();
    let flapped = control_plane::registry::RegisteredInstance {
        id: quotes.id,
        node: quotes.node,
        address: "10.0.0.77".into(),
        port: quotes.port,
        tags: vec![],
        meta: BTreeMap::from([
            ("mesh_system".into(), "trading".into()),
            ("mesh_protocol".into(), "grpc".into()),
            ("mesh_path".into(), "/quotes.v1.Quotes".into()),
        ]),
        status: control_plane::registry::CheckStatus::Passing,
        weight_passing: 7,
        weight_warning: 7,
    };
    store.apply(RegistryEvent::Service { name: "quotes".into(), instances: vec![flapped] }, 0);
    cache.update(Arc::new(model::derive(&first, store.publish())));
    for ((proxy, old), set) in all.iter().zip(&old).zip(&sets) {
        let (old, new) = (versions(old), versions(&set.borrow()));
        let changed: Vec<&str> = new
            .iter()
            .filter(|(key, v)| old.get(*key) != Some(v))
            .map(|(key, _)| &*key.1)
            .collect();
        let calls_quotes = ["orders", "trading-gateway"].contains(&proxy.cluster.as_str());
        let expected: &[&str] = if calls_quotes { &["service:trading/quotes"] } else { &[] };
        assert_eq!((&changed[..], new.len()), (expected, old.len()), "{}", proxy.cluster);
    }
}
