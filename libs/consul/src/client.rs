//! The client: one-shot reads and writes, and the making of watches.
//!
//! In: [`Query`]s. Out: [`Answer`]s or [`ConsulError`]s. Cheap to clone; all clones share connections.
//!
//! **Invariants**: nothing is retried in here. A body is believed only with status 200, or where a missing key is an
//! answer, with 404 and Consul's own headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Request, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{ConfigError, Consistency, ConsulConfig};
use crate::error::ConsulError;
use crate::query::{Answer, AnswerHeaders, Query, denied, excerpt, parameters};
use crate::transport::Transport;
use crate::watch::Watch;

/// On plain HTTP a dead client's connections count against Consul's limit until their wait ends.
const PLAIN_WAIT_MAX: Duration = Duration::from_secs(30);
/// A connection closed sooner than this after the request was sent was not closed by a Consul that stops.
const CLOSED_AT_ONCE: Duration = Duration::from_millis(500);
/// From so many own connections on, a connection closed at once points to Consul's limit per source address.
const MANY_CONNECTIONS: usize = 16;
/// So many failures in a row, over all watches, make an outage.
const OUTAGE_AFTER: u32 = 3;

/// A client of one Consul.
#[derive(Debug, Clone)]
pub struct ConsulClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    failures_in_a_row: AtomicU32,
    recoveries: watch::Sender<u64>,
}

