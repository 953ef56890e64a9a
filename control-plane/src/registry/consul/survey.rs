//! The whole catalogue with one request for each node, instead of one for each service.
//!
//! In: Consul's nodes, their registrations and the checks that do not pass. Out: a [`Survey`]: services as Consul would
//! have answered for each, and from which index on their changes are still to be heard of; and a [`Baseline`] for the
//! sweep. Made when the catalogue is first read and when a sweep begins.
//!
//! Consul answers each request from another moment. All data is read after an index was seen, so all that changed up to
//! that index is in it; what changed later wakes a blocking query from that index. Checks are read before
//! registrations: a registration that is newer than the index may lack its checks, and its service is left out.
//!
//! **Invariants**: no service is in a survey with fewer checks than it was registered with; what is not in it is to be
//! read by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::consul::{
    Answer, CatalogNode, Check, CheckState, Consistency, ConsulClient, ConsulError, EntryNode,
    EntryService, NodeService, NodeServices, Query, ServiceEntry,
};
use futures::future::try_join_all;
use serde::de::DeserializeOwned;

use super::convert;
use super::known::Known;
use crate::registry::RegisteredInstance;

type Registrations = NodeServices<EntryService>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Services of which everything is known.
    pub(super) services: BTreeMap<String, Vec<RegisteredInstance>>,
    /// A blocking query of one of them with this index misses nothing.
    pub(super) index: u64,
}

/// What was answered, for comparison, and the indexes to go on from.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    pub(super) known: Known,
    pub(super) nodes: u64,
    pub(super) warning: u64,
    pub(super) critical: u64,
    /// Node → index.
    pub(super) registered: BTreeMap<String, u64>,
}

/// Reads everything, if there are no more than `nodes_max` nodes. `listing` is an index of the listing of services.
pub(super) async fn survey(
    client: &ConsulClient,
    listing: u64,
    nodes_max: usize,
) -> Result<Option<(Survey, Baseline)>, ConsulError> {
    let (nodes, critical) =
        tokio::try_join!(read(client, Query::nodes()), checks_in(client, CheckState::Critical))?;
    if nodes.value.len() > nodes_max {
        return Ok(None);
    }
    let index = listing.max(nodes.index).max(critical.index);
    let (nodes, critical, warning) = tokio::try_join!(
        read(client, Query::nodes()),
        checks_in(client, CheckState::Critical),
        checks_in(client, CheckState::Warning),
    )?;
    let registered = try_join_all(nodes.value.iter().map(|node| async {
        let answer = read(client, Query::<Registrations>::node_services(&node.node)).await?;
        Ok::<_, ConsulError>((node.clone(), answer))
    }))
    .await?;
    Ok(Some(compile(index, nodes, critical, warning, registered)))
}

async fn read<T: DeserializeOwned + Default>(
    client: &ConsulClient,
    query: Query<T>,
) -> Result<Answer<T>, ConsulError> {
    client.read(&query, Consistency::Default).await
}

async fn checks_in(
    client: &ConsulClient,
    state: CheckState,
) -> Result<Answer<Vec<Check>>, ConsulError> {
    read(client, Query::checks_in(state)).await
}

fn compile(
    index: u64,
    nodes: Answer<Vec<CatalogNode>>,
    critical: Answer<Vec<Check>>,
    warning: Answer<Vec<Check>>,
    registered: Vec<(CatalogNode, Answer<Registrations>)>,
) -> (Survey, Baseline) {
    let is_filtered = [nodes.is_filtered, critical.is_filtered, warning.is_filtered]
        .contains(&true)
        || registered.iter().any(|(_, answer)| answer.is_filtered);
    let mut baseline = Baseline {
        known: Known::default(),
        nodes: nodes.index,
        warning: warning.index,
        critical: critical.index,
        registered: BTreeMap::new(),
    };
    let checks = ByRegistration::of(critical.value.iter().chain(&warning.value));
    let (mut entries, mut changing) =
        (BTreeMap::<String, Vec<ServiceEntry>>::new(), BTreeSet::new());
    baseline.known.nodes(nodes.value);
    for (node, answer) in registered {
        baseline.registered.insert(node.node.clone(), answer.index);
        baseline.known.registered(&node.node, outline(&answer.value));
        for service in answer.value.services.into_values() {
            if service.modify_index > index {
                changing.insert(service.service.clone());
            }
            let entry = ServiceEntry {
                node: EntryNode { node: node.node.clone(), address: node.address.clone() },
                checks: checks.of_registration(&node.node, &service.id),
                service,
            };
            entries.entry(entry.service.service.clone()).or_default().push(entry);
        }
    }
    baseline.known.checks(CheckState::Critical, critical.value);
    baseline.known.checks(CheckState::Warning, warning.value);
    // What a token may not see of one service cannot be told from what it may not see of another.
    let services = entries
        .into_iter()
        .filter(|(name, _)| !is_filtered && !changing.contains(name))
        .map(|(name, entries)| (name, convert::instances(entries)))
        .collect();
    (Survey { services, index }, baseline)
}

