//! Stage 1: who is to be asked: the exporters that instances name, their sidecars' statistics, and those that are written.
//!
//! In: [`Instances`] and the configuration. Out: [`Target`]s in the order of their keys. Pure.
//!
//! **Invariants**: what is deregistered is no target; an address that two registrations name (services of one allocation have
//! one Envoy) is one target, that of the lesser id.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

use super::config::RelayConfig;
use super::label::TargetLabels;
use crate::instances::{Instance, Instances};

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// The application's own, from `mesh_metrics`.
    Application,
    /// The Envoy beside it, from `mesh_stats`.
    Envoy,
    /// Written into the configuration.
    Static,
    /// The agent itself.
    Agent,
}

impl TargetKind {
    /// As pages and labels have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Envoy => "envoy",
            Self::Static => "static",
            Self::Agent => "agent",
        }
    }
}

/// An exporter's address: `http://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Uri);

impl Address {
    /// `HOST:PORT`
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// The whole of it.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let uri: Option<Uri> = url.parse().ok();
        let is_usable = |uri: &Uri| {
            uri.scheme_str() == Some("http")
                && uri.port_u16().is_some()
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        };
        uri.filter(is_usable)
            .map(Self)
            .ok_or_else(|| format!("{url:?} is no http://HOST:PORT/PATH"))
    }
}

/// One exporter.
#[derive(Debug, Clone)]
pub struct Target {
    /// Unique on this host, and what targets are ordered by: service, instance, kind, address.
    pub key: String,
    /// What it is.
    pub kind: TargetKind,
    /// Where it is.
    pub address: Address,
    /// The service, or the job of a static one.
    pub service: String,
    /// The allocation, Consul's id, or the instance of a static one.
    pub instance: String,
    /// What each of its series gets.
    pub labels: TargetLabels,
}

impl Target {
    /// Puts one together.
    pub fn new(
        kind: TargetKind,
        address: Address,
        service: String,
        instance: String,
        labels: BTreeMap<String, String>,
    ) -> Self {
        let key = format!("{service}/{instance}/{}/{}", kind.as_str(), address.uri());
        Self { key, kind, address, service, instance, labels: TargetLabels::new(labels) }
    }

    /// The value of one of its labels.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name)
    }
}

/// All targets of this host. `agent` is the agent's own admin page.
pub fn targets(
    instances: &Instances,
    config: &RelayConfig,
    agent: Option<&Address>,
) -> Vec<Arc<Target>> {
    let mut taken = BTreeSet::new();
    let mut all = BTreeMap::new();
    let written = config.written.iter().cloned().map(|mut target| {
        if !instances.node.is_empty() {
            target.labels = target.labels.with("node", &instances.node);
        }
        target
    });
    let of_instances =
        instances.present().flat_map(|instance| of_instance(instance, instances, config));
    let own = agent.map(|address| of_agent(address, instances));
    for target in own.into_iter().chain(written).chain(of_instances) {
        if taken.insert(target.address.uri().to_string()) {
            all.insert(target.key.clone(), Arc::new(target));
        }
    }
    all.into_values().collect()
}

fn of_agent(address: &Address, instances: &Instances) -> Target {
    let mut labels = BTreeMap::new();
    labels.insert("job".to_owned(), "host-agent".to_owned());
    let name = if instances.node.is_empty() { address.authority() } else { &instances.node };
    labels.insert("instance".to_owned(), name.to_owned());
    labels.insert("node".to_owned(), instances.node.clone());
    let service = "host-agent".to_owned();
    Target::new(TargetKind::Agent, address.clone(), service, name.to_owned(), labels)
}

fn of_instance(instance: &Instance, instances: &Instances, config: &RelayConfig) -> Vec<Target> {
    let (Some(mesh), Some(ip)) = (instance.mesh(), instance.address) else { return Vec::new() };
    let metrics = mesh.metrics.as_ref();
    let application =
        metrics.map(|target| (TargetKind::Application, target.port, target.path.as_str()));
    let envoy = mesh.stats.map(|port| (TargetKind::Envoy, port, config.envoy_path.as_str()));
    let both = application.into_iter().chain(envoy);
    let both = both.filter_map(|(kind, port, path)| {
        let socket = std::net::SocketAddr::new(ip, port);
        let address: Address = format!("http://{socket}{path}").parse().ok()?;
        let job = match kind {
            TargetKind::Envoy => "envoy",
            TargetKind::Application | TargetKind::Static | TargetKind::Agent => &instance.service,
        };
        let labels = [
            ("job", job),
            ("instance", address.authority()),
            ("mesh_system", mesh.system.as_str()),
            ("service", &instance.service),
            ("alloc", instance.allocation.as_deref().unwrap_or_default()),
            ("node", &instances.node),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let service = instance.service.clone();
        let name = instance.name().to_owned();
        Some(Target::new(kind, address, service, name, BTreeMap::from(labels)))
    });
    both.collect()
}
