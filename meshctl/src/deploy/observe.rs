//! What Nomad knows of a job, read into a [`View`]; and the next change of it, awaited.
//!
//! **Invariants**: read in an order in which nothing can seem done that is not. Nomad changes a deployment, the job and the
//! allocations at one moment; whatever is read later is at least as new. So the job is older than its deployment (a version
//! that failed is not taken for one that somebody replaced), and the deployment older than its allocations (one that is
//! successful has its last instances).

use std::time::Duration;

use nomad::{Allocation, Deployment, Evaluation, Job, NomadClient, NomadError, Query};

use super::view::{self, View};

/// How long a blocking query blocks at most.
const WAIT: Duration = Duration::from_secs(20);
/// After a poll that failed, before everything is read anew.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads a job again and again.
#[derive(Debug)]
pub struct Observer {
    nomad: NomadClient,
    job: String,
    evaluation: Option<String>,
    indexes: Indexes,
    /// The job's create index.
    created: u64,
}

/// From where on changes are awaited.
#[derive(Debug, Clone, Copy, Default)]
struct Indexes {
    job: u64,
    allocations: u64,
    deployments: u64,
    evaluation: u64,
}

impl Observer {
    /// Of this job.
    pub fn new(nomad: NomadClient, job: String) -> Self {
        Self { nomad, job, evaluation: None, indexes: Indexes::default(), created: 0 }
    }

    /// Follows this evaluation, too.
    pub fn follow(&mut self, evaluation: &str) {
        self.evaluation = Some(evaluation.to_owned()).filter(|id| !id.is_empty());
    }

    /// Reads everything into the view; what others than Nomad said stays.
    ///
    /// # Errors
    /// When Nomad does not answer or refuses.
    pub async fn read(&mut self, view: &mut View) -> Result<(), NomadError> {
        view.evaluation = None;
        if let Some(id) = self.evaluation.clone() {
            match self.nomad.read(&Query::evaluation(&id)).await {
                Ok(answer) => {
                    self.indexes.evaluation = answer.index;
                    // Where it led to another one, that one says what has no place.
                    if let Some(next) = next(&answer.value) {
                        self.evaluation = Some(next);
                    }
                    view.evaluation = Some(answer.value);
                }
                // Nomad forgets old ones.
                Err(error) if error.is_not_found() => self.evaluation = None,
                Err(error) => return Err(error),
            }
        }
        view.job = match self.nomad.read(&Query::job(&self.job)).await {
            Ok(answer) => {
                self.indexes.job = answer.index;
                Some(answer.value)
            }
            Err(error) if error.is_not_found() => {
                self.indexes.job = 0;
                None
            }
            Err(error) => return Err(error),
        };
        let deployments = self.nomad.read(&Query::deployments_of(&self.job)).await?;
        self.indexes.deployments = deployments.index;
        let allocations = self.nomad.read(&Query::allocations_of(&self.job)).await?;
        self.indexes.allocations = allocations.index;
        view.allocations = allocations.value;
        view::sort(&mut view.allocations);
        view.deployments = deployments.value;
        // What ran under the same name before a purge has the same versions and is none of this.
        if let Some(job) = &view.job {
            self.created = job.create_index();
        }
        let created = self.created;
        view.allocations.retain(|own| own.create_index >= created);
        view.deployments.retain(|own| own.create_index >= created);
        Ok(())
    }

