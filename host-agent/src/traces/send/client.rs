//! One request to a back end and its answer, by gRPC or HTTP.
//!
//! In: OTLP's bytes. Out: an [`Outcome`]; what goes wrong on the way is one too. gRPC is framed here, because a batch is compressed
//! once, however often it is sent.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, TE};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;
use service::ErrorChain;

use super::{BackEndOptions, Outcome};
use crate::traces::config::Compression;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Longest answer that is read.
const ANSWER_BYTES: usize = 64 << 10;
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// Where a back end is, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    url: reqwest::Url,
    is_grpc: bool,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let (is_grpc, plain) = match written.split_once("://") {
            Some(("grpc", rest)) => (true, format!("http://{rest}")),
            Some(("grpcs", rest)) => (true, format!("https://{rest}")),
            Some(("http" | "https", _)) => (false, written.to_owned()),
            _ => {
                return Err(format!(
                    "{written:?}: write grpc://, grpcs://, http:// or https:// and a host"
                ));
            }
        };
        let mut url: reqwest::Url =
            plain.parse().map_err(|error| format!("{written:?}: {error}"))?;
        match (is_grpc, url.path()) {
            (true, "/" | "") => url.set_path(EXPORT),
            (true, _) => return Err(format!("{written:?}: gRPC has no path of its own")),
            (false, "/" | "") => url.set_path("/v1/traces"),
            (false, _) => {}
        }
        Ok(Self { url, is_grpc })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_grpc {
            true => write!(f, "{} (gRPC)", self.url.as_str().trim_end_matches(EXPORT)),
            false => write!(f, "{}", self.url),
        }
    }
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The authorities' file cannot be used.
    #[error("cannot use the authorities in {}", .0.display())]
    Authorities(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client cannot be built.
    #[error("cannot build the client of a back end")]
    Build(#[source] reqwest::Error),
}

/// A request as it is sent, however often.
#[derive(Debug, Clone)]
pub struct Request {
    body: Bytes,
}

/// Speaks to one back end; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    address: Address,
    headers: HeaderMap,
    compression: Compression,
    timeout: Duration,
}

impl Client {
    /// For this back end.
    ///
    /// # Errors
    /// When its authorities cannot be read.
    pub fn new(options: &BackEndOptions) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .no_proxy();
        if options.address.is_grpc {
            builder = builder
                .http2_prior_knowledge()
                .http2_initial_stream_window_size(1 << 20)
                .http2_initial_connection_window_size(4 << 20);
        }
        if let Some(file) = &options.ca_file {
            let bad = |error: Box<dyn std::error::Error + Send + Sync>| {
                ClientError::Authorities(file.clone(), error)
            };
            let pem = std::fs::read(file).map_err(|error| bad(error.into()))?;
            let authorities =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(error.into()))?;
            builder = builder.tls_certs_only(authorities);
        }
        let http = builder.build().map_err(ClientError::Build)?;
        let mut headers = options.headers.clone();
        let encoding = match options.compression {
            Compression::Gzip => Some(HeaderValue::from_static("gzip")),
            Compression::Zstd => Some(HeaderValue::from_static("zstd")),
            Compression::None => None,
        };
        if options.address.is_grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.extend(encoding.map(|encoding| (GRPC_ENCODING, encoding)));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, encoding)));
        }
        Ok(Self {
            http,
            address: options.address.clone(),
            headers,
            compression: options.compression,
            timeout: options.timeout,
        })
    }

    /// Compresses and frames a message.
    pub fn request(&self, message: &Bytes) -> Request {
        let head: &[u8] = if self.address.is_grpc { &[0; 5] } else { &[] };
        let plain = self.compression == Compression::None;
        if plain && !self.address.is_grpc {
            return Request { body: message.clone() };
        }
        let mut body =
            Vec::with_capacity(head.len() + if plain { message.len() } else { message.len() / 4 });
        body.extend_from_slice(head);
        // Writing into memory does not fail; if it did, the length would tell the back end.
        let written = match self.compression {
            Compression::None => body.write_all(message),
            Compression::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(&mut body, flate2::Compression::fast());
                encoder.write_all(message).and_then(|()| encoder.try_finish())
            }
            Compression::Zstd => zstd::Encoder::new(&mut body, 1).and_then(|mut encoder| {
                encoder.write_all(message)?;
                encoder.finish().map(|_| ())
            }),
        };
        if let Err(error) = written {
            tracing::error!(%error, "A batch could not be compressed");
        }
        let length = u32::try_from(body.len() - head.len()).unwrap_or(u32::MAX);
        if self.address.is_grpc
            && let Some((flag, rest)) = body.split_first_mut()
            && let Some(place) = rest.first_chunk_mut()
        {
            *flag = u8::from(!plain);
            *place = length.to_be_bytes();
        }
        Request { body: body.into() }
    }

    /// Sends it once.
    pub async fn send(&self, request: &Request) -> Outcome {
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Retry {
                reason: "timeout",
                message: format!("{} did not answer within {:?}", self.address, self.timeout),
                after: None,
            },
        }
    }

    async fn exchange(&self, request: &Request) -> Outcome {
        let sent = self
            .http
            .post(self.address.url.clone())
            .headers(self.headers.clone())
            .body(request.body.clone())
            .send()
            .await;
        let response: http::Response<reqwest::Body> = match sent {
            Ok(response) => response.into(),
            Err(error) => return connection(&error),
        };
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, ANSWER_BYTES).collect().await {
            Ok(body) => body,
            // What it did with the request is unknown: a repeat is better than a loss.
            Err(error) => return connection(&*error),
        };
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = body.to_bytes();
        if self.address.is_grpc {
            return grpc(&head.headers, &trailers, head.status, &body);
        }
        if head.status.is_success() {
            let is_proto =
                head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/x-protobuf");
            return Outcome::of_response(if is_proto { &body } else { &[] });
        }
        let after =
            head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or_default());
        Outcome::of_http(head.status, text.trim().to_owned(), after.map(Duration::from_secs))
    }
}

fn connection(error: &(dyn std::error::Error + 'static)) -> Outcome {
    Outcome::Retry { reason: "connection", message: ErrorChain(error).to_string(), after: None }
}

/// The status of a call: in the trailers, or in the headers of an answer without a message.
fn grpc(
    headers: &HeaderMap,
    trailers: &HeaderMap,
    status: http::StatusCode,
    body: &[u8],
) -> Outcome {
    let find = |name: &str| trailers.get(name).or_else(|| headers.get(name))?.to_str().ok();
    let Some(code) = find("grpc-status").and_then(|code| code.parse().ok()) else {
        // Something else answers there, such as a load balancer without a back end.
        return match status.as_u16() {
            429 | 502 | 503 | 504 => Outcome::of_http(status, String::new(), None),
            _ => Outcome::Refused {
                reason: "not_grpc",
                message: format!("{status} without a gRPC status"),
                is_content: false,
            },
        };
    };
    if code == 0 {
        return Outcome::of_response(body.get(5..).unwrap_or_default());
    }
    let message = find("grpc-message").unwrap_or_default();
    let message = percent_decode_str(message).decode_utf8_lossy().into_owned();
    let details = find("grpc-status-details-bin").unwrap_or_default().trim_end_matches('=');
    Outcome::of_grpc(code, message, &STANDARD_NO_PAD.decode(details).unwrap_or_default())
}
