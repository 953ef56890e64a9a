//! Headers to metadata, metadata to headers, and how long a call may take.
//!
//! Headers keep their names in both directions. Left behind are
//!
//! - what belongs to one connection: `connection` and what it names, `keep-alive`, `proxy-*`, `te`, `trailer`,
//!   `transfer-encoding`, `upgrade`, `http2-settings`;
//! - what speaks of the other side's body: `content-*`, `accept`, `accept-encoding`, `expect`, `host`;
//! - what gRPC reserves: `grpc-*`; so no client sets a status, a timeout that is not read here, or an encoding;
//! - what Envoy and the mesh say to each other: `x-envoy-*`, `x-mesh-convert`;
//! - values that are not ASCII, which metadata cannot hold.
//!
//! What a service sends after a unary answer comes as headers too, with `grpc-trailer-` before the name.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use contract::conversion::CONVERT_HEADER;
use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue};

use super::refusal::Refusal;

const GRPC_TIMEOUT: &str = "grpc-timeout";
const ENVOY_TIMEOUT: &str = "x-envoy-expected-rq-timeout-ms";
const TRAILER_PREFIX: &str = "grpc-trailer-";

const DROPPED: [&str; 11] = [
    "accept",
    "accept-encoding",
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const DROPPED_PREFIXES: [&str; 4] = ["content-", "grpc-", "proxy-", "x-envoy-"];

/// Base64 of binary metadata: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a service gets of a request's headers.
pub(super) fn to_service(headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
    let named = named_by_connection(headers);
    let mut metadata = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers {
        if !passes(name, &named) || !is_ascii(value) {
            continue;
        }
        if is_binary(name) && !is_base64(value) {
            return Err(Refusal::invalid(format!(
                "header `{name}`: a name that ends in -bin holds base64, and this value is none"
            )));
        }
        metadata.append(name.clone(), value.clone());
    }
    Ok(metadata)
}

/// What a client gets of the metadata before an answer.
pub(super) fn to_client(metadata: &HeaderMap) -> HeaderMap {
    let passing = metadata.iter().filter(|(name, _)| passes(name, &[]));
    passing.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What a client gets of the metadata after an answer.
pub(super) fn trailers_to_client(metadata: &HeaderMap) -> HeaderMap {
    let passing = metadata.iter().filter(|(name, _)| passes(name, &[]));
    let renamed = passing.filter_map(|(name, value)| {
        let name = HeaderName::try_from(format!("{TRAILER_PREFIX}{name}")).ok()?;
        Some((name, value.clone()))
    });
    renamed.collect()
}

fn passes(name: &HeaderName, named: &[String]) -> bool {
    let name = name.as_str();
    !DROPPED.contains(&name)
        && name != CONVERT_HEADER
        && !DROPPED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !named.iter().any(|other| other == name)
}

fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn is_ascii(value: &HeaderValue) -> bool {
    value.to_str().is_ok()
}

fn is_binary(name: &HeaderName) -> bool {
    name.as_str().ends_with("-bin")
}

/// Several values of one name may stand in one header.
pub(super) fn is_base64(value: &HeaderValue) -> bool {
    let mut values = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    values.all(|value| BASE64.decode(value).is_ok())
}

/// How long the caller waits: the smaller of what it and Envoy say.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let read = |name: &str, parse: fn(&str) -> Option<Duration>, form: &str| {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let parsed = value.to_str().ok().and_then(parse);
        parsed.map(Some).ok_or_else(|| {
            Refusal::invalid(format!("header `{name}`: {value:?} is no timeout; write {form}"))
        })
    };
    let asked = read(GRPC_TIMEOUT, grpc_timeout, "up to 8 digits and one of H M S m u n")?;
    let of_route = read(ENVOY_TIMEOUT, milliseconds, "milliseconds")?;
    Ok([asked, of_route].into_iter().flatten().min())
}

/// The header that tells a service how long its caller waits.
pub(super) fn timeout_header(timeout: Duration) -> (HeaderName, HeaderValue) {
    // Eight digits at most, so a long time is told less precisely.
    let forms = [(timeout.as_micros(), 'u'), (timeout.as_millis(), 'm')];
    let fitting = forms.into_iter().find(|(count, _)| *count < 100_000_000);
    let (count, unit) = fitting.unwrap_or((u128::from(timeout.as_secs()).min(99_999_999), 'S'));
    let text = format!("{count}{unit}");
    let value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0n"));
    (HeaderName::from_static(GRPC_TIMEOUT), value)
}

fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}
