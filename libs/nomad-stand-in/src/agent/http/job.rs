//! `/v1/job/ID/…`: everything about one job. The id may hold slashes, so what follows it is found from the end.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::allocations::stub;
use super::deployments::newest_first;
use super::jobs::summary;
use super::{
    Api, Ask, Params, Refused, Written, dispatch, found, is_true, json as answer, plan, register,
    value,
};
use crate::agent::deployment::{evaluation, look};
use crate::agent::state::{JobRecord, State, Table, Trigger};

const VERBS: [&str; 14] = [
    "allocations",
    "evaluations",
    "deployments",
    "deployment",
    "versions",
    "summary",
    "dispatch",
    "plan",
    "revert",
    "evaluate",
    "scale",
    "submission",
    "stable",
    "actions",
];

pub(super) async fn handle(
    ask: Ask,
    Path(rest): Path<String>,
    method: Method,
    body: Bytes,
) -> Response {
    let (id, verb) = match rest.rsplit_once('/') {
        Some((id, verb)) if VERBS.contains(&verb) => (id, verb),
        _ => (rest.as_str(), ""),
    };
    if method == Method::GET {
        return read(&ask, id, verb).await;
    }
    let Ask { api, params } = &ask;
    write(api, id, verb, params, &method, &body).unwrap_or_else(IntoResponse::into_response)
}

async fn read(ask: &Ask, id: &str, verb: &str) -> Response {
    ask.watch(|state| {
        let record = found(state.jobs.get(id), "job", state, Table::Jobs);
        match verb {
            "" => record.map(|record| (record.modify_index, record.json())),
            "summary" => record.map(|record| {
                let summary = summary(state, record);
                let index = summary.get("ModifyIndex").and_then(Value::as_u64).unwrap_or_default();
                (index, summary)
            }),
            "versions" => {
                let versions: Vec<Value> =
                    state.versions.get(id).into_iter().flatten().map(|version| version.json()).collect();
                if versions.is_empty() {
                    return Err(Refused::new(StatusCode::NOT_FOUND, "job versions not found"));
                }
                let index = record?.modify_index;
                Ok((index, json!({"Versions": versions, "Diffs": null, "Index": index, "LastContact": 0, "KnownLeader": false})))
            }
            "allocations" => {
                // Those of a job that was purged and came back are another job's.
                let is_own = |created: u64| {
                    is_true(&ask.params.all)
                        || state.jobs.get(id).is_none_or(|record| record.create_index == created)
                };
                let all = state.allocations_of(id);
                let list: Vec<_> = all.filter(|one| is_own(one.job.create_index)).collect();
                let index = list.iter().map(|one| one.modify_index).max();
                let list: Vec<Value> = list.into_iter().map(|one| stub(one)).collect();
                Ok((index.unwrap_or_else(|| state.table(Table::Allocations)), Value::Array(list)))
            }
            "evaluations" => {
                let mut list: Vec<_> = state.evaluations.values().filter(|one| one.job_id == id).collect();
                list.sort_by_key(|one| std::cmp::Reverse(one.create_index));
                let index = list.iter().map(|one| one.modify_index).max();
                Ok((index.unwrap_or_else(|| state.table(Table::Evaluations)), value(&list)))
            }
            "deployments" => {
                let index = state.deployments.values().filter(|one| one.job_id == id).map(|one| one.modify_index).max();
                let list = newest_first(state, |one| one.job_id == id);
                Ok((index.unwrap_or_else(|| state.table(Table::Deployments)), Value::Array(list)))
            }
            "deployment" => {
                let latest = state.latest_deployment(id);
                let index = latest.map_or_else(|| state.table(Table::Deployments), |one| one.modify_index);
                Ok((index, latest.map_or(Value::Null, value)))
            }
            _ => Err(Refused::new(StatusCode::NOT_FOUND, format!("job {verb} is not kept by this stand-in"))),
        }
    })
    .await
}

fn write(
    api: &Api,
    id: &str,
    verb: &str,
    params: &Params,
    method: &Method,
    body: &Bytes,
) -> Written {
    match verb {
        "" if method == Method::DELETE => stop(api, id, params),
        "" => register::register(api, params, Some(id), body),
        "dispatch" => dispatch::dispatch(api, id, params, body),
        "plan" => plan::plan(api, id, params, body),
        "revert" => register::revert(api, id, body),
        "scale" => register::scale(api, id, body),
        "evaluate" => {
            let (eval, index) = api.store.change(|state, now, chance| {
                (look(state, id, Trigger::JobRegister, now, chance), state.index)
            });
            let eval = eval.ok_or_else(|| Refused::unknown("job", 1))?;
            Ok(answer(
                index,
                &json!({"EvalID": eval, "EvalCreateIndex": index, "JobModifyIndex": 0, "Index": index}),
            ))
        }
        _ => Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "Invalid method")),
    }
}

/// Stops a job, and forgets it when it is purged.
fn stop(api: &Api, id: &str, params: &Params) -> Written {
    let (eval, index) = api.store.change(|state, now, chance| {
        let record = Arc::clone(state.jobs.get(id).ok_or_else(|| Refused::unknown("job", 1))?);
        if is_true(&params.no_shutdown_delay) {
            hurry(state, id);
        }
        let eval = evaluation(&record, Trigger::JobDeregister, now, chance);
        let eval_id = eval.id.clone();
        if is_true(&params.purge) {
            state.purge_job(id);
        } else if !record.stop {
            state.put_job(JobRecord { stop: true, ..JobRecord::clone(&record) }, now);
        }
        state.put_evaluation(eval);
        Ok::<_, Refused>((eval_id, state.index))
    })?;
    let modify = api.store.read().jobs.get(id).map_or(index, |record| record.job_modify_index);
    Ok(answer(
        index,
        &json!({
            "EvalID": eval, "EvalCreateIndex": index, "JobModifyIndex": modify, "VolumeEvalID": "", "VolumeEvalIndex": 0,
            "Index": index, "LastContact": 0, "KnownLeader": false,
        }),
    ))
}

fn hurry(state: &mut State, id: &str) {
    let live: Vec<_> =
        state.allocations_of(id).filter(|one| !one.is_terminal()).map(Arc::clone).collect();
    for one in live {
        state.change_allocation(&one.id, |one| {
            one.desired_transition.no_shutdown_delay = Some(true)
        });
    }
}