    /// Comes back when something has changed since it was read, or after a while.
    pub async fn changed(&self) {
        let Indexes { job, allocations, deployments, evaluation } = self.indexes;
        let of_job = Query::<Vec<Allocation>>::allocations_of(&self.job);
        let deployment = Query::<Vec<Deployment>>::deployments_of(&self.job);
        let of_evaluation = async {
            match &self.evaluation {
                Some(id) => {
                    let query = Query::<Evaluation>::evaluation(id);
                    self.nomad.poll(&query, evaluation, WAIT).await.map(drop)
                }
                None => std::future::pending().await,
            }
        };
        let of_itself = async {
            match job {
                0 => std::future::pending().await,
                index => {
                    self.nomad.poll(&Query::<Job>::job(&self.job), index, WAIT).await.map(drop)
                }
            }
        };
        let outcome = tokio::select! {
            found = self.nomad.poll(&of_job, allocations, WAIT) => found.map(drop),
            found = self.nomad.poll(&deployment, deployments, WAIT) => found.map(drop),
            found = of_evaluation => found,
            found = of_itself => found,
        };
        if outcome.is_err() {
            // Reading says what is wrong.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The evaluation that goes on where this one ended.
fn next(evaluation: &Evaluation) -> Option<String> {
    let is_over = evaluation.status == "complete";
    (is_over && !evaluation.next.is_empty()).then(|| evaluation.next.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::extract::State;
    use axum::http::Uri;
    use serde_json::{Value, json};

    use super::*;

    /// A Nomad that carries out everything at one moment: after the first answer about `before`.
    async fn turning(before: &'static str, old: fn(&str) -> Value, new: fn(&str) -> Value) -> View {
        type Turn = (Arc<AtomicBool>, &'static str, fn(&str) -> Value, fn(&str) -> Value);
        async fn answer(State((is_done, before, old, new)): State<Turn>, uri: Uri) -> String {
            let what = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
            let world = if is_done.load(Ordering::SeqCst) { new } else { old };
            is_done.fetch_or(what == before, Ordering::SeqCst);
            world(&what).to_string()
        }
        consul::testing::install_crypto_provider();
        let state: Turn = (Arc::default(), before, old, new);
        let app = Router::new().fallback(answer).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let nomad = NomadClient::new(nomad::NomadConfig::new(url)).unwrap();
        let mut view = View::default();
        let mut observer = Observer::new(nomad, "orders".to_owned());
        tokio::select! {
            ended = async { axum::serve(listener, app).await } => panic!("{ended:?}"),
            read = observer.read(&mut view) => read.unwrap(),
        }
        view
    }

    #[tokio::test]
    async fn a_deployment_that_is_successful_has_its_last_instances() {
        let old = |what: &str| match what {
            "allocations" => json!([{"ID": "old", "JobVersion": 4, "DesiredStatus": "run"}]),
            "deployments" => json!([{"ID": "d", "JobVersion": 5, "Status": "running"}]),
            _ => json!({"ID": "orders", "Version": 5}),
        };
        let new = |what: &str| match what {
            "allocations" => json!([{"ID": "old", "JobVersion": 4, "DesiredStatus": "stop"}]),
            "deployments" => json!([{"ID": "d", "JobVersion": 5, "Status": "successful"}]),
            _ => json!({"ID": "orders", "Version": 5}),
        };
        for moment in ["orders", "deployments", "allocations"] {
            let view = turning(moment, old, new).await;
            let is_done = view.deployments[0].status == "successful";
            let is_gone = view.allocations[0].desired_status == "stop";
            assert!(!is_done || is_gone, "done at the answer about {moment}: {view:?}");
        }
    }

    #[tokio::test]
    async fn a_version_that_nomad_reverted_is_not_taken_for_one_that_somebody_replaced() {
        let old = |what: &str| match what {
            "allocations" => json!([]),
            "deployments" => json!([{"ID": "d", "JobVersion": 5, "Status": "running"}]),
            _ => json!({"ID": "orders", "Version": 5}),
        };
        let new = |what: &str| match what {
            "allocations" => json!([]),
            "deployments" => json!([{"ID": "d", "JobVersion": 5, "Status": "failed"}]),
            _ => json!({"ID": "orders", "Version": 6}),
        };
        for moment in ["orders", "deployments", "allocations"] {
            let view = turning(moment, old, new).await;
            let is_replaced = view.job.as_ref().map(Job::version) == Some(6);
            let has_failed = view.deployments[0].status == "failed";
            assert!(!is_replaced || has_failed, "done at the answer about {moment}: {view:?}");
        }
    }
}
