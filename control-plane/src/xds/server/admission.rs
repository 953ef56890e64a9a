//! How many streams begin at a time.
//!
//! In: streams whose first request came. Out: a permit to begin, or that the wait was too long.
//!
//! **Invariants**: a stream waits without work, in the order of arrival, so that thousands that come at once leave the
//! processors to those that are there; a permit is held while a stream is set up, never while a proxy is waited for.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The door.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Semaphore,
    patience: Duration,
    waiting: Gauge,
}

/// More came than could begin in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

impl Admission {
    /// Lets so many begin at a time; others wait this long at most.
    pub(super) fn new(at_once: usize, patience: Duration, waiting: Gauge) -> Self {
        Self { permits: Semaphore::new(at_once.max(1)), patience, waiting }
    }

    /// Waits for a permit to begin.
    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, Crowded> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(&self.waiting);
        match tokio::time::timeout(self.patience, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Crowded),
        }
    }
}

/// Counts one that waits, also when it leaves meanwhile.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_place_waits_for_one_and_not_for_ever() {
        let waiting = Gauge::default();
        let admission = Admission::new(1, Duration::from_millis(20), waiting.clone());
        let first = admission.enter().await.unwrap();
        assert_eq!(admission.enter().await.unwrap_err(), Crowded);
        assert_eq!(waiting.get(), 0);
        let second = admission.enter();
        let (second, ()) = tokio::join!(second, async {
            assert_eq!(waiting.get(), 1);
            drop(first);
        });
        assert!(second.is_ok());
    }
}
