//! `/sd`: HTTP service discovery, for a Prometheus that would have each target as its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Context;
use super::answers::header;
use crate::relay::target::Target;

/// One entry of HTTP service discovery.
#[derive(Serialize)]
struct Discovered {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

pub(super) async fn discovery(State(context): State<Context>, headers: HeaderMap) -> Response {
    let host = header(&headers, HOST).to_owned();
    let entry = |target: &Arc<Target>| {
        let mut labels = target.labels.by_name().clone();
        let instance = match target.instance.as_str() {
            "" => target.label("instance"),
            instance => instance,
        };
        labels.insert(
            "__metrics_path__".to_owned(),
            format!("/metrics/{}/{instance}", target.service),
        );
        labels.insert("__param_job".to_owned(), target.label("job").to_owned());
        Discovered { targets: [host.clone()], labels }
    };
    let entries: Vec<Discovered> = context.targets().iter().map(entry).collect();
    axum::Json(entries).into_response()
}
