//! How a stream stands, for the API.
//!
//! In: the states of the types. Out: values that share names with the set; the owner of the API turns them into
//! [`contract::api`]'s views, with [`TypeStatus::view`] and [`ResourceStatus::view`].
//!
//! **Invariants**: reading changes nothing.

use contract::api::{NackView, ResourceView, TypeView};

use crate::xds::resources::{ResourceName, ResourceType, TypeSet, Version};

use super::nack::Refused;
use super::type_state::{TypeState, state_version};

/// Every type of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// In the order of make-before-break.
    pub types: Vec<TypeStatus>,
}

/// One type of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeStatus {
    /// The type.
    pub kind: ResourceType,
    /// Whether the proxy has asked for it.
    pub is_asked: bool,
    /// Hash over names and ACKed versions.
    pub version: Version,
    /// What the set has and what the proxy still has beyond it, by name.
    pub resources: Vec<ResourceStatus>,
}

/// One resource of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceStatus {
    /// Its type.
    pub kind: ResourceType,
    /// Its name.
    pub name: ResourceName,
    /// The version in force; for what is to go: the proxy's.
    pub version: Version,
    /// Size of its encoding; 0 for what is to go.
    pub bytes: usize,
    /// How it stands.
    pub state: ResourceState,
}

/// How a resource stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceState {
    /// The proxy has accepted the version in force.
    Acked,
    /// It is on its way, or still to be sent or taken away.
    Pending,
    /// The proxy refused it; what it accepted before stays in force.
    Nacked(Refused),
    /// The proxy does not ask for it.
    Unasked,
}

impl ResourceState {
    /// The word for it in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Pending => "pending",
            Self::Nacked(_) => "nacked",
            Self::Unasked => "unasked",
        }
    }
}

impl ResourceStatus {
    /// The API's form.
    pub fn view(&self) -> ResourceView {
        ResourceView {
            kind: self.kind.as_str().to_owned(),
            name: self.name.to_string(),
            version: self.version.to_string(),
            bytes: self.bytes,
            state: self.state.as_str().to_owned(),
        }
    }
}

impl TypeStatus {
    /// The API's form.
    pub fn view(&self) -> TypeView {
        let count = |state: &ResourceState| {
            self.resources.iter().filter(|resource| resource.state == *state).count()
        };
        let nacked = self.resources.iter().filter_map(|resource| match &resource.state {
            ResourceState::Nacked(refused) => Some(NackView {
                resource: resource.name.to_string(),
                version: refused.version.to_string(),
                message: refused.message.to_string(),
            }),
            _ => None,
        });
        TypeView {
            name: self.kind.as_str().to_owned(),
            acked: count(&ResourceState::Acked),
            pending: count(&ResourceState::Pending),
            nacked: nacked.collect(),
            version: self.version.to_string(),
        }
    }
}

impl TypeState {
    /// How the type stands, `set` being in force.
    pub(super) fn status(&self, set: &TypeSet) -> TypeStatus {
        let wanted = set.resources.values().map(|content| ResourceStatus {
            kind: self.kind,
            name: content.name.clone(),
            version: content.version,
            bytes: content.any.len(),
            state: self.state_of(&content.name, content.version),
        });
        let leaving = self.held.iter().filter(|(name, _)| !set.resources.contains_key(*name));
        let leaving = leaving.filter(|_| self.kind.has_wildcard()).map(|(name, held)| {
            let (kind, version) = (self.kind, held.version);
            ResourceStatus {
                kind,
                name: name.clone(),
                version,
                bytes: 0,
                state: ResourceState::Pending,
            }
        });
        let mut resources: Vec<_> = wanted.chain(leaving).collect();
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        TypeStatus {
            kind: self.kind,
            is_asked: self.subscription.is_asked(),
            version: state_version(self.held.iter().map(|(name, held)| (&**name, held.version))),
            resources,
        }
    }

    fn state_of(&self, name: &ResourceName, version: Version) -> ResourceState {
        if !self.subscription.covers(name) {
            ResourceState::Unasked
        } else if let Some(refused) = self.refusal(name, version) {
            ResourceState::Nacked(refused.clone())
        } else if self.held.get(name).is_some_and(|held| held.version == version) {
            ResourceState::Acked
        } else {
            ResourceState::Pending
        }
    }
}
