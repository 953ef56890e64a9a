//! `[relay]`: where metrics are served, and what one target may cost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Problems;

use super::parse::{LONGEST_BODY, ParseLimits};
use super::target::{Address, Target, TargetKind};

/// `[relay]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRelay {
    /// Where Prometheus reaches it, such as `0.0.0.0:9180`; without it there is no relay.
    pub listen: Option<SocketAddr>,
    /// Time for all targets when the caller says none, and at most, in milliseconds; a caller has as long to take its answer.
    pub timeout_ms: u64,
    /// Largest body of one target, unpacked, in bytes.
    pub body_bytes: usize,
    /// Largest size of all bodies that are held at once, in bytes.
    pub total_body_bytes: usize,
    /// Most samples of one target.
    pub samples: usize,
    /// Most labels of one sample.
    pub labels: usize,
    /// Most bytes of one label's name and value together.
    pub label_bytes: usize,
    /// Targets that are asked at once.
    pub parallel: usize,
    /// Callers whose request for metrics is answered at once; others get 503 and a time to come again.
    pub callers: usize,
    /// Whether timestamps of exporters are passed on; then a target that dies stays visible for five minutes.
    pub keep_timestamps: bool,
    /// Whether each target has a series `up` beside `mesh_relay_target_up`.
    pub up: bool,
    /// Path of the statistics on a sidecar's `mesh_stats` port.
    pub envoy_path: String,
    /// Exporters that Consul does not know of.
    #[serde(rename = "static")]
    pub written: Vec<RawTarget>,
}

/// `[[relay.static]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTarget {
    /// Its label `job`.
    pub job: String,
    /// Such as `http://127.0.0.1:9100/metrics`.
    pub url: String,
    /// Its label `instance`; without it the host and port of the URL.
    pub instance: Option<String>,
    /// More labels.
    pub labels: BTreeMap<String, String>,
}

impl Default for RawRelay {
    fn default() -> Self {
        Self {
            listen: None,
            timeout_ms: 10_000,
            body_bytes: 32 << 20,
            total_body_bytes: 256 << 20,
            samples: 200_000,
            labels: 64,
            label_bytes: 4096,
            parallel: 64,
            callers: 32,
            keep_timestamps: false,
            up: true,
            envoy_path: "/stats/prometheus?usedonly".to_owned(),
            written: Vec::new(),
        }
    }
}

/// How the relay works.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Where it is served.
    pub listen: SocketAddr,
    /// How targets are asked.
    pub scrape: ScrapeConfig,
    /// Callers that are answered at once.
    pub callers: usize,
    /// Whether timestamps are passed on.
    pub keep_timestamps: bool,
    /// Whether there is a series `up` for each target.
    pub up: bool,
    /// Path of a sidecar's statistics.
    pub envoy_path: String,
    /// Targets that are written.
    pub written: Vec<Target>,
}

/// How targets are asked, and what one may cost.
#[derive(Debug, Clone)]
pub struct ScrapeConfig {
    /// Time for all targets at most.
    pub timeout: Duration,
    /// Largest body of one target, unpacked.
    pub body_bytes: usize,
    /// Largest size of all bodies.
    pub total_body_bytes: usize,
    /// What a body may hold.
    pub limits: ParseLimits,
    /// Targets that are asked at once.
    pub parallel: usize,
}

impl RawRelay {
    /// Parses the targets; what is wrong is noted under `relay.…`. `None`: there is to be no relay.
    pub fn resolve(self, problems: &mut Problems) -> Option<RelayConfig> {
        if self.body_bytes > LONGEST_BODY {
            problems.add("relay.body_bytes", format!("expected at most {LONGEST_BODY}"));
        }
        for (key, value) in [
            ("timeout_ms", self.timeout_ms),
            ("parallel", self.parallel as u64),
            ("callers", self.callers as u64),
        ] {
            if value == 0 {
                problems.add(format!("relay.{key}"), "expected at least 1");
            }
        }
        if !self.envoy_path.starts_with('/') {
            problems.add("relay.envoy_path", "a path begins with /");
        }
        let mut written = Vec::new();
        for (position, raw) in self.written.into_iter().enumerate() {
            let target = raw.resolve();
            written.extend(problems.take(&format!("relay.static.{position}"), target));
        }
        Some(RelayConfig {
            listen: self.listen?,
            scrape: ScrapeConfig {
                timeout: Duration::from_millis(self.timeout_ms),
                body_bytes: self.body_bytes,
                total_body_bytes: self.total_body_bytes,
                limits: ParseLimits {
                    samples: self.samples,
                    labels: self.labels,
                    label_bytes: self.label_bytes,
                },
                parallel: self.parallel,
            },
            callers: self.callers,
            keep_timestamps: self.keep_timestamps,
            up: self.up,
            envoy_path: self.envoy_path,
            written,
        })
    }
}

impl RawTarget {
    fn resolve(self) -> Result<Target, String> {
        if self.job.is_empty() {
            return Err("a job is needed".to_owned());
        }
        let address: Address = self.url.parse()?;
        for name in self.labels.keys() {
            if !super::label::is_plain(name) || matches!(name.as_str(), "job" | "instance") {
                return Err(format!("{name:?} cannot be the name of a label here"));
            }
        }
        let instance = self.instance.unwrap_or_else(|| address.authority().to_owned());
        let mut labels = self.labels;
        labels.insert("job".to_owned(), self.job.clone());
        labels.insert("instance".to_owned(), instance.clone());
        let service = self.job;
        Ok(Target::new(TargetKind::Static, address, service, instance, labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_target_and_limit_is_reported_at_once() {
        let target = |job: &str, url: &str, label: &str| RawTarget {
            job: job.to_owned(),
            url: url.to_owned(),
            labels: BTreeMap::from([(label.to_owned(), "x".to_owned())]),
            ..RawTarget::default()
        };
        let raw = RawRelay {
            listen: Some(([127, 0, 0, 1], 9180).into()),
            timeout_ms: 0,
            callers: 0,
            envoy_path: "stats".to_owned(),
            written: vec![
                target("", "http://127.0.0.1:9100/metrics", "a"),
                target("node", "https://127.0.0.1:9100/metrics", "a"),
                target("node", "http://127.0.0.1:9100/metrics", "instance"),
                target("node", "http://127.0.0.1:9100", "a"),
            ],
            ..RawRelay::default()
        };
        let mut problems = Problems::default();
        let config = raw.resolve(&mut problems).unwrap();
        assert_eq!(config.written.len(), 1);
        let message = problems.finish(None, Some(())).unwrap_err().to_string();
        for expected in [
            "relay.timeout_ms: expected at least 1",
            "relay.callers: expected at least 1",
            "relay.envoy_path: a path begins with /",
            "relay.static.0: a job is needed",
            "relay.static.1: \"https://127.0.0.1:9100/metrics\" is no http://HOST:PORT/PATH",
            "relay.static.2: \"instance\" cannot be the name of a label here",
        ] {
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn without_an_address_there_is_no_relay() {
        assert!(RawRelay::default().resolve(&mut Problems::default()).is_none());
    }
}
