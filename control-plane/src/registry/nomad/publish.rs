//! What the catalog was told, and what it is told next.
//!
//! In: what is believed of a name in each namespace, and what allocations' checks say. Out: events, where they differ from
//! what was sent.
//!
//! **Invariants**: an allocation whose checks were not asked yet counts as failing, except that a name is not published
//! for the first time before all of its were asked; a name is listed while it is followed or published with instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::checks::Places;
use super::convert::{Health, Registered};
use crate::registry::outlet::{Ended, Outlet};
use crate::registry::{CheckStatus, RegisteredInstance, RegistryEvent};

type Names = BTreeSet<Arc<str>>;

pub(super) struct Published {
    outlet: Outlet,
    services: BTreeMap<Arc<str>, Vec<RegisteredInstance>>,
    listing: Option<Names>,
    health: BTreeMap<String, Health>,
}

impl Published {
    pub(super) const fn new(outlet: Outlet) -> Self {
        Self { outlet, services: BTreeMap::new(), listing: None, health: BTreeMap::new() }
    }

    pub(super) fn set_health(&mut self, allocation: String, health: Health) {
        self.health.insert(allocation, health);
    }

    /// Forgets allocations that are no more.
    pub(super) fn retain_health(&mut self, places: &Places) {
        self.health.retain(|allocation, _| places.contains_key(allocation));
    }

    /// Publishes a name: what is believed in each namespace that has it; `None` where nothing was answered yet.
    pub(super) async fn service(
        &mut self,
        name: &Arc<str>,
        believed: &[Option<&Registered>],
    ) -> Result<(), Ended> {
        let is_known = |registered: &Registered| {
            registered.allocations.values().all(|id| self.health.contains_key(id))
        };
        let is_complete = believed.iter().all(|one| one.is_some_and(is_known));
        if !is_complete && !self.services.contains_key(name) {
            return Ok(());
        }
        let mut instances: Vec<RegisteredInstance> = Vec::new();
        for registered in believed.iter().flatten() {
            instances.extend(registered.instances.iter().map(|one| {
                let allocation = registered.allocations.get(&one.id);
                let health = allocation.and_then(|allocation| self.health.get(allocation));
                let status = health.map_or(CheckStatus::Critical, |health| {
                    health.get(&**name).copied().unwrap_or_default()
                });
                RegisteredInstance { status, ..one.clone() }
            }));
        }
        instances.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
        if self.services.get(name) == Some(&instances) {
            return Ok(());
        }
        self.services.insert(Arc::clone(name), instances.clone());
        self.outlet.send(RegistryEvent::Service { name: Arc::clone(name), instances }).await
    }

    /// Publishes which names there are: those that are followed.
    pub(super) async fn listing(&mut self, followed: Names) -> Result<(), Ended> {
        self.services.retain(|name, _| followed.contains(name));
        if self.listing.as_ref() == Some(&followed) {
            return Ok(());
        }
        self.listing = Some(followed.clone());
        self.outlet.send(RegistryEvent::Listing(followed)).await
    }
}
