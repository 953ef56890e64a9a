//! What a sweep saw last, and which services an answer makes dirty by differing from it.
//!
//! In: the checks that do not pass, nodes, registrations. Out: names of services. Used by the sweep.
//!
//! **Invariants**: pure; an answer equal to the one before makes nothing dirty; a check's output is not part of it.

use std::collections::{BTreeMap, BTreeSet};

use ::consul::{CatalogNode, Check, CheckState, NodeServices};

/// Names of services.
pub(super) type Dirty = BTreeSet<String>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// State → (node, check id) → service; empty for a node's check.
    checks: BTreeMap<CheckState, BTreeMap<(String, String), String>>,
    /// Node → address.
    nodes: BTreeMap<String, String>,
    /// Node → its registrations.
    registered: BTreeMap<String, NodeServices>,
}

impl Known {
    /// The names of all nodes.
    pub(super) fn node_names(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    /// Services on nodes whose address changed or which are gone.
    pub(super) fn nodes(&mut self, answered: Vec<CatalogNode>) -> Dirty {
        let answered: BTreeMap<_, _> =
            answered.into_iter().map(|node| (node.node, node.address)).collect();
        let changed = self.nodes.iter().filter(|(node, old)| answered.get(*node) != Some(*old));
        let dirty = changed.flat_map(|(node, _)| self.names_on(node)).cloned().collect();
        self.registered.retain(|node, _| answered.contains_key(node));
        self.nodes = answered;
        dirty
    }

    /// Services with a check that entered or left `state`; a node's check concerns all services on it.
    pub(super) fn checks(&mut self, state: CheckState, answered: Vec<Check>) -> Dirty {
        let answered: BTreeMap<_, _> = answered
            .into_iter()
            .map(|check| ((check.node, check.check_id), check.service_name))
            .collect();
        let known = self.checks.remove(&state).unwrap_or_default();
        let came = answered.iter().filter(|(id, service)| known.get(*id) != Some(*service));
        let went = known.iter().filter(|(id, service)| answered.get(*id) != Some(*service));
        let mut dirty = Dirty::new();
        for ((node, _), service) in came.chain(went) {
            if service.is_empty() {
                dirty.extend(self.names_on(node).cloned());
            } else {
                dirty.insert(service.clone());
            }
        }
        self.checks.insert(state, answered);
        dirty
    }

    /// Services with a registration on `node` that came, went or changed.
    pub(super) fn registered(&mut self, node: &str, answered: NodeServices) -> Dirty {
        let known = self.registered.remove(node).unwrap_or_default().services;
        let now = &answered.services;
        let came = now.iter().filter(|(id, new)| known.get(*id) != Some(*new));
        let went = known.iter().filter(|(id, old)| now.get(*id) != Some(*old));
        let dirty =
            came.chain(went).map(|(_, registration)| registration.service.clone()).collect();
        self.registered.insert(node.to_owned(), answered);
        dirty
    }

    fn names_on(&self, node: &str) -> impl Iterator<Item = &String> {
        let registered = self.registered.get(node);
        let services = registered.into_iter().flat_map(|node| node.services.values());
        services.map(|registration| &registration.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registrations(of: &[(&str, &str, u64)]) -> NodeServices {
        let services = of.iter().map(|(id, name, index)| {
            let value = serde_json::json!({"Service": name, "ModifyIndex": index});
            ((*id).to_owned(), serde_json::from_value(value).unwrap())
        });
        NodeServices { node: None, services: services.collect() }
    }

    fn check(node: &str, id: &str, service: &str) -> Check {
        let value = serde_json::json!({"Node": node, "CheckID": id, "ServiceName": service});
        serde_json::from_value(value).unwrap()
    }

    fn node(name: &str, address: &str) -> CatalogNode {
        CatalogNode { node: name.to_owned(), address: address.to_owned() }
    }

    fn names(of: &[&str]) -> Dirty {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    fn known() -> Known {
        let mut known = Known::default();
        known.nodes(vec![node("n1", "10.0.0.1"), node("n2", "10.0.0.2")]);
        known.registered("n1", registrations(&[("web-1", "web", 5), ("db-1", "db", 6)]));
        known.registered("n2", registrations(&[("web-2", "web", 7)]));
        known
    }

    #[test]
    fn a_changed_new_or_gone_registration_makes_its_service_dirty() {
        let mut known = known();
        let now = [("web-1", "web", 5), ("db-1", "db", 9), ("new-1", "new", 9)];
        assert_eq!(known.registered("n1", registrations(&now)), names(&["db", "new"]));
        assert_eq!(known.registered("n1", registrations(&now)), names(&[]));
        assert_eq!(known.registered("n2", registrations(&[])), names(&["web"]));
    }

    #[test]
    fn a_check_that_enters_or_leaves_a_state_makes_its_service_dirty() {
        let mut known = known();
        let critical = || vec![check("n2", "c", "web")];
        assert_eq!(known.checks(CheckState::Critical, critical()), names(&["web"]));
        assert_eq!(known.checks(CheckState::Critical, critical()), names(&[]));
        assert_eq!(known.checks(CheckState::Warning, Vec::new()), names(&[]));
        assert_eq!(known.checks(CheckState::Critical, Vec::new()), names(&["web"]));
    }

    #[test]
    fn a_nodes_check_concerns_all_services_on_it() {
        let mut known = known();
        let serf = || vec![check("n1", "serfHealth", "")];
        assert_eq!(known.checks(CheckState::Critical, serf()), names(&["db", "web"]));
        assert_eq!(known.checks(CheckState::Critical, Vec::new()), names(&["db", "web"]));
    }

    #[test]
    fn a_node_that_moves_or_goes_makes_its_services_dirty() {
        let mut known = known();
        let moved = known.nodes(vec![node("n1", "10.0.0.9"), node("n2", "10.0.0.2")]);
        assert_eq!(moved, names(&["db", "web"]));
        let gone = known.nodes(vec![node("n1", "10.0.0.9"), node("n3", "10.0.0.3")]);
        assert_eq!(gone, names(&["web"]));
    }
}
