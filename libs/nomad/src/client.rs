//! The client: reads, blocking reads and writes.
//!
//! In: [`Query`]s and what the other modules submit. Out: [`Answer`]s or [`NomadError`]s. Cheap to clone; all clones
//! share connections.
//!
//! **Invariants**: nothing is retried in here; proxies from the environment are not used.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::tls;

use crate::config::{ConfigError, NomadConfig};
use crate::error::NomadError;
use crate::query::{Answer, Query, judge, next_index};

/// Beyond the wait itself Nomad adds up to a sixteenth, so that clients do not come back all at once.
const POLL_SLACK: Duration = Duration::from_secs(10);
const TOKEN_HEADER: &str = "x-nomad-token";

/// A client of one Nomad.
#[derive(Debug, Clone)]
pub struct NomadClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    base: Url,
    config: NomadConfig,
    http: Client,
}

/// What came back with status 200.
pub(crate) struct Reply {
    pub(crate) request: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; `null` is the default.
    pub(crate) fn decode<T: DeserializeOwned + Default>(&self) -> Result<T, NomadError> {
        let value: Option<T> = serde_json::from_slice(&self.body)
            .map_err(|source| NomadError::Malformed { request: self.request.clone(), source })?;
        Ok(value.unwrap_or_default())
    }
}

