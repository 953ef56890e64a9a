//! How often something may be asked that may change at any time.
//!
//! In: the time. Out: how long to wait before the next poll. Used by each watch, for itself.
//!
//! **Invariants**: pure; a watch that was idle polls at once. A wake-up is no proof of a change, so without this a busy
//! service would be read as fast as Consul can answer.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: `burst` polls at once, then one each `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Polls that may follow each other at once; at least 1.
    pub burst: u32,
    /// Time after which one more is allowed.
    pub interval: Duration,
}

/// The state of a [`Pace`], as the time at which the bucket would be full again.
#[derive(Debug)]
pub struct TokenBucket {
    pace: Pace,
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// A full one.
    pub const fn new(pace: Pace) -> Self {
        Self { pace, full_at: None }
    }

    /// From the next token on, another pace.
    pub const fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Takes one token; the answer is when it may be used, now or later.
    pub fn take(&mut self, now: Instant) -> Instant {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + self.pace.interval;
        self.full_at = Some(full_at);
        let capacity = self.pace.interval * self.pace.burst.max(1);
        full_at.checked_sub(capacity).map_or(now, |ready| ready.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_polls_go_at_once_and_then_one_each_interval() {
        let mut bucket = TokenBucket::new(Pace { burst: 2, interval: Duration::from_millis(100) });
        let start = Instant::now();
        let waits: Vec<u128> = (0..4).map(|_| (bucket.take(start) - start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100, 200]);
        let now = start + Duration::from_secs(5);
        let waits: Vec<u128> = (0..3).map(|_| (bucket.take(now) - now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 100], "an idle bucket fills up to its burst, no further");
    }
}
