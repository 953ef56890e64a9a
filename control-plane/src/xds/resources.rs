//! Encoded resources and the sets of them that proxies hold.
//!
//! **Invariants**: immutable once made; names and versions are content, never counters or times.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};

/// A resource's name as Envoy knows it.
pub type ResourceName = Arc<str>;

/// The xDS resource types that this control plane serves, in the order of make-before-break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    /// CDS
    Cluster,
    /// EDS
    Endpoints,
    /// SDS
    Secret,
    /// ECDS: filters whose configuration changes without a listener's.
    Extension,
    /// LDS
    Listener,
    /// RDS
    Routes,
}

impl ResourceType {
    /// Every type, in the order of make-before-break.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Secret,
        Self::Extension,
        Self::Listener,
        Self::Routes,
    ];

    /// The type URL of the xDS protocol.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Routes => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The type of a type URL; `None` for types that are not served.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// The word for it in the API, logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Secret => "secret",
            Self::Extension => "extension",
            Self::Listener => "listener",
            Self::Routes => "routes",
        }
    }

    /// Whether a first request without names asks for everything (the legacy wildcard of LDS and CDS).
    pub const fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

/// A resource's version: the hash of its encoding.
///
/// 64 bits: only versions of the same resource are ever compared, and every one travels to every proxy as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// Length of the text.
    pub const LEN: usize = 16;

    /// The version of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(bytes))
    }

    /// Reads a version that this or another replica printed; anything else is the client's own and equals none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == Self::LEN).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One resource, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Its type.
    pub kind: ResourceType,
    /// Its name.
    pub name: ResourceName,
    /// The hash of `any`.
    pub version: Version,
    /// The encoding of a `google.protobuf.Any` that holds it.
    pub any: Bytes,
    /// Clusters that it names: a listener or route must not reach a proxy before them, nor they leave before it changed.
    pub clusters: Arc<[ResourceName]>,
    /// Token requirements: those that a filter's configuration has, or those that routes ask it for.
    pub requirements: BTreeSet<Arc<str>>,
}

/// All resources of one type that a proxy is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeSet {
    /// Counts up with each change of this value within one process.
    pub generation: u64,
    /// The generation that `changed` speaks from.
    pub previous: u64,
    /// Names added, changed or removed between `previous` and `generation`.
    pub changed: Arc<[ResourceName]>,
    /// The resources.
    pub resources: BTreeMap<ResourceName, Arc<Encoded>>,
    /// Of these, what only goes to who asks for it by name: a delta wildcard does not bring it.
    pub on_demand: Arc<BTreeSet<ResourceName>>,
}

/// Everything that one proxy is to have: immutable, consistent in itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSet {
    /// The catalog generation that it was built from.
    pub generation: u64,
    /// CDS.
    pub clusters: Arc<TypeSet>,
    /// EDS: one for each EDS cluster in `clusters`, empty where there is no instance.
    pub endpoints: Arc<TypeSet>,
    /// SDS.
    pub secrets: Arc<TypeSet>,
    /// ECDS.
    pub extensions: Arc<TypeSet>,
    /// LDS.
    pub listeners: Arc<TypeSet>,
    /// RDS.
    pub routes: Arc<TypeSet>,
}

impl ResourceSet {
    /// The resources of one type.
    pub const fn of(&self, kind: ResourceType) -> &Arc<TypeSet> {
        match kind {
            ResourceType::Cluster => &self.clusters,
            ResourceType::Endpoints => &self.endpoints,
            ResourceType::Secret => &self.secrets,
            ResourceType::Extension => &self.extensions,
            ResourceType::Listener => &self.listeners,
            ResourceType::Routes => &self.routes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_back_what_it_prints_and_nothing_else() {
        let version = Version::of(b"cluster");
        assert_eq!(Version::parse(&version.to_string()), Some(version));
        for other in ["", "1", "2026-11-22T10:00:00Z/7", &"g".repeat(Version::LEN)] {
            assert_eq!(Version::parse(other), None);
        }
    }

    #[test]
    fn type_urls_read_back() {
        for kind in ResourceType::ALL {
            assert_eq!(ResourceType::from_type_url(kind.type_url()), Some(kind));
        }
        assert_eq!(ResourceType::from_type_url("type.googleapis.com/other"), None);
    }
}
