//! Whether a node may have instances of a group at all, whatever room it has.

use std::sync::Arc;

use crate::agent::evaluate::Plan;
use crate::agent::job::{Constraint, Group, Job};
use crate::agent::state::{Allocation, Node, State};

/// Why the node is out of the question, in Nomad's words.
pub(crate) fn refusal(
    job: &Job,
    group: &Group,
    node: &Node,
    state: &State,
    plan: &Plan,
) -> Option<String> {
    if !node.takes_allocations() {
        return Some("node is not eligible".to_owned());
    }
    if !job.datacenters.iter().any(|pattern| matches(pattern, &node.datacenter)) {
        return Some("datacenter is not one of the job's".to_owned());
    }
    if group.tasks.iter().any(|task| !node.drivers.contains(&task.driver)) {
        return Some("missing drivers".to_owned());
    }
    if group.networks.iter().any(|network| network.is_bridge()) && !node.has_bridge {
        return Some("missing network".to_owned());
    }
    let constraints = job.constraints.iter().chain(&group.constraints);
    let constraints = constraints.chain(group.tasks.iter().flat_map(|task| &task.constraints));
    for constraint in constraints {
        let holds = match constraint.operand.as_str() {
            "distinct_hosts" => {
                constraint.right == "false" || !has_instance(job, group, node, state, plan)
            }
            "distinct_property" => true,
            _ => holds(constraint, node),
        };
        if !holds {
            return Some(describe(constraint));
        }
    }
    None
}

fn describe(constraint: &Constraint) -> String {
    let Constraint { left, right, operand } = constraint;
    if operand == "distinct_hosts" {
        return operand.clone();
    }
    let operand = if operand.is_empty() { "=" } else { operand };
    format!("{left} {operand} {right}")
}

fn has_instance(job: &Job, group: &Group, node: &Node, state: &State, plan: &Plan) -> bool {
    let is_here = |one: &Allocation| {
        one.node_id == node.id
            && one.job_id == job.id
            && one.task_group == group.name
            && !one.is_terminal()
            && !plan.stops.iter().any(|stopped| stopped.id == one.id)
    };
    state.allocations.values().map(Arc::as_ref).chain(&plan.places).any(is_here)
}

/// A datacenter's name, or a pattern that ends in `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

fn holds(constraint: &Constraint, node: &Node) -> bool {
    let (left, right) = (resolve(&constraint.left, node), resolve(&constraint.right, node));
    match constraint.operand.as_str() {
        "is_set" => left.is_some(),
        "is_not_set" => left.is_none(),
        "!=" | "not" => left != right,
        operand => {
            let (Some(left), Some(right)) = (left, right) else { return false };
            compare(operand, &left, &right)
        }
    }
}

fn compare(operand: &str, left: &str, right: &str) -> bool {
    let numbers = left.parse::<f64>().ok().zip(right.parse::<f64>().ok());
    let order = numbers.and_then(|(left, right)| left.partial_cmp(&right));
    let order = order.unwrap_or_else(|| left.cmp(right));
    match operand {
        "" | "=" | "==" | "is" => left == right,
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "set_contains" | "set_contains_all" => {
            right.split(',').all(|one| left.split(',').any(|other| other.trim() == one.trim()))
        }
        "set_contains_any" => {
            right.split(',').any(|one| left.split(',').any(|other| other.trim() == one.trim()))
        }
        "regexp" => regex::Regex::new(right).is_ok_and(|pattern| pattern.is_match(left)),
        // Versions are not compared here.
        _ => true,
    }
}

/// The value of `${node.class}`, `${attr.…}`, `${meta.…}`; a text without a reference is its own.
fn resolve(target: &str, node: &Node) -> Option<String> {
    let Some(key) = target.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Some(target.to_owned());
    };
    value(key, node)
}

/// What a node says about itself under a key of Nomad's interpolation.
pub(crate) fn value(key: &str, node: &Node) -> Option<String> {
    match key {
        "node.unique.id" => Some(node.id.clone()),
        "node.unique.name" => Some(node.name.clone()),
        "node.class" => Some(node.class.clone()).filter(|class| !class.is_empty()),
        "node.datacenter" => Some(node.datacenter.clone()),
        "node.region" => node.attributes.get("nomad.region").cloned(),
        "node.pool" => Some("default".to_owned()),
        _ => match key.split_once('.') {
            Some(("attr", key)) => node.attributes.get(key).cloned(),
            Some(("meta", key)) => node.meta.get(key).cloned(),
            _ => None,
        },
    }
}
