//! `/v1/evaluations` and one evaluation.

use axum::extract::{Path, Query, State as Shared};
use axum::response::Response;

use super::allocations::list_of;
use super::{App, Asked, Refused, value};
use crate::agent::state::Table;

pub(super) async fn list(Shared(api): App, Query(params): Asked) -> Response {
    api.watch(&params, |state| {
        let mut list: Vec<_> =
            state.evaluations.values().filter(|one| one.id.starts_with(&params.prefix)).collect();
        list.sort_by_key(|one| one.create_index);
        Ok((state.table(Table::Evaluations), value(&list)))
    })
    .await
}

pub(super) async fn read(
    Shared(api): App,
    Path(id): Path<String>,
    Query(params): Asked,
) -> Response {
    api.watch(&params, |state| {
        let one = state.evaluations.get(&id);
        let one = one.ok_or_else(|| Refused::unknown("eval", state.table(Table::Evaluations)))?;
        Ok((one.modify_index, value(one)))
    })
    .await
}

pub(super) async fn allocations(
    Shared(api): App,
    Path(id): Path<String>,
    Query(params): Asked,
) -> Response {
    list_of(&api, &params, |one| one.eval_id == id).await
}
