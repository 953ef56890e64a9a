//! What is asked of others than Nomad: control planes whether proxies know, sidecars what they answered.
//!
//! In: a [`Question`]; a version's instances. Out: a [`MeshAnswer`], [`Sli`].
//!
//! **Invariants**: a sidecar that does not answer is left out of both readings; nothing here judges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consul::{Consistency, ConsulClient, ErrorClass, Query};
use contract::api::Convergence;
use futures::future::join_all;
use reqwest::Client;
use service::ErrorChain;
use tokio::time::Instant;

use super::mesh::{self, MeshAnswer, Question};
use super::sli::{self, Counts, Sli, SliRules};
use super::view::View;
use crate::failure::Failure;
use crate::replicas::Replicas;

/// How long a sidecar may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Who is asked.
#[derive(Debug)]
pub struct Probe {
    replicas: Replicas,
    consul: ConsulClient,
    http: Client,
    baseline: Option<Reading>,
}

/// One reading of all sidecars.
#[derive(Debug)]
struct Reading {
    at: Instant,
    counts: ByService,
}

/// By allocation and service.
type ByService = BTreeMap<(String, String), Counts>;

/// What the old and the new instances answered between two readings. An old one that is in one of them only is left out:
/// what it ever answered before says nothing of now. A new one that was not read at first has begun since.
fn compare(before: &ByService, now: &ByService, is_new: impl Fn(&str) -> bool) -> (Counts, Counts) {
    let (mut old, mut new) = (Counts::default(), Counts::default());
    for (who, counts) in now {
        match (is_new(&who.0), before.get(who)) {
            (true, before) => new.add(&counts.since(&before.cloned().unwrap_or_default())),
            (false, Some(before)) => old.add(&counts.since(before)),
            (false, None) => {}
        }
    }
    (old, new)
}

impl Probe {
    /// Asks these.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(replicas: Replicas, consul: ConsulClient) -> Result<Self, Failure> {
        // Sidecars speak plain HTTP, and not through a proxy of the environment.
        let http = Client::builder().no_proxy().tls_certs_only([]).timeout(DEADLINE).build();
        let http = http.map_err(|error| {
            let why = ErrorChain(&error);
            Failure::Refused(format!("cannot make an HTTP client for sidecars: {why}"))
        })?;
        Ok(Self { replicas, consul, http, baseline: None })
    }

    /// Whether any control plane answers.
    pub async fn is_anybody_there(&self) -> Result<(), String> {
        let answers = self.replicas.ask_each::<serde_json::Value>("/v1/status").await;
        let mut silent = Vec::new();
        for (replica, answer) in answers {
            match answer {
                Ok(_) => return Ok(()),
                Err(why) => silent.push(format!("{replica} {why}")),
            }
        }
        Err(silent.join("; "))
    }

    /// Asks all control planes all services' questions; one that does not answer holds it up.
    pub async fn ask(&self, question: &Question, allow_unconnected: bool) -> MeshAnswer {
        let (mut lacks, mut known) = (BTreeSet::new(), 0);
        for one in question {
            let path = one.path();
            let (mut answers, mut silent) = (Vec::new(), Vec::new());
            for (replica, answer) in self.replicas.ask_each::<Convergence>(&path).await {
                match answer {
                    Ok(Some(answer)) => answers.push(answer),
                    Ok(None) => silent.push(format!("{replica} knows no such path")),
                    Err(why) => silent.push(format!("{replica} {why}")),
                }
            }
            if answers.is_empty() {
                return MeshAnswer::Silent(format!(
                    "no control plane answers: {}",
                    silent.join("; ")
                ));
            }
            // What it has told its proxies nobody knows.
            lacks.extend(silent);
            match mesh::join(&answers, allow_unconnected) {
                MeshAnswer::Converged { dependents } => known += dependents,
                MeshAnswer::Waiting(more) => lacks.extend(more),
                MeshAnswer::Silent(_) => {}
            }
        }
        match lacks.is_empty() {
            true => MeshAnswer::Converged { dependents: known },
            false => MeshAnswer::Waiting(lacks.into_iter().collect()),
        }
    }

    /// Reads every sidecar of the job once more and compares the version's with the others'.
    pub async fn measure(&mut self, view: &View, version: u64, rules: &SliRules) -> Sli {
        let counts = match self.read(view).await {
            Ok(counts) => counts,
            Err(why) => return why,
        };
        if counts.is_empty() {
            return Sli::Undecided(
                "no sidecar gives statistics: mesh_stats in the service's meta says where they are"
                    .to_owned(),
            );
        }
        let Some(baseline) = &self.baseline else {
            self.baseline = Some(Reading { at: Instant::now(), counts });
            return Sli::Measuring("the first reading of all sidecars".to_owned());
        };
        let is_new = |id: &str| view.of_version(version).any(|own| own.id == id);
        let (old, new) = compare(&baseline.counts, &counts, is_new);
        sli::judge(rules, &old, &new, baseline.at.elapsed())
    }

    /// What each sidecar of the job says now, or what that it cannot be known comes to.
    async fn read(&self, view: &View) -> Result<ByService, Sli> {
        let services = view.job.as_ref().map(mesh::services).transpose();
        let services = services.map_err(Sli::Undecided)?.unwrap_or_default();
        let mut asked = Vec::new();
        for service in services {
            let name = service.key.name.to_string();
            let query = Query::health_service(&name);
            let found = self.consul.read(&query, Consistency::Default).await;
            let found = found.map_err(|error| {
                let why = ErrorChain(&error).to_string();
                // A Consul that is away for a moment is no reason to ask a person.
                let is_away = error.class() == ErrorClass::Retry;
                if is_away { Sli::Measuring(why) } else { Sli::Undecided(why) }
            })?;
            for entry in found.value {
                let meta = &entry.service.meta;
                let allocation = view.allocations.iter().find(|own| {
                    meta.get("mesh_instance") == Some(&own.id) || entry.service.id.contains(&own.id)
                });
                let (Some(own), Some(port)) = (allocation, meta.get("mesh_stats")) else {
                    continue;
                };
                let address = match entry.service.address.as_str() {
                    "" => entry.node.address.clone(),
                    address => address.to_owned(),
                };
                let url = format!("http://{address}:{port}/stats/prometheus");
                asked.push(self.read_one(own.id.clone(), name.clone(), url));
            }
        }
        Ok(join_all(asked).await.into_iter().flatten().collect())
    }

    async fn read_one(
        &self,
        allocation: String,
        service: String,
        url: String,
    ) -> Option<((String, String), Counts)> {
        let response = self.http.get(url).send().await.ok()?.error_for_status().ok()?;
        let text = response.text().await.ok()?;
        let counts = sli::counts(&text, &service);
        Some(((allocation, service), counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sidecar_that_was_not_read_at_first_brings_no_history_along() {
        let series = "envoy_http_downstream_rq_xx{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"inbound_orders\"}";
        let errors = |count: u64| sli::counts(&format!("{series} {count}\n"), "orders");
        let of = |all: &[(&str, u64)]| -> ByService {
            let one = |(id, count): &(&str, u64)| {
                (((*id).to_owned(), "orders".to_owned()), errors(*count))
            };
            all.iter().map(one).collect()
        };
        let before = of(&[("old-1", 10), ("new-1", 1)]);
        let now = of(&[("old-1", 12), ("old-2", 5_000), ("new-1", 4), ("new-2", 7)]);
        let (old, new) = compare(&before, &now, |id| id.starts_with("new"));
        assert_eq!((old, new), (errors(2), errors(10)));
    }
}
