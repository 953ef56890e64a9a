//! `/v1/jobs` and what needs no registered job: listing, parsing, validating.

use axum::body::Bytes;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::register::read_job;
use super::{Ask, Params, Refused, Written, json as answer, parse};
use crate::agent::job::{canonical, validate as rules};
use crate::agent::state::{ClientStatus, JobRecord, State, Table};

pub(super) async fn list(ask: Ask) -> Response {
    ask.watch(|state| {
        let jobs = state.jobs.values().filter(|record| ask.lists(&record.job.id));
        let list: Vec<Value> = jobs.map(|record| stub(state, record)).collect();
        // A job's summary changes with its allocations.
        Ok((state.table(Table::Jobs).max(state.table(Table::Allocations)), Value::Array(list)))
    })
    .await
}

fn stub(state: &State, record: &JobRecord) -> Value {
    let body = |key: &str| record.body.get(key).cloned().unwrap_or_default();
    json!({
        "ID": record.job.id, "ParentID": record.job.parent_id, "Name": record.job.name,
        "Namespace": record.job.namespace, "Datacenters": body("Datacenters"), "NodePool": body("NodePool"),
        "Multiregion": null, "Type": record.job.kind.name(), "Priority": record.job.priority,
        "Periodic": record.job.periodic.is_some(), "ParameterizedJob": record.job.parameterized_job.is_some(),
        "Stop": record.stop, "Status": record.status, "StatusDescription": "", "JobSummary": summary(state, record),
        "CreateIndex": record.create_index, "ModifyIndex": record.modify_index,
        "JobModifyIndex": record.job_modify_index, "SubmitTime": record.submit_time, "Meta": body("Meta"),
        "Version": record.version,
    })
}

/// How many instances of each group are in which state.
pub(super) fn summary(state: &State, record: &JobRecord) -> Value {
    let mut groups = Map::new();
    let id = &record.job.id;
    let queued = |group: &str| {
        let blocked = state.evaluations.values().filter(|one| {
            one.job_id == *id && one.status == crate::agent::state::EvalStatus::Blocked
        });
        blocked
            .filter_map(|one| one.queued_allocations.get(group))
            .max()
            .copied()
            .unwrap_or_default()
    };
    for group in &record.job.task_groups {
        if record.job.is_template() {
            continue;
        }
        let count = |status: ClientStatus| {
            state
                .allocations
                .values()
                .filter(|one| {
                    one.job_id == *id && one.task_group == group.name && one.client_status == status
                })
                .count()
        };
        groups.insert(group.name.clone(), json!({
            "Queued": queued(&group.name), "Complete": count(ClientStatus::Complete),
            "Failed": count(ClientStatus::Failed), "Running": count(ClientStatus::Running),
            "Starting": count(ClientStatus::Pending), "Lost": count(ClientStatus::Lost), "Unknown": 0,
        }));
    }
    let children = |status: &str| {
        state.jobs.values().filter(|one| one.job.parent_id == *id && one.status == status).count()
    };
    let allocations =
        state.allocations.values().filter(|one| one.job_id == *id).map(|one| one.modify_index);
    json!({
        "JobID": id, "Namespace": record.job.namespace, "Summary": groups,
        "Children": {"Pending": children("pending"), "Running": children("running"), "Dead": children("dead")},
        "CreateIndex": record.create_index, "ModifyIndex": allocations.max().unwrap_or_default().max(record.modify_index),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ToParse {
    #[serde(rename = "JobHCL")]
    hcl: String,
    #[serde(default)]
    canonicalize: bool,
    #[serde(default)]
    variables: String,
}

pub(super) async fn parse_hcl(Ask { api, params }: Ask, body: Bytes) -> Written {
    let asked: ToParse = parse(&body)?;
    if asked.hcl.is_empty() {
        return Err(Refused::bad("Job spec is empty"));
    }
    let mut job = crate::jobspec::parse(&asked.hcl, &asked.variables).map_err(Refused::bad)?;
    if asked.canonicalize
        && let Value::Object(job) = &mut job
    {
        canonical::fill(job, &api.settings.region, namespace(&params));
    }
    Ok(answer(1, &job))
}

pub(super) fn namespace(params: &Params) -> &str {
    if params.namespace.is_empty() { "default" } else { &params.namespace }
}

pub(super) async fn validate(Ask { api, params }: Ask, body: Bytes) -> Written {
    let body: Map<String, Value> = parse(&body)?;
    let problems = match read_job(&api, &params, &body) {
        Ok(record) => rules::problems(&record.job),
        Err(refused) => vec![refused.text],
    };
    let error = if problems.is_empty() { String::new() } else { rules::listed(&problems) };
    Ok(answer(
        1,
        &json!({
            "DriverConfigValidated": true, "ValidationErrors": if problems.is_empty() { Value::Null } else { json!(problems) },
            "Error": error, "Warnings": "",
        }),
    ))
}
