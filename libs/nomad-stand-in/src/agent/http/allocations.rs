//! `/v1/allocations` and one allocation: reading, stopping, restarting, its services and checks.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{App, Ask, Refused, Written, found, is_true, json as answer, value};
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

pub(super) async fn list(ask: Ask) -> Response {
    ask.list(Table::Allocations, |state| {
        let mut list: Vec<_> =
            state.allocations.values().filter(|one| ask.lists(&one.id)).collect();
        list.sort_by_key(|one| one.create_index);
        list.into_iter().map(|one| stub(one)).collect()
    })
    .await
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Allocation, Refused> {
    found(state.allocations.get(id), "alloc", state, Table::Allocations)
}

pub(super) async fn read(ask: Ask, Path(id): Path<String>) -> Response {
    ask.watch(|state| {
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
pub(super) async fn stop(Ask { api, params }: Ask, Path(id): Path<String>) -> Written {
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

pub(super) async fn services(ask: Ask, Path(id): Path<String>) -> Response {
    ask.watch(|state| {
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