impl NomadClient {
    /// Reads the TLS files; connects only when asked something.
    ///
    /// # Errors
    /// When no client can be built from the configuration.
    pub fn new(config: NomadConfig) -> Result<Self, ConfigError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ConfigError::NoCryptoProvider);
        }
        let base = base_url(&config)?;
        let http = build_http(&config)?;
        Ok(Self { inner: Arc::new(Inner { base, config, http }) })
    }

    /// Where Nomad is, as configured.
    pub fn address(&self) -> &str {
        &self.inner.config.address
    }

    /// Asks once, without blocking.
    ///
    /// # Errors
    /// [`NomadError`], each with the request and the next step.
    pub async fn read<T: DeserializeOwned + Default>(
        &self,
        query: &Query<T>,
    ) -> Result<Answer<T>, NomadError> {
        self.ask(query, &[], self.inner.config.read_timeout).await
    }

    /// Asks once something has changed since `index`, or after `wait` (at most 10 minutes), whichever is first; index 0
    /// asks at once. The answer's index is what the next call takes: it is 0 where Nomad's went back.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn poll<T: DeserializeOwned + Default>(
        &self,
        query: &Query<T>,
        index: u64,
        wait: Duration,
    ) -> Result<Answer<T>, NomadError> {
        let answer = self.ask_since(query, index, wait).await?;
        Ok(Answer { index: next_index(index, answer.index), ..answer })
    }

    /// As [`Self::poll`], with Nomad's own index in the answer.
    pub(crate) async fn ask_since<T: DeserializeOwned + Default>(
        &self,
        query: &Query<T>,
        index: u64,
        wait: Duration,
    ) -> Result<Answer<T>, NomadError> {
        if index == 0 {
            return self.read(query).await;
        }
        let block = [("index", index.to_string()), ("wait", format!("{}ms", wait.as_millis()))];
        self.ask(query, &block, wait + wait / 16 + POLL_SLACK).await
    }

    async fn ask<T: DeserializeOwned + Default>(
        &self,
        query: &Query<T>,
        block: &[(&'static str, String)],
        deadline: Duration,
    ) -> Result<Answer<T>, NomadError> {
        let request = self.request(Method::GET, query.segments.iter().map(String::as_str));
        let mut parameters: Vec<_> = query.parameters.iter().chain(block).collect();
        // What the query says of the namespace holds, not what the client says.
        let has_namespace = query.parameters.iter().any(|(name, _)| *name == "namespace");
        let scope = self.scope();
        parameters
            .extend(scope.iter().filter(|(name, _)| !(has_namespace && *name == "namespace")));
        let request = request.query(&parameters);
        let reply = self.send(request, query.describe(), query.needs, deadline).await?;
        let index = judge(&reply.headers)
            .map_err(|problem| NomadError::Untrusted { request: reply.request.clone(), problem })?;
        Ok(Answer { value: reply.decode()?, index })
    }

    /// Writes: a body for `method` and `path`, and what the token's policy must allow.
    pub(crate) async fn submit<'a>(
        &self,
        method: Method,
        path: impl IntoIterator<Item = &'a str>,
        parameters: &[(&'static str, String)],
        body: &impl Serialize,
        needs: &'static str,
    ) -> Result<Reply, NomadError> {
        let path: Vec<&str> = path.into_iter().collect();
        let described = format!("{method} /v1/{}", path.join("/"));
        let request = self.request(method, path).query(parameters).query(&self.scope()).json(body);
        self.send(request, described, needs, self.inner.config.read_timeout).await
    }

    /// Reads what is no JSON.
    pub(crate) async fn text<'a>(
        &self,
        path: impl IntoIterator<Item = &'a str>,
        parameters: &[(&'static str, String)],
        needs: &'static str,
    ) -> Result<Vec<u8>, NomadError> {
        let path: Vec<&str> = path.into_iter().collect();
        let described = format!("GET /v1/{}", path.join("/"));
        let request = self.request(Method::GET, path).query(parameters).query(&self.scope());
        Ok(self.send(request, described, needs, self.inner.config.read_timeout).await?.body)
    }

    /// Region and namespace, where they are configured.
    fn scope(&self) -> Vec<(&'static str, String)> {
        let config = &self.inner.config;
        let namespace = config.namespace.iter().map(|value| ("namespace", value.clone()));
        let region = config.region.iter().map(|value| ("region", value.clone()));
        namespace.chain(region).collect()
    }

    fn request<'a>(
        &self,
        method: Method,
        path: impl IntoIterator<Item = &'a str>,
    ) -> RequestBuilder {
        let mut url = self.inner.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        self.inner.http.request(method, url)
    }

    async fn send(
        &self,
        request: RequestBuilder,
        described: String,
        needs: &'static str,
        deadline: Duration,
    ) -> Result<Reply, NomadError> {
        let token = self.inner.config.token.header().await;
        let request = match token.map_err(NomadError::Token)? {
            Some(token) => request.header(TOKEN_HEADER, token),
            None => request,
        };
        let exchange = async {
            let mut response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > self.inner.config.body_bytes {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((status, headers, body))
        };
        let (status, headers, body) = match tokio::time::timeout(deadline, exchange).await {
            Err(_) => return Err(NomadError::TimedOut { request: described, after: deadline }),
            Ok(Err(source)) => {
                let source = source.without_url();
                return Err(NomadError::Unreachable { request: described, source });
            }
            Ok(Ok(parts)) => parts,
        };
        let limit = self.inner.config.body_bytes;
        if body.len() > limit {
            return Err(NomadError::TooLarge { request: described, limit });
        }
        if !status.is_success() {
            return Err(NomadError::of_status(described, status.as_u16(), &body, needs));
        }
        Ok(Reply { request: described, headers, body })
    }
}

fn base_url(config: &NomadConfig) -> Result<Url, ConfigError> {
    let wrong = |problem: String| ConfigError::Address { address: config.address.clone(), problem };
    let url = Url::parse(&config.address).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is neither http:// nor https://".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(wrong("carries credentials or parameters".to_owned()));
    }
    Ok(url)
}

fn build_http(config: &NomadConfig) -> Result<Client, ConfigError> {
    let builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("ayatori/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(15))
        .http1_only();
    let is_tls = config.address.starts_with("https:");
    let (authorities, certificate) =
        (config.ca_file.as_deref(), config.client_certificate.as_ref());
    tls::set_up(builder, is_tls, authorities, certificate)?
        .build()
        .map_err(|source| ConfigError::Client { address: config.address.clone(), source })
}
