//! Nomad's HTTP API: reads with blocking queries, and the writes that tools use.
//!
//! In: requests. Out: Nomad's JSON and headers; errors are plain text with Nomad's status codes. Each read is a function of
//! one state, so a blocking query is the same function, asked again when the state changes. Ids of jobs may hold slashes,
//! raw or encoded.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Client;
use super::settings::Settings;
use super::store::Store;

mod access;
mod agent;
mod allocations;
mod ask;
mod deployments;
mod dispatch;
mod evaluations;
mod job;
mod jobs;
mod logs;
mod nodes;
mod plan;
mod register;
mod services;

pub(crate) use agent::VERSION;
use ask::{Ask, found};

/// What handlers use.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) client: Arc<Client>,
    pub(crate) settings: Settings,
}

type App = Shared<Arc<Api>>;

/// Parameters that every request may have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Params {
    index: u64,
    wait: String,
    prefix: String,
    namespace: String,
    purge: String,
    all: String,
    idempotency_token: String,
    no_shutdown_delay: String,
    diffs: String,
}

/// A refusal: Nomad's status code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    status: StatusCode,
    text: String,
    /// The index of the answer, for a blocking query that waits for the thing to appear.
    index: u64,
}

impl Refused {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), index: 1 }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// Nomad answers most failures of a write with 500.
    fn failed(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    fn unknown(what: &str, index: u64) -> Self {
        Self { index, ..Self::new(StatusCode::NOT_FOUND, format!("{what} not found")) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        response.headers_mut().insert(HeaderName::from_static("x-nomad-index"), self.index.into());
        response
    }
}

/// An answer and the index of what it shows.
type Read = Result<(u64, Value), Refused>;
/// The answer of a write.
type Written = Result<Response, Refused>;

fn json(index: u64, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-nomad-index"), index.into());
    headers
        .insert(HeaderName::from_static("x-nomad-knownleader"), HeaderValue::from_static("true"));
    headers.insert(HeaderName::from_static("x-nomad-lastcontact"), HeaderValue::from_static("0"));
    response
}

/// A record as Nomad shows it: without what is kept for this agent alone. Ours always can be serialized.
fn value(record: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(record).unwrap_or_default();
    hide_own(&mut value);
    value
}

fn hide_own(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(hide_own),
        Value::Object(map) => {
            map.retain(|key, _| !key.starts_with("StandIn"));
            map.values_mut().for_each(hide_own);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1" | "t" | "T" | "TRUE" | "True")
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::bad(error.to_string()))
}

/// The whole API.
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/jobs", get(jobs::list).post(register::jobs).put(register::jobs))
        .route("/v1/jobs/parse", post(jobs::parse_hcl).put(jobs::parse_hcl))
        .route("/v1/validate/job", post(jobs::validate).put(jobs::validate))
        .route("/v1/job/{*rest}", any(job::handle))
        .route("/v1/evaluations", get(evaluations::list))
        .route("/v1/evaluation/{id}", get(evaluations::read))
        .route("/v1/evaluation/{id}/allocations", get(evaluations::allocations))
        .route("/v1/allocations", get(allocations::list))
        .route("/v1/allocation/{id}", get(allocations::read))
        .route("/v1/allocation/{id}/stop", any(allocations::stop))
        .route("/v1/allocation/{id}/services", get(allocations::services))
        .route("/v1/client/allocation/{id}/checks", get(allocations::checks))
        .route("/v1/client/allocation/{id}/restart", any(allocations::restart))
        .route("/v1/client/fs/logs/{id}", get(logs::read))
        .route("/v1/deployments", get(deployments::list))
        .route("/v1/deployment/{id}", get(deployments::read))
        .route("/v1/deployment/allocations/{id}", get(deployments::allocations))
        .route("/v1/deployment/promote/{id}", any(deployments::promote))
        .route("/v1/deployment/fail/{id}", any(deployments::fail))
        .route("/v1/deployment/pause/{id}", any(deployments::pause))
        .route("/v1/deployment/allocation-health/{id}", any(deployments::health))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/node/{id}", get(nodes::read))
        .route("/v1/node/{id}/allocations", get(nodes::allocations))
        .route("/v1/node/{id}/drain", any(nodes::drain))
        .route("/v1/node/{id}/eligibility", any(nodes::eligibility))
        .route("/v1/services", get(services::list))
        .route("/v1/service/{name}", get(services::read))
        .route("/v1/service/{name}/{id}", delete(services::remove))
        .route("/v1/status/leader", get(agent::leader))
        .route("/v1/status/peers", get(agent::peers))
        .route("/v1/agent/self", get(agent::own))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/agent/health", get(agent::health))
        .route("/v1/regions", get(agent::regions))
        .route("/v1/namespaces", get(agent::namespaces))
        .route("/v1/system/gc", any(agent::collect))
        .fallback(async || {
            Refused::new(
                StatusCode::NOT_FOUND,
                "Invalid method or path: this stand-in does not have it",
            )
        })
        .layer(from_fn_with_state(Arc::clone(&api), access::guard))
        .with_state(api)
}
