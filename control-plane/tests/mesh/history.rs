//! Whatever came before: a cache that followed a mesh through changes has what one has that begins with the last.

use control_plane::registry::{CheckStatus, RegisteredInstance};
use proptest::prelude::*;

use super::*;

/// What registrations of one name say, all alike; `None`: there are none.
#[derive(Debug, Clone)]
struct Service {
    name: &'static str,
    meta: Vec<(&'static str, &'static str)>,
    address: &'static str,
    instances: u16,
    status: CheckStatus,
}

/// One change.
#[derive(Debug, Clone)]
enum Step {
    Service(Service),
    /// What is registered under this name says this as well, or no longer, and is the same otherwise.
    Meta(&'static str, (&'static str, &'static str)),
    /// System `trading` has this document, System `portfolio` that one, by their place in [`DOCUMENTS`].
    Documents(usize, usize),
}

const DOCUMENTS: [&str; 5] = [
    "",
    "default_auth: none\nroutes:\n- {match: {prefix: /}, to: {orders: 60, quotes: 40}}\n",
    "external: [legacy]\ncallers: [portfolio]\nhosts: [a.example.com]\nmaintenance: {message: closed}\n",
    "auth: {staff: {jwt: {issuer: me, jwks: {url: 'http://id.example.com/keys'}}}}\ndefault_auth: staff\ntracks: {canary: {percent: 10}}\n",
    "default_auth: none\nservices: {quotes: {timeout: 3s, canary: {percent: 5}}}\nroutes:\n- {match: {prefix: /q}, to: quotes, mirror: {to: orders}}\n",
];

const META: [(&str, &str); 5] = [
    ("mesh_role", "gateway"),
    ("mesh_protocol", "grpc"),
    ("mesh_path", "/a"),
    ("mesh_ingress", "9000"),
    ("mesh_upstreams", "quotes"),
];

fn service() -> impl Strategy<Value = Service> {
    let one_of = |key: &'static str, values: &'static [&'static str]| {
        let value = proptest::sample::select(values);
        proptest::option::weighted(0.4, value.prop_map(move |value| (key, value)))
    };
    let meta = (
        proptest::option::weighted(0.9, proptest::sample::select(&["trading", "portfolio"][..])),
        one_of("mesh_role", &["gateway"]),
        one_of("mesh_protocol", &["http2", "grpc", "tcp"]),
        one_of("mesh_path", &["/a", "/b"]),
        one_of("mesh_track", &["canary"]),
        one_of("mesh_ingress", &["9000"]),
        one_of("mesh_upstreams", &["quotes", "legacy=7000, *.portfolio"]),
    );
    let meta = meta.prop_map(|(system, role, protocol, path, track, ingress, upstreams)| {
        let system = system.map(|system| ("mesh_system", system));
        // Outside the mesh nothing else counts.
        let rest = [role, protocol, path, track, ingress, upstreams];
        let rest = rest.into_iter().flatten().filter(move |_| system.is_some());
        system.into_iter().chain(rest).collect()
    });
    let addresses = proptest::sample::select(&["10.0.0.1", "10.0.0.2", "host.example.com"][..]);
    let status = prop_oneof![
        4 => Just(CheckStatus::Passing),
        1 => Just(CheckStatus::Critical),
        1 => Just(CheckStatus::Maintenance),
    ];
    (names(), meta, addresses, 0..3_u16, status).prop_map(
        |(name, meta, address, instances, status)| Service {
            name,
            meta,
            address,
            instances,
            status,
        },
    )
}

fn names() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["orders", "quotes", "legacy", "door"][..])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let document = || 0..DOCUMENTS.len();
    let step = prop_oneof![
        3 => service().prop_map(Step::Service),
        2 => (names(), proptest::sample::select(&META[..])).prop_map(|(name, meta)| Step::Meta(name, meta)),
        1 => (document(), document()).prop_map(|(one, other)| Step::Documents(one, other)),
    ];
    proptest::collection::vec(step, 1..12)
}

