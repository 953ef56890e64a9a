//! Answers to `/metrics`: targets are asked, what they say is brought together, encoded and packed.
//!
//! In: a request's headers and path. Out: its answer, before the caller's deadline, with what is there by then.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::Instant;

use super::Context;
use crate::relay::accept::{Accepted, Encoding, negotiate, takes_gzip, wants_html};
use crate::relay::encode::encode;
use crate::relay::flight::Outcome;
use crate::relay::label::TargetLabels;
use crate::relay::merge::{Source, merge};
use crate::relay::scrape::TIMEOUT_HEADER;
use crate::relay::synthetic;
use crate::relay::target::Target;

/// Of a caller's time, what is kept for merging, encoding and sending: a tenth, at most this.
const MOST_MARGIN: Duration = Duration::from_millis(500);

impl Context {
    /// The time for all targets: what the caller says, less a margin, within the configured one.
    fn budget(&self, headers: &HeaderMap) -> Duration {
        let most = self.config.scrape.timeout;
        let said = headers.get(TIMEOUT_HEADER).and_then(|value| value.to_str().ok());
        let said = said.and_then(|text| text.parse::<f64>().ok());
        let said = said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let Some(said) = said.filter(|said| !said.is_zero()) else { return most };
        let margin = (said / 10).min(MOST_MARGIN);
        (said - margin).min(most)
    }

    async fn ask(
        &self,
        targets: Vec<Arc<Target>>,
        accepted: Accepted,
        headers: &HeaderMap,
        begun: Instant,
    ) -> Result<Vec<Arc<Outcome>>, Response> {
        let deadline = begun + self.budget(headers);
        let has_protobuf = accepted.encoding == Encoding::Protobuf;
        let flights = self.flights.begin(targets, has_protobuf, deadline).await;
        let flights = flights.map_err(|stopping| {
            self.metrics.note_request(accepted.name(), 503);
            (StatusCode::SERVICE_UNAVAILABLE, format!("{stopping}\n")).into_response()
        })?;
        let mut outcomes = Vec::with_capacity(flights.len());
        for flight in flights {
            outcomes.push(flight.outcome(deadline).await);
        }
        Ok(outcomes)
    }

    async fn answer(
        &self,
        outcomes: Vec<Arc<Outcome>>,
        is_single: bool,
        headers: &HeaderMap,
        begun: Instant,
    ) -> Response {
        let accepted = accepted(headers);
        let is_packed = takes_gzip(header(headers, ACCEPT_ENCODING));
        let context = self.clone();
        let work = move || context.encode(&outcomes, is_single, accepted, is_packed);
        let made = tokio::task::spawn_blocking(work).await;
        let made = made.unwrap_or_else(|error| Err(io::Error::other(error)));
        let (body, size) = match made {
            Ok(made) => made,
            Err(error) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
            }
        };
        self.metrics.note_answer(accepted.name(), 200, size, begun.elapsed());
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(VARY, VARIES);
        if let Ok(value) = accepted.content_type().parse() {
            headers.insert(CONTENT_TYPE, value);
        }
        if is_packed {
            headers.insert(CONTENT_ENCODING, GZIP);
        }
        response
    }

    /// Merges, encodes, packs; the body and its size before it was packed.
    fn encode(
        &self,
        outcomes: &[Arc<Outcome>],
        is_single: bool,
        accepted: Accepted,
        is_packed: bool,
    ) -> io::Result<(Vec<u8>, usize)> {
        // Of one target alone, Prometheus itself says how it was.
        let shown = if is_single { &[] } else { outcomes };
        let own = synthetic::exposition(shown, self.config.up).map_err(io::Error::other)?;
        let none = TargetLabels::default();
        let mut sources = vec![Source { labels: &none, exposition: &own }];
        let up =
            outcomes.iter().filter_map(|outcome| Some((outcome, outcome.result.as_ref().ok()?)));
        let up: Vec<_> = up.collect();
        sources.extend(up.iter().map(|(outcome, scraped)| Source {
            labels: &outcome.target.labels,
            exposition: &scraped.exposition,
        }));
        let merged = merge(&sources);
        for dropped in &merged.dropped {
            if let Some((outcome, _)) = dropped.source.checked_sub(1).and_then(|at| up.get(at)) {
                let service = &outcome.target.service;
                self.metrics.note_dropped(service, dropped.reason, dropped.series);
            }
        }
        let body = encode(&merged, accepted, self.config.keep_timestamps);
        let size = body.len();
        if !is_packed {
            return Ok((body, size));
        }
        let mut packed = GzEncoder::new(Vec::with_capacity(size / 8), Compression::new(1));
        packed.write_all(&body)?;
        Ok((packed.finish()?, size))
    }
}

const VARIES: HeaderValue = HeaderValue::from_static("accept, accept-encoding");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

pub(super) fn header(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(super) fn accepted(headers: &HeaderMap) -> Accepted {
    negotiate(header(headers, ACCEPT))
}

pub(super) async fn all(State(context): State<Context>, headers: HeaderMap) -> Response {
    let begun = Instant::now();
    match context.ask(context.targets(), accepted(&headers), &headers, begun).await {
        Ok(outcomes) => context.answer(outcomes, false, &headers, begun).await,
        Err(refused) => refused,
    }
}

pub(super) async fn one(
    State(context): State<Context>,
    Path((service, instance)): Path<(String, String)>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let begun = Instant::now();
    let job = parameters.get("job");
    let mut targets = context.targets();
    targets.retain(|target| {
        let is_instance = target.instance == instance || target.label("instance") == instance;
        target.service == service && is_instance && job.is_none_or(|job| target.label("job") == job)
    });
    if targets.is_empty() {
        let body = format!("no target of {service} is called {instance}: see /targets\n");
        return (StatusCode::NOT_FOUND, body).into_response();
    }
    let is_single = job.is_some();
    let outcomes = match context.ask(targets, accepted(&headers), &headers, begun).await {
        Ok(outcomes) => outcomes,
        Err(refused) => return refused,
    };
    let failure = outcomes.first().and_then(|outcome| outcome.result.as_ref().err());
    if let Some(failure) = failure.filter(|_| is_single) {
        context.metrics.note_answer(accepted(&headers).name(), 502, 0, begun.elapsed());
        return (StatusCode::BAD_GATEWAY, format!("{failure}\n")).into_response();
    }
    context.answer(outcomes, is_single, &headers, begun).await
}

/// Whether a page is asked for.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    wants_html(header(headers, ACCEPT))
}
