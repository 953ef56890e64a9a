//! `/v1/evaluations` and one evaluation.

use axum::extract::Path;
use axum::response::Response;

use super::{Ask, found, value};
use crate::agent::state::Table;

pub(super) async fn list(ask: Ask) -> Response {
    ask.list(Table::Evaluations, |state| {
        let mut list: Vec<_> =
            state.evaluations.values().filter(|one| ask.lists(&one.id)).collect();
        list.sort_by_key(|one| one.create_index);
        list.into_iter().map(value).collect()
    })
    .await
}

pub(super) async fn read(ask: Ask, Path(id): Path<String>) -> Response {
    ask.watch(|state| {
        let one = found(state.evaluations.get(&id), "eval", state, Table::Evaluations)?;
        Ok((one.modify_index, value(one)))
    })
    .await
}

pub(super) async fn allocations(ask: Ask, Path(id): Path<String>) -> Response {
    ask.allocations(|one| one.eval_id == id).await
}
