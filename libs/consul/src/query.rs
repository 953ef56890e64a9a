//! A question to Consul, typed by its answer; and the rules by which an answer is believed.
//!
//! In: names, prefixes. Out: [`Query`], asked once by [`crate::ConsulClient::read`] or again and again by a
//! [`crate::Watch`]; [`Answer`].
//!
//! **Invariants**: an [`Answer`] has an index of at least 1 and comes from a server with a leader.

use std::marker::PhantomData;
use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::config::Consistency;
use crate::error::ConsulError;

/// One of Consul's read endpoints with its arguments; `T` is what it answers.
#[derive(Debug)]
pub struct Query<T> {
    pub(crate) segments: Vec<String>,
    pub(crate) flags: &'static [&'static str],
    pub(crate) missing_is_empty: bool,
    pub(crate) rule: String,
    answer: PhantomData<fn() -> T>,
}

impl<T> Clone for Query<T> {
    fn clone(&self) -> Self {
        Self {
            segments: self.segments.clone(),
            flags: self.flags,
            missing_is_empty: self.missing_is_empty,
            rule: self.rule.clone(),
            answer: PhantomData,
        }
    }
}

impl<T> Query<T> {
    /// `path` below `/v1`; `rule` is the ACL rule that the token needs.
    pub(crate) fn new<'a>(path: impl IntoIterator<Item = &'a str>, rule: String) -> Self {
        let segments = path.into_iter().map(str::to_owned).collect();
        Self { segments, flags: &[], missing_is_empty: false, rule, answer: PhantomData }
    }

    /// Parameters without a value.
    pub(crate) fn with_flags(mut self, flags: &'static [&'static str]) -> Self {
        self.flags = flags;
        self
    }

    /// 404 with an index is the empty answer.
    pub(crate) fn missing_is_empty(mut self) -> Self {
        self.missing_is_empty = true;
        self
    }

    /// Method and path, for messages.
    pub(crate) fn describe(&self) -> String {
        format!("GET /v1/{}", self.segments.join("/"))
    }
}

/// What Consul answered.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// `X-Consul-Index`, at least 1.
    pub index: u64,
    /// Whether Consul says that it left out what the token may not see (Consul 1.11 and later).
    pub is_filtered: bool,
}

/// The headers by which an answer is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerHeaders {
    pub(crate) index: u64,
    pub(crate) is_filtered: bool,
}

impl AnswerHeaders {
    /// Refuses what lacks an index or comes from a server without a leader, or with `stale` from one too far behind.
    pub(crate) fn judge(
        headers: &HeaderMap,
        consistency: Consistency,
        max_stale: Duration,
    ) -> Result<Self, String> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let index = match text("x-consul-index").map(str::parse) {
            Some(Ok(0)) => return Err("with index 0".to_owned()),
            Some(Ok(index)) => index,
            Some(Err(_)) => return Err("with an index that is no number".to_owned()),
            None => return Err("without an X-Consul-Index".to_owned()),
        };
        if text("x-consul-knownleader") == Some("false") {
            return Err("from a server that knows no leader".to_owned());
        }
        let behind = text("x-consul-lastcontact").and_then(|value| value.parse().ok());
        let behind = Duration::from_millis(behind.unwrap_or_default());
        if consistency == Consistency::Stale && behind > max_stale {
            return Err(format!("from a server that is {behind:?} behind its leader"));
        }
        let is_filtered = text("x-consul-results-filtered-by-acls") == Some("true");
        Ok(Self { index, is_filtered })
    }
}

/// The index to poll with after an answer: what it carried, or none when it went back (a snapshot was restored, or a
/// server was replaced), so that the next poll is answered at once.
pub(crate) fn next_index(previous: u64, answered: u64) -> u64 {
    if answered < previous { 0 } else { answered }
}

/// Consul names its parameters without a value.
pub(crate) fn parameters<T>(
    query: &Query<T>,
    consistency: Consistency,
    block: Option<(u64, Duration)>,
) -> Vec<(&'static str, String)> {
    let flags = query.flags.iter().copied().chain(consistency.parameter());
    let mut parameters: Vec<_> = flags.map(|flag| (flag, String::new())).collect();
    if let Some((index, wait)) = block.filter(|(index, _)| *index > 0) {
        parameters.push(("index", index.to_string()));
        parameters.push(("wait", format!("{}ms", wait.as_millis())));
    }
    parameters
}

pub(crate) fn denied(request: String, body: &[u8], rule: &str) -> ConsulError {
    ConsulError::Denied { request, message: excerpt(body), rule: rule.to_owned() }
}

/// The first line of an error body, short enough for a log line.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        headers: &[(&'static str, &'static str)],
        consistency: Consistency,
    ) -> Result<u64, String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        AnswerHeaders::judge(&headers, consistency, Duration::from_secs(10))
            .map(|headers| headers.index)
    }

    #[test]
    fn an_answer_needs_an_index_of_at_least_one_and_a_leader() {
        let index = ("x-consul-index", "7");
        assert_eq!(judge(&[index], Consistency::Default), Ok(7));
        assert_eq!(judge(&[index, ("x-consul-knownleader", "true")], Consistency::Default), Ok(7));
        assert!(judge(&[index, ("x-consul-knownleader", "false")], Consistency::Default).is_err());
        assert!(judge(&[], Consistency::Default).is_err());
        assert!(judge(&[("x-consul-index", "0")], Consistency::Default).is_err());
        assert!(judge(&[("x-consul-index", "soon")], Consistency::Default).is_err());
    }

    #[test]
    fn a_stale_answer_from_a_server_far_behind_is_refused() {
        let index = ("x-consul-index", "7");
        let behind = ("x-consul-lastcontact", "10001");
        assert!(judge(&[index, behind], Consistency::Stale).is_err());
        assert_eq!(judge(&[index, behind], Consistency::Default), Ok(7));
        assert_eq!(judge(&[index, ("x-consul-lastcontact", "10000")], Consistency::Stale), Ok(7));
    }

    #[test]
    fn an_index_that_goes_back_starts_anew() {
        assert_eq!(next_index(72, 73), 73);
        assert_eq!(next_index(72, 72), 72);
        assert_eq!(next_index(72, 70), 0);
    }

    #[test]
    fn a_poll_without_an_index_does_not_block() {
        let query = Query::<()>::new(["catalog", "services"], String::new());
        let wait = Duration::from_secs(90);
        assert_eq!(parameters(&query, Consistency::Default, Some((0, wait))), []);
        let blocking = parameters(&query, Consistency::Stale, Some((5, wait)));
        let expected = [("stale", ""), ("index", "5"), ("wait", "90000ms")];
        assert_eq!(blocking, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
