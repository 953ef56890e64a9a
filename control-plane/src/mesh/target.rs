//! Where requests go: cluster names, how each is found, and its endpoints.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use contract::name::{ServiceKey, ServiceName, SystemName};
use contract::registration::{Protocol, Role, Track};
use contract::system::{AuthMethod, HttpAddress};

use crate::catalog::{ExternalInstance, Health, Instance};
use crate::mesh::policy::{self, DEFAULT_CONNECT_TIMEOUT};
use crate::mesh::{CallLimits, ExternalModel, MeshModel, tracks};

/// Where Debian, Ubuntu, Alpine and Envoy's images keep the authorities that a host trusts.
const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Something that a route or listener can send to. Its text is the cluster's name.
///
/// No dots in names: Envoy cuts the cluster's name out of statistics at the first dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The application beside the proxy.
    App(ServiceName),
    /// A service: the requests of one track.
    Service(ServiceKey, Track),
    /// A System's gateway, where other Systems enter.
    Gateway(SystemName),
    /// A System's gateway, where the Router enters.
    Ingress(SystemName),
    /// A Consul service outside the mesh.
    External(ServiceName),
    /// Where a way to prove who calls has its public keys from: a name in the `auth` of the System.
    Issuer(SystemName, String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(service) => write!(f, "app:{service}"),
            Self::Service(key, Track::Stable) => write!(f, "service:{key}"),
            Self::Service(key, Track::Canary) => write!(f, "service:{key}:canary"),
            Self::Gateway(system) => write!(f, "gateway:{system}"),
            Self::Ingress(system) => write!(f, "ingress:{system}"),
            Self::External(service) => write!(f, "external:{service}"),
            Self::Issuer(system, way) => write!(f, "issuer:{system}/{way}"),
        }
    }
}

/// What a cluster needs besides its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Where it goes; names it.
    pub target: Target,
    /// What is spoken; `None`: whatever the caller speaks.
    pub protocol: Option<Protocol>,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// Circuit breakers.
    pub limits: CallLimits,
    /// Failures in a row that eject an instance, and for how long at first.
    pub outlier: Option<(u32, Duration)>,
    /// How endpoints are found.
    pub discovery: Discovery,
    /// Whose certificate is asked for; `None`: plain text.
    pub tls: Option<TlsName>,
}

/// Whom a connection must reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsName {
    /// The name that the certificate must have.
    pub host: String,
    /// File on the proxy's host with the authorities that may sign it.
    pub ca_file: String,
}

/// How a cluster's endpoints are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// EDS.
    Endpoints,
    /// This loopback port.
    Loopback(u16),
    /// Host names that Envoy resolves.
    HostNames(Vec<ExternalInstance>),
}

/// One address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// IP address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Whether traffic may go to it.
    pub health: Health,
    /// Weight, at least 1.
    pub weight: u32,
}

/// The cluster of a target that is not the proxy's own application.
pub fn cluster_spec(model: &MeshModel, target: &Target) -> ClusterSpec {
    let mut spec = ClusterSpec {
        target: target.clone(),
        protocol: None,
        connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        limits: policy::DEFAULT_LIMITS,
        outlier: policy::DEFAULT_OUTLIER,
        discovery: Discovery::Endpoints,
        tls: None,
    };
    match target {
        Target::Service(key, _) => {
            let service =
                model.systems.get(&key.system).and_then(|system| system.services.get(&key.name));
            if let Some(service) = service {
                spec.protocol = Some(service.protocol);
                spec.connect_timeout = service.policy.connect_timeout;
                spec.limits = service.policy.limits;
                spec.outlier = service.policy.outlier;
            }
        }
        Target::External(name) => {
            let hosts = model.catalog.externals.get(name);
            if let Some(instances) = hosts
                && external_model(Some(instances)) == ExternalModel::HostNames
            {
                spec.discovery = Discovery::HostNames(instances.to_vec());
            }
        }
        Target::Issuer(system, way) => issuer(model, system, way, &mut spec),
        Target::App(_) | Target::Gateway(_) | Target::Ingress(_) => {}
    }
    spec
}

