//! `[[traces.back_ends]]`: one place where spans go.

use super::{
    Address, BTreeMap, BackEndOptions, Batching, Deserialize, Duration, PathBuf, Problems,
    QueueOptions, Serialize,
};

/// `[[traces.back_ends]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBackEnd {
    /// Its name in metrics and pages, and of its folder; letters, digits, `-` and `_`.
    pub name: String,
    /// `grpc://HOST:PORT` or `grpcs://HOST:PORT` for OTLP by gRPC; `http://…` or `https://…` for OTLP by HTTP, with `/v1/traces` added
    /// where there is no path.
    pub url: String,
    /// Systems whose spans it gets; none: all, those of unknown senders too.
    pub systems: Vec<String>,
    /// Headers of each request.
    pub headers: BTreeMap<String, String>,
    /// File with the value of the header `authorization`, read at the start.
    pub authorization_file: Option<PathBuf>,
    /// PEM file of the authorities that sign its certificate; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// `gzip`, `zstd` or `none`.
    pub compression: Compression,
    /// Bytes of a batch before compression.
    pub batch_bytes: usize,
    /// Spans of a batch.
    pub batch_spans: u32,
    /// How long a span waits for others, in milliseconds.
    pub batch_ms: u64,
    /// Batches under way at a time.
    pub in_flight: usize,
    /// How long a request may take, in milliseconds.
    pub timeout_ms: u64,
    /// The longest pause between two attempts, in milliseconds.
    pub max_pause_ms: u64,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip, level 1.
    #[default]
    Gzip,
    /// Zstandard, level 1.
    Zstd,
    /// Not.
    None,
}

impl Default for RawBackEnd {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            url: String::new(),
            systems: Vec::new(),
            headers: BTreeMap::new(),
            authorization_file: None,
            ca_file: None,
            compression: Compression::Gzip,
            batch_bytes: 1 << 20,
            batch_spans: 8192,
            batch_ms: 200,
            in_flight: 4,
            timeout_ms: 10_000,
            max_pause_ms: 10_000,
        }
    }
}

impl RawBackEnd {
    pub(super) fn resolve(
        self,
        key: &str,
        queue: QueueOptions,
        hold: Duration,
        problems: &mut Problems,
    ) -> Option<BackEndOptions> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.name.is_empty() || !self.name.chars().all(is_name) {
            problems.add(format!("{key}.name"), "a name has letters, digits, - and _");
        }
        let address = problems.take(&format!("{key}.url"), self.url.parse::<Address>());
        let mut headers = http::HeaderMap::new();
        for (name, value) in &self.headers {
            let name =
                problems.take(&format!("{key}.headers.{name}"), name.parse::<http::HeaderName>());
            let value =
                problems.take(&format!("{key}.headers"), value.parse::<http::HeaderValue>());
            headers.extend(name.zip(value));
        }
        if let Some(file) = &self.authorization_file {
            let key = format!("{key}.authorization_file");
            let secret = problems.take(&key, service::secret::Secret::from_file(file));
            let value = secret.and_then(|secret| {
                problems.take(&key, secret.expose().parse::<http::HeaderValue>())
            });
            if let Some(mut value) = value {
                value.set_sensitive(true);
                headers.insert(http::header::AUTHORIZATION, value);
            }
        }
        Some(BackEndOptions {
            name: self.name.into(),
            address: address?,
            systems: self.systems.into_iter().collect(),
            headers,
            ca_file: problems.readable(&format!("{key}.ca_file"), self.ca_file),
            compression: self.compression,
            batching: Batching {
                bytes: self.batch_bytes.max(1),
                spans: self.batch_spans.max(1),
                delay: Duration::from_millis(self.batch_ms),
                hold,
            },
            in_flight: self.in_flight.clamp(1, 64),
            timeout: Duration::from_millis(self.timeout_ms.max(1)),
            max_pause: Duration::from_millis(self.max_pause_ms.max(1)),
            queue,
        })
    }
}
