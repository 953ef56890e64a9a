//! Why a target gave nothing: a closed set of classes, which labels and pages show, and a sentence for people.

use std::time::Duration;

use super::parse::ParseError;

/// What a failure is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureClass {
    /// No connection.
    Connect,
    /// Not done in time.
    Timeout,
    /// The connection ended before the body did.
    Broken,
    /// A status other than 200.
    Status,
    /// A content type or encoding that is none of metrics.
    ContentType,
    /// A body over the limit, as it came or unpacked.
    TooLarge,
    /// More samples, labels or longer labels than allowed.
    TooMany,
    /// Not of the format that it claims.
    Parse,
    /// The bodies of all targets together are over the limit.
    HostFull,
}

impl FailureClass {
    /// As labels have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Status => "status",
            Self::ContentType => "content_type",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::Parse => "parse",
            Self::HostFull => "host_full",
        }
    }
}

/// Why a target gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// Not done in time.
    #[error("not done within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection ended before the body did.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// A status other than 200.
    #[error("status {0}")]
    Status(u16),
    /// A content type or encoding that is none of metrics.
    #[error("{0:?} is no format of metrics")]
    ContentType(String),
    /// A body over the limit, as it came or unpacked.
    #[error("a body of more than {0} bytes")]
    TooLarge(usize),
    /// Not of its format, or more than allowed.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The bodies of all targets together are over the limit.
    #[error("the bodies of all targets together have more than {0} bytes")]
    HostFull(usize),
}

impl Failure {
    /// What it is counted as.
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Connect(_) => FailureClass::Connect,
            Self::Timeout(_) => FailureClass::Timeout,
            Self::Broken(_) => FailureClass::Broken,
            Self::Status(_) => FailureClass::Status,
            Self::ContentType(_) => FailureClass::ContentType,
            Self::TooLarge(_) => FailureClass::TooLarge,
            Self::Parse(ParseError::Syntax { .. }) => FailureClass::Parse,
            Self::Parse(_) => FailureClass::TooMany,
            Self::HostFull(_) => FailureClass::HostFull,
        }
    }
}