/// An issuer is found by the host name of its address, and speaks HTTP/1.1, which all do.
fn issuer(model: &MeshModel, system: &SystemName, way: &str, spec: &mut ClusterSpec) {
    let document = model.systems.get(system).and_then(|system| system.document.as_deref());
    let Some(AuthMethod::Jwt(jwt)) = document.and_then(|document| document.auth.get(way)) else {
        return;
    };
    let address = jwt.jwks.url.as_ref().and_then(|url| url.parse::<HttpAddress>().ok());
    let Some(HttpAddress { is_tls, host, port }) = address else { return };
    let ca_file = jwt.jwks.ca_file.clone().unwrap_or_else(|| SYSTEM_CA_FILE.to_owned());
    spec.protocol = Some(Protocol::Http);
    spec.tls = is_tls.then(|| TlsName { host: host.clone(), ca_file });
    spec.discovery = Discovery::HostNames(vec![ExternalInstance {
        address: host,
        port,
        id: way.to_owned(),
        health: Health::Healthy,
        weight: 1,
    }]);
    // There is one issuer: without it nobody's token can be checked, with it ejected neither.
    spec.outlier = None;
}

/// The cluster of the proxy's own application.
pub fn app_cluster(service: &ServiceName, port: u16, protocol: Protocol) -> ClusterSpec {
    ClusterSpec {
        target: Target::App(service.clone()),
        protocol: Some(protocol),
        connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        limits: policy::DEFAULT_LIMITS,
        // There is one application behind a sidecar: ejecting it helps nobody.
        outlier: None,
        discovery: Discovery::Loopback(port),
        tls: None,
    }
}

/// How an external service is found, from its registrations.
pub fn external_model(instances: Option<&std::sync::Arc<[ExternalInstance]>>) -> ExternalModel {
    match instances {
        None => ExternalModel::Missing,
        Some(all) if all.iter().all(|i| i.address.parse::<IpAddr>().is_ok()) => {
            ExternalModel::Addresses
        }
        Some(_) => ExternalModel::HostNames,
    }
}

/// The endpoints of an EDS target, sorted.
pub fn endpoints(model: &MeshModel, target: &Target) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = match target {
        Target::Service(key, track) => {
            let instances: Vec<&Instance> = instances_of(model, key).iter().collect();
            let takers = tracks::takers(&instances, *track).into_iter();
            takers.map(|instance| endpoint(instance, instance.port)).collect()
        }
        Target::Gateway(system) => gateways(model, system)
            .into_iter()
            .map(|instance| endpoint(instance, instance.port))
            .collect(),
        Target::Ingress(system) => gateways(model, system)
            .into_iter()
            .filter_map(|instance| Some(endpoint(instance, instance.ingress?)))
            .collect(),
        Target::External(name) => model
            .catalog
            .externals
            .get(name)
            .into_iter()
            .flat_map(|instances| instances.iter())
            .filter_map(|instance| {
                Some(Endpoint {
                    address: instance.address.parse().ok()?,
                    port: instance.port,
                    health: instance.health,
                    weight: instance.weight,
                })
            })
            .collect(),
        Target::App(_) | Target::Issuer(..) => Vec::new(),
    };
    // A new instance is registered before it listens, and Envoy sends to all once most are unhealthy: three new ones
    // beside an old one would take three of four requests. So unhealthy ones are listed only where nobody is healthy.
    if endpoints.iter().any(|endpoint| endpoint.health == Health::Healthy) {
        endpoints.retain(|endpoint| endpoint.health != Health::Unhealthy);
    }
    let mut seen = BTreeSet::new();
    endpoints.sort();
    endpoints.retain(|endpoint| seen.insert((endpoint.address, endpoint.port)));
    endpoints
}

/// Every instance of a service.
pub fn instances_of<'a>(model: &'a MeshModel, key: &ServiceKey) -> &'a [Instance] {
    model
        .catalog
        .systems
        .get(&key.system)
        .and_then(|system| system.instances.get(&key.name))
        .map_or(&[], |instances| instances)
}

/// The instances of a System's gateways that others enter by: no document gives their canaries a share.
fn gateways<'a>(model: &'a MeshModel, system: &SystemName) -> Vec<&'a Instance> {
    let registered = model.catalog.systems.get(system).into_iter().flat_map(|system| {
        system
            .specs
            .values()
            .filter(|spec| spec.role == Role::Gateway)
            .filter_map(|spec| system.instances.get(&spec.key.name))
            .flat_map(|instances| instances.iter())
    });
    tracks::takers(&registered.collect::<Vec<_>>(), Track::Stable)
}

fn endpoint(instance: &Instance, port: u16) -> Endpoint {
    Endpoint { address: instance.address, port, health: instance.health, weight: instance.weight }
}
