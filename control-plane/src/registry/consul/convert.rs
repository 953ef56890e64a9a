//! Consul's health answer → [`RegisteredInstance`]s.
//!
//! **Invariants**: pure; the same registrations and check states give equal values whatever order Consul lists them in,
//! so that comparing two answers tells whether anything changed that the mesh uses. A check's output is not part of it.
//! Only `warning` and `critical` count against an instance, so that leaving out the checks of other states changes nothing.

use ::consul::{Check, ServiceEntry};

use crate::registry::{CheckStatus, RegisteredInstance};

/// The ordinary instances of an answer; proxies and gateways of Consul's own mesh are not ours.
pub(super) fn instances(entries: Vec<ServiceEntry>) -> Vec<RegisteredInstance> {
    let ordinary = entries.into_iter().filter(|entry| entry.service.kind.is_empty());
    let mut instances: Vec<_> = ordinary.map(instance).collect();
    instances.sort_by(|left, right| (&left.node, &left.id).cmp(&(&right.node, &right.id)));
    instances
}

fn instance(entry: ServiceEntry) -> RegisteredInstance {
    let ServiceEntry { node, service, checks } = entry;
    let mut tags = service.tags;
    tags.sort_unstable();
    RegisteredInstance {
        id: service.id,
        node: node.node,
        address: if service.address.is_empty() { node.address } else { service.address },
        port: u16::try_from(service.port).unwrap_or(0),
        tags,
        meta: service.meta,
        status: checks.iter().map(status).max().unwrap_or(CheckStatus::Passing),
        weight_passing: weight(service.weights.passing),
        weight_warning: weight(service.weights.warning),
    }
}

fn status(check: &Check) -> CheckStatus {
    let is_maintenance = check.check_id == "_node_maintenance"
        || check.check_id.starts_with("_service_maintenance:");
    match check.status.as_str() {
        "warning" => CheckStatus::Warning,
        "critical" if is_maintenance => CheckStatus::Maintenance,
        "critical" => CheckStatus::Critical,
        _ => CheckStatus::Passing,
    }
}

fn weight(weight: i64) -> u32 {
    u32::try_from(weight.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(checks: &str) -> RegisteredInstance {
        let text = format!(
            r#"[{{"Node": {{"Node": "host-1", "Address": "10.0.0.1"}},
                 "Service": {{"ID": "web-1", "Service": "web", "Tags": ["b", "a"], "Port": 70000}},
                 "Checks": {checks}}}]"#
        );
        instances(serde_json::from_str(&text).unwrap()).remove(0)
    }

    fn status_of(checks: &[(&str, &str)]) -> CheckStatus {
        let checks: Vec<_> = checks
            .iter()
            .map(|(id, status)| serde_json::json!({"CheckID": id, "Status": status, "Output": "x"}))
            .collect();
        one(&serde_json::Value::from(checks).to_string()).status
    }

    #[test]
    fn the_worst_check_decides_and_none_counts_as_passing() {
        assert_eq!(one("null").status, CheckStatus::Passing);
        assert_eq!(
            status_of(&[("serfHealth", "passing"), ("tcp", "warning")]),
            CheckStatus::Warning
        );
        assert_eq!(
            status_of(&[("serfHealth", "critical"), ("tcp", "warning")]),
            CheckStatus::Critical
        );
        assert_eq!(
            status_of(&[("_service_maintenance:web-1", "critical"), ("tcp", "passing")]),
            CheckStatus::Maintenance
        );
        assert_eq!(
            status_of(&[("_node_maintenance", "critical"), ("tcp", "critical")]),
            CheckStatus::Critical
        );
    }

    #[test]
    fn a_service_without_an_address_has_its_nodes_and_an_impossible_port_is_none() {
        let instance = one("[]");
        assert_eq!(instance.address, "10.0.0.1");
        assert_eq!(instance.port, 0);
        assert_eq!(instance.tags, ["a", "b"]);
        assert_eq!((instance.weight_passing, instance.weight_warning), (1, 1));
    }

    #[test]
    fn proxies_of_consuls_own_mesh_are_left_out() {
        let text = r#"[{"Node": {"Node": "n"}, "Service": {"ID": "p", "Service": "web-sidecar-proxy", "Kind": "connect-proxy"}}]"#;
        assert_eq!(instances(serde_json::from_str(text).unwrap()), []);
    }
}
