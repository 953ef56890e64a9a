//! How many requests one stream may make.
//!
//! **Invariants**: too fast a client waits, it is not refused: what it sends stays in its own flow-control window.

use std::time::{Duration, Instant};

/// A token bucket.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    burst: Duration,
    /// When the bucket will be full again.
    full_at: Instant,
}

impl Throttle {
    /// `per_second` requests in the long run, `burst` at once.
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst: interval * burst.max(1), full_at: now }
    }

    /// When the next request may be read; in the past: now.
    pub(super) fn next_at(&self) -> Instant {
        let earliest = self.full_at + self.interval;
        earliest.checked_sub(self.burst).unwrap_or(self.full_at)
    }

    /// Counts a request.
    pub(super) fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate_holds() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut throttle = Throttle::new(10, 5, start);
        for _ in 0..5 {
            assert!(throttle.next_at() <= start);
            throttle.take(start);
        }
        assert_eq!(throttle.next_at(), start + Duration::from_millis(100));
        assert!(throttle.next_at() <= start + Duration::from_millis(100));
    }
}