fn outline(registrations: &Registrations) -> NodeServices {
    let services = registrations.services.iter().map(|(id, registration)| {
        let (service, modify_index) = (registration.service.clone(), registration.modify_index);
        (id.clone(), NodeService { service, modify_index })
    });
    NodeServices { node: None, services: services.collect() }
}

/// Checks by node and registration; those of the node itself have no registration.
struct ByRegistration<'a>(BTreeMap<(&'a str, &'a str), Vec<&'a Check>>);

impl<'a> ByRegistration<'a> {
    fn of(checks: impl Iterator<Item = &'a Check>) -> Self {
        let mut by_registration = BTreeMap::<_, Vec<_>>::new();
        for check in checks {
            let key = (check.node.as_str(), check.service_id.as_str());
            by_registration.entry(key).or_default().push(check);
        }
        Self(by_registration)
    }

    fn of_registration(&self, node: &str, id: &str) -> Vec<Check> {
        let found = ["", id].into_iter().filter_map(|id| self.0.get(&(node, id)));
        found.flatten().map(|check| (*check).clone()).collect()
    }
}

/// What a service's task begins with: its instances, and the index to go on from.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) instances: Vec<RegisteredInstance>,
    pub(super) index: u64,
}

impl Survey {
    /// Takes one service out.
    pub(super) fn take(&mut self, name: &Arc<str>) -> Option<Surveyed> {
        let instances = self.services.remove(&**name)?;
        Some(Surveyed { instances, index: self.index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::CheckStatus;

    fn answer<T: DeserializeOwned>(index: u64, value: serde_json::Value) -> Answer<T> {
        Answer { value: serde_json::from_value(value).unwrap(), index, is_filtered: false }
    }

    fn web(id: &str, modify_index: u64) -> serde_json::Value {
        serde_json::json!({"ID": id, "Service": "web", "Port": 80, "ModifyIndex": modify_index})
    }

    fn db() -> serde_json::Value {
        serde_json::json!({"ID": "db-1", "Service": "db", "Address": "10.1.1.1", "ModifyIndex": 3})
    }

    /// Two nodes with `web`, one with `db`; the second node's own check is critical.
    fn surveyed(newest: u64, is_filtered: bool) -> Survey {
        let nodes = [("n1", "10.0.0.1"), ("n2", "10.0.0.2")]
            .map(|(node, address)| serde_json::json!({"Node": node, "Address": address}));
        let nodes: Answer<Vec<CatalogNode>> = answer(9, nodes.to_vec().into());
        let critical = serde_json::json!([
            {"Node": "n2", "CheckID": "serfHealth", "Status": "critical"},
            {"Node": "n1", "CheckID": "tcp", "Status": "critical", "ServiceID": "db-1", "ServiceName": "db"},
        ]);
        let warning = serde_json::json!([
            {"Node": "n1", "CheckID": "web", "Status": "warning", "ServiceID": "web-1", "ServiceName": "web"},
        ]);
        let registered = [
            serde_json::json!({"Services": {"web-1": web("web-1", 4), "db-1": db()}}),
            serde_json::json!({"Services": {"web-2": web("web-2", newest)}}),
        ];
        let mut registered: Vec<_> = nodes
            .value
            .iter()
            .cloned()
            .zip(registered.map(|value| answer::<Registrations>(newest, value)))
            .collect();
        registered[0].1.is_filtered = is_filtered;
        compile(10, nodes, answer(10, critical), answer(10, warning), registered).0
    }

    #[test]
    fn services_are_put_together_with_their_checks_and_their_nodes() {
        let survey = surveyed(9, false);
        let told: Vec<_> = survey
            .services
            .values()
            .flatten()
            .map(|instance| (instance.id.as_str(), instance.address.as_str(), instance.status))
            .collect();
        let expected = [
            ("db-1", "10.1.1.1", CheckStatus::Critical),
            ("web-1", "10.0.0.1", CheckStatus::Warning),
            ("web-2", "10.0.0.2", CheckStatus::Critical),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_service_whose_checks_may_be_missing_is_left_to_be_read_by_itself() {
        let survey = surveyed(11, false);
        assert_eq!(survey.services.keys().collect::<Vec<_>>(), ["db"]);
    }

    #[test]
    fn what_a_token_may_see_only_in_part_is_left_to_be_read_by_itself() {
        assert!(surveyed(9, true).services.is_empty());
    }
}
