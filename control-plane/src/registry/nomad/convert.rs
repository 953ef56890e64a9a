//! Nomad's answers → [`RegisteredInstance`]s and check states.
//!
//! Nomad's own services have neither meta nor weights. The contract travels in tags: `mesh_system=trading` becomes the meta
//! key `mesh_system`; other tags stay tags. Nomad puts `canary_tags` in the place of `tags` until promotion, as Consul's
//! meta has `canary_meta`.
//!
//! **Invariants**: pure; the same registrations give equal values whatever order Nomad lists instances and tags in. A key
//! with two values keeps both, so that the contract refuses the registration by name instead of somebody choosing.

use std::collections::BTreeMap;

use ::nomad::{CheckResult, ServiceInstance};

use crate::registry::{CheckStatus, RegisteredInstance};

/// The meta key that joins a registration to its proxy.
const INSTANCE_KEY: &str = "mesh_instance";
/// What a registration must have to be in the mesh.
const SYSTEM_KEY: &str = "mesh_system";
/// What every key of the contract begins with.
const KEY_PREFIX: &str = "mesh_";

/// One answer about a service in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Registered {
    /// Sorted; every one passing, because Nomad lists an instance whatever its checks say.
    pub(super) instances: Vec<RegisteredInstance>,
    /// The allocation of each, by the registration's id.
    pub(super) allocations: BTreeMap<String, String>,
}

impl Registered {
    pub(super) fn of(answered: Vec<ServiceInstance>) -> Self {
        let mut registered = Self::default();
        for instance in answered {
            registered.allocations.insert(instance.id.clone(), instance.allocation.clone());
            registered.instances.push(converted(instance));
        }
        registered.sort();
        registered
    }

    /// These, and what only `earlier` has; and how many that is.
    pub(super) fn and_lost_of(mut self, earlier: &Self) -> (Self, usize) {
        let is_lost = |one: &&RegisteredInstance| !self.allocations.contains_key(&one.id);
        let lost: Vec<_> = earlier.instances.iter().filter(is_lost).cloned().collect();
        let count = lost.len();
        for one in lost {
            if let Some(allocation) = earlier.allocations.get(&one.id) {
                self.allocations.insert(one.id.clone(), allocation.clone());
            }
            self.instances.push(one);
        }
        self.sort();
        (self, count)
    }

    fn sort(&mut self) {
        self.instances.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
    }
}

fn converted(answered: ServiceInstance) -> RegisteredInstance {
    let (mut meta, tags) = meta_and_tags(answered.tags);
    if meta.contains_key(SYSTEM_KEY) && !answered.allocation.is_empty() {
        meta.entry(INSTANCE_KEY.to_owned()).or_insert(answered.allocation);
    }
    RegisteredInstance {
        id: answered.id,
        node: answered.node,
        address: answered.address,
        port: answered.port,
        tags,
        meta,
        status: CheckStatus::Passing,
        weight_passing: 1,
        weight_warning: 1,
    }
}

/// `mesh_…=value` is meta; the rest are tags, sorted.
fn meta_and_tags(mut answered: Vec<String>) -> (BTreeMap<String, String>, Vec<String>) {
    answered.sort_unstable();
    answered.dedup();
    let (mut meta, mut tags) = (BTreeMap::<String, String>::new(), Vec::new());
    for tag in answered {
        match tag.split_once('=').filter(|(key, _)| key.starts_with(KEY_PREFIX)) {
            None => tags.push(tag),
            Some((key, value)) => {
                meta.entry(key.to_owned())
                    .and_modify(|both| {
                        both.push_str(" and ");
                        both.push_str(value);
                    })
                    .or_insert_with(|| value.to_owned());
            }
        }
    }
    (meta, tags)
}

/// What an allocation's checks say, by service; a service without checks is not in it.
pub(super) type Health = BTreeMap<String, CheckStatus>;

