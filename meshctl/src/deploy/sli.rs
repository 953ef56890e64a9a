//! Whether new instances answer as well as the old: shares of errors and 99th percentiles, from the sidecars themselves.
//!
//! In: each sidecar's `/stats/prometheus`, read twice ([`counts`], [`Counts::since`]). Out: [`Sli`]. Pure; who asks is
//! [`super::probe`].
//!
//! Sidecars are asked at their statistics port (`mesh_stats`), so that nothing but them and Consul is needed.
//! Answers of 5xx are errors; gRPC's own status in trailers is not among them, and health checks count as requests.
//!
//! **Invariants**: too few requests are no verdict, nor are requests whose times are not known yet.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// No bucket but the one without an end reaches further, in milliseconds.
const LAST_BUCKET_MS: f64 = 1e12;

/// When new instances are good enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliRules {
    /// How long requests are awaited, in seconds.
    pub window_seconds: u64,
    /// Requests that the new instances must have answered.
    pub min_requests: u64,
    /// By how much the share of errors may be larger than that of the old, in percentage points.
    pub max_error_points: f64,
    /// How many times the old p99 the new one may be.
    pub max_p99_ratio: f64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Sli {
    /// Nobody looked yet.
    #[default]
    NotMeasured,
    /// Requests are counted: how it stands.
    Measuring(String),
    /// As good: the figures.
    Passed(String),
    /// Worse: the figures.
    Breached(String),
    /// It cannot be said: why.
    Undecided(String),
}

/// What one or more sidecars have answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    requests: u64,
    errors: u64,
    /// By the upper end of a bucket in microseconds: requests up to there.
    buckets: BTreeMap<u64, u64>,
}

impl Counts {
    /// What was answered since an earlier reading of the same sidecar; one that started anew counts from zero.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.requests < earlier.requests {
            return self.clone();
        }
        let bucket = |(end, count): (&u64, &u64)| {
            (*end, count.saturating_sub(earlier.buckets.get(end).copied().unwrap_or_default()))
        };
        Self {
            requests: self.requests - earlier.requests,
            errors: self.errors.saturating_sub(earlier.errors),
            buckets: self.buckets.iter().map(bucket).collect(),
        }
    }

    /// Adds another sidecar's.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (end, count) in &other.buckets {
            *self.buckets.entry(*end).or_default() += count;
        }
    }

    /// Errors in a hundred requests.
    fn error_percent(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { 100.0 * float(self.errors) / float(self.requests) }
    }

    /// The 99th of a hundred requests in milliseconds, taking a bucket's requests as spread over it evenly.
    fn p99(&self) -> Option<f64> {
        let all = self.timed();
        let wanted = 0.99 * float(all);
        let (mut begin, mut before) = (0.0, 0.0);
        for (end, count) in self.buckets.iter().filter(|_| all > 0) {
            let (end, count) = (float(*end) / 1000.0, float(*count));
            if count >= wanted {
                let is_last = end > LAST_BUCKET_MS;
                let share = if count > before { (wanted - before) / (count - before) } else { 1.0 };
                return Some(if is_last { begin } else { begin + (end - begin) * share });
            }
            (begin, before) = (end, count);
        }
        None
    }

    /// Requests whose times are known: Envoy adds them up every five seconds.
    fn timed(&self) -> u64 {
        self.buckets.values().max().copied().unwrap_or_default()
    }

    fn describe(&self) -> String {
        let p99 = match self.p99() {
            Some(p99) => format!("{p99:.1} ms"),
            None => "unknown".to_owned(),
        };
        let (errors, requests) = (self.error_percent(), self.requests);
        format!("{errors:.2} % errors, p99 {p99} of {requests} requests")
    }
}

/// Reads what a sidecar says of the requests that came in for a service.
pub fn counts(text: &str, service: &str) -> Counts {
    let mut counts = Counts::default();
    let owner = format!("envoy_http_conn_manager_prefix=\"inbound_{service}\"");
    for line in text.lines().filter(|line| line.contains(&owner)) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some(value) = value.parse::<f64>().ok().and_then(whole) else { continue };
        if series.starts_with("envoy_http_downstream_rq_xx{") {
            counts.requests += value;
            if label(series, "envoy_response_code_class") == Some("5") {
                counts.errors += value;
            }
        } else if series.starts_with("envoy_http_downstream_rq_time_bucket{") {
            let end = match label(series, "le") {
                Some("+Inf") => Some(u64::MAX),
                Some(end) => end.parse().ok().and_then(|ms: f64| whole(ms * 1000.0)),
                None => None,
            };
            if let Some(end) = end {
                *counts.buckets.entry(end).or_default() += value;
            }
        }
    }
    counts
}

