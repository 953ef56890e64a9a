//! How services are called when nobody says otherwise, and what a document changes.

use std::time::Duration;

use contract::duration::Span;
use contract::registration::Protocol;
use contract::system::{Retries, RetryOn, ServicePolicy, SystemDocument};

use crate::mesh::{CallLimits, CallPolicy, RetryPolicy};

/// A connection within a data centre opens in a millisecond; a lost SYN is sent again after one second.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An HTTP answer. gRPC has none: its callers send `grpc-timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// Guards against a runaway caller, far above what one instance needs.
pub const DEFAULT_LIMITS: CallLimits =
    CallLimits { connections: 4096, pending_requests: 4096, requests: 8192 };
/// Five failures in a row, ten seconds at first.
pub const DEFAULT_OUTLIER: Option<(u32, Duration)> = Some((5, Duration::from_secs(10)));

/// Enough to see how a System behaves, little enough that nobody has to think of it.
pub const DEFAULT_TRACED: u32 = 1;

/// Of a System's requests that belong to no trace yet, so many in a hundred begin one.
pub fn traced(document: Option<&SystemDocument>) -> u32 {
    let tracing = document.and_then(|document| document.tracing.as_ref());
    tracing.map_or(DEFAULT_TRACED, |tracing| tracing.percent.min(100))
}

/// Retries when nobody says otherwise: what is safe for the method, at most twice.
pub fn default_retries() -> RetryPolicy {
    RetryPolicy {
        on: vec![
            RetryOn::ConnectFailure,
            RetryOn::RefusedStream,
            RetryOn::Reset,
            RetryOn::ResetBeforeRequest,
        ],
        attempts: 2,
    }
}

/// The policy of a service: its document's entry over the defaults.
pub fn call_policy(protocol: Protocol, written: Option<&ServicePolicy>) -> CallPolicy {
    let none = ServicePolicy::default();
    let written = written.unwrap_or(&none);
    let default_timeout = match protocol {
        Protocol::Http | Protocol::Http2 => Some(DEFAULT_TIMEOUT),
        Protocol::Grpc | Protocol::Tcp => None,
    };
    let limits = written.limits.as_ref();
    let outlier = match &written.outlier {
        None => DEFAULT_OUTLIER,
        Some(outlier) if outlier.consecutive_failures == 0 => None,
        Some(outlier) => Some((
            outlier.consecutive_failures,
            outlier.ejection.map_or(Duration::from_secs(10), Span::as_duration),
        )),
    };
    CallPolicy {
        timeout: written.timeout.map_or(default_timeout, limited),
        connect_timeout: written.connect_timeout.map_or(DEFAULT_CONNECT_TIMEOUT, Span::as_duration),
        retries: written.retries.as_ref().map_or_else(default_retries, retry_policy),
        limits: CallLimits {
            connections: limits.and_then(|l| l.connections).unwrap_or(DEFAULT_LIMITS.connections),
            pending_requests: limits
                .and_then(|l| l.pending_requests)
                .unwrap_or(DEFAULT_LIMITS.pending_requests),
            requests: limits.and_then(|l| l.requests).unwrap_or(DEFAULT_LIMITS.requests),
        },
        outlier,
    }
}

/// A written time limit; `0s` is none.
pub fn limited(span: Span) -> Option<Duration> {
    Some(span.as_duration()).filter(|timeout| !timeout.is_zero())
}

/// A written retry policy in a fixed order.
pub fn retry_policy(written: &Retries) -> RetryPolicy {
    let mut on = written.on.clone();
    on.sort_unstable();
    on.dedup();
    RetryPolicy { on, attempts: written.attempts }
}
