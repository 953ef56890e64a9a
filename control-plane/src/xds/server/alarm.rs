//! A timer that is kept from one wait to the next.
//!
//! In: when to wake at the latest. Out: a future that wakes then, or earlier.
//!
//! **Invariants**: it is armed anew only for an earlier time or after it rang. Entering a timer into the runtime's
//! wheel and taking it out again touches the timers of other streams; with every message of thousands of streams that
//! would cost more than a needless wake-up now and then.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// See the module.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Rings at `at`.
    pub(super) fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at.into())))
    }

    /// Whether it rings only after `at`.
    pub(super) fn is_after(&self, at: Instant) -> bool {
        self.0.deadline().into_std() > at
    }

    /// Rings at `at` or earlier; to be awaited again after it rang early.
    pub(super) fn until(&mut self, at: Instant) -> Pin<&mut Sleep> {
        if self.0.is_elapsed() || self.0.deadline().into_std() > at {
            self.0.as_mut().reset(at.into());
        }
        self.0.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_by_the_earliest_time_that_was_asked_for() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut alarm = Alarm::new(after(60_000));
        alarm.until(after(10)).await;
        assert!(start.elapsed() >= Duration::from_millis(10));
        alarm.until(after(30));
        alarm.until(after(60_000)).await;
        let rang = start.elapsed();
        assert!(rang >= Duration::from_millis(30), "{rang:?}");
        assert!(rang < Duration::from_secs(30), "early, because 30 ms was asked for before");
        alarm.until(after(50)).await;
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
}
