//! Registrations → [`Instances`]: pure; what was known before and the time are arguments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consul::{EntryService, NodeServices};
use contract::registration::{Registration, nomad_allocation};
use tokio::time::Instant;

use super::{Instance, Instances};

/// A registration before its meta is read.
pub(super) struct Raw<'a> {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) address: &'a str,
    pub(super) port: i64,
    pub(super) meta: &'a BTreeMap<String, String>,
}

/// Reads one registration. A bad one is kept with what can be known about it.
pub(super) fn instance(raw: Raw<'_>) -> Instance {
    let registration = Registration::from_meta(raw.meta);
    // An instance that the mesh does not know of, or not rightly, may still say which allocation it is.
    let written = raw.meta.get("mesh_instance").filter(|id| !id.is_empty()).cloned();
    Instance {
        allocation: written.or_else(|| nomad_allocation(&raw.id)),
        id: raw.id,
        service: raw.service,
        address: raw.address.parse().ok(),
        port: u16::try_from(raw.port).unwrap_or(0),
        registration,
        gone: None,
    }
}

/// The registrations of Consul's answer, an address of the node's own where they have none.
pub(super) fn registered(answer: &NodeServices<EntryService>) -> Vec<Instance> {
    let node = answer.node.as_ref().map_or("", |node| node.address.as_str());
    let services = answer.services.values().map(|service| {
        let address = if service.address.is_empty() { node } else { service.address.as_str() };
        instance(Raw {
            id: service.id.clone(),
            service: service.service.clone(),
            address,
            port: service.port,
            meta: &service.meta,
        })
    });
    services.collect()
}

/// What is registered now over what was known before: what is missing now is gone since `now`, or since before.
pub(super) fn fold(
    before: &Instances,
    registered: Vec<Instance>,
    written: &[Instance],
    now: Instant,
    keep_gone: Duration,
) -> Instances {
    let mut by_id: BTreeMap<String, Arc<Instance>> = BTreeMap::new();
    for instance in written.iter().cloned().chain(registered) {
        // What did not change keeps its `Arc`.
        let kept = before.by_id.get(&instance.id).filter(|known| ***known == instance);
        let id = instance.id.clone();
        by_id.insert(id, kept.cloned().unwrap_or_else(|| Arc::new(instance)));
    }
    for (id, known) in &before.by_id {
        let since = known.gone.unwrap_or(now);
        if by_id.contains_key(id) || now.duration_since(since) >= keep_gone {
            continue;
        }
        let gone = match known.gone {
            Some(_) => Arc::clone(known),
            None => Arc::new(Instance { gone: Some(now), ..(**known).clone() }),
        };
        by_id.insert(id.clone(), gone);
    }
    index(Instances { by_id, ..before.clone() })
}

/// Makes the other indexes agree with `by_id`.
fn index(mut instances: Instances) -> Instances {
    instances.by_allocation.clear();
    instances.by_address.clear();
    let (present, gone): (Vec<_>, Vec<_>) =
        instances.by_id.values().cloned().partition(|instance| instance.gone.is_none());
    for instance in present.into_iter().chain(gone) {
        if let Some(allocation) = &instance.allocation {
            let same = instances.by_allocation.entry(allocation.clone()).or_default();
            same.push(Arc::clone(&instance));
        }
        if let Some(socket) = instance.socket() {
            instances.by_address.entry(socket).or_insert(instance);
        }
    }
    instances
}

