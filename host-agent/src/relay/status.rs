//! How each target was when it was last asked, for `/targets`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use super::flight::Outcome;
use super::target::Target;

/// The last outcome of each target, without what it said.
#[derive(Debug, Clone, Default)]
pub struct Statuses {
    by_key: Arc<Mutex<BTreeMap<String, Status>>>,
}

#[derive(Debug, Clone)]
struct Status {
    at: Instant,
    duration_s: f64,
    samples: usize,
    bytes: usize,
    error: Option<(&'static str, String)>,
}

/// A target as pages show it.
#[derive(Debug, Clone, Serialize)]
pub struct TargetView {
    /// The service, or the job of a static one.
    pub service: String,
    /// The allocation, Consul's id, or the instance of a static one.
    pub instance: String,
    /// `application`, `envoy`, `static` or `agent`.
    pub kind: &'static str,
    /// Where it is asked.
    pub url: String,
    /// What its series get.
    pub labels: BTreeMap<String, String>,
    /// Whether the last scrape succeeded; absent before the first one.
    pub up: Option<bool>,
    /// Seconds since the last scrape.
    pub age_s: Option<f64>,
    /// Seconds that it took.
    pub duration_s: Option<f64>,
    /// Samples that it gave.
    pub samples: usize,
    /// Bytes of its body, unpacked.
    pub bytes: usize,
    /// The class of its error, as in `mesh_relay_target_error`.
    pub error_class: Option<&'static str>,
    /// What was wrong.
    pub error: Option<String>,
}

impl Statuses {
    /// Keeps what came of asking a target.
    pub fn note(&self, outcome: &Outcome, now: Instant) {
        let scraped = outcome.result.as_ref();
        let status = Status {
            at: now,
            duration_s: outcome.duration.as_secs_f64(),
            samples: scraped.map_or(0, |scraped| scraped.exposition.series),
            bytes: scraped.map_or(0, |scraped| scraped.bytes),
            error: outcome
                .result
                .as_ref()
                .err()
                .map(|error| (error.class().as_str(), error.to_string())),
        };
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.insert(outcome.target.key.clone(), status);
    }

    /// The targets that there are now; others are forgotten.
    pub fn views(&self, targets: &[Arc<Target>], now: Instant) -> Vec<TargetView> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.retain(|key, _| targets.iter().any(|target| target.key == *key));
        let view = |target: &Arc<Target>| {
            let status = by_key.get(&target.key);
            let error = status.and_then(|status| status.error.clone());
            TargetView {
                service: target.service.clone(),
                instance: target.instance.clone(),
                kind: target.kind.as_str(),
                url: target.address.uri().to_string(),
                labels: target.labels.by_name().clone(),
                up: status.map(|status| status.error.is_none()),
                age_s: status.map(|status| now.duration_since(status.at).as_secs_f64()),
                duration_s: status.map(|status| status.duration_s),
                samples: status.map_or(0, |status| status.samples),
                bytes: status.map_or(0, |status| status.bytes),
                error_class: error.as_ref().map(|(class, _)| *class),
                error: error.map(|(_, text)| text),
            }
        };
        targets.iter().map(view).collect()
    }
}
