//! Pauses between failed attempts.
//!
//! In: failures, one call each. Out: how long to pause: exponential from `min` to `max`, with full jitter, so that many
//! clients of one server do not return together.
//!
//! **Invariants**: no sleeping in here; with a seeded generator the pauses are reproducible.

use std::time::Duration;

/// Counts failures and says how long to pause after each.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Pauses up to `min` after the first failure, twice as long after each further one, up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self::with_random(min, max, fastrand::Rng::new())
    }

    /// The same with a random generator of the caller's.
    pub fn with_random(min: Duration, max: Duration, random: fastrand::Rng) -> Self {
        Self { min, max, failures: 0, random }
    }

    /// Counts a failure; the pause before the next attempt, at least `floor`.
    pub fn next_pause(&mut self, floor: Duration) -> Duration {
        let ceiling = self.min.saturating_mul(1u32 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let jittered = ceiling.mul_f64(self.random.f64());
        jittered.saturating_add(floor).min(self.max.max(floor))
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(floor: Duration) -> Vec<Duration> {
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(30));
        let mut backoff = Backoff::with_random(min, max, fastrand::Rng::with_seed(7));
        (0..20).map(|_| backoff.next_pause(floor)).collect()
    }

    #[test]
    fn pauses_grow_from_the_minimum_to_the_maximum_with_full_jitter() {
        let pauses = pauses(Duration::ZERO);
        for (failures, pause) in pauses.iter().enumerate() {
            let ceiling =
                Duration::from_millis(200 << failures.min(10)).min(Duration::from_secs(30));
            assert!(*pause <= ceiling, "pause {failures} is {pause:?}");
        }
        assert!(pauses.iter().any(|pause| *pause > Duration::from_secs(10)), "{pauses:?}");
    }

    #[test]
    fn a_floor_holds_even_for_the_first_pause() {
        let floor = Duration::from_secs(1);
        assert!(pauses(floor).iter().all(|pause| *pause >= floor));
    }
}
