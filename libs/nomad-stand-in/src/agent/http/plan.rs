//! Planning: what a registration would do, without doing it.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::register::read_job;
use super::{Api, Params, Refused, Written, json as answer, parse, value};
use crate::agent::evaluate::{Look, evaluate};
use crate::agent::job::{diff, validate};
use crate::agent::state::JobRecord;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    #[serde(default)]
    diff: bool,
}

pub(super) fn plan(api: &Api, id: &str, params: &Params, body: &Bytes) -> Written {
    let asked: Asked = parse(body)?;
    let body: Map<String, Value> = parse(body)?;
    let record = read_job(api, params, &body)?;
    if record.job.id != id {
        return Err(Refused::bad("Job ID does not match"));
    }
    let problems = validate::problems(&record.job);
    if !problems.is_empty() {
        return Err(Refused::failed(validate::listed(&problems)));
    }
    let known = api.store.read().jobs.get(id).map(|known| JobRecord::clone(known));
    let old = known.as_ref().filter(|known| !known.stop);
    let index = known.as_ref().map_or(0, |known| known.job_modify_index);
    let plan = api.store.suppose(|state, now, chance| {
        if known.as_ref().is_none_or(|known| known.body != record.body || known.stop) {
            state.put_job(record.clone(), now);
        }
        evaluate(&Look { state, eval_id: "", job_id: id, now }, chance)
    });
    let diff = diff::job(old.map(|old| &old.body), &record.body, &plan.desired);
    let updates: Map<String, Value> =
        plan.desired.iter().map(|(group, updates)| (group.clone(), value(updates))).collect();
    let failed = if plan.failed.is_empty() { Value::Null } else { value(&plan.failed) };
    Ok(answer(
        index,
        &json!({
            "Annotations": {"DesiredTGUpdates": updates, "PreemptedAllocs": null}, "FailedTGAllocs": failed,
            "JobModifyIndex": index, "CreatedEvals": null, "Diff": if asked.diff { diff } else { Value::Null },
            "NextPeriodicLaunch": crate::agent::time::NEVER, "Warnings": "", "Index": 0, "LastContact": 0, "KnownLeader": false,
        }),
    ))
}
