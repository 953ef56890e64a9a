//! The order of a push, as a table: make before break.
//!
//! [`crate::xds::stream::AdsStream`] walks [`PUSH_ORDER`] from the top and sends the first step that has something to say.
//!
//! **Invariants**: a step never waits for another type as a whole; a gate looks at one resource at a time and gives up
//! after its patience, so that a proxy that never answers for one type still gets the others.

use std::time::Duration;

use crate::xds::resources::ResourceType;

/// What a step sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// New and changed resources, and answers that a name does not exist.
    Put,
    /// Resources that the proxy holds and is to forget.
    Remove,
}

/// What a resource waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing.
    Open,
    /// The clusters that it names are held by the proxy: Envoy does not warm routes.
    ClustersHeld,
    /// The same, and no filter's configuration is still to be sent: routes ask of filters what these must know by then.
    /// Until the routes are ACKed, filters also keep what routes in force ask (`stream/bridge.rs`).
    RoutesReady,
    /// No listener or route in force, on its way or due still speaks of the cluster.
    ReferrersSettled,
}

impl Gate {
    /// How long a resource waits at most.
    ///
    /// Envoy withholds the ACK of CDS while a cluster warms, by default for up to 15 s.
    pub const fn patience(self) -> Duration {
        match self {
            Self::Open => Duration::ZERO,
            Self::ClustersHeld | Self::RoutesReady => Duration::from_secs(15),
            Self::ReferrersSettled => Duration::from_secs(10),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The type.
    pub kind: ResourceType,
    /// What is sent of it.
    pub phase: Phase,
    /// What each resource waits for.
    pub gate: Gate,
}

const fn step(kind: ResourceType, phase: Phase, gate: Gate) -> Step {
    Step { kind, phase, gate }
}

/// The order of a push.
///
/// EDS, SDS, ECDS and RDS have no removals: what referred to them leaves, and they with it.
pub const PUSH_ORDER: [Step; 8] = [
    step(ResourceType::Cluster, Phase::Put, Gate::Open),
    step(ResourceType::Endpoints, Phase::Put, Gate::Open),
    step(ResourceType::Secret, Phase::Put, Gate::Open),
    step(ResourceType::Extension, Phase::Put, Gate::ClustersHeld),
    step(ResourceType::Listener, Phase::Put, Gate::ClustersHeld),
    step(ResourceType::Routes, Phase::Put, Gate::RoutesReady),
    step(ResourceType::Listener, Phase::Remove, Gate::Open),
    step(ResourceType::Cluster, Phase::Remove, Gate::ReferrersSettled),
];
