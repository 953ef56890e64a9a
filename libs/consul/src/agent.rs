//! `/v1/agent` and `/v1/status`: registering instances as Nomad's client does, reporting their health, asking who the
//! agent is and who leads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client::ConsulClient;
use crate::error::ConsulError;
use crate::health::Weights;

/// A service to register with the agent.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceDefinition {
    /// Unique on the agent; registering it again replaces it.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service's name.
    pub name: String,
    /// Empty: the node's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// 0: none.
    pub port: u16,
    /// Empty for an ordinary service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Meta.
    pub meta: BTreeMap<String, String>,
    /// Absent: 1 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// Its checks.
    pub checks: Vec<CheckDefinition>,
}

/// A check to register beside its service.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckDefinition {
    /// Unique on the agent.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// For people.
    pub name: String,
    /// Reported by [`ConsulClient::update_ttl`] at least this often, such as `10s`.
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// `HOST:PORT` that Consul connects to.
    #[serde(rename = "TCP", skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// URL that Consul gets.
    #[serde(rename = "HTTP", skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// How often Consul checks, such as `1s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// The state before the first report; absent: critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// What a TTL check reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TtlStatus {
    /// Healthy.
    Passing,
    /// Healthy with a warning.
    Warning,
    /// Unhealthy.
    Critical,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TtlReport<'a> {
    status: TtlStatus,
    output: &'a str,
}

/// Who an agent is, from `/v1/agent/self`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentIdentity {
    /// The name of its node.
    pub node_name: String,
    /// Its datacenter.
    pub datacenter: String,
}

/// The one part of the answer that is read; the rest differs with each version of Consul.
#[derive(Deserialize)]
struct AgentSelf {
    #[serde(rename = "Config")]
    config: AgentIdentity,
}

impl ConsulClient {
    /// Who the agent is that answers.
    pub async fn agent_identity(&self) -> Result<AgentIdentity, ConsulError> {
        let request = self.request(reqwest::Method::GET, ["agent", "self"], None);
        let body = self.submit(request, "agent_prefix \"\" { policy = \"read\" }").await?;
        let answer: AgentSelf = serde_json::from_slice(&body).map_err(|source| {
            ConsulError::Malformed { request: "GET /v1/agent/self".to_owned(), source }
        })?;
        Ok(answer.config)
    }

    /// Registers a service, with its checks, on the agent.
    pub async fn register_service(&self, service: &ServiceDefinition) -> Result<(), ConsulError> {
        let rule = format!("service \"{}\" {{ policy = \"write\" }}", service.name);
        let request = self.request(reqwest::Method::PUT, ["agent", "service", "register"], None);
        self.submit(request.json(service), &rule).await.map(drop)
    }

    /// Removes a service and its checks from the agent.
    pub async fn deregister_service(&self, id: &str) -> Result<(), ConsulError> {
        let rule = format!("service policy \"write\" for the service of {id}");
        let request =
            self.request(reqwest::Method::PUT, ["agent", "service", "deregister", id], None);
        self.submit(request, &rule).await.map(drop)
    }

    /// Reports a TTL check's state; `output` is for people.
    pub async fn update_ttl(
        &self,
        check_id: &str,
        status: TtlStatus,
        output: &str,
    ) -> Result<(), ConsulError> {
        let rule = format!("service policy \"write\" for the service of the check {check_id}");
        let request =
            self.request(reqwest::Method::PUT, ["agent", "check", "update", check_id], None);
        self.submit(request.json(&TtlReport { status, output }), &rule).await.map(drop)
    }

    /// `HOST:PORT` of the leading server; `None` while there is none.
    pub async fn leader(&self) -> Result<Option<String>, ConsulError> {
        let request = self.request(reqwest::Method::GET, ["status", "leader"], None);
        let body = self.submit(request, "none: this needs no rights").await?;
        let leader: String = serde_json::from_slice(&body).map_err(|source| {
            ConsulError::Malformed { request: "GET /v1/status/leader".to_owned(), source }
        })?;
        Ok(Some(leader).filter(|leader| !leader.is_empty()))
    }
}
