//! The discovery services and their methods: the aggregated service, and one for each resource type.
//!
//! In: the path of a request. Out: which variant of the protocol it speaks, and of which types. The server routes by
//! [`SERVICES`].
//!
//! **Invariants**: a stream of one type is the same state machine as an aggregated one. The methods `Fetch…`, which
//! answer once, are not served.

use crate::xds::resources::ResourceType;
use crate::xds::stream::Mode;

/// One discovery service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiscoveryService {
    /// Its full name.
    pub name: &'static str,
    /// What its methods' names end with.
    resources: &'static str,
    /// The type that it serves; `None`: all of them.
    only: Option<ResourceType>,
}

const fn service(
    name: &'static str,
    resources: &'static str,
    only: Option<ResourceType>,
) -> DiscoveryService {
    DiscoveryService { name, resources, only }
}

/// The aggregated service's name.
pub(super) const AGGREGATED: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";

/// What is served.
pub(super) const SERVICES: [DiscoveryService; 7] = [
    service(AGGREGATED, "AggregatedResources", None),
    service(
        "envoy.service.cluster.v3.ClusterDiscoveryService",
        "Clusters",
        Some(ResourceType::Cluster),
    ),
    service(
        "envoy.service.endpoint.v3.EndpointDiscoveryService",
        "Endpoints",
        Some(ResourceType::Endpoints),
    ),
    service(
        "envoy.service.secret.v3.SecretDiscoveryService",
        "Secrets",
        Some(ResourceType::Secret),
    ),
    service(
        "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
        "ExtensionConfigs",
        Some(ResourceType::Extension),
    ),
    service(
        "envoy.service.listener.v3.ListenerDiscoveryService",
        "Listeners",
        Some(ResourceType::Listener),
    ),
    service("envoy.service.route.v3.RouteDiscoveryService", "Routes", Some(ResourceType::Routes)),
];

/// What a path asks for: the variant, and the type if it is only one. `None`: nothing that is served.
pub(super) fn method(path: &str) -> Option<(Mode, Option<ResourceType>)> {
    let (name, method) = path.strip_prefix('/')?.split_once('/')?;
    let service = SERVICES.iter().find(|service| service.name == name)?;
    let mode = match method.strip_suffix(service.resources)? {
        "Delta" => Mode::Delta,
        "Stream" => Mode::Sotw,
        _ => return None,
    };
    Some((mode, service.only))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_a_method_for_each_variant_and_no_other() {
        let cds = "/envoy.service.cluster.v3.ClusterDiscoveryService";
        for (path, expected) in [
            (format!("/{AGGREGATED}/DeltaAggregatedResources"), Some((Mode::Delta, None))),
            (format!("/{AGGREGATED}/StreamAggregatedResources"), Some((Mode::Sotw, None))),
            (format!("{cds}/DeltaClusters"), Some((Mode::Delta, Some(ResourceType::Cluster)))),
            (format!("{cds}/StreamClusters"), Some((Mode::Sotw, Some(ResourceType::Cluster)))),
            (format!("{cds}/FetchClusters"), None),
            (format!("{cds}/StreamRoutes"), None),
            ("/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(method(&path), expected, "{path}");
        }
    }
}
