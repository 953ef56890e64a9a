//! Dispatching parameterized jobs: a child job for each call, or the same child again for the same idempotency token.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Api, Params, Refused, Written, json as answer, parse, register};
use crate::agent::job::{Parameterized, nullable};
use crate::agent::state::{JobRecord, State, Trigger};
use crate::agent::store::random;
use crate::agent::time::SECOND;

/// Nomad's limit of a payload.
const PAYLOAD_MAX: usize = 16 * 1024;
const TOKEN: &str = "DispatchIdempotencyToken";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
    #[serde(deserialize_with = "nullable")]
    payload: String,
    #[serde(deserialize_with = "nullable")]
    meta: BTreeMap<String, String>,
}

pub(super) fn dispatch(api: &Api, id: &str, params: &Params, body: &[u8]) -> Written {
    let asked: Asked = if body.is_empty() { Asked::default() } else { parse(body)? };
    let token = &params.idempotency_token;
    api.store.change(|state, now, chance| {
        let parent = state.jobs.get(id).map(Arc::clone).ok_or_else(|| Refused::failed("parameterized job not found"))?;
        let Some(rules) = parent.job.parameterized_job.as_ref().filter(|_| !parent.job.dispatched) else {
            return Err(Refused::failed(format!("Specified job {id:?} is not a parameterized job")));
        };
        if parent.stop {
            return Err(Refused::failed(format!("Specified job {id:?} is stopped")));
        }
        check(rules, &asked)?;
        if let Some(known) = by_token(state, id, token) {
            return Ok(answer(state.index, &json!({
                "DispatchedJobID": known.job.id, "EvalID": "", "EvalCreateIndex": 0, "JobCreateIndex": known.create_index,
                "Index": state.index, "LastContact": 0, "KnownLeader": false,
            })));
        }
        let suffix: String = random::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
        let child = format!("{id}/dispatch-{}-{suffix}", now / SECOND);
        let record = child_of(&parent, &child, &asked, token)?;
        let registered = register::put(state, record, Trigger::JobRegister, now, chance);
        Ok(answer(registered.index, &json!({
            "DispatchedJobID": child, "EvalID": registered.eval_id, "EvalCreateIndex": registered.index,
            "JobCreateIndex": registered.job_modify_index, "Index": registered.index, "LastContact": 0, "KnownLeader": false,
        })))
    })
}

fn check(rules: &Parameterized, asked: &Asked) -> Result<(), Refused> {
    let payload = base64::engine::general_purpose::STANDARD
        .decode(&asked.payload)
        .map_err(|error| Refused::bad(format!("illegal base64 data: {error}")))?;
    if rules.payload == "required" && payload.is_empty() {
        return Err(Refused::failed("Payload is not provided but required by parameterized job"));
    }
    if rules.payload == "forbidden" && !payload.is_empty() {
        return Err(Refused::failed("Payload provided but forbidden by parameterized job"));
    }
    if payload.len() > PAYLOAD_MAX {
        return Err(Refused::failed(format!(
            "Payload exceeds maximum size; {} > {PAYLOAD_MAX}",
            payload.len()
        )));
    }
    let is_known =
        |key: &String| rules.meta_required.contains(key) || rules.meta_optional.contains(key);
    let unpermitted: Vec<&str> =
        asked.meta.keys().filter(|key| !is_known(key)).map(String::as_str).collect();
    if !unpermitted.is_empty() {
        return Err(Refused::failed(format!(
            "Dispatch request included unpermitted metadata keys: [{}]",
            unpermitted.join(" ")
        )));
    }
    let missing: Vec<&str> = rules
        .meta_required
        .iter()
        .filter(|key| !asked.meta.contains_key(*key))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(Refused::failed(format!(
            "Dispatch did not provide required meta keys: [{}]",
            missing.join(" ")
        )));
    }
    Ok(())
}

fn by_token<'a>(state: &'a State, parent: &str, token: &str) -> Option<&'a Arc<JobRecord>> {
    let has_token = |record: &&Arc<JobRecord>| {
        record.job.parent_id == parent
            && record.body.get(TOKEN).and_then(Value::as_str) == Some(token)
    };
    state.jobs.values().find(has_token).filter(|_| !token.is_empty())
}

fn child_of(
    parent: &JobRecord,
    id: &str,
    asked: &Asked,
    token: &str,
) -> Result<JobRecord, Refused> {
    let mut body = parent.body.clone();
    let mut meta: Map<String, Value> =
        parent.job.meta.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    meta.extend(asked.meta.iter().map(|(key, value)| (key.clone(), json!(value))));
    let payload = if asked.payload.is_empty() { Value::Null } else { json!(asked.payload) };
    for (key, value) in [
        ("ID", json!(id)),
        ("Name", json!(id)),
        ("ParentID", json!(parent.job.id)),
        ("Dispatched", json!(true)),
        ("Meta", Value::Object(meta)),
        ("Payload", payload),
        (TOKEN, json!(token)),
    ] {
        body.insert(key.to_owned(), value);
    }
    JobRecord::read(body).map_err(|error| Refused::failed(error.to_string()))
}