/// Compares the new instances with the old, `elapsed` after the first reading.
pub fn judge(rules: &SliRules, old: &Counts, new: &Counts, elapsed: Duration) -> Sli {
    let answered = new.requests.min(new.timed());
    if answered < rules.min_requests {
        let so_far = format!("{answered} of {} requests", rules.min_requests);
        if elapsed.as_secs() < rules.window_seconds {
            return Sli::Measuring(so_far);
        }
        return Sli::Undecided(format!(
            "the new instances answered {so_far} within {} s: give them a share of the traffic (tracks in the System's document), or more time (--sli-window)",
            rules.window_seconds
        ));
    }
    let figures = format!("new: {}; old: {}", new.describe(), old.describe());
    let has_more_errors = new.error_percent() - old.error_percent() > rules.max_error_points;
    // Without requests to the old ones there is nothing to be slower than.
    let is_slower = match (new.p99(), old.p99()) {
        (Some(new), Some(old)) => new > old * rules.max_p99_ratio,
        _ => false,
    };
    match (has_more_errors, is_slower) {
        (false, false) => Sli::Passed(figures),
        (true, _) => Sli::Breached(format!("more errors than before ({figures})")),
        (false, true) => Sli::Breached(format!("slower than before ({figures})")),
    }
}

fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = series.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a small whole number; Envoy writes counters as floats"
)]
fn whole(value: f64) -> Option<u64> {
    (0.0..9e15).contains(&value).then_some(value.round() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "a share, for people")]
const fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: SliRules = SliRules {
        window_seconds: 60,
        min_requests: 100,
        max_error_points: 1.0,
        max_p99_ratio: 1.5,
    };

    fn stats(ok: u64, bad: u64, slow: u64) -> Counts {
        let all = ok + bad;
        let fast = all - slow;
        counts(
            &format!(
                "# TYPE envoy_http_downstream_rq_xx counter\n\
                 envoy_http_downstream_rq_xx{{envoy_response_code_class=\"2\",envoy_http_conn_manager_prefix=\"inbound_orders\"}} {ok}\n\
                 envoy_http_downstream_rq_xx{{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"inbound_orders\"}} {bad}\n\
                 envoy_http_downstream_rq_xx{{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"egress\"}} 999\n\
                 envoy_http_downstream_rq_time_bucket{{envoy_http_conn_manager_prefix=\"inbound_orders\",le=\"0.5\"}} {fast}\n\
                 envoy_http_downstream_rq_time_bucket{{envoy_http_conn_manager_prefix=\"inbound_orders\",le=\"25\"}} {all}\n\
                 envoy_http_downstream_rq_time_bucket{{envoy_http_conn_manager_prefix=\"inbound_orders\",le=\"+Inf\"}} {all}\n"
            ),
            "orders",
        )
    }

    fn verdict(old: &Counts, new: &Counts, seconds: u64) -> String {
        format!("{:?}", judge(&RULES, old, new, Duration::from_secs(seconds)))
    }

    #[test]
    fn as_good_as_before_passes_with_its_figures() {
        let said = verdict(&stats(1000, 5, 0), &stats(199, 1, 0), 3);
        assert_eq!(
            said,
            "Passed(\"new: 0.50 % errors, p99 0.5 ms of 200 requests; old: 0.50 % errors, p99 0.5 ms of 1005 requests\")"
        );
    }

    #[test]
    fn more_errors_or_a_slower_p99_are_a_breach() {
        let old = stats(1000, 0, 5);
        assert!(verdict(&old, &stats(190, 10, 0), 3).starts_with("Breached(\"more errors"));
        assert!(verdict(&old, &stats(200, 0, 5), 3).starts_with("Breached(\"slower"));
        assert!(verdict(&old, &stats(200, 0, 1), 3).starts_with("Passed"));
        assert!(verdict(&Counts::default(), &stats(200, 0, 5), 3).starts_with("Passed"));
    }

    #[test]
    fn requests_whose_times_are_not_known_yet_do_not_count() {
        let untimed = Counts { buckets: BTreeMap::new(), ..stats(200, 0, 0) };
        assert_eq!(verdict(&stats(9, 0, 0), &untimed, 3), "Measuring(\"0 of 100 requests\")");
    }

    #[test]
    fn too_few_requests_are_awaited_and_then_no_verdict() {
        assert_eq!(
            verdict(&stats(9, 0, 0), &stats(7, 0, 0), 59),
            "Measuring(\"7 of 100 requests\")"
        );
        assert!(verdict(&stats(9, 0, 0), &stats(7, 0, 0), 60).starts_with("Undecided"));
    }

    #[test]
    fn a_sidecar_counts_from_its_first_reading_and_one_that_restarted_from_zero() {
        assert_eq!(stats(150, 3, 2).since(&stats(100, 1, 1)), stats(50, 2, 1));
        assert_eq!(stats(50, 2, 1).since(&stats(100, 1, 1)), stats(50, 2, 1));
    }
}
