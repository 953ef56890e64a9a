//! Tells which services to read, with two blocking queries instead of one for each service.
//!
//! In: all checks, all nodes, and the catalogue's word that some registration changed. Out: [`Dirty`].
//! Consul does not say which registration changed, so the nodes' registrations are listed and their modify indexes
//! compared: there are far fewer nodes than services. Started and ended by the catalogue.
//!
//! **Invariants**: what this misses nobody reads, so the first scan and any doubt make everything dirty; a change of a
//! check's output makes nothing dirty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::consul::{CatalogNode, Check, Consistency, ConsulError, NodeServices, Pace, Query};
use futures::future::join_all;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::service::Report;
use super::{Context, Ended, chain};

/// All checks are a large answer, and each check's output wakes it: after a burst, each check costs so much time.
const INTERVAL_PER_CHECK: Duration = Duration::from_micros(100);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Scans take at most this share of the time: one part in five.
const REST_PER_SCAN: u32 = 4;

/// Services to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dirty {
    All,
    Names(BTreeSet<String>),
}

#[derive(Debug)]
pub(super) struct Sweep {
    context: Arc<Context>,
    rescan: Arc<Notify>,
    dirty: mpsc::Sender<Dirty>,
    reports: mpsc::Sender<Report>,
    known: Known,
    failing: BTreeSet<&'static str>,
}

/// What was seen last, for comparison.
#[derive(Debug, Default)]
struct Known {
    /// (node, check id) → (service, status).
    checks: Option<BTreeMap<(String, String), (String, String)>>,
    /// Node → address.
    nodes: Option<BTreeMap<String, String>>,
    /// Node → its registrations.
    registered: BTreeMap<String, NodeServices>,
}

impl Sweep {
    pub(super) fn new(
        context: Arc<Context>,
        rescan: Arc<Notify>,
        dirty: mpsc::Sender<Dirty>,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        Self { context, rescan, dirty, reports, known: Known::default(), failing: BTreeSet::new() }
    }

    pub(super) async fn run(mut self) -> Result<(), Ended> {
        let client = &self.context.client;
        let watches = (client.watch(Query::checks()), client.watch(Query::nodes()));
        let (mut checks, mut nodes) = match watches {
            (Ok(checks), Ok(nodes)) => (checks, nodes),
            (Err(error), _) | (_, Err(error)) => {
                self.note("checks", Some(&error)).await?;
                return std::future::pending().await;
            }
        };
        let (mut rested_at, mut is_stale) = (Instant::now(), false);
        let rescan = Arc::clone(&self.rescan);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(rested_at), if is_stale && self.known.has_baseline() => {
                    let started = Instant::now();
                    is_stale = !self.scan().await?;
                    let floor = Duration::from_millis(if is_stale { 500 } else { 0 });
                    rested_at = Instant::now() + (started.elapsed() * REST_PER_SCAN).max(floor);
                }
                () = rescan.notified() => is_stale = true,
                answer = nodes.next() => {
                    self.note("nodes", answer.as_ref().err()).await?;
                    if let Ok(answer) = answer {
                        let (dirty, has_other_nodes) = self.known.nodes(answer.value);
                        is_stale |= has_other_nodes;
                        self.mark(dirty).await?;
                    }
                }
                answer = checks.next() => {
                    self.note("checks", answer.as_ref().err()).await?;
                    if let Ok(answer) = answer {
                        checks.set_pace(checks_pace(answer.value.len()));
                        let dirty = self.known.checks(answer.value);
                        self.mark(dirty).await?;
                    }
                }
            }
        }
    }

    /// Lists all nodes' registrations; `false` when some could not be read.
    async fn scan(&mut self) -> Result<bool, Ended> {
        let Some(nodes) = &self.known.nodes else { return Ok(false) };
        let client = &self.context.client;
        let reads = nodes.keys().map(|node| async move {
            (node.clone(), client.read(&Query::node_services(node), Consistency::Default).await)
        });
        let answers = join_all(reads).await;
        let is_first = self.known.registered.is_empty();
        let mut dirty: BTreeSet<String> = BTreeSet::new();
        let mut failure = None;
        for (node, answer) in answers {
            match answer {
                Ok(answer) => dirty.extend(self.known.registered(node, answer.value)),
                Err(error) => failure = Some(error),
            }
        }
        self.note("registrations", failure.as_ref()).await?;
        if is_first {
            self.send(Dirty::All).await?;
        } else {
            self.mark(dirty).await?;
        }
        Ok(failure.is_none())
    }

    async fn mark(&self, names: BTreeSet<String>) -> Result<(), Ended> {
        if names.is_empty() { Ok(()) } else { self.send(Dirty::Names(names)).await }
    }

    async fn send(&self, dirty: Dirty) -> Result<(), Ended> {
        self.dirty.send(dirty).await.map_err(|_| Ended::ReceiverGone)
    }

    async fn note(
        &mut self,
        subject: &'static str,
        error: Option<&ConsulError>,
    ) -> Result<(), Ended> {
        let was_failing = self.failing.remove(subject);
        if error.is_some() {
            self.failing.insert(subject);
        } else if !was_failing {
            return Ok(());
        }
        let report = Report::Failing {
            subject: format!("({subject})").into(),
            error: error.map(|error| chain(error)),
        };
        self.reports.send(report).await.map_err(|_| Ended::ReceiverGone)
    }
}

