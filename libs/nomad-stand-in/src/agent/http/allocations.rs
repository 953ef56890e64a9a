//! `/v1/allocations` and one allocation: reading, stopping, restarting, its services and checks.

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Shared};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Api, App, Asked, Params, Refused, Written, is_true, json as answer, value};
use crate::agent::deployment::look;
use crate::agent::state::{Allocation, State, Table, Trigger};

/// An allocation as lists show it.
pub(super) fn stub(one: &Allocation) -> Value {
    let mut all = match value(one) {
        Value::Object(all) => all,
        _ => Map::new(),
    };
    all.remove("Job");
    all.insert("JobType".to_owned(), json!(one.job.job.kind.name()));
    all.insert("JobVersion".to_owned(), json!(one.job.version));
    Value::Object(all)
}

pub(super) async fn list(Shared(api): App, Query(params): Asked) -> Response {
    api.watch(&params, |state| {
        let mut list: Vec<_> =
            state.allocations.values().filter(|one| one.id.starts_with(&params.prefix)).collect();
        list.sort_by_key(|one| one.create_index);
        let list: Vec<Value> = list.into_iter().map(|one| stub(one)).collect();
        Ok((state.table(Table::Allocations), Value::Array(list)))
    })
    .await
}

/// The allocations of something else, as its listing shows them.
pub(super) async fn list_of(
    api: &Api,
    params: &Params,
    is_its: impl Fn(&Allocation) -> bool,
) -> Response {
    api.watch(params, |state| {
        let list = state.allocations.values().filter(|one| is_its(one));
        let list: Vec<Value> = list.map(|one| stub(one)).collect();
        Ok((state.table(Table::Allocations), Value::Array(list)))
    })
    .await
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Allocation, Refused> {
    let found = state.allocations.get(id).map(AsRef::as_ref);
    found.ok_or_else(|| Refused::unknown("alloc", state.table(Table::Allocations)))
}

pub(super) async fn read(
    Shared(api): App,
    Path(id): Path<String>,
    Query(params): Asked,
) -> Response {
    api.watch(&params, |state| {
        let one = find(state, &id)?;
        let mut all = value(one);
        if let Value::Object(all) = &mut all {
            all.insert("JobVersion".to_owned(), json!(one.job.version));
        }
        Ok((one.modify_index, all))
    })
    .await
}

/// Stops an allocation; its job gets another one.
pub(super) async fn stop(
    Shared(api): App,
    Path(id): Path<String>,
    Query(params): Asked,
) -> Written {
    let (eval, index) = api.store.change(|state, now, chance| {
        let mut one = find(state, &id)?.clone();
        one.desired_transition.migrate = Some(true);
        if is_true(&params.no_shutdown_delay) {
            one.desired_transition.no_shutdown_delay = Some(true);
        }
        let job = one.job_id.clone();
        state.put_allocation(one);
        let eval = look(state, &job, Trigger::AllocStop, now, chance).unwrap_or_default();
        Ok::<_, Refused>((eval, state.index))
    })?;
    Ok(answer(index, &json!({"EvalID": eval, "Index": index})))
}

pub(super) async fn restart(Shared(api): App, Path(id): Path<String>, _body: Bytes) -> Written {
    find(&api.store.read(), &id)?;
    api.client.restarts.send_modify(|all| *all.entry(id).or_default() += 1);
    Ok(answer(1, &json!({})))
}

pub(super) async fn services(
    Shared(api): App,
    Path(id): Path<String>,
    Query(params): Asked,
) -> Response {
    api.watch(&params, |state| {
        find(state, &id)?;
        let list: Vec<_> =
            state.services.values().filter(|service| service.alloc_id == id).collect();
        Ok((state.table(Table::Services), value(&list)))
    })
    .await
}

pub(super) async fn checks(Shared(api): App, Path(id): Path<String>) -> Written {
    find(&api.store.read(), &id)?;
    Ok(answer(1, &api.client.checks_of(&id)))
}
