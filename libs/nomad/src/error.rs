//! What can go wrong between this client and Nomad.
//!
//! Nomad says most things as plain text with status 500, whoever is at fault; the few that a caller must tell apart are
//! variants here, recognised by the words that were seen from Nomad 1.6.10 and 2.0.5.

use std::time::Duration;

use service::credentials::TokenError;

/// What Nomad's servers, their Raft library and the connections between them say while a leader changes or a server goes.
const BROKEN: [&str; 17] = [
    "leadership lost",
    "leadership transfer in progress",
    "node is not the leader",
    "raft is already shutdown",
    "timed out enqueuing operation",
    "not ready to serve consistent reads",
    "no path to region",
    "no servers",
    "failed to get conn",
    "didn't get connection",
    "failed to start stream",
    "session shutdown",
    "stream closed",
    "connection refused",
    "connection reset by peer",
    "broken pipe",
    "rpc error: eof",
];

/// Why a request has no result. Each message names the request and the next step.
#[derive(Debug, thiserror::Error)]
pub enum NomadError {
    /// No connection, or it broke.
    #[error("{request} does not reach Nomad: check that its agent runs and the address is right")]
    Unreachable {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("{request} is unanswered after {after:?}: check Nomad's load and the network")]
    TimedOut {
        /// Method and path.
        request: String,
        /// The deadline.
        after: Duration,
    },
    /// No server leads: nothing can be read consistently or written.
    #[error(
        "{request} finds no leader among Nomad's servers ({message}): see `nomad server members`"
    )]
    NoLeader {
        /// Method and path.
        request: String,
        /// Nomad's words.
        message: String,
    },
    /// The servers were changing hands, or one lost sight of the others: it may have been done, or not.
    #[error(
        "{request} broke off inside of Nomad ({message}), done or not: see `nomad server members`"
    )]
    Unsettled {
        /// Method and path.
        request: String,
        /// Nomad's words.
        message: String,
    },
    /// 401 or 403.
    #[error("{request} is denied ({message}): give a token whose policy allows {needs}")]
    Denied {
        /// Method and path.
        request: String,
        /// Nomad's words.
        message: String,
        /// What the policy must allow, such as `submit-job`.
        needs: &'static str,
    },
    /// 404.
    #[error("{request} finds nothing ({message})")]
    NotFound {
        /// Method and path.
        request: String,
        /// Nomad's words.
        message: String,
    },
    /// A register with check-and-set, and somebody else was faster.
    #[error(
        "{request} is refused because the job has changed meanwhile ({message}): look at the new version first"
    )]
    Conflict {
        /// Method and path.
        request: String,
        /// Nomad's words, with both indexes.
        message: String,
    },
    /// 429, or too many connections.
    #[error("{request} is throttled: raise Nomad's limits.http_max_conns_per_client, or ask less")]
    Throttled {
        /// Method and path.
        request: String,
    },
    /// Nomad understood and refuses, or fails itself.
    #[error("{request} fails with status {status}: {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// Nomad's words, whole: validation lists every problem.
        message: String,
    },
    /// A body beyond the limit.
    #[error("{request} answers with more than {limit} bytes")]
    TooLarge {
        /// Method and path.
        request: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// A body that is not the JSON expected.
    #[error("{request} answers with a body that is not Nomad's: check what listens at the address")]
    Malformed {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An answer whose headers do not allow to believe it.
    #[error("{request} answers {problem}: check what is between this client and Nomad's leader")]
    Untrusted {
        /// Method and path.
        request: String,
        /// What is wrong.
        problem: String,
    },
    /// The token cannot be had.
    #[error("the Nomad token cannot be used")]
    Token(#[source] TokenError),
}

impl NomadError {
    /// Whether Nomad itself is away or without a leader, so that the same request may do later.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::NoLeader { .. }
            | Self::Unsettled { .. }
            | Self::Throttled { .. }
            | Self::Untrusted { .. } => true,
            // A proxy before Nomad says so when there is no Nomad behind it.
            Self::Refused { status, .. } => matches!(status, 502..=504),
            Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::Token(_) => false,
        }
    }

    /// Whether it was asked for something that does not exist.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Sorts an answer other than 200 by its status and words.
    pub(crate) fn of_status(
        request: String,
        status: u16,
        body: &[u8],
        needs: &'static str,
    ) -> Self {
        let message = String::from_utf8_lossy(body).trim().to_owned();
        let says = |words: &str| message.to_ascii_lowercase().contains(words);
        match status {
            401 | 403 => Self::Denied { request, message, needs },
            404 => Self::NotFound { request, message },
            429 => Self::Throttled { request },
            500 if says("enforcing job modify index") => Self::Conflict { request, message },
            500 if says("no cluster leader") => Self::NoLeader { request, message },
            500 if BROKEN.iter().any(|words| says(words)) => Self::Unsettled { request, message },
            500 if says("permission denied") => Self::Denied { request, message, needs },
            _ if says("acl token not found") => Self::Denied { request, message, needs },
            // Lookups inside of writes are answered with 500, such as a dispatch of a job that is not there.
            500 if message.ends_with("not found") => Self::NotFound { request, message },
            _ => Self::Refused { request, status, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, body: &str) -> String {
        let error = NomadError::of_status("PUT /v1/jobs".to_owned(), status, body.as_bytes(), "x");
        format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_nomad_says_as_500_is_told_apart_by_its_words() {
        let lost = "Enforcing job modify index 7: job exists with conflicting job modify index: 9";
        assert_eq!(sorted(500, lost), "Conflict");
        assert_eq!(sorted(500, "No cluster leader"), "NoLeader");
        assert_eq!(sorted(500, "parameterized job not found"), "NotFound");
        assert_eq!(sorted(500, "rpc error: Permission denied"), "Denied");
        assert_eq!(sorted(500, "rpc error: leadership lost while committing log"), "Unsettled");
        assert_eq!(sorted(500, "rpc error: EOF"), "Unsettled");
        let lost = "rpc error: failed to get conn: dial tcp 10.0.0.3:4647: connection refused";
        assert_eq!(sorted(500, lost), "Unsettled");
        assert_eq!(sorted(500, "1 error occurred: Task group count can't be negative"), "Refused");
    }

    #[test]
    fn a_write_that_broke_off_among_the_servers_is_no_refusal() {
        let error = |body: &str| {
            NomadError::of_status("POST /v1/jobs".to_owned(), 500, body.as_bytes(), "x")
        };
        assert!(error("rpc error: leadership lost while committing log").is_outage());
        assert!(error("raft is already shutdown").is_outage());
        assert!(!error("1 error occurred: Missing job datacenters").is_outage());
    }

    #[test]
    fn statuses_that_speak_for_themselves() {
        assert_eq!(sorted(403, "Permission denied"), "Denied");
        assert_eq!(sorted(404, "job not found"), "NotFound");
        assert_eq!(sorted(429, ""), "Throttled");
        assert_eq!(sorted(400, "Job must be specified"), "Refused");
    }
}
