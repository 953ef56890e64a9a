//! A read as it was asked: of which state, and how long it may wait for another one.
//!
//! In: a request's parameters. Out: an answer that is a function of one state, made again when the state changes while the
//! query blocks. What all reads do alike is here; what they show is in the modules of the things shown.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{Api, Params, Read, Refused, json};
use crate::agent::state::{Allocation, State, Table};

const WAIT_DEFAULT: Duration = Duration::from_secs(300);
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A read.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) api: Arc<Api>,
    pub(super) params: Params,
}

impl FromRequestParts<Arc<Api>> for Ask {
    type Rejection = QueryRejection;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, QueryRejection> {
        let Query(params) = Query::from_request_parts(parts, api).await?;
        Ok(Self { api: Arc::clone(api), params })
    }
}

impl Ask {
    /// Answers at once, or when the answer's index passes the one that is asked for.
    pub(super) async fn watch(&self, read: impl Fn(&State) -> Read) -> Response {
        let params = &self.params;
        let wait = ::jobspec::duration::parse(&params.wait).unwrap_or(WAIT_DEFAULT).min(WAIT_MAX);
        let deadline = Instant::now() + wait + wait / 32;
        let mut states = self.api.store.subscribe();
        loop {
            let state = Arc::clone(&states.borrow_and_update());
            let answer = read(&state);
            let index = answer.as_ref().map_or_else(|refused| refused.index, |(index, _)| *index);
            let is_due = params.index == 0 || index > params.index;
            if is_due || !matches!(timeout_at(deadline, states.changed()).await, Ok(Ok(()))) {
                return match answer {
                    Ok((index, value)) => json(index, &value),
                    Err(refused) => refused.into_response(),
                };
            }
        }
    }

    /// Lists things of one table, whose index the list has.
    pub(super) async fn list(&self, table: Table, list: impl Fn(&State) -> Vec<Value>) -> Response {
        self.watch(|state| Ok((state.table(table), Value::Array(list(state))))).await
    }

    /// Lists the allocations of something, as each listing shows them.
    pub(super) async fn allocations(&self, is_its: impl Fn(&Allocation) -> bool) -> Response {
        self.list(Table::Allocations, |state| {
            let its = state.allocations.values().filter(|one| is_its(one));
            its.map(|one| super::allocations::stub(one)).collect()
        })
        .await
    }

    /// Whether a listing that is narrowed to a prefix shows this id.
    pub(super) fn lists(&self, id: &str) -> bool {
        id.starts_with(&self.params.prefix)
    }
}

/// The record of that name, or Nomad's 404 with the index of its table.
pub(super) fn found<'a, T>(
    found: Option<&'a Arc<T>>,
    what: &str,
    state: &State,
    table: Table,
) -> Result<&'a T, Refused> {
    found.map(AsRef::as_ref).ok_or_else(|| Refused::unknown(what, state.table(table)))
}