fn checks_pace(checks: usize) -> Pace {
    let cost = INTERVAL_PER_CHECK.saturating_mul(u32::try_from(checks).unwrap_or(u32::MAX));
    Pace { burst: 2, interval: cost.clamp(INTERVAL_MIN, INTERVAL_MAX) }
}

impl Known {
    /// Whether a service read from now on cannot miss a change: what follows is seen as a difference.
    fn has_baseline(&self) -> bool {
        self.checks.is_some() && self.nodes.is_some()
    }

    /// Services on nodes whose address changed; and whether nodes came or went.
    fn nodes(&mut self, answered: Vec<CatalogNode>) -> (BTreeSet<String>, bool) {
        let answered: BTreeMap<_, _> =
            answered.into_iter().map(|node| (node.node, node.address)).collect();
        let known = self.nodes.replace(answered.clone()).unwrap_or_default();
        let has_other_nodes = !known.keys().eq(answered.keys());
        let mut dirty = BTreeSet::new();
        for (node, address) in &known {
            if answered.get(node) != Some(address) {
                dirty.extend(self.names_on(node));
            }
        }
        self.registered.retain(|node, _| answered.contains_key(node));
        (dirty, has_other_nodes)
    }

    /// Services whose checks came, went or changed state; a node's check concerns all services on it.
    fn checks(&mut self, answered: Vec<Check>) -> BTreeSet<String> {
        let answered: BTreeMap<_, _> = answered
            .into_iter()
            .map(|check| ((check.node, check.check_id), (check.service_name, check.status)))
            .collect();
        let Some(known) = self.checks.replace(answered.clone()) else { return BTreeSet::new() };
        let changed = answered
            .iter()
            .filter(|(id, check)| known.get(*id) != Some(*check))
            .chain(known.iter().filter(|(id, _)| !answered.contains_key(*id)));
        let mut dirty = BTreeSet::new();
        for ((node, _), (service, _)) in changed {
            if service.is_empty() {
                dirty.extend(self.names_on(node));
            } else {
                dirty.insert(service.clone());
            }
        }
        dirty
    }

    /// Services with a registration on `node` that came, went or changed.
    fn registered(&mut self, node: String, answered: NodeServices) -> BTreeSet<String> {
        let known = self.registered.insert(node, answered.clone()).unwrap_or_default();
        let came =
            answered.services.iter().filter(|(id, now)| known.services.get(*id) != Some(*now));
        let went =
            known.services.iter().filter(|(id, old)| answered.services.get(*id) != Some(*old));
        came.chain(went).map(|(_, registration)| registration.service.clone()).collect()
    }

    fn names_on(&self, node: &str) -> BTreeSet<String> {
        let registered = self.registered.get(node);
        let services = registered.into_iter().flat_map(|node| node.services.values());
        services.map(|registration| registration.service.clone()).collect()
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
        NodeServices { services: services.collect() }
    }

    fn check(node: &str, id: &str, service: &str, status: &str) -> Check {
        Check {
            node: node.to_owned(),
            check_id: id.to_owned(),
            status: status.to_owned(),
            service_name: service.to_owned(),
        }
    }

    fn node(name: &str, address: &str) -> CatalogNode {
        CatalogNode { node: name.to_owned(), address: address.to_owned() }
    }

    fn names(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    fn known() -> Known {
        let mut known = Known::default();
        known.nodes(vec![node("n1", "10.0.0.1"), node("n2", "10.0.0.2")]);
        let on_n1 = registrations(&[("web-1", "web", 5), ("db-1", "db", 6)]);
        known.registered("n1".to_owned(), on_n1);
        known.registered("n2".to_owned(), registrations(&[("web-2", "web", 7)]));
        known.checks(vec![check("n1", "serf", "", "passing"), check("n2", "c", "web", "passing")]);
        known
    }

    #[test]
    fn a_changed_new_or_gone_registration_makes_its_service_dirty() {
        let mut known = known();
        let dirty = known.registered(
            "n1".to_owned(),
            registrations(&[("web-1", "web", 5), ("db-1", "db", 9), ("new-1", "new", 9)]),
        );
        assert_eq!(dirty, names(&["db", "new"]));
        assert_eq!(known.registered("n2".to_owned(), registrations(&[])), names(&["web"]));
    }

    #[test]
    fn a_check_that_changes_state_makes_its_service_dirty_and_a_nodes_check_all_on_it() {
        let mut known = known();
        let serf = |status| check("n1", "serf", "", status);
        assert_eq!(
            known.checks(vec![serf("passing"), check("n2", "c", "web", "passing")]),
            names(&[])
        );
        assert_eq!(known.checks(vec![serf("passing")]), names(&["web"]));
        assert_eq!(known.checks(vec![serf("critical")]), names(&["db", "web"]));
    }

    #[test]
    fn a_node_that_moves_makes_its_services_dirty_and_a_new_one_asks_for_a_scan() {
        let mut known = known();
        let moved = known.nodes(vec![node("n1", "10.0.0.9"), node("n2", "10.0.0.2")]);
        assert_eq!(moved, (names(&["db", "web"]), false));
        let (dirty, has_other_nodes) =
            known.nodes(vec![node("n1", "10.0.0.9"), node("n3", "10.0.0.3")]);
        assert_eq!((dirty, has_other_nodes), (names(&["web"]), true));
    }
}
