//! Stage 2: asking one target: in time, with bounded memory, unpacked as it comes.
//!
//! In: a [`Target`], a deadline, the limits. Out: an [`Exposition`], or a [`Failure`].
//!
//! **Invariants**: a body is never larger in memory than the limit, packed or not; what all bodies hold together is bounded;
//! redirects and proxies are not followed: the target is the one that was named.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::accept::content_format;
use super::config::ScrapeConfig;
use super::failure::Failure;
use super::parse::{Exposition, Format, parse};
use super::target::Target;

/// What Prometheus names its deadline in, and the relay its own to targets.
pub const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

const TEXT_ONLY: &str = "application/openmetrics-text;version=1.0.0;q=0.8,\
    application/openmetrics-text;version=0.0.1;q=0.7,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROTOBUF_FIRST: &str = "application/vnd.google.protobuf;\
    proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9,\
    application/openmetrics-text;version=1.0.0;q=0.8,\
    application/openmetrics-text;version=0.0.1;q=0.7,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// A body that is smaller than this is parsed where it was read; a larger one on a thread of its own.
const SMALL_BODY: usize = 256 << 10;

/// Asks targets.
#[derive(Debug, Clone)]
pub struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
    config: Arc<ScrapeConfig>,
    held: Arc<AtomicUsize>,
}

/// So many bytes of bodies, given back when it is dropped.
#[derive(Debug)]
struct Held {
    total: Arc<AtomicUsize>,
    own: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.fetch_sub(self.own, Ordering::Relaxed);
    }
}

/// A body that was understood; while it lives its memory counts.
#[derive(Debug)]
pub struct Scraped {
    /// What it says.
    pub exposition: Exposition,
    /// The body's size, unpacked.
    pub bytes: usize,
    _held: Held,
}

/// A body as it grows, up to its limits.
struct Body {
    bytes: Vec<u8>,
    limit: usize,
    total: usize,
    held: Held,
    failure: Option<Failure>,
}

impl std::io::Write for Body {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + chunk.len() > self.limit {
            self.failure = Some(Failure::TooLarge(self.limit));
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let before = self.held.total.fetch_add(chunk.len(), Ordering::Relaxed);
        self.held.own += chunk.len();
        if before + chunk.len() > self.total {
            self.failure = Some(Failure::HostFull(self.total));
            return Err(std::io::ErrorKind::QuotaExceeded.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Scraper {
    /// One for all targets; connections are kept between scrapes.
    pub fn new(config: ScrapeConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(64 << 10)
            .build(connector);
        Self { client, config: Arc::new(config), held: Arc::default() }
    }

    /// How targets are asked.
    pub fn config(&self) -> &ScrapeConfig {
        &self.config
    }

    /// Bytes of bodies that are held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Asks a target until `deadline`.
    pub async fn scrape(
        &self,
        target: &Target,
        has_protobuf: bool,
        deadline: Instant,
    ) -> Result<Scraped, Failure> {
        let begun = Instant::now();
        let asked = self.ask(target, has_protobuf, deadline);
        tokio::time::timeout_at(deadline, asked)
            .await
            .unwrap_or_else(|_| Err(Failure::Timeout(deadline.duration_since(begun))))
    }

    async fn ask(
        &self,
        target: &Target,
        has_protobuf: bool,
        deadline: Instant,
    ) -> Result<Scraped, Failure> {
        let remaining = deadline.duration_since(Instant::now()).as_secs_f64();
        let request = Request::get(target.address.uri())
            .header(HOST, target.address.authority())
            .header(ACCEPT, if has_protobuf { PROTOBUF_FIRST } else { TEXT_ONLY })
            .header(ACCEPT_ENCODING, "gzip")
            .header(TIMEOUT_HEADER, format!("{remaining:.3}"))
            .header(USER_AGENT, concat!("ayatori-host-agent/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| Failure::Connect(error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| {
            let reason = service::ErrorChain(&error).to_string();
            if error.is_connect() { Failure::Connect(reason) } else { Failure::Broken(reason) }
        })?;
        if answer.status() != http::StatusCode::OK {
            return Err(Failure::Status(answer.status().as_u16()));
        }
        let headers = answer.headers().clone();
        let format = format(&headers)?;
        let body = self.read(&headers, answer.into_body()).await?;
        self.parse(body, format, target).await
    }

    async fn read(&self, headers: &HeaderMap, mut incoming: Incoming) -> Result<Body, Failure> {
        let held = Held { total: Arc::clone(&self.held), own: 0 };
        let limit = self.config.body_bytes;
        let mut body = Body {
            bytes: Vec::new(),
            limit,
            total: self.config.total_body_bytes,
            held,
            failure: None,
        };
        let encoding =
            headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
        match encoding {
            "" | "identity" => {
                while let Some(chunk) = next(&mut incoming).await? {
                    let written = body.write_all(&chunk);
                    written.map_err(|error| refused(&mut body, &error))?;
                }
                Ok(body)
            }
            "gzip" | "x-gzip" => {
                let mut unpacked = MultiGzDecoder::new(body);
                while let Some(chunk) = next(&mut incoming).await? {
                    let written = unpacked.write_all(&chunk);
                    written.map_err(|error| refused(unpacked.get_mut(), &error))?;
                }
                let ended = unpacked.try_finish();
                ended.map_err(|error| refused(unpacked.get_mut(), &error))?;
                unpacked.finish().map_err(|error| Failure::Broken(error.to_string()))
            }
            other => Err(Failure::ContentType(format!("encoding {other}"))),
        }
    }

    async fn parse(&self, body: Body, format: Format, target: &Target) -> Result<Scraped, Failure> {
        let Body { bytes, held, .. } = body;
        let size = bytes.len();
        let limits = self.config.limits;
        let exposition = if size < SMALL_BODY {
            parse(bytes, format, limits, &target.labels.names())
        } else {
            let labels = target.labels.clone();
            let parsed =
                tokio::task::spawn_blocking(move || parse(bytes, format, limits, &labels.names()));
            parsed.await.map_err(|error| Failure::Broken(error.to_string()))?
        };
        Ok(Scraped { exposition: exposition?, bytes: size, _held: held })
    }
}

async fn next(incoming: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        let Some(frame) = incoming.frame().await else { return Ok(None) };
        let frame =
            frame.map_err(|error| Failure::Broken(service::ErrorChain(&error).to_string()))?;
        // Trailers say nothing here.
        if let Ok(chunk) = frame.into_data() {
            return Ok(Some(chunk));
        }
    }
}

/// Why a body took no more: a limit, or bytes that are not packed as they say.
fn refused(body: &mut Body, error: &std::io::Error) -> Failure {
    body.failure.take().unwrap_or_else(|| Failure::Broken(format!("its gzip: {error}")))
}

/// By the content type; without one it is text, as Prometheus held it until its version 3.
fn format(headers: &HeaderMap) -> Result<Format, Failure> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Format::Text) };
    let text = value.to_str().unwrap_or("?");
    content_format(text).ok_or_else(|| Failure::ContentType(text.chars().take(100).collect()))
}
