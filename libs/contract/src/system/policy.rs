//! How the System's services are called: time limits, retries, circuit breakers, outliers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::system::Canary;

/// When a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// After which failures.
    pub on: Vec<RetryOn>,
    /// How many times at the most, the first try not counted.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
}

/// A failure after which a request may be tried again (Envoy's words).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// Any 5xx answer, or none.
    #[serde(rename = "5xx")]
    FiveXx,
    /// 502, 503 or 504.
    GatewayError,
    /// No connection.
    ConnectFailure,
    /// The instance refused the stream before reading it.
    RefusedStream,
    /// The connection broke before an answer.
    Reset,
    /// The connection broke before the request was sent.
    ResetBeforeRequest,
}

impl RetryOn {
    /// Envoy's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveXx => "5xx",
            Self::GatewayError => "gateway-error",
            Self::ConnectFailure => "connect-failure",
            Self::RefusedStream => "refused-stream",
            Self::Reset => "reset",
            Self::ResetBeforeRequest => "reset-before-request",
        }
    }
}

/// How one service is called by everyone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePolicy {
    /// How long an answer may take; `0s`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How long a connection may take to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Circuit breakers, per calling proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// When a failing instance is left alone for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier: Option<Outlier>,
    /// Its canary instances' share, in place of the System's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// Circuit-breaker limits of one calling proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_295u32))]
    pub connections: Option<u32>,
    /// Requests waiting for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_295u32))]
    pub pending_requests: Option<u32>,
    /// Requests under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_295u32))]
    pub requests: Option<u32>,
}

/// Outlier detection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outlier {
    /// Failures in a row (502, 503, 504, or no answer) that eject an instance; 0 turns ejection off.
    #[schemars(range(max = 4_294_967_295u32))]
    pub consecutive_failures: u32,
    /// How long the first ejection lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<Span>,
}