/// `pending`, before a check's first outcome, counts against an instance as it does in Consul.
pub(super) fn health(checks: BTreeMap<String, CheckResult>) -> Health {
    let mut health = Health::new();
    for check in checks.into_values() {
        let status = match check.status.as_str() {
            "success" => CheckStatus::Passing,
            _ => CheckStatus::Critical,
        };
        let worst = health.entry(check.service).or_default();
        *worst = status.max(*worst);
    }
    health
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(json: &str) -> Registered {
        Registered::of(serde_json::from_str(json).unwrap())
    }

    const WEB: &str = r#"[
        {"Address": "10.0.0.1", "AllocID": "a1", "CreateIndex": 14, "Datacenter": "dc1", "ID": "_nomad-task-a1-group-web-web-mesh",
         "JobID": "web", "ModifyIndex": 14, "Namespace": "default", "NodeID": "n1", "Port": 23000, "ServiceName": "web",
         "Tags": ["v2", "mesh_system=trading", "mesh_upstreams=ledger-db=15432", "live"]},
        {"Address": "10.0.0.2", "AllocID": "a2", "ID": "_nomad-task-a2-group-web-web-mesh", "JobID": "web",
         "NodeID": "n2", "Port": 23001, "ServiceName": "web", "Tags": null}]"#;

    #[test]
    fn tags_with_mesh_keys_become_meta_and_others_stay_tags() {
        let web = answered(WEB);
        let meta = [
            ("mesh_system", "trading"),
            ("mesh_upstreams", "ledger-db=15432"),
            ("mesh_instance", "a1"),
        ];
        let expected = RegisteredInstance {
            id: "_nomad-task-a1-group-web-web-mesh".to_owned(),
            node: "n1".to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 23000,
            tags: vec!["live".to_owned(), "v2".to_owned()],
            meta: meta.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            status: CheckStatus::Passing,
            weight_passing: 1,
            weight_warning: 1,
        };
        assert_eq!(web.instances[0], expected);
        assert_eq!(web.instances[1].meta, BTreeMap::new(), "outside the mesh nothing is added");
        assert_eq!(web.allocations["_nomad-task-a2-group-web-web-mesh"], "a2");
    }

    #[test]
    fn the_order_of_tags_and_instances_makes_no_difference() {
        let other = WEB.replace(
            r#""v2", "mesh_system=trading", "mesh_upstreams=ledger-db=15432", "live""#,
            r#""live", "mesh_upstreams=ledger-db=15432", "v2", "mesh_system=trading""#,
        );
        let mut turned: Vec<ServiceInstance> = serde_json::from_str(&other).unwrap();
        turned.reverse();
        assert_eq!(Registered::of(turned), answered(WEB));
    }

    #[test]
    fn a_key_with_two_values_is_what_the_contract_refuses() {
        let tags = ["mesh_track=canary", "mesh_track=stable", "mesh_track=canary"];
        let (meta, _) = meta_and_tags(tags.map(str::to_owned).to_vec());
        assert_eq!(meta["mesh_track"], "canary and stable");
    }

    #[test]
    fn what_an_answer_lost_is_added_to_it() {
        let all = answered(WEB);
        let mut one = all.clone();
        let gone = one.instances.remove(0);
        one.allocations.remove(&gone.id);
        assert_eq!(one.and_lost_of(&all), (all.clone(), 1));
        assert_eq!(all.clone().and_lost_of(&all), (all, 0));
    }

    #[test]
    fn a_service_is_as_its_worst_check_and_those_of_other_services_do_not_count() {
        let checks = r#"{
            "c1": {"Check": "alive", "Group": "web.web[0]", "ID": "c1", "Mode": "healthiness", "Output": "nomad: tcp ok",
                   "Service": "web", "Status": "success", "Task": "", "Timestamp": 1660000000},
            "c2": {"Check": "ready", "ID": "c2", "Mode": "readiness", "Service": "web", "Status": "failure", "StatusCode": 503},
            "c3": {"Check": "alive", "ID": "c3", "Service": "admin", "Status": "success"},
            "c4": {"Check": "alive", "ID": "c4", "Service": "new", "Status": "pending"}}"#;
        let expected = [
            ("admin", CheckStatus::Passing),
            ("new", CheckStatus::Critical),
            ("web", CheckStatus::Critical),
        ];
        assert_eq!(
            health(serde_json::from_str(checks).unwrap()),
            expected.map(|(service, status)| (service.to_owned(), status)).into()
        );
    }
}
