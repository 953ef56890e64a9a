//! What an answer means: OTLP's rules about trying again, without IO.
//!
//! Source: OTLP specification, "Failures", "OTLP/gRPC Throttling", "OTLP/HTTP Throttling".

use std::time::Duration;

use http::StatusCode;

use crate::traces::wire::{Fields, Value, all};

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The back end has it, but for so many spans that it rejected; they are never sent again.
    Accepted {
        /// How many.
        rejected: u64,
        /// Why, or another remark.
        message: String,
    },
    /// To be sent again, not before `after` where the back end said so.
    Retry {
        /// The word in metrics.
        reason: &'static str,
        /// For people.
        message: String,
        /// What the back end asked for.
        after: Option<Duration>,
    },
    /// Not to be sent again.
    Refused {
        /// The word in metrics.
        reason: &'static str,
        /// For people.
        message: String,
        /// A part of the batch may be taken all the same: nothing is said against who sends it, or where to.
        is_content: bool,
    },
}

/// A pause that the back end asks for is not longer than this.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// google.rpc.Code by its number.
const CODES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

impl Outcome {
    /// Of a gRPC status; `details` is the google.rpc.Status of `grpc-status-details-bin`.
    pub fn of_grpc(code: u16, message: String, details: &[u8]) -> Self {
        let reason = CODES.get(usize::from(code)).copied().unwrap_or("unknown");
        let after = retry_info(details);
        match code {
            1 | 4 | 10 | 11 | 14 | 15 => Self::Retry { reason, message, after },
            // Only with a RetryInfo does it mean that the back end may recover.
            8 if after.is_some() => Self::Retry { reason, message, after },
            // not_found, permission_denied, unimplemented, unauthenticated
            _ => Self::Refused { reason, message, is_content: !matches!(code, 5 | 7 | 12 | 16) },
        }
    }

    /// Of an HTTP status that is no success.
    pub fn of_http(status: StatusCode, message: String, retry_after: Option<Duration>) -> Self {
        let message = format!("{status}: {message}");
        let reason = match status.as_u16() {
            400 => "http_400",
            401 | 403 => "http_forbidden",
            413 => "http_413",
            429 => "http_429",
            502 => "http_502",
            503 => "http_503",
            504 => "http_504",
            _ if status.is_client_error() => "http_4xx",
            _ => "http_other",
        };
        match status.as_u16() {
            429 | 502..=504 => Self::Retry { reason, message, after: retry_after },
            code => Self::Refused { reason, message, is_content: !matches!(code, 401 | 403..=405) },
        }
    }

    /// Of an `ExportTraceServiceResponse`.
    pub fn of_response(response: &[u8]) -> Self {
        let (mut rejected, mut message) = (0, String::new());
        for field in all(response, 1).flat_map(Fields::of).flatten() {
            match (field.number, field.value) {
                (1, Value::Varint(count)) => rejected = count,
                (2, Value::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        Self::Accepted { rejected, message }
    }
}

/// The delay in the RetryInfo of a google.rpc.Status.
fn retry_info(status: &[u8]) -> Option<Duration> {
    let is_info =
        |any: &&[u8]| all(any, 1).next().is_some_and(|url| url.ends_with(b"/google.rpc.RetryInfo"));
    let any = all(status, 3).find(is_info)?;
    let mut delay = Duration::ZERO;
    for field in all(any, 2).flat_map(|info| all(info, 1)).flat_map(Fields::of).flatten() {
        match (field.number, field.value) {
            (1, Value::Varint(seconds)) => delay += Duration::from_secs(seconds.min(86_400)),
            (2, Value::Varint(nanos)) => delay += Duration::from_nanos(nanos.min(1_000_000_000)),
            _ => {}
        }
    }
    Some(delay)
}

/// Pauses that double, with jitter, up to a longest one.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Begins at 200 ms.
    pub fn new(longest: Duration) -> Self {
        Self { next: Duration::from_millis(200).min(longest), longest }
    }

    /// The next pause: half to all of it by `random` (0 to 1), and not shorter than what the back end asked for.
    pub fn next(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let pause = self.next.mul_f64(0.5 + random / 2.0);
        self.next = (self.next * 2).min(self.longest);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        // Jitter on top of what was asked for: otherwise all hosts would come back at once.
        pause.max(asked + pause.min(asked / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::wire::{put_bytes, put_number};

    fn status_with_retry_info(seconds: u64) -> Vec<u8> {
        let (mut duration, mut info, mut any, mut status) = (vec![], vec![], vec![], vec![]);
        put_number(&mut duration, 1, seconds);
        put_bytes(&mut info, 1, &duration);
        put_bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        put_bytes(&mut any, 2, &info);
        put_bytes(&mut status, 3, &any);
        status
    }

    #[test]
    fn the_codes_that_are_sent_again_are_otlp_s() {
        let again: Vec<u16> = (0..17)
            .filter(|code| {
                matches!(Outcome::of_grpc(*code, String::new(), &[]), Outcome::Retry { .. })
            })
            .collect();
        assert_eq!(again, [1, 4, 10, 11, 14, 15]);
        let again: Vec<u16> = (400..600)
            .filter(|code| {
                let status = StatusCode::from_u16(*code).unwrap();
                matches!(Outcome::of_http(status, String::new(), None), Outcome::Retry { .. })
            })
            .collect();
        assert_eq!(again, [429, 502, 503, 504]);
    }

    #[test]
    fn exhausted_is_sent_again_only_with_a_retry_info() {
        assert!(matches!(Outcome::of_grpc(8, String::new(), &[]), Outcome::Refused { .. }));
        let outcome = Outcome::of_grpc(8, String::new(), &status_with_retry_info(7));
        let after = Some(Duration::from_secs(7));
        assert_eq!(
            outcome,
            Outcome::Retry { reason: "resource_exhausted", message: String::new(), after }
        );
    }

    #[test]
    fn a_partial_success_is_accepted_with_its_rejects() {
        let (mut partial, mut response) = (vec![], vec![]);
        put_number(&mut partial, 1, 3);
        put_bytes(&mut partial, 2, b"too old");
        put_bytes(&mut response, 1, &partial);
        let expected = Outcome::Accepted { rejected: 3, message: "too old".to_owned() };
        assert_eq!(Outcome::of_response(&response), expected);
        assert_eq!(
            Outcome::of_response(&[]),
            Outcome::Accepted { rejected: 0, message: String::new() }
        );
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_obey_the_back_end() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(1000));
        let pauses: Vec<_> = (0..5).map(|_| backoff.next(None, 1.0)).collect();
        assert_eq!(pauses, [ms(200), ms(400), ms(800), ms(1000), ms(1000)]);
        assert_eq!(Backoff::new(ms(1000)).next(None, 0.0), ms(100));
        let asked = Backoff::new(ms(1000)).next(Some(ms(4000)), 1.0);
        assert!(asked >= ms(4000) && asked <= ms(5000), "{asked:?}");
    }
}
