//! A value that is watched: one blocking query after the other.
//!
//! In: a [`Query`] and a place on a connection. Out: an [`Answer`] or an error each time [`Watch::next`] is awaited.
//! The caller keeps what it had on an error: nothing in here decides what an error means for the value.
//!
//! **Invariants**
//! - After an error, an index that went back, or [`Watch::restart`], the next poll carries no index and is answered at once.
//! - The first poll, and the first after an idle time, waits for nothing but Consul.
//! - An index taken over from another query counts once: the first answer replaces it, even by a lower one.
//! - After an outage that others noticed too, the first answer to anyone ends the pauses of all.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use service::backoff::Backoff;
use service::pace::{Pace, TokenBucket};
use tokio::time::Instant;

use crate::client::ConsulClient;
use crate::error::{ConsulError, ErrorClass};
use crate::query::{Answer, Query, next_index};
use crate::transport::Seat;

/// When Consul is back, all watches ask again within this time, not at the same moment.
const RETURN_SPREAD: Duration = Duration::from_millis(200);

type Poll<T> = Pin<Box<dyn Future<Output = Result<Answer<T>, ConsulError>> + Send>>;

/// A query that is asked again whenever its answer may have changed.
pub struct Watch<T> {
    client: ConsulClient,
    query: Query<T>,
    seat: Seat,
    index: u64,
    /// The index is that of another query, and may be above what this one ever answers.
    is_borrowed: bool,
    backoff: Backoff,
    bucket: TokenBucket,
    retry: Option<Retry>,
    under_way: Option<Poll<T>>,
}

/// What the last failure asks for.
#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    ends_with_outage: bool,
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.query.describe();
        formatter.debug_struct("Watch").field("query", &path).field("index", &self.index).finish()
    }
}

impl<T: DeserializeOwned + Default + Send + 'static> Watch<T> {
    pub(crate) fn new(
        client: ConsulClient,
        query: Query<T>,
        seat: Seat,
        backoff: Backoff,
        pace: Pace,
        index: u64,
    ) -> Self {
        Self {
            client,
            query,
            seat,
            index,
            is_borrowed: index > 0,
            backoff,
            bucket: TokenBucket::new(pace),
            retry: None,
            under_way: None,
        }
    }

    /// From the next poll on, polls at another pace.
    pub fn set_pace(&mut self, pace: Pace) {
        self.bucket.set_pace(pace);
    }

    /// The index of the last answer; 0: the next poll does not block.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Forgets index and poll under way: the next answer is what Consul has now.
    pub fn restart(&mut self) {
        self.index = 0;
        self.is_borrowed = false;
        self.under_way = None;
    }

    /// The next answer or failure: at once at first, then when Consul wakes or the wait ends.
    /// The answer may equal the one before it.
    ///
    /// Cancel-safe: a poll under way goes on with the next call.
    pub async fn next(&mut self) -> Result<Answer<T>, ConsulError> {
        let poll = match self.under_way.take() {
            Some(poll) => poll,
            None => self.start_poll(),
        };
        let outcome = self.under_way.insert(poll).as_mut().await;
        self.under_way = None;
        let is_borrowed = std::mem::take(&mut self.is_borrowed);
        match &outcome {
            Ok(answer) => {
                self.index =
                    if is_borrowed { answer.index } else { next_index(self.index, answer.index) };
                self.backoff.reset();
                self.retry = None;
            }
            Err(error) => {
                self.index = 0;
                let pause = self.backoff.next_pause(error.pause_floor());
                let ends_with_outage = error.class() == ErrorClass::Retry;
                self.retry = Some(Retry { at: Instant::now() + pause, ends_with_outage });
            }
        }
        outcome
    }

    fn start_poll(&mut self) -> Poll<T> {
        let (client, query, index) = (self.client.clone(), self.query.clone(), self.index);
        let connection = self.seat.client.clone();
        let may_poll_at = self.bucket.take(Instant::now());
        let retry = self.retry;
        Box::pin(async move {
            if let Some(retry) = retry {
                pause(&client, retry).await;
            }
            tokio::time::sleep_until(may_poll_at).await;
            client.poll(&connection, &query, index).await
        })
    }
}

/// Until the time of the next attempt, or until Consul is known to be back.
async fn pause(client: &ConsulClient, retry: Retry) {
    let mut recoveries = client.recoveries();
    let until = tokio::time::sleep_until(retry.at);
    if !retry.ends_with_outage {
        return until.await;
    }
    tokio::select! {
        () = until => {}
        Ok(()) = recoveries.changed() => {
            tokio::time::sleep(RETURN_SPREAD.mul_f64(fastrand::f64())).await;
        }
    }
}
