//! Who sent a request, and what its spans' resources therefore say.
//!
//! In: the header `x-mesh-instance`, the peer's address, the instances of this host, and for Envoys, which cannot set the header
//! on their own spans, the tag `node_id` that they write into every span. Out: a [`Sender`].
//!
//! **Invariants**: a name is believed only if this host has such an instance; whoever is unknown shares with its address only,
//! so nobody gets another's share or a second one by inventing names.
//! **Absent**: authentication. Whoever reaches the port may claim an instance of this host by its id.

use std::net::IpAddr;
use std::sync::Arc;

use super::otlp::visit_spans;
use super::shape::Origin;
use super::wire::all;
use crate::instances::{Instance, Instances};

/// Who sent.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Who shares: `SYSTEM/SERVICE`, or the address of one that is unknown.
    pub name: Arc<str>,
    /// The word for it in metrics: `SYSTEM/SERVICE`, the service, or `unknown`.
    pub label: Arc<str>,
    /// The System, if it is in one.
    pub system: Option<Arc<str>>,
    /// The service, if it is known.
    pub service: Option<Arc<str>>,
    /// What its resources say.
    pub origin: Arc<Origin>,
}

impl Sender {
    /// By the header and the peer's address.
    pub fn of(header: Option<&str>, peer: IpAddr, instances: &Instances) -> Self {
        let claimed = header.and_then(|id| named(id, instances));
        match claimed.or_else(|| alone_at(peer, instances)) {
            Some(instance) => Self::known(instance, instances),
            None => Self::unknown(peer, instances),
        }
    }

    /// Looks again when nobody was found: the spans of an Envoy of this host say which one.
    pub fn or_envoy_of(self, request: &[u8], instances: &Instances) -> Self {
        if self.service.is_some() {
            return self;
        }
        let mut node = None;
        let mut is_first = true;
        visit_spans(request, |span| {
            if std::mem::take(&mut is_first) {
                node = node_of(span);
            }
        });
        match node.and_then(|node| named(node, instances)) {
            Some(instance) => Self::known(instance, instances),
            None => self,
        }
    }

    fn known(instance: &Instance, instances: &Instances) -> Self {
        let service = Arc::from(instance.service.as_str());
        let system: Option<Arc<str>> = instance.system().map(Arc::from);
        let mut origin = Origin::default();
        origin.say("service.name", &service);
        if let Some(system) = &system {
            origin.say("service.namespace", system);
        }
        origin.say("service.instance.id", instance.name());
        if let Some(allocation) = &instance.allocation {
            origin.say("mesh.allocation", allocation);
        }
        host(&mut origin, instances);
        let name: Arc<str> = match &system {
            Some(system) => Arc::from(format!("{system}/{service}")),
            None => Arc::clone(&service),
        };
        Self {
            label: Arc::clone(&name),
            name,
            system,
            service: Some(service),
            origin: Arc::new(origin),
        }
    }

    fn unknown(peer: IpAddr, instances: &Instances) -> Self {
        let mut origin = Origin::default();
        host(&mut origin, instances);
        Self {
            name: Arc::from(peer.to_string()),
            label: Arc::from("unknown"),
            system: None,
            service: None,
            origin: Arc::new(origin),
        }
    }
}

fn host(origin: &mut Origin, instances: &Instances) {
    for (key, value) in [("host.name", &instances.node), ("mesh.datacenter", &instances.datacenter)]
    {
        if !value.is_empty() {
            origin.say(key, value);
        }
    }
}

fn named<'a>(id: &str, instances: &'a Instances) -> Option<&'a Instance> {
    instances.of_allocation(id).or_else(|| instances.of_id(id)).map(AsRef::as_ref)
}

/// The only instance at an address, such as that of a network namespace of its own.
fn alone_at(peer: IpAddr, instances: &Instances) -> Option<&Instance> {
    let mut at = instances.present().filter(|instance| instance.address == Some(peer));
    let first = at.next()?;
    at.all(|other| other.name() == first.name()).then_some(first.as_ref())
}

/// The value of the span's attribute `node_id`.
fn node_of(span: &[u8]) -> Option<&str> {
    let attribute = all(span, 9).find(|attribute| all(attribute, 1).next() == Some(b"node_id"))?;
    std::str::from_utf8(all(all(attribute, 2).next()?, 1).next()?).ok()
}

#[cfg(test)]
mod tests;