impl Service {
    fn event(&self) -> RegistryEvent {
        let meta = self.meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let meta: BTreeMap<String, String> = meta.collect();
        let instance = |number| RegisteredInstance {
            id: format!("{}-{number}", self.name),
            node: "host-1".to_owned(),
            address: self.address.to_owned(),
            port: 20_000 + number,
            tags: Vec::new(),
            meta: meta.clone(),
            status: self.status,
            weight_passing: 1,
            weight_warning: 1,
        };
        let instances = (0..self.instances).map(instance).collect();
        RegistryEvent::Service { name: self.name.into(), instances }
    }
}

impl Step {
    /// The event, `registered` being what is registered by name.
    fn event(&self, registered: &mut BTreeMap<&'static str, Service>) -> Option<RegistryEvent> {
        Some(match self {
            Self::Service(service) => {
                registered.insert(service.name, service.clone());
                service.event()
            }
            Self::Meta(name, meta) => {
                let service = registered.get_mut(name)?;
                let others: Vec<_> = service.meta.iter().copied().filter(|it| it != meta).collect();
                let is_new = others.len() == service.meta.len();
                service.meta = others.into_iter().chain(is_new.then_some(*meta)).collect();
                service.event()
            }
            Self::Documents(trading, portfolio) => {
                let document = |(name, index): (&str, usize)| {
                    let text = DOCUMENTS.get(index).filter(|text| !text.is_empty())?;
                    Some((name.to_owned(), format!("kind: System\nname: {name}\n{text}")))
                };
                let documents = [("trading", *trading), ("portfolio", *portfolio)];
                RegistryEvent::Documents(documents.into_iter().filter_map(document).collect())
            }
        })
    }
}

fn everyone() -> Vec<Proxy> {
    let proxies = serde_json::json!([
        {"cluster": "orders", "mesh": {"system": "trading", "role": "sidecar", "services": [{"name": "orders", "inbound": 10000, "app": 8080}], "egress": 15001}},
        {"cluster": "quotes", "mesh": {"system": "portfolio", "role": "sidecar", "services": [{"name": "quotes", "inbound": 10000, "app": 8080}], "egress": 15001}},
        {"cluster": "door", "mesh": {"system": "trading", "role": "gateway", "services": [{"name": "door", "inbound": 10000, "ingress": 10001, "app": 8080}], "egress": 15001}},
        {"cluster": "door", "mesh": {"system": "portfolio", "role": "gateway", "services": [{"name": "door", "inbound": 10000, "ingress": 10001}]}},
        {"cluster": "router", "mesh": {"role": "router", "services": [{"name": "router", "inbound": 8080}]}},
        {"cluster": "report", "mesh": {"system": "trading", "role": "sidecar", "proxyless": true}},
        {"cluster": "ticker", "mesh": {"system": "portfolio", "role": "sidecar", "egress": 15001, "upstreams": "quotes, orders.trading, legacy=7000, *.trading"}}
    ]);
    serde_json::from_value(proxies).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mesh_that_changed_is_served_as_one_that_began_so(steps in steps(), on_demand_above in 1..3_usize) {
        let times = GateTimes { last_good_after_ms: 0, deadline_ms: 0 };
        let mut store = CatalogStore::new(times, None);
        let mut model = Arc::<MeshModel>::default();
        let mut cache = ResourceCache::new(on_demand_above);
        let all = everyone();
        let followed: Vec<_> =
            all.iter().map(|proxy| cache.subscribe(&proxy.node(), &proxy.cluster)).collect();
        let mut registered = BTreeMap::new();
        for event in steps.iter().filter_map(|step| step.event(&mut registered)) {
            store.apply(event, 0);
            model = Arc::new(model::derive(&model, store.publish()));
            cache.update(model.clone());
            let mut fresh = ResourceCache::new(on_demand_above);
            fresh.update(Arc::new(model::derive(&MeshModel::default(), model.catalog.clone())));
            for (proxy, followed) in all.iter().zip(&followed) {
                let (followed, fresh) =
                    (followed.borrow(), fresh.subscribe(&proxy.node(), &proxy.cluster));
                let fresh = fresh.borrow();
                prop_assert_eq!(versions(&followed), versions(&fresh), "{}", proxy.cluster);
                prop_assert_eq!(&followed.clusters.on_demand, &fresh.clusters.on_demand);
            }
        }
    }
}
