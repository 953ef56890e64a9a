//! Consul's agent, as Nomad's client uses it: registering, deregistering, asking for the state of checks.
//!
//! What does not work is tried again: a registration that stays would send requests to a dead process.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

const FRESH: Duration = Duration::from_millis(150);
const PAUSE: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(10);
/// After so many failures the caller goes on, and the rest is tried later.
const TRIES: usize = 4;

/// A check's state by the id of its service: `passing`, `warning` or `critical`, with the check's name.
pub(super) type States = BTreeMap<String, Vec<(String, String)>>;

/// A Consul agent.
#[derive(Debug)]
pub(crate) struct Consul {
    http: Client,
    address: String,
    token: Option<String>,
    checks: Mutex<Option<(Instant, States)>>,
}

impl Consul {
    pub(crate) fn new(http: Client, address: String, token: Option<String>) -> Self {
        Self { http, address, token, checks: Mutex::default() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request =
            self.http.request(method, format!("{}{path}", self.address)).timeout(DEADLINE);
        match &self.token {
            Some(token) => request.header("X-Consul-Token", token),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let said = |error: reqwest::Error| service::ErrorChain(&error).to_string();
        let answer = self.request(Method::GET, path).send().await.map_err(said)?;
        answer.error_for_status().map_err(said)?.json().await.map_err(said)
    }

    /// Registers a service with its checks; tried again until it works.
    pub(super) async fn register(&self, body: &Value) {
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        loop {
            let refusal = match self.request(Method::PUT, path).json(body).send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => {
                    format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default())
                }
                Err(error) => service::ErrorChain(&error).to_string(),
            };
            tracing::warn!(refusal, "Consul did not take a registration; trying again");
            sleep(PAUSE).await;
        }
    }

    /// Removes a service; whether it is gone.
    pub(super) async fn deregister(&self, id: &str) -> bool {
        for _ in 0..TRIES {
            match self
                .request(Method::PUT, &format!("/v1/agent/service/deregister/{id}"))
                .send()
                .await
            {
                Ok(answer) if answer.status().is_success() || answer.status().as_u16() == 404 => {
                    return true;
                }
                Ok(answer) => {
                    // Consul 1.8 answers 500 for a service that it does not know.
                    let text = answer.text().await.unwrap_or_default();
                    if text.contains("Unknown service") {
                        return true;
                    }
                    tracing::warn!(
                        id,
                        answer = text,
                        "Consul keeps a registration that should go; trying again"
                    );
                }
                Err(error) => {
                    tracing::warn!(id, %error, "Consul does not answer; trying again to deregister")
                }
            }
            sleep(PAUSE).await;
        }
        false
    }

    /// The states of all checks, at most a moment old.
    pub(super) async fn checks(&self) -> Result<States, String> {
        let mut known = self.checks.lock().await;
        if let Some((_, states)) = known.as_ref().filter(|(when, _)| when.elapsed() < FRESH) {
            return Ok(states.clone());
        }
        let mut states = States::new();
        for check in
            self.get("/v1/agent/checks").await?.as_object().into_iter().flat_map(|map| map.values())
        {
            let text =
                |key: &str| check.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            states.entry(text("ServiceID")).or_default().push((text("Name"), text("Status")));
        }
        *known = Some((Instant::now(), states.clone()));
        Ok(states)
    }

    /// Ids of Nomad's registrations.
    pub(super) async fn service_ids(&self) -> Result<Vec<String>, String> {
        let services = self.get("/v1/agent/services").await?;
        let ids = services.as_object().into_iter().flat_map(|map| map.keys());
        Ok(ids.filter(|id| id.starts_with("_nomad-task-")).cloned().collect())
    }
}
