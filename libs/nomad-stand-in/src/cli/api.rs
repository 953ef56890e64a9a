//! An agent's HTTP API, asked one thing after the other.
//!
//! In: paths by segment, JSON. Out: JSON with its index, or [`ApiError`], which reads as Nomad's own program says it.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;
use service::ErrorChain;
use tokio::runtime::Runtime;

use super::args::Parsed;

/// An agent.
pub(super) struct Api {
    runtime: Runtime,
    http: Client,
    base: Url,
    token: Option<String>,
    scope: Vec<(&'static str, String)>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    /// Nobody answers.
    Unreachable(String),
    /// Another status than 200; its text.
    Status(u16, String),
    /// The answer is no JSON.
    Malformed(String),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Malformed(why) => f.write_str(why),
            Self::Status(status, text) => {
                write!(f, "Unexpected response code: {status} ({})", text.trim())
            }
        }
    }
}

/// A value and the index at which it was read.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) index: u64,
}

/// Where an agent is when nobody says it.
const DEFAULT: &str = "http://127.0.0.1:4646";

impl Api {
    /// The agent that flags and environment name.
    pub(super) fn new(
        parsed: &Parsed,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let setting = |flag: &str, variable: &str| {
            let given = parsed.one(flag).map(str::to_owned);
            given.or_else(|| environment.get(variable).cloned()).filter(|own| !own.is_empty())
        };
        let address = setting("address", "NOMAD_ADDR").unwrap_or_else(|| DEFAULT.to_owned());
        let base = Url::parse(&address)
            .map_err(|error| format!("invalid address '{address}': {error}"))?;
        // Another part of the process may have chosen one.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = Client::builder().no_proxy();
        if parsed.has("tls-skip-verify") {
            builder = builder.danger_accept_invalid_certs(true);
        }
        if let Some(path) = setting("ca-cert", "NOMAD_CACERT") {
            let pem =
                std::fs::read(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
            let own =
                reqwest::Certificate::from_pem(&pem).map_err(|error| format!("{path}: {error}"))?;
            builder = builder.tls_certs_only([own]);
        }
        let names = [("namespace", "NOMAD_NAMESPACE"), ("region", "NOMAD_REGION")];
        let scope = names.into_iter().filter_map(|(name, own)| Some((name, setting(name, own)?)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| format!("cannot start: {error}"))?,
            http: builder.build().map_err(|error| error.to_string())?,
            base,
            token: setting("token", "NOMAD_TOKEN"),
            scope: scope.collect(),
        })
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        let mut request = self.http.request(method, url).query(query).query(&self.scope);
        if let Some(token) = &self.token {
            request = request.header("X-Nomad-Token", token);
        }
        request
    }

    fn send(&self, request: RequestBuilder) -> Result<(Vec<u8>, u64), ApiError> {
        let unreachable =
            |error: reqwest::Error| ApiError::Unreachable(ErrorChain(&error).to_string());
        self.runtime.block_on(async {
            let response: Response = request.send().await.map_err(unreachable)?;
            let status = response.status();
            let index = response.headers().get("x-nomad-index");
            let index = index.and_then(|own| own.to_str().ok()?.parse().ok()).unwrap_or(0);
            let body = response.bytes().await.map_err(unreachable)?;
            if status.is_success() {
                return Ok((body.to_vec(), index));
            }
            Err(ApiError::Status(status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
        })
    }

    fn json(&self, request: RequestBuilder) -> Result<Answer, ApiError> {
        let (body, index) = self.send(request)?;
        if body.is_empty() {
            return Ok(Answer { value: Value::Null, index });
        }
        let value = serde_json::from_slice(&body);
        let value = value
            .map_err(|error| ApiError::Malformed(format!("the answer is no JSON: {error}")))?;
        Ok(Answer { value, index })
    }

    /// Reads.
    pub(super) fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, ApiError> {
        Ok(self.json(self.request(Method::GET, path, query))?.value)
    }

    /// Reads once something has changed since `index`, or after some time.
    pub(super) fn wait(&self, path: &[&str], index: u64) -> Result<Answer, ApiError> {
        let index = index.to_string();
        let query =
            if index == "0" { Vec::new() } else { vec![("index", index.as_str()), ("wait", "2s")] };
        self.json(self.request(Method::GET, path, &query))
    }

    /// Reads what is no JSON.
    pub(super) fn text(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, ApiError> {
        Ok(self.send(self.request(Method::GET, path, query))?.0)
    }

    /// Writes.
    pub(super) fn post(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, ApiError> {
        Ok(self.json(self.request(Method::POST, path, query).json(body))?.value)
    }

    /// Deletes.
    pub(super) fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, ApiError> {
        Ok(self.json(self.request(Method::DELETE, path, query))?.value)
    }

    /// A request as it is written: `operator api`.
    pub(super) fn raw(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Vec<u8>, ApiError> {
        let malformed = |why: String| ApiError::Malformed(why);
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|error| malformed(error.to_string()))?;
        let url = self.base.join(path).map_err(|error| malformed(error.to_string()))?;
        let mut request = self.http.request(method, url).query(&self.scope);
        if let Some(token) = &self.token {
            request = request.header("X-Nomad-Token", token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        Ok(self.send(request)?.0)
    }
}
