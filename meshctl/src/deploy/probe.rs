//! What is asked of others than Nomad: control planes whether proxies know, sidecars what they answered.
//!
//! In: a [`Question`]; a version's instances. Out: a [`MeshAnswer`], [`Sli`].
//!
//! **Invariants**: a sidecar that does not answer is left out of both readings; nothing here judges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consul::{Consistency, ConsulClient, Query};
use contract::api::Convergence;
use futures::future::join_all;
use reqwest::Client;
use tokio::time::Instant;

use super::mesh::{self, MeshAnswer, Question};
use super::sli::{self, Counts, Sli, SliRules};
use super::view::View;
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
    /// By allocation and service.
    counts: BTreeMap<(String, String), Counts>,
}

impl Probe {
    /// Asks these.
    pub fn new(replicas: Replicas, consul: ConsulClient) -> Self {
        // Building it needs nothing that could fail but TLS, which is installed when the process starts.
        let http = Client::builder().timeout(DEADLINE).build().unwrap_or_default();
        Self { replicas, consul, http, baseline: None }
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
            Err(why) => return Sli::Undecided(why),
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
        let (mut old, mut new) = (Counts::default(), Counts::default());
        for (who, now) in &counts {
            let before = baseline.counts.get(who).cloned().unwrap_or_default();
            let is_new = view.of_version(version).any(|own| own.id == who.0);
            let side = if is_new { &mut new } else { &mut old };
            side.add(&now.since(&before));
        }
        sli::judge(rules, &old, &new, baseline.at.elapsed())
    }

    /// What each sidecar of the job says now.
    async fn read(&self, view: &View) -> Result<BTreeMap<(String, String), Counts>, String> {
        let services = view.job.as_ref().map(mesh::services).transpose()?.unwrap_or_default();
        let mut asked = Vec::new();
        for service in services {
            let name = service.key.name.to_string();
            let query = Query::health_service(&name);
            let found = self.consul.read(&query, Consistency::Default).await;
            let found = found.map_err(|error| service::ErrorChain(&error).to_string())?;
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
