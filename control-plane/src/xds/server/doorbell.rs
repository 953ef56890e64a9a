//! Several futures polled as one task, which wake each other without a detour through the scheduler.
//!
//! In: the task's own waker. Out: a waker for what is polled inside, and whether it was called meanwhile.
//!
//! **Invariants**: a call while the task is being polled is noticed before the poll ends; a call at any other time
//! wakes the task. None is lost between the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Rounds of one poll, after which other tasks have their turn.
const ROUNDS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    task: AtomicWaker,
    is_rung: AtomicBool,
    is_inside: AtomicBool,
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Ordering::SeqCst);
        if !self.is_inside.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Doorbell {
    /// Calls `round` until nothing inside asks for another one, with a context that reaches the doorbell.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        bell: &Waker,
        context: &Context<'_>,
        mut round: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.task.register(context.waker());
        self.is_inside.store(true, Ordering::SeqCst);
        let mut inside = Context::from_waker(bell);
        let mut outcome = Poll::Pending;
        for _ in 0..ROUNDS {
            self.is_rung.store(false, Ordering::SeqCst);
            outcome = round(&mut inside);
            if outcome.is_ready() || !self.is_rung.load(Ordering::SeqCst) {
                break;
            }
        }
        self.is_inside.store(false, Ordering::SeqCst);
        if self.is_rung.load(Ordering::SeqCst) {
            context.waker().wake_by_ref();
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(std::sync::atomic::AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Rounds of one poll in which the inside rings this often, and how often the task was woken.
    fn rounds(rings: usize) -> (usize, usize) {
        let count = Arc::new(Count(Default::default()));
        let (doorbell, task) = (Arc::new(Doorbell::default()), Waker::from(count.clone()));
        let (bell, mut rounds) = (Waker::from(doorbell.clone()), 0);
        let polled = doorbell.poll(&bell, &Context::from_waker(&task), |inside| {
            rounds += 1;
            if rounds <= rings {
                inside.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        let woken = count.0.load(Ordering::SeqCst);
        bell.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), woken + 1, "outside a poll it wakes the task");
        (rounds, woken)
    }

    #[test]
    fn what_rings_inside_is_served_in_the_same_poll() {
        assert_eq!(rounds(0), (1, 0));
        assert_eq!(rounds(3), (4, 0));
    }

    #[test]
    fn what_never_stops_ringing_lets_other_tasks_run() {
        assert_eq!(rounds(usize::MAX), (ROUNDS, 1));
    }
}
