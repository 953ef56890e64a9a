//! `/v1/deployments` and one deployment: reading, promoting, failing, pausing, reporting health by hand.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, App, Ask, Refused, Written, found, json as answer, parse, value};
use crate::agent::deployment::{self, DeploymentError};
use crate::agent::evaluate::Chance;
use crate::agent::job::{Nanos, nullable};
use crate::agent::state::{Deployment, State, Table};

pub(super) async fn list(ask: Ask) -> Response {
    ask.list(Table::Deployments, |state| newest_first(state, |one| ask.lists(&one.id))).await
}

/// Deployments as lists show them.
pub(super) fn newest_first(state: &State, is_its: impl Fn(&Deployment) -> bool) -> Vec<Value> {
    let mut list: Vec<_> = state.deployments.values().filter(|one| is_its(one)).collect();
    list.sort_by_key(|one| std::cmp::Reverse(one.create_index));
    list.into_iter().map(value).collect()
}

pub(super) async fn read(ask: Ask, Path(id): Path<String>) -> Response {
    ask.watch(|state| {
        let one = state.deployments.get(&id);
        let one = found(one, "deployment", state, Table::Deployments)?;
        Ok((one.modify_index, value(one)))
    })
    .await
}

pub(super) async fn allocations(ask: Ask, Path(id): Path<String>) -> Response {
    ask.allocations(|one| one.deployment_id == id).await
}

/// Grants a wish about a deployment; gives the index of what came of it too.
fn granted<T>(
    api: &Api,
    wish: impl FnOnce(&mut State, Nanos, &mut dyn Chance) -> Result<T, DeploymentError>,
) -> Result<(T, u64), Refused> {
    api.store
        .change(|state, now, chance| Ok((wish(state, now, chance)?, state.index)))
        .map_err(refused)
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
    let promote = |state: &mut State, now, chance: &mut dyn Chance| {
        deployment::promote(state, &id, groups, now, chance)
    };
    let (eval, index) = granted(&api, promote)?;
    Ok(acted(index, &eval, None))
}

pub(super) async fn fail(Shared(api): App, Path(id): Path<String>) -> Written {
    let fail =
        |state: &mut State, now, chance: &mut dyn Chance| deployment::fail(state, &id, now, chance);
    let ((eval, reverted), index) = granted(&api, fail)?;
    Ok(acted(index, &eval, reverted))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pause {
    pause: bool,
}

pub(super) async fn pause(Shared(api): App, Path(id): Path<String>, body: Bytes) -> Written {
    let asked: Pause = parse(&body)?;
    let pause = |state: &mut State, now, chance: &mut dyn Chance| {
        deployment::pause(state, &id, asked.pause, now, chance)
    };
    let (eval, index) = granted(&api, pause)?;
    Ok(acted(index, &eval, None))
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
    let report = |state: &mut State, now, chance: &mut dyn Chance| {
        if !state.deployments.contains_key(&id) {
            return Err(DeploymentError::Unknown);
        }
        let healthy = asked.healthy.iter().map(|one| (one, true));
        for (one, healthy) in healthy.chain(asked.unhealthy.iter().map(|one| (one, false))) {
            deployment::report_health(state, one, healthy, now, chance);
        }
        Ok(())
    };
    let ((), index) = granted(&api, report)?;
    Ok(acted(index, "", None))
}
