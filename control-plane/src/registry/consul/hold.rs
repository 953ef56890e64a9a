//! One thing whose shrinking is held back: since when, why, and when to look again.
//!
//! In: doubts and their end. Out: [`RegistryEvent::Held`], once for each new reason and once for the release.
//! Owned by whoever publishes the thing: a service's task, the catalogue, the documents.

use std::time::Duration;

use ::consul::Backoff;
use tokio::time::Instant;

use super::{Context, Ended};
use crate::registry::RegistryEvent;

/// Pauses between attempts to confirm: a token whose rights come back wakes no blocking query.
const RECHECK_MIN: Duration = Duration::from_millis(500);
const RECHECK_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Hold {
    subject: String,
    held: Option<Held>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Held {
    reason: String,
    recheck_at: Instant,
}

impl Hold {
    pub(super) fn new(subject: String) -> Self {
        Self { subject, held: None, backoff: Backoff::new(RECHECK_MIN, RECHECK_MAX) }
    }

    /// An answer shrinks the thing. What is held already keeps its time of confirmation.
    pub(super) async fn suspect(&mut self, context: &Context, reason: String) -> Result<(), Ended> {
        if self.held.is_some() {
            return Ok(());
        }
        let recheck_at = Instant::now() + context.config.confirm_after;
        self.set(context, reason, recheck_at).await
    }

    /// It could not be confirmed; to be tried again later.
    pub(super) async fn keep(&mut self, context: &Context, reason: String) -> Result<(), Ended> {
        let recheck_at = Instant::now() + self.backoff.next_pause(RECHECK_MIN);
        self.set(context, reason, recheck_at).await
    }

    /// It is confirmed, or was no loss after all.
    pub(super) async fn release(&mut self, context: &Context) -> Result<(), Ended> {
        self.backoff.reset();
        if self.held.take().is_none() {
            return Ok(());
        }
        let subject = self.subject.clone();
        context.send(RegistryEvent::Held { subject, reason: None }).await
    }

    /// When confirmation is due; never, while nothing is held.
    pub(super) async fn due(&self) {
        match &self.held {
            Some(held) => tokio::time::sleep_until(held.recheck_at).await,
            None => std::future::pending().await,
        }
    }

    async fn set(
        &mut self,
        context: &Context,
        reason: String,
        recheck_at: Instant,
    ) -> Result<(), Ended> {
        let is_news = self.held.as_ref().is_none_or(|held| held.reason != reason);
        self.held = Some(Held { reason: reason.clone(), recheck_at });
        if !is_news {
            return Ok(());
        }
        tracing::warn!(subject = %self.subject, %reason, "Holding back an answer that shrinks the mesh");
        let subject = self.subject.clone();
        context.send(RegistryEvent::Held { subject, reason: Some(reason) }).await
    }
}
