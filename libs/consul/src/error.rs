//! What a request can fail with, and what to do about it.
//!
//! Out: [`ConsulError`], whose text names the request and the next move, and whose [`ErrorClass`] tells a program how to
//! go on. Watches act on the class themselves.

use std::time::Duration;

use service::credentials::TokenError;

/// How a program goes on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Consul is away, has no leader or answered nonsense: try again with a growing pause.
    Retry,
    /// Consul is there but asks for fewer requests.
    Throttled,
    /// Consul closes new connections: too many are open from this address.
    ConnectionLimit,
    /// The token's rights do not suffice: an operator must act; try again slowly.
    Denied,
    /// Consul refuses the request as such: repeating it is of little use.
    Invalid,
}

/// A request to Consul that failed.
#[derive(Debug, thiserror::Error)]
pub enum ConsulError {
    /// No connection, or one that broke.
    #[error("{request} gets no answer: check that Consul listens at the configured address")]
    Unreachable {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Consul took the connection and closed it at once.
    #[error(
        "{request} had its connection closed at once, with {open} connections of this client open: \
         raise Consul's limits.http_max_conns_per_client, or use HTTPS"
    )]
    ConnectionLimit {
        /// Method and path.
        request: String,
        /// Own watches and reads under way.
        open: usize,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("{request} is unanswered after {after:?}: check Consul's load and the network")]
    TimedOut {
        /// Method and path.
        request: String,
        /// The deadline.
        after: Duration,
    },
    /// 429, or 503 with a request limit.
    #[error(
        "{request} is throttled with status {status}: raise Consul's limits.request_limits, or slow down"
    )]
    Throttled {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// What Consul asks for.
        retry_after: Option<Duration>,
    },
    /// 403.
    #[error("{request} is denied ({message}): give the token {rule}")]
    Denied {
        /// Method and path.
        request: String,
        /// Consul's words.
        message: String,
        /// The ACL rule that the request needs.
        rule: String,
    },
    /// Another status than success; 5xx: Consul's trouble, others: the request's.
    #[error("{request} fails with status {status} ({message}): see Consul's log")]
    Status {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// Consul's words.
        message: String,
    },
    /// A body beyond the limit.
    #[error("{request} answers with more than {limit} bytes: raise the client's body limit")]
    TooLarge {
        /// Method and path.
        request: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// A body that is not the JSON expected.
    #[error(
        "{request} answers with a body that is not Consul's: check what listens at the configured address"
    )]
    Malformed {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An answer whose headers do not allow to believe it.
    #[error("{request} answers {problem}: check what is between this client and Consul's leader")]
    Untrusted {
        /// Method and path.
        request: String,
        /// What is wrong.
        problem: String,
    },
    /// The token cannot be had.
    #[error("the Consul token cannot be used")]
    Token(#[source] TokenError),
    /// No place for one more watch.
    #[error(
        "{request} cannot be watched beside {watches} others: use HTTPS, or raise the client's watch limits"
    )]
    NoCapacity {
        /// Method and path.
        request: String,
        /// Watches that exist.
        watches: usize,
    },
    /// A further connection cannot be prepared.
    #[error("{request} cannot get a connection: check the TLS files")]
    Setup {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: crate::ConfigError,
    },
}

impl ConsulError {
    /// How to go on.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::ConnectionLimit { .. } | Self::NoCapacity { .. } => ErrorClass::ConnectionLimit,
            Self::Throttled { .. } => ErrorClass::Throttled,
            Self::Denied { .. } => ErrorClass::Denied,
            Self::Status { status, .. } if *status < 500 => ErrorClass::Invalid,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::Untrusted { .. }
            | Self::Token(_)
            | Self::Setup { .. } => ErrorClass::Retry,
        }
    }

    /// Whether Consul as a whole seems to be away, so that its return is news to every watch.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The shortest pause before another attempt.
    pub(crate) fn pause_floor(&self) -> Duration {
        match self {
            Self::Throttled { retry_after, .. } => retry_after
                .unwrap_or_default()
                .clamp(Duration::from_secs(1), Duration::from_secs(60)),
            _ if self.class() == ErrorClass::Retry => Duration::ZERO,
            _ => Duration::from_secs(1),
        }
    }
}
