//! What the admin interface of one Envoy on this host's loopback says, as far as a start and a stop need it.
//!
//! In: a port. Out: whether it is ready, and what passes through it. Called by [`crate::run_envoy`] and
//! [`crate::wait_envoy`].
//!
//! **Invariant**: no proxy of the environment is used: an application's `http_proxy` is this very Envoy.

use std::time::Duration;

use crate::failure::Failure;
use crate::run_envoy::drain::Traffic;

const TIMEOUT: Duration = Duration::from_secs(2);
/// Counters and gauges that tell what passes through.
const TRAFFIC: &str =
    r"^(http|tcp|listener)\..*\.downstream_(rq_active|rq_total|cx_active|cx_total)$";
/// Listeners and routes that the control planes sent.
const LISTENERS: &str = "^listener_manager\\.lds\\.update_success$";

/// The admin interface of one Envoy.
#[derive(Debug)]
pub struct EnvoyAdmin {
    client: reqwest::Client,
    base: String,
}

/// How far a starting Envoy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It has listeners from a control plane and takes requests.
    Ready,
    /// It answers; what it lacks.
    NotYet(String),
    /// Nobody answers.
    Silent(String),
}

impl EnvoyAdmin {
    /// The interface at 127.0.0.1:`port`.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(port: u16) -> Result<Self, Failure> {
        let client =
            reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(TIMEOUT).build();
        let client = client.map_err(|error| {
            Failure::Refused(format!("cannot make an HTTP client: {}", service::ErrorChain(&error)))
        })?;
        Ok(Self { client, base: format!("http://127.0.0.1:{port}") })
    }

    /// Whether Envoy takes requests with a configuration that came from a control plane.
    ///
    /// Envoy alone says LIVE too when no control plane answered for 15 s: it then has no listener at all.
    pub async fn readiness(&self) -> Readiness {
        let answer = match self.client.get(format!("{}/ready", self.base)).send().await {
            Ok(answer) => answer,
            Err(error) => return Readiness::Silent(service::ErrorChain(&error).to_string()),
        };
        if !answer.status().is_success() {
            let status = answer.status();
            let state = answer.text().await.unwrap_or_default();
            return Readiness::NotYet(format!("Envoy says {} {}", status.as_u16(), state.trim()));
        }
        match self.stats(LISTENERS).await {
            Ok(stats) if stats.iter().any(|(_, value)| *value > 0) => Readiness::Ready,
            Ok(_) => Readiness::NotYet("no control plane has sent listeners".to_owned()),
            Err(reason) => Readiness::NotYet(reason),
        }
    }

    /// Calls a path that changes something.
    ///
    /// # Errors
    /// When Envoy does not answer, or refuses.
    pub async fn post(&self, path: &str) -> Result<(), String> {
        let answer = self.client.post(format!("{}{path}", self.base)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer.map(drop).map_err(|error| {
            format!("Envoy's admin interface did not take {path}: {}", service::ErrorChain(&error))
        })
    }

    /// What passes through.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn traffic(&self) -> Result<Traffic, String> {
        self.stats(TRAFFIC).await.map(|stats| traffic(&stats))
    }

    async fn stats(&self, filter: &str) -> Result<Vec<(String, u64)>, String> {
        let request = self.client.get(format!("{}/stats", self.base)).query(&[("filter", filter)]);
        let text = async { request.send().await?.error_for_status()?.text().await }.await;
        let text = text.map_err(|error| {
            format!("Envoy's admin interface does not tell: {}", service::ErrorChain(&error))
        })?;
        Ok(text.lines().filter_map(stat).collect())
    }
}

fn stat(line: &str) -> Option<(String, u64)> {
    let (name, value) = line.split_once(": ")?;
    Some((name.to_owned(), value.trim().parse().ok()?))
}

/// Sums up the stats of all listeners but Envoy's own.
///
/// Envoy has no gauge for connections of bytes: they are those of listeners that are no HTTP connections.
fn traffic(stats: &[(String, u64)]) -> Traffic {
    let sum = |kind: &str, end: &str| -> u64 {
        let of_kind = stats.iter().filter(|(name, _)| {
            let is_own = name.contains(".admin.") || name.contains(".statistics.");
            // Listeners count each connection a second time for its worker.
            name.starts_with(kind) && name.ends_with(end) && !is_own && !name.contains(".worker_")
        });
        of_kind.map(|(_, value)| value).sum()
    };
    let statistics = stats.iter().filter(|(name, _)| {
        name.starts_with("http.statistics.") && name.ends_with(".downstream_cx_active")
    });
    let scrapes: u64 = statistics.map(|(_, value)| value).sum();
    let of_http = sum("http.", ".downstream_cx_active") + scrapes;
    let of_bytes = sum("listener.", ".downstream_cx_active").saturating_sub(of_http);
    Traffic {
        active: sum("http.", ".downstream_rq_active") + of_bytes,
        begun: sum("http.", ".downstream_rq_total") + sum("tcp.", ".downstream_cx_total"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_connections_of_bytes_count_and_envoys_own_do_not() {
        let text = "\
http.admin.downstream_rq_active: 1
http.admin.downstream_cx_active: 1
listener.admin.downstream_cx_active: 1
http.statistics.downstream_cx_active: 2
http.statistics.downstream_rq_active: 1
http.statistics.downstream_rq_total: 70
http.inbound.downstream_cx_active: 4
http.inbound.downstream_rq_active: 3
http.inbound.downstream_rq_total: 40
tcp.ledger-db.downstream_cx_total: 9
listener.0.0.0.0_10000.downstream_cx_active: 4
listener.0.0.0.0_10000.worker_0.downstream_cx_active: 4
listener.0.0.0.0_10002.downstream_cx_active: 2
listener.127.0.0.1_15432.downstream_cx_active: 5
listener.0.0.0.0_10000.downstream_cx_length_ms: No recorded values";
        let stats: Vec<_> = text.lines().filter_map(stat).collect();
        assert_eq!(traffic(&stats), Traffic { active: 3 + 5, begun: 40 + 9 });
    }
}
