//! A value that is watched: one blocking query after the other.
//!
//! In: a [`Query`]. Out: an [`Answer`] or an error each time [`Watch::next`] is awaited. The caller keeps what it had on an
//! error, and judges an index that went back: nothing in here decides what these mean for the value.
//!
//! **Invariants**: after an error or an index that went back the next poll carries no index and is answered at once; the
//! first poll, and the first after an idle time, waits for nothing but Nomad.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use service::backoff::Backoff;
use service::pace::{Pace, TokenBucket};
use tokio::time::Instant;

use crate::client::NomadClient;
use crate::error::NomadError;
use crate::query::{Answer, Query, next_index};

/// Rights that are missing do not come back within milliseconds.
const DENIED_PAUSE: Duration = Duration::from_secs(1);

type Poll<T> = Pin<Box<dyn Future<Output = Result<Answer<T>, NomadError>> + Send>>;

/// How a value is watched.
#[derive(Debug, Clone)]
pub struct Watching {
    /// How long a poll blocks at most.
    pub wait: Duration,
    /// How often it polls.
    pub pace: Pace,
    /// Pauses after failures.
    pub backoff: Backoff,
}

/// A query that is asked again whenever its answer may have changed.
pub struct Watch<T> {
    client: NomadClient,
    query: Query<T>,
    wait: Duration,
    index: u64,
    bucket: TokenBucket,
    backoff: Backoff,
    retry_at: Option<Instant>,
    under_way: Option<Poll<T>>,
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.query.describe();
        formatter.debug_struct("Watch").field("query", &path).field("index", &self.index).finish()
    }
}

impl NomadClient {
    /// Watches a query; asks nothing until [`Watch::next`] is awaited.
    pub fn watch<T>(&self, query: Query<T>, how: Watching) -> Watch<T> {
        Watch {
            client: self.clone(),
            query,
            wait: how.wait,
            index: 0,
            bucket: TokenBucket::new(how.pace),
            backoff: how.backoff,
            retry_at: None,
            under_way: None,
        }
    }
}

impl<T: DeserializeOwned + Default + Send + 'static> Watch<T> {
    /// From the next poll on, polls at another pace.
    pub fn set_pace(&mut self, pace: Pace) {
        self.bucket.set_pace(pace);
    }

    /// The next answer or failure: at once at first, then when Nomad wakes or the wait ends. The answer may equal the one
    /// before it; its index is Nomad's own, also where that went back.
    ///
    /// Cancel-safe: a poll under way goes on with the next call.
    ///
    /// # Errors
    /// [`NomadError`], each with the request and the next step; the next call waits longer each time.
    pub async fn next(&mut self) -> Result<Answer<T>, NomadError> {
        let poll = match self.under_way.take() {
            Some(poll) => poll,
            None => self.start_poll(),
        };
        let outcome = self.under_way.insert(poll).as_mut().await;
        self.under_way = None;
        match &outcome {
            Ok(answer) => {
                self.index = next_index(self.index, answer.index);
                self.backoff.reset();
                self.retry_at = None;
            }
            Err(error) => {
                self.index = 0;
                let is_denied = matches!(error, NomadError::Denied { .. });
                let floor = if is_denied { DENIED_PAUSE } else { Duration::ZERO };
                self.retry_at = Some(Instant::now() + self.backoff.next_pause(floor));
            }
        }
        outcome
    }

    fn start_poll(&mut self) -> Poll<T> {
        let (client, query, wait) = (self.client.clone(), self.query.clone(), self.wait);
        let index = self.index;
        let may_poll_at = self.bucket.take(Instant::now());
        let at = self.retry_at.map_or(may_poll_at, |retry_at| retry_at.max(may_poll_at));
        Box::pin(async move {
            tokio::time::sleep_until(at).await;
            client.ask_since(&query, index, wait).await
        })
    }
}