impl ConsulClient {
    /// Reads the TLS files; connects only when asked something.
    pub fn new(config: ConsulConfig) -> Result<Self, ConfigError> {
        let transport = Transport::new(config)?;
        let (recoveries, _) = watch::channel(0);
        let inner = Inner { transport, failures_in_a_row: AtomicU32::new(0), recoveries };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether watches share connections (HTTPS) or have one each.
    pub fn is_tls(&self) -> bool {
        self.inner.transport.config().is_tls()
    }

    /// How long a blocking query of this client blocks at most.
    pub fn wait(&self) -> Duration {
        let wait = self.inner.transport.config().wait;
        if self.is_tls() { wait } else { wait.min(PLAIN_WAIT_MAX) }
    }

    /// Pauses for callers that retry what this client does not.
    pub fn backoff(&self) -> crate::Backoff {
        let limits = &self.inner.transport.config().limits;
        crate::Backoff::new(limits.backoff_min, limits.backoff_max)
    }

    /// Asks once, without blocking.
    pub async fn read<T: DeserializeOwned + Default>(
        &self,
        query: &Query<T>,
        consistency: Consistency,
    ) -> Result<Answer<T>, ConsulError> {
        let transport = &self.inner.transport;
        let _permit = transport.read_permit().await;
        let deadline = transport.config().limits.read_timeout;
        self.ask(transport.reads(), query, consistency, None, deadline).await
    }

    /// Starts watching, at the pace of [`crate::Limits::pace`].
    ///
    /// # Errors
    /// [`ConsulError::NoCapacity`] when all places are taken.
    pub fn watch<T>(&self, query: Query<T>) -> Result<Watch<T>, ConsulError>
    where
        T: DeserializeOwned + Default + Send + 'static,
    {
        self.watch_from(query, 0)
    }

    /// Starts watching with what is already known: the first answer comes when something changed after `index`, which
    /// may be that of another answer of the same Consul. 0 asks at once.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub fn watch_from<T>(&self, query: Query<T>, index: u64) -> Result<Watch<T>, ConsulError>
    where
        T: DeserializeOwned + Default + Send + 'static,
    {
        let seat = self.inner.transport.seat(query.describe())?;
        let limits = &self.inner.transport.config().limits;
        Ok(Watch::new(self.clone(), query, seat, self.backoff(), limits.pace, index))
    }

    /// Counts up each time Consul answers again after an outage.
    pub(crate) fn recoveries(&self) -> watch::Receiver<u64> {
        self.inner.recoveries.subscribe()
    }

    /// One blocking query; `index` 0 does not block.
    pub(crate) async fn poll<T: DeserializeOwned + Default>(
        &self,
        client: &Client,
        query: &Query<T>,
        index: u64,
    ) -> Result<Answer<T>, ConsulError> {
        let config = self.inner.transport.config();
        let wait = self.wait();
        let deadline = if index == 0 {
            config.limits.read_timeout
        } else {
            wait + wait / 16 + config.limits.poll_slack
        };
        self.ask(client, query, config.consistency, Some((index, wait)), deadline).await
    }

    /// A request outside the watching endpoints, for [`Self::submit`].
    pub(crate) fn request<'a>(
        &self,
        method: Method,
        path: impl IntoIterator<Item = &'a str>,
        parameter: Option<(&'static str, String)>,
    ) -> RequestBuilder {
        let transport = &self.inner.transport;
        transport.reads().request(method, transport.url(path)).query(parameter.as_slice())
    }

    /// Sends it; the body of a success. `rule` is the ACL rule it needs.
    pub(crate) async fn submit(
        &self,
        request: RequestBuilder,
        rule: &str,
    ) -> Result<Vec<u8>, ConsulError> {
        let transport = &self.inner.transport;
        let _permit = transport.read_permit().await;
        let deadline = transport.config().limits.read_timeout;
        let reply = self.send(transport.reads(), request, deadline).await?;
        if reply.status.is_success() { Ok(reply.body) } else { Err(reply.into_error(rule)) }
    }

    async fn ask<T: DeserializeOwned + Default>(
        &self,
        client: &Client,
        query: &Query<T>,
        consistency: Consistency,
        block: Option<(u64, Duration)>,
        deadline: Duration,
    ) -> Result<Answer<T>, ConsulError> {
        let url = self.inner.transport.url(query.segments.iter().map(String::as_str));
        let request = client.get(url).query(&parameters(query, consistency, block));
        let reply = self.send(client, request, deadline).await?;
        let is_missing = query.missing_is_empty && reply.status == StatusCode::NOT_FOUND;
        if reply.status != StatusCode::OK && !is_missing {
            return Err(reply.into_error(&query.rule));
        }
        let max_stale = self.inner.transport.config().limits.max_stale;
        let headers =
            AnswerHeaders::judge(&reply.headers, consistency, max_stale).map_err(|problem| {
                ConsulError::Untrusted { request: reply.request.clone(), problem }
            })?;
        let value = if is_missing { T::default() } else { reply.decode()? };
        Ok(Answer { value, index: headers.index, is_filtered: headers.is_filtered })
    }

    async fn send(
        &self,
        client: &Client,
        request: RequestBuilder,
        deadline: Duration,
    ) -> Result<Reply, ConsulError> {
        let mut request = request.build().map_err(|source| ConsulError::Unreachable {
            request: "a request that cannot be written".to_owned(),
            source,
        })?;
        let what = format!("{} {}", request.method(), request.url().path());
        self.authorise(&mut request).await?;
        let started = Instant::now();
        let outcome = tokio::time::timeout(deadline, self.exchange(client, request, &what)).await;
        let outcome = match outcome {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Broken::TooLarge(limit))) => Err(ConsulError::TooLarge { request: what, limit }),
            Ok(Err(Broken::Connection(source))) => {
                Err(self.broken(what, source, started.elapsed()))
            }
            Err(_) => Err(ConsulError::TimedOut { request: what, after: deadline }),
        };
        self.note(&outcome);
        outcome
    }

    async fn exchange(
        &self,
        client: &Client,
        request: Request,
        what: &str,
    ) -> Result<Reply, Broken> {
        let limit = self.inner.transport.config().limits.body_bytes;
        let mut response = client.execute(request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(Broken::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        Ok(Reply { request: what.to_owned(), status, headers, body })
    }

    async fn authorise(&self, request: &mut Request) -> Result<(), ConsulError> {
        let token = self.inner.transport.config().token.header().await;
        if let Some(token) = token.map_err(ConsulError::Token)? {
            request.headers_mut().insert("x-consul-token", token);
        }
        Ok(())
    }

    /// A connection that Consul took and closed at once, while others live, points to its limit.
    fn broken(&self, request: String, source: reqwest::Error, after: Duration) -> ConsulError {
        let open = self.inner.transport.open();
        let is_closed = !source.is_connect() && !source.is_timeout() && !source.is_body();
        if !self.is_tls() && is_closed && after < CLOSED_AT_ONCE && open >= MANY_CONNECTIONS {
            return ConsulError::ConnectionLimit { request, open, source };
        }
        ConsulError::Unreachable { request, source }
    }

    /// Tells waiting watches when Consul answers again.
    fn note(&self, outcome: &Result<Reply, ConsulError>) {
        let failures = &self.inner.failures_in_a_row;
        let is_outage = match outcome {
            Ok(reply) => reply.status.is_server_error(),
            Err(error) => error.is_outage(),
        };
        if is_outage {
            failures.fetch_add(1, Ordering::Relaxed);
        } else if outcome.is_ok() && failures.swap(0, Ordering::Relaxed) >= OUTAGE_AFTER {
            self.inner.recoveries.send_modify(|count| *count += 1);
        }
    }
}

/// Why there is no reply.
enum Broken {
    Connection(reqwest::Error),
    TooLarge(usize),
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(error.without_url())
    }
}

/// What came back, whatever its status.
struct Reply {
    request: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; `null` is the default.
    fn decode<T: DeserializeOwned + Default>(&self) -> Result<T, ConsulError> {
        let value: Option<T> = serde_json::from_slice(&self.body)
            .map_err(|source| ConsulError::Malformed { request: self.request.clone(), source })?;
        Ok(value.unwrap_or_default())
    }

    fn into_error(self, rule: &str) -> ConsulError {
        let (request, status) = (self.request, self.status.as_u16());
        let message = excerpt(&self.body);
        let is_limited = status == 503 && message.to_ascii_lowercase().contains("limit");
        match status {
            403 => denied(request, &self.body, rule),
            429 => {
                ConsulError::Throttled { request, status, retry_after: retry_after(&self.headers) }
            }
            503 if is_limited => {
                ConsulError::Throttled { request, status, retry_after: retry_after(&self.headers) }
            }
            _ => ConsulError::Status { request, status, message },
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
