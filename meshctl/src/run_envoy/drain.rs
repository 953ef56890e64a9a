//! When a draining Envoy may end: a state machine without clock or IO.
//!
//! In: what is under way at a moment after the signal. Out: go on, end, or the time is over. Called by [`super::run`].
//!
//! **Invariant**: before `limit` it never says [`Step::Quiet`] while something is under way.

use std::time::Duration;

/// What passes through an Envoy, its own admin and statistics listeners apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, and connections of bytes, that are under way.
    pub active: u64,
    /// Requests, and connections of bytes, that ever began.
    pub begun: u64,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// At least this long.
    pub linger: Duration,
    /// Nothing must have begun for this long: clients that keep connections have learned to go.
    pub quiet: Duration,
    /// At most this long.
    pub limit: Duration,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look again a little later.
    Wait,
    /// Nobody asks any more.
    Quiet,
    /// The time is over.
    Over {
        /// What is still under way.
        active: u64,
    },
}

/// The state of one drain.
#[derive(Debug)]
pub struct Drain {
    policy: Policy,
    /// How much had begun, and since when it is no more.
    still: Option<(u64, Duration)>,
}

impl Drain {
    /// A drain that begins now.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, still: None }
    }

    /// Takes in what is under way `elapsed` after the signal.
    pub fn observe(&mut self, elapsed: Duration, traffic: Traffic) -> Step {
        let since = match self.still {
            Some((begun, since)) if begun == traffic.begun && traffic.active == 0 => since,
            _ => elapsed,
        };
        self.still = Some((traffic.begun, since));
        let Policy { linger, quiet, limit } = self.policy;
        if traffic.active == 0 && elapsed >= linger && elapsed.saturating_sub(since) >= quiet {
            Step::Quiet
        } else if elapsed >= limit {
            Step::Over { active: traffic.active }
        } else {
            Step::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        linger: Duration::from_secs(2),
        quiet: Duration::from_secs(1),
        limit: Duration::from_secs(10),
    };

    /// What is said at each of these moments (in tenths of a second; under way; begun so far).
    fn steps(moments: &[(u64, u64, u64)]) -> Vec<Step> {
        let mut drain = Drain::new(POLICY);
        let moments = moments.iter();
        moments
            .map(|(tenths, active, begun)| {
                let traffic = Traffic { active: *active, begun: *begun };
                drain.observe(Duration::from_millis(tenths * 100), traffic)
            })
            .collect()
    }

    #[test]
    fn an_idle_proxy_lingers_and_ends() {
        assert_eq!(
            steps(&[(0, 0, 5), (10, 0, 5), (19, 0, 5), (20, 0, 5)]),
            [Step::Wait, Step::Wait, Step::Wait, Step::Quiet]
        );
    }

    #[test]
    fn it_waits_for_what_is_under_way_and_then_for_quiet() {
        assert_eq!(
            steps(&[(0, 1, 5), (30, 1, 5), (31, 0, 5), (39, 0, 5), (40, 0, 5)]),
            [Step::Wait, Step::Wait, Step::Wait, Step::Wait, Step::Quiet]
        );
    }

    #[test]
    fn a_request_that_came_and_went_between_two_looks_begins_the_quiet_anew() {
        assert_eq!(
            steps(&[(20, 0, 5), (29, 0, 6), (30, 0, 6), (39, 0, 6)]),
            [Step::Wait, Step::Wait, Step::Wait, Step::Quiet]
        );
    }

    #[test]
    fn the_limit_ends_it_with_what_is_under_way() {
        assert_eq!(steps(&[(99, 3, 5), (100, 3, 5)]), [Step::Wait, Step::Over { active: 3 }]);
        assert_eq!(steps(&[(99, 0, 5), (100, 0, 6)]), [Step::Wait, Step::Over { active: 0 }]);
    }
}
