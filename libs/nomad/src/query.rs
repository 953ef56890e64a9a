//! A question to Nomad, typed by its answer; and the rules by which an answer is believed.
//!
//! In: names. Out: [`Query`], [`Answer`].
//!
//! **Invariants**: an [`Answer`] has an index of at least 1 and comes from a server with a leader.

use std::marker::PhantomData;

use reqwest::header::HeaderMap;

/// One of Nomad's read endpoints with its arguments; `T` is what it answers.
#[derive(Debug)]
pub struct Query<T> {
    pub(crate) segments: Vec<String>,
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// What the token's policy must allow.
    pub(crate) needs: &'static str,
    answer: PhantomData<fn() -> T>,
}

impl<T> Clone for Query<T> {
    fn clone(&self) -> Self {
        Self {
            segments: self.segments.clone(),
            parameters: self.parameters.clone(),
            needs: self.needs,
            answer: PhantomData,
        }
    }
}

impl<T> Query<T> {
    /// `path` below `/v1`. A segment may hold a slash, as the ids of dispatched jobs do: it is encoded.
    pub(crate) fn new<'a>(path: impl IntoIterator<Item = &'a str>, needs: &'static str) -> Self {
        let segments = path.into_iter().map(str::to_owned).collect();
        Self { segments, parameters: Vec::new(), needs, answer: PhantomData }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// Asks in this namespace in place of the client's.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        self.with("namespace", namespace)
    }

    /// Lets any server answer, also one that is behind its leader: for reads that many make.
    #[must_use]
    pub fn stale(self) -> Self {
        self.with("stale", "")
    }

    /// Method and path, for messages.
    pub fn describe(&self) -> String {
        format!("GET /v1/{}", self.segments.join("/"))
    }
}

/// What Nomad answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// `X-Nomad-Index`, at least 1: what [`crate::NomadClient::poll`] takes to wait for the next change.
    pub index: u64,
}

/// The index of an answer that may be believed.
///
/// `X-Nomad-Index` is 0 on what has no index (a client's own endpoints, before the first write); 1 asks at once then.
pub(crate) fn judge(headers: &HeaderMap) -> Result<u64, String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("x-nomad-knownleader") == Some("false") {
        return Err("from a server that knows no leader".to_owned());
    }
    match text("x-nomad-index").map(str::parse::<u64>) {
        Some(Ok(index)) => Ok(index.max(1)),
        Some(Err(_)) => Err("with an index that is no number".to_owned()),
        None => Ok(1),
    }
}

/// The index to poll with after an answer: what it carried, or none when it went back (a snapshot was restored, or a
/// server was replaced), so that the next poll is answered at once.
pub(crate) fn next_index(previous: u64, answered: u64) -> u64 {
    if answered < previous { 0 } else { answered }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(headers: &[(&'static str, &'static str)]) -> Result<u64, String> {
        let pairs = headers.iter();
        judge(&pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn an_answer_comes_from_a_server_with_a_leader_and_its_index_is_at_least_one() {
        assert_eq!(judged(&[("x-nomad-index", "7"), ("x-nomad-knownleader", "true")]), Ok(7));
        assert_eq!(judged(&[("x-nomad-index", "0")]), Ok(1));
        assert_eq!(judged(&[]), Ok(1));
        assert!(judged(&[("x-nomad-index", "7"), ("x-nomad-knownleader", "false")]).is_err());
        assert!(judged(&[("x-nomad-index", "soon")]).is_err());
    }

    #[test]
    fn an_index_that_goes_back_starts_anew() {
        assert_eq!(next_index(72, 73), 73);
        assert_eq!(next_index(72, 72), 72);
        assert_eq!(next_index(72, 70), 0);
    }
}
