//! One thing whose shrinking is held back: since when, why, and when to look again.
//!
//! In: doubts and their end. Out: [`RegistryEvent::Held`], once for each new reason and once for the release.
//! Owned by whoever publishes the thing: a service's task, the listing, the documents.

use std::time::Duration;

use service::backoff::Backoff;
use tokio::time::Instant;

use super::RegistryEvent;
use super::outlet::{Ended, Outlet};

/// Pauses between attempts to confirm: a token whose rights come back wakes no blocking query.
const RECHECK_MIN: Duration = Duration::from_millis(500);
const RECHECK_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Hold {
    outlet: Outlet,
    subject: String,
    confirm_after: Duration,
    held: Option<Held>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Held {
    reason: String,
    recheck_at: Instant,
}

impl Hold {
    /// `confirm_after` is the time between a doubt and the read that settles it.
    pub(super) fn new(outlet: Outlet, subject: String, confirm_after: Duration) -> Self {
        let backoff = Backoff::new(RECHECK_MIN, RECHECK_MAX);
        Self { outlet, subject, confirm_after, held: None, backoff }
    }

    /// An answer shrinks the thing. What is held already keeps its time of confirmation.
    pub(super) async fn suspect(&mut self, reason: String) -> Result<(), Ended> {
        if self.held.is_some() {
            return Ok(());
        }
        let recheck_at = Instant::now() + self.confirm_after;
        self.set(reason, recheck_at).await
    }

    /// It could not be confirmed; to be tried again later.
    pub(super) async fn keep(&mut self, reason: String) -> Result<(), Ended> {
        let recheck_at = Instant::now() + self.backoff.next_pause(RECHECK_MIN);
        self.set(reason, recheck_at).await
    }

    /// It is not to be believed before `at`, whoever confirms it.
    pub(super) async fn until(&mut self, at: Instant, reason: String) -> Result<(), Ended> {
        self.set(reason, at).await
    }

    /// It is confirmed, or was no loss after all.
    pub(super) async fn release(&mut self) -> Result<(), Ended> {
        self.backoff.reset();
        if self.held.take().is_none() {
            return Ok(());
        }
        let subject = self.subject.clone();
        self.outlet.send(RegistryEvent::Held { subject, reason: None }).await
    }

    /// When confirmation is due; `None` while nothing is held.
    pub(super) fn recheck_at(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.recheck_at)
    }

    /// Until confirmation is due; for ever, while nothing is held.
    pub(super) async fn due(&self) {
        match self.recheck_at() {
            Some(recheck_at) => tokio::time::sleep_until(recheck_at).await,
            None => std::future::pending().await,
        }
    }

    async fn set(&mut self, reason: String, recheck_at: Instant) -> Result<(), Ended> {
        let is_news = self.held.as_ref().is_none_or(|held| held.reason != reason);
        self.held = Some(Held { reason: reason.clone(), recheck_at });
        if !is_news {
            return Ok(());
        }
        tracing::warn!(subject = %self.subject, %reason, "Holding back an answer that shrinks the mesh");
        let subject = self.subject.clone();
        self.outlet.send(RegistryEvent::Held { subject, reason: Some(reason) }).await
    }
}
