//! When a failed allocation is tried again, by its group's `reschedule` block.

use crate::agent::job::{Nanos, Reschedule};
use crate::agent::state::{Allocation, RescheduleEvent, RescheduleTracker};

/// What is to become of a failed allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Now,
    At(Nanos),
    Never,
}

/// Decides about a failed allocation.
pub(super) fn retry(failed: &Allocation, policy: Option<&Reschedule>, now: Nanos) -> Retry {
    let Some(policy) = policy else { return Retry::Never };
    if failed.desired_transition.force_reschedule == Some(true) {
        return Retry::Now;
    }
    let earlier =
        failed.reschedule_tracker.as_ref().map_or(&[][..], |tracker| tracker.events.as_slice());
    if !policy.unlimited {
        let window = failed.ended_at() - policy.interval;
        let recent = earlier.iter().filter(|event| event.reschedule_time > window).count();
        if policy.attempts == 0 || recent >= policy.attempts {
            return Retry::Never;
        }
    }
    let at = failed.ended_at() + delay(policy, earlier);
    if at <= now { Retry::Now } else { Retry::At(at) }
}

/// The pause before the next try, grown by the earlier ones.
pub(super) fn delay(policy: &Reschedule, earlier: &[RescheduleEvent]) -> Nanos {
    let tries = u32::try_from(earlier.len()).unwrap_or(u32::MAX);
    let grown = match policy.delay_function.as_str() {
        "exponential" => policy.delay.saturating_mul(2_i64.saturating_pow(tries)),
        "fibonacci" => {
            let (mut current, mut next) = (policy.delay, policy.delay);
            for _ in 0..tries.min(64) {
                (current, next) = (next, current.saturating_add(next));
            }
            current
        }
        _ => policy.delay,
    };
    if policy.max_delay > 0 { grown.min(policy.max_delay) } else { grown }
}

/// The tracker of a replacement.
pub(super) fn tracker(
    failed: &Allocation,
    policy: Option<&Reschedule>,
    now: Nanos,
) -> RescheduleTracker {
    let mut tracker = failed.reschedule_tracker.clone().unwrap_or_default();
    let delay = policy.map_or(0, |policy| delay(policy, &tracker.events));
    tracker.events.push(RescheduleEvent {
        reschedule_time: now,
        prev_alloc_id: failed.id.clone(),
        prev_node_id: failed.node_id.clone(),
        delay,
    });
    tracker
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_as_their_function_says() {
        let policy = |function: &str, max_delay| Reschedule {
            attempts: 0,
            interval: 0,
            delay: 5,
            delay_function: function.to_owned(),
            max_delay,
            unlimited: true,
        };
        let event = RescheduleEvent {
            reschedule_time: 0,
            prev_alloc_id: String::new(),
            prev_node_id: String::new(),
            delay: 0,
        };
        let delays = |policy: &Reschedule| {
            (0..5).map(|tries| delay(policy, &vec![event.clone(); tries])).collect::<Vec<_>>()
        };
        assert_eq!(delays(&policy("constant", 0)), [5, 5, 5, 5, 5]);
        assert_eq!(delays(&policy("exponential", 30)), [5, 10, 20, 30, 30]);
        assert_eq!(delays(&policy("fibonacci", 0)), [5, 5, 10, 15, 25]);
    }
}
