//! What happened on a stream, for the log, for metrics and for what is known of the proxy's class.

use std::sync::Arc;
use std::time::Duration;

use crate::xds::resources::{ResourceName, ResourceType, Version};

use super::quarantine::Refusal;

/// Something that a person or a metric may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A response was accepted.
    Acked {
        /// Its type.
        kind: ResourceType,
        /// From sending to ACK.
        latency: Duration,
    },
    /// A response was refused.
    Nacked {
        /// Its type.
        kind: ResourceType,
        /// What was in it.
        resources: Vec<ResourceName>,
        /// The proxy's own words.
        message: Arc<str>,
    },
    /// A refused resource was found, and is held back until its content changes.
    Quarantined(Refusal),
    /// Content was accepted that another proxy of the class refused.
    Vindicated {
        /// Its type.
        kind: ResourceType,
        /// Its name.
        name: ResourceName,
        /// Its version.
        version: Version,
    },
    /// An ACK is late; the next difference will not wait for it.
    AckOverdue {
        /// Its type.
        kind: ResourceType,
    },
    /// A resource went although what it waited for has not come.
    GateExpired {
        /// Its type.
        kind: ResourceType,
        /// Its name.
        name: ResourceName,
    },
}
