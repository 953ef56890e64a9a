//! `/v1/nodes` and one node: reading, draining, eligibility.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::agent::VERSION;
use super::{Api, App, Ask, Refused, Written, found, json as answer, parse, value};
use crate::agent::deployment::look;
use crate::agent::job::Nanos;
use crate::agent::state::{Drain, Node, State, Table, Trigger};
use crate::agent::time::{NEVER, rfc3339};

pub(super) async fn list(ask: Ask) -> Response {
    ask.list(Table::Nodes, |state| {
        let nodes = state.nodes.values().filter(|node| ask.lists(&node.id));
        nodes.map(|node| Value::Object(stub(node))).collect()
    })
    .await
}

fn stub(node: &Node) -> Map<String, Value> {
    let drivers: Map<String, Value> = node
        .drivers
        .iter()
        .map(|driver| {
            (
                driver.clone(),
                json!({"Detected": true, "Healthy": true, "HealthDescription": "Healthy"}),
            )
        })
        .collect();
    let stub = json!({
        "ID": node.id, "Name": node.name, "Datacenter": node.datacenter, "NodeClass": node.class, "NodePool": "default",
        "Address": node.address, "Version": VERSION, "Status": "ready", "StatusDescription": "",
        "SchedulingEligibility": if node.is_eligible { "eligible" } else { "ineligible" },
        "Drain": node.drain.is_some(), "Drivers": drivers, "Attributes": node.attributes,
        "CreateIndex": node.create_index, "ModifyIndex": node.modify_index,
    });
    match stub {
        Value::Object(stub) => stub,
        _ => Map::new(),
    }
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Node, Refused> {
    found(state.nodes.get(id), "node", state, Table::Nodes)
}

pub(super) async fn read(ask: Ask, Path(id): Path<String>) -> Response {
    let http = ask.api.settings.http;
    ask.watch(|state| {
        let node = find(state, &id)?;
        let mut all = stub(node);
        let strategy = node.drain.as_ref().map_or(Value::Null, |drain| {
            let force = if drain.deadline > 0 { rfc3339(drain.started_at + drain.deadline) } else { NEVER.to_owned() };
            json!({
                "Deadline": drain.deadline, "IgnoreSystemJobs": drain.ignore_system_jobs, "ForceDeadline": force,
                "StartedAt": rfc3339(drain.started_at),
            })
        });
        let more = json!({
            "HTTPAddr": http, "Meta": node.meta, "DrainStrategy": strategy, "Events": [], "TLSEnabled": false,
            "NodeResources": {
                "Cpu": {"CpuShares": node.cpu, "TotalCpuCores": 1}, "Memory": {"MemoryMB": node.memory_mb},
                "Disk": {"DiskMB": 100_000}, "MinDynamicPort": 20000, "MaxDynamicPort": 32000,
                "Networks": [{"Device": "", "IP": node.address, "Mode": "host"}],
            },
            "ReservedResources": {"Cpu": {"CpuShares": 0}, "Memory": {"MemoryMB": 0}},
        });
        if let Value::Object(more) = more {
            all.extend(more);
        }
        Ok((node.modify_index, Value::Object(all)))
    })
    .await
}

pub(super) async fn allocations(ask: Ask, Path(id): Path<String>) -> Response {
    ask.watch(|state| {
        find(state, &id)?;
        let list: Vec<_> = state.allocations.values().filter(|one| one.node_id == id).collect();
        Ok((state.table(Table::Allocations), value(&list)))
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DrainRequest {
    #[serde(default)]
    drain_spec: Option<DrainSpec>,
    #[serde(default)]
    mark_eligible: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DrainSpec {
    #[serde(default)]
    deadline: Nanos,
    #[serde(default)]
    ignore_system_jobs: bool,
}

pub(super) async fn drain(Shared(api): App, Path(id): Path<String>, body: Bytes) -> Written {
    let asked: DrainRequest = parse(&body)?;
    change(&api, &id, |node, now| {
        node.drain = asked.drain_spec.map(|spec| Drain {
            deadline: spec.deadline,
            ignore_system_jobs: spec.ignore_system_jobs,
            started_at: now,
        });
        node.is_eligible = node.drain.is_none() && (asked.mark_eligible || node.is_eligible);
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Eligibility {
    eligibility: String,
}

pub(super) async fn eligibility(Shared(api): App, Path(id): Path<String>, body: Bytes) -> Written {
    let asked: Eligibility = parse(&body)?;
    let is_eligible = match asked.eligibility.as_str() {
        "eligible" => true,
        "ineligible" => false,
        other => return Err(Refused::bad(format!("invalid scheduling eligibility {other:?}"))),
    };
    if is_eligible && api.store.read().nodes.get(&id).is_some_and(|node| node.drain.is_some()) {
        return Err(Refused::failed(
            "can not set node's scheduling eligibility to eligible while it is draining",
        ));
    }
    change(&api, &id, |node, _| node.is_eligible = is_eligible)
}

/// Changes a node, and has the scheduler look at the jobs that may be on it.
fn change(api: &Api, id: &str, change: impl FnOnce(&mut Node, Nanos)) -> Written {
    let (evals, index) = api.store.change(|state, now, chance| {
        let mut node = find(state, id)?.clone();
        change(&mut node, now);
        state.put_node(node);
        let system: Vec<String> = state
            .jobs
            .values()
            .filter(|record| record.job.kind.is_system() && !record.stop)
            .map(|record| record.job.id.clone())
            .collect();
        let evals: Vec<String> = system
            .iter()
            .filter_map(|job| look(state, job, Trigger::NodeUpdate, now, chance))
            .collect();
        Ok::<_, Refused>((evals, state.index))
    })?;
    Ok(answer(
        index,
        &json!({
            "NodeModifyIndex": index, "EvalIDs": evals, "EvalCreateIndex": index, "Index": index, "LastContact": 0,
            "KnownLeader": false,
        }),
    ))
}
