//! `/v1/deployments` and one deployment: reading, promoting, failing, pausing, reporting health by hand.

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::allocations::list_of;
use super::{App, Asked, Refused, Written, json as answer, parse, value};
use crate::agent::deployment::{self, DeploymentError};
use crate::agent::job::nullable;
use crate::agent::state::Table;

pub(super) async fn list(Shared(api): App, Query(params): Asked) -> Response {
    api.watch(&params, |state| {
        let mut list: Vec<_> =
            state.deployments.values().filter(|one| one.id.starts_with(&params.prefix)).collect();
        list.sort_by_key(|one| std::cmp::Reverse(one.create_index));
        Ok((state.table(Table::Deployments), value(&list)))
    })
    .await
}

pub(super) async fn read(
    Shared(api): App,
    Path(id): Path<String>,
    Query(params): Asked,
) -> Response {
    api.watch(&params, |state| {
        let one = state.deployments.get(&id);
        let one =
            one.ok_or_else(|| Refused::unknown("deployment", state.table(Table::Deployments)))?;
        Ok((one.modify_index, value(one)))
    })
    .await
}

pub(super) async fn allocations(
    Shared(api): App,
    Path(id): Path<String>,
    Query(params): Asked,
) -> Response {
    list_of(&api, &params, |one| one.deployment_id == id).await
}

fn refused(error: DeploymentError) -> Refused {
    match error {
        DeploymentError::Unknown => Refused::new(StatusCode::NOT_FOUND, error.to_string()),
        DeploymentError::Unhealthy { .. } => {
            Refused::failed(format!("1 error occurred:\n\t* {error}\n\n"))
        }
        DeploymentError::Over { .. } | DeploymentError::NoCanaries => {
            Refused::failed(error.to_string())
        }
    }
}

fn acted(index: u64, eval: &str, reverted: Option<u64>) -> Response {
    answer(
        index,
        &json!({
            "EvalID": eval, "EvalCreateIndex": index, "DeploymentModifyIndex": index, "RevertedJobVersion": reverted,
            "Index": index, "LastContact": 0, "KnownLeader": false,
        }),
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Promotion {
    all: bool,
    #[serde(deserialize_with = "nullable")]
    groups: Vec<String>,
}

pub(super) async fn promote(Shared(api): App, Path(id): Path<String>, body: Bytes) -> Written {
    let asked: Promotion = parse(&body)?;
    if !asked.all && asked.groups.is_empty() {
        return Err(Refused::bad("Either all groups or a list of groups must be specified"));
    }
    let groups = (!asked.all).then_some(asked.groups.as_slice());
    let (eval, index) = api.store.change(|state, now, chance| {
        (deployment::promote(state, &id, groups, now, chance), state.index)
    });
    Ok(acted(index, &eval.map_err(refused)?, None))
}

pub(super) async fn fail(Shared(api): App, Path(id): Path<String>) -> Written {
    let (failed, index) = api
        .store
        .change(|state, now, chance| (deployment::fail(state, &id, now, chance), state.index));
    let (eval, reverted) = failed.map_err(refused)?;
    Ok(acted(index, &eval, reverted))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pause {
    pause: bool,
}

pub(super) async fn pause(Shared(api): App, Path(id): Path<String>, body: Bytes) -> Written {
    let asked: Pause = parse(&body)?;
    let (eval, index) = api.store.change(|state, now, chance| {
        (deployment::pause(state, &id, asked.pause, now, chance), state.index)
    });
    Ok(acted(index, &eval.map_err(refused)?, None))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reports {
    #[serde(rename = "HealthyAllocationIDs", deserialize_with = "nullable")]
    healthy: Vec<String>,
    #[serde(rename = "UnhealthyAllocationIDs", deserialize_with = "nullable")]
    unhealthy: Vec<String>,
}

pub(super) async fn health(Shared(api): App, Path(id): Path<String>, body: Bytes) -> Written {
    let asked: Reports = parse(&body)?;
    let index = api.store.change(|state, now, chance| {
        if !state.deployments.contains_key(&id) {
            return Err(refused(DeploymentError::Unknown));
        }
        let healthy = asked.healthy.iter().map(|one| (one, true));
        for (one, healthy) in healthy.chain(asked.unhealthy.iter().map(|one| (one, false))) {
            deployment::report_health(state, one, healthy, now, chance);
        }
        Ok(state.index)
    })?;
    Ok(acted(index, "", None))
}