/// When the next instance that is gone is to be forgotten.
pub(super) fn next_forgotten(instances: &Instances, keep_gone: Duration) -> Option<Instant> {
    instances.by_id.values().filter_map(|instance| instance.gone).min().map(|at| at + keep_gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(60);
    const ALLOCATION: &str = "6f1c5c1e-0000-4000-8000-000000000001";

    fn answer(services: &str) -> NodeServices<EntryService> {
        serde_json::from_str(&format!(
            r#"{{"Node": {{"Node": "n1", "Address": "10.0.0.9"}}, "Services": {services}}}"#
        ))
        .unwrap()
    }

    fn orders(port: u16, meta: &str) -> Vec<Instance> {
        let id = format!("_nomad-task-{ALLOCATION}-group-web-orders-http");
        registered(&answer(&format!(
            r#"{{"{id}": {{"ID": "{id}", "Service": "orders", "Port": {port}, "Meta": {meta}}}}}"#
        )))
    }

    #[test]
    fn a_registration_has_the_node_s_address_and_nomad_s_allocation() {
        let all = orders(8080, r#"{"mesh_system": "trading"}"#);
        let now = Instant::now();
        let instances = fold(&Instances::default(), all, &[], now, KEEP);
        let instance = instances.of_allocation(ALLOCATION).unwrap();
        assert_eq!(instance.system(), Some("trading"));
        assert_eq!(instances.at("10.0.0.9:8080".parse().unwrap()), Some(instance));
        assert_eq!(instances.of_id(&instance.id), Some(instance));
    }

    #[test]
    fn mesh_instance_goes_before_nomad_s_id_and_bad_meta_is_kept_as_its_error() {
        let all = orders(8080, r#"{"mesh_system": "Trading", "mesh_instance": "a1"}"#);
        let instances = fold(&Instances::default(), all, &[], Instant::now(), KEEP);
        let instance = instances.of_allocation("a1").unwrap();
        let error = instance.registration.as_ref().unwrap_err();
        assert_eq!((error.key, error.value.as_str()), ("mesh_system", "Trading"));
        assert_eq!(instance.system(), None);
    }

    #[test]
    fn a_deregistered_instance_is_found_until_its_time_is_over_and_after_what_is_present() {
        let now = Instant::now();
        let before = fold(&Instances::default(), orders(8080, "{}"), &[], now, KEEP);
        let gone = fold(&before, Vec::new(), &[], now, KEEP);
        let instance = gone.of_allocation(ALLOCATION).unwrap();
        assert_eq!(instance.gone, Some(now));
        assert_eq!((gone.present().count(), gone.by_id.len()), (0, 1));
        assert_eq!(next_forgotten(&gone, KEEP), Some(now + KEEP));

        // Its port was given to another one.
        let other = registered(&answer(
            r#"{"b": {"ID": "b", "Service": "quotes", "Port": 8080, "Meta": null}}"#,
        ));
        let later = fold(&gone, other, &[], now + KEEP / 2, KEEP);
        assert_eq!(later.at("10.0.0.9:8080".parse().unwrap()).unwrap().id, "b");
        assert_eq!(later.of_allocation(ALLOCATION).unwrap().gone, Some(now));

        let forgotten = fold(&later, Vec::new(), &[], now + KEEP, KEEP);
        assert_eq!(forgotten.of_allocation(ALLOCATION), None);
        assert_eq!(forgotten.by_id.len(), 1);
    }

    #[test]
    fn what_comes_back_is_present_again_and_what_did_not_change_is_shared() {
        let now = Instant::now();
        let before = fold(&Instances::default(), orders(8080, "{}"), &[], now, KEEP);
        let same = fold(&before, orders(8080, "{}"), &[], now, KEEP);
        assert!(Arc::ptr_eq(
            before.of_allocation(ALLOCATION).unwrap(),
            same.of_allocation(ALLOCATION).unwrap()
        ));
        let gone = fold(&same, Vec::new(), &[], now, KEEP);
        let back = fold(&gone, orders(8081, "{}"), &[], now, KEEP);
        let instance = back.of_allocation(ALLOCATION).unwrap();
        assert_eq!((instance.port, instance.gone), (8081, None));
        assert_eq!(back.at("10.0.0.9:8080".parse().unwrap()), None);
    }

    #[test]
    fn consul_goes_before_what_is_written() {
        let mut written = orders(1, "{}");
        written.push(Instance { id: "node-exporter".to_owned(), ..written[0].clone() });
        let all = fold(&Instances::default(), orders(2, "{}"), &written, Instant::now(), KEEP);
        let ports: Vec<u16> = all.present().map(|instance| instance.port).collect();
        assert_eq!(ports, [2, 1]);
    }
}
