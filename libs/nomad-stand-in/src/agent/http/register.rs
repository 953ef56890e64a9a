//! Registering jobs: the first time, as a new version, with a check of the index, and back to an older version.

use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::jobs::namespace;
use super::{Api, Ask, Params, Refused, Written, json as answer, parse};
use crate::agent::deployment::look;
use crate::agent::evaluate::Chance;
use crate::agent::job::{Nanos, canonical, validate};
use crate::agent::state::{JobRecord, State, Trigger};

/// What a registration brings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Registration {
    #[serde(default)]
    enforce_index: bool,
    #[serde(default)]
    job_modify_index: u64,
}

/// What a registration did.
pub(super) struct Registered {
    pub(super) eval_id: String,
    pub(super) job_modify_index: u64,
    pub(super) index: u64,
}

impl Registered {
    pub(super) fn json(&self) -> Value {
        json!({
            "EvalID": self.eval_id, "EvalCreateIndex": self.index, "JobModifyIndex": self.job_modify_index,
            "Warnings": "", "Index": self.index, "LastContact": 0, "KnownLeader": false,
        })
    }
}

/// Reads the job of a body `{"Job": {…}}`, with its defaults.
pub(super) fn read_job(
    api: &Api,
    params: &Params,
    body: &Map<String, Value>,
) -> Result<JobRecord, Refused> {
    let Some(Value::Object(job)) = body.get("Job") else {
        return Err(Refused::bad("Job must be specified"));
    };
    let mut job = job.clone();
    if job.get("ID").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Refused::bad("Job ID hasn't been provided"));
    }
    canonical::fill(&mut job, &api.settings.region, namespace(params));
    for key in [
        "Version",
        "Stable",
        "Status",
        "SubmitTime",
        "CreateIndex",
        "ModifyIndex",
        "JobModifyIndex",
    ] {
        job.remove(key);
    }
    JobRecord::read(job).map_err(|error| Refused::bad(format!("job cannot be read: {error}")))
}

pub(super) async fn jobs(Ask { api, params }: Ask, body: Bytes) -> Written {
    register(&api, &params, None, &body)
}

/// Registers, under the id of the path if there is one.
pub(super) fn register(api: &Api, params: &Params, id: Option<&str>, body: &[u8]) -> Written {
    let registration: Registration = parse(body)?;
    let body: Map<String, Value> = parse(body)?;
    let record = read_job(api, params, &body)?;
    if id.is_some_and(|id| id != record.job.id) {
        return Err(Refused::bad("Job ID does not match name"));
    }
    let problems = validate::problems(&record.job);
    if !problems.is_empty() {
        return Err(Refused::failed(validate::listed(&problems)));
    }
    let registered = api.store.change(|state, now, chance| {
        if registration.enforce_index {
            enforce(state, &record.job.id, registration.job_modify_index)?;
        }
        Ok(put(state, record, Trigger::JobRegister, now, chance))
    })?;
    Ok(answer(registered.index, &registered.json()))
}

fn enforce(state: &State, id: &str, wanted: u64) -> Result<(), Refused> {
    let wrong =
        |rest: String| Err(Refused::failed(format!("Enforcing job modify index {wanted}: {rest}")));
    match state.jobs.get(id) {
        Some(_) if wanted == 0 => wrong("job already exists".to_owned()),
        Some(job) if job.job_modify_index != wanted => {
            wrong(format!("job exists with conflicting job modify index: {}", job.job_modify_index))
        }
        None if wanted != 0 => wrong("job does not exist".to_owned()),
        _ => Ok(()),
    }
}

/// Writes a job unless it is the same as before, and has the scheduler look at it.
pub(super) fn put(
    state: &mut State,
    record: JobRecord,
    trigger: Trigger,
    now: Nanos,
    chance: &mut dyn Chance,
) -> Registered {
    let id = record.job.id.clone();
    let is_template = record.job.is_template();
    let known =
        state.jobs.get(&id).filter(|known| known.body == record.body && known.stop == record.stop);
    let job_modify_index = match known {
        Some(known) => known.job_modify_index,
        None => state.put_job(record, now).job_modify_index,
    };
    let eval_id = if is_template { None } else { look(state, &id, trigger, now, chance) };
    Registered { eval_id: eval_id.unwrap_or_default(), job_modify_index, index: state.index }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Revert {
    job_version: u64,
    #[serde(default)]
    enforce_prior_version: Option<u64>,
}

pub(super) fn revert(api: &Api, id: &str, body: &[u8]) -> Written {
    let asked: Revert = parse(body)?;
    let registered = api.store.change(|state, now, chance| {
        let current = state.jobs.get(id).ok_or_else(|| Refused::unknown("job", 1))?;
        if current.version == asked.job_version && !current.stop {
            return Err(Refused::failed("can't revert to current version"));
        }
        if asked.enforce_prior_version.is_some_and(|prior| prior != current.version) {
            let text = format!(
                "Current job has version {}; enforcing version {}",
                current.version,
                asked.enforce_prior_version.unwrap_or_default()
            );
            return Err(Refused::failed(text));
        }
        let target = state.version(id, asked.job_version).ok_or_else(|| {
            Refused::new(
                StatusCode::NOT_FOUND,
                format!(
                    "job {id:?} in namespace \"default\" at version {} not found",
                    asked.job_version
                ),
            )
        })?;
        let record = JobRecord { stop: false, ..JobRecord::clone(target) };
        Ok(put(state, record, Trigger::JobRegister, now, chance))
    })?;
    Ok(answer(registered.index, &registered.json()))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scale {
    count: u64,
    target: std::collections::BTreeMap<String, String>,
}

pub(super) fn scale(api: &Api, id: &str, body: &[u8]) -> Written {
    let asked: Scale = parse(body)?;
    let group = asked.target.get("Group").cloned().unwrap_or_default();
    let registered = api.store.change(|state, now, chance| {
        let current = state.jobs.get(id).ok_or_else(|| Refused::unknown("job", 1))?;
        let mut body = current.body.clone();
        let groups = body.get_mut("TaskGroups").and_then(Value::as_array_mut).into_iter().flatten();
        let found = groups
            .filter_map(Value::as_object_mut)
            .find(|one| one.get("Name") == Some(&json!(group)));
        let found = found.ok_or_else(|| {
            Refused::bad(format!(
                "task group {group:?} specified for scaling does not exist in job"
            ))
        })?;
        found.insert("Count".to_owned(), json!(asked.count));
        let record = JobRecord::read(body).map_err(|error| Refused::failed(error.to_string()))?;
        Ok(put(state, record, Trigger::JobRegister, now, chance))
    })?;
    Ok(answer(registered.index, &registered.json()))
}
