//! Several things polled in one task, each only when it has something to say.
//!
//! In: the task's waker. Out: a [`Bell`] for each thing, which remembers that it rang.
//!
//! With thousands of streams, what an event costs most is memory that is touched for nothing: a timer, a queue, a
//! socket that have no news are not looked at.
//!
//! **Invariants**: a bell that rings while its thing is polled, or at any other time, is heard by the next poll, and
//! the task is woken for it; none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Rounds of one poll of a [`Door`], after which other tasks have their turn.
const ROUNDS: usize = 8;

/// One thing's bell; it has rung once when it is made, so that the thing is polled at first.
#[derive(Debug)]
pub(super) struct Bell {
    rope: Arc<Rope>,
    waker: Waker,
}

#[derive(Debug)]
struct Rope {
    is_rung: AtomicBool,
    task: Door,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            self.task.knock();
        }
    }
}

impl Bell {
    /// A bell behind this door.
    pub(super) fn new(door: &Door) -> Self {
        let rope = Arc::new(Rope { is_rung: AtomicBool::new(true), task: door.clone() });
        Self { waker: Waker::from(rope.clone()), rope }
    }

    /// Polls what hangs on the bell, if it rang; what is ready is polled again the next time.
    pub(super) fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if !self.rope.is_rung.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let outcome = poll(&mut Context::from_waker(&self.waker));
        if outcome.is_ready() {
            self.ring();
        }
        outcome
    }

    /// Has the thing polled the next time.
    pub(super) fn ring(&self) {
        self.rope.is_rung.store(true, Ordering::SeqCst);
    }

    /// Whether it has rung since it was last polled.
    pub(super) fn is_rung(&self) -> bool {
        self.rope.is_rung.load(Ordering::SeqCst)
    }
}

/// The way from bells to their task; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Door(Arc<Threshold>);

#[derive(Debug, Default)]
struct Threshold {
    task: AtomicWaker,
    /// Whether the task is at the door anyway.
    is_inside: AtomicBool,
}

impl Door {
    fn knock(&self) {
        if !self.0.is_inside.load(Ordering::SeqCst) {
            self.0.task.wake();
        }
    }

    /// Has bells wake this task from now on.
    pub(super) fn open(&self, context: &Context<'_>) {
        self.0.task.register(context.waker());
    }

    /// Calls `round` until `is_quiet`: bells that ring meanwhile are served without another poll of the task.
    pub(super) fn poll<T>(
        &self,
        context: &Context<'_>,
        mut round: impl FnMut() -> Poll<T>,
        is_quiet: impl Fn() -> bool,
    ) -> Poll<T> {
        self.open(context);
        self.0.is_inside.store(true, Ordering::SeqCst);
        let mut outcome = Poll::Pending;
        for _ in 0..ROUNDS {
            outcome = round();
            if outcome.is_ready() || is_quiet() {
                break;
            }
        }
        self.0.is_inside.store(false, Ordering::SeqCst);
        // A bell that rang after the last look found the task inside, and did not wake it.
        if !is_quiet() {
            context.waker().wake_by_ref();
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls of a thing that rings itself so often, within one poll of its task, and wake-ups of the task.
    fn polls(rings: usize) -> (usize, usize) {
        let (count, door) = (Arc::new(Count::default()), Door::default());
        let (task, bell) = (Waker::from(count.clone()), Bell::new(&door));
        let mut polls = 0;
        let mut round = || {
            bell.poll(|inside| {
                polls += 1;
                if polls <= rings {
                    inside.waker().wake_by_ref();
                }
                Poll::<()>::Pending
            })
        };
        let context = Context::from_waker(&task);
        assert!(door.poll(&context, &mut round, || !bell.is_rung()).is_pending());
        (polls, count.0.load(Ordering::SeqCst))
    }

    #[test]
    fn what_rings_inside_is_served_in_the_same_poll() {
        assert_eq!(polls(0), (1, 0));
        assert_eq!(polls(3), (4, 0));
    }

    #[test]
    fn what_never_stops_ringing_lets_other_tasks_run() {
        assert_eq!(polls(usize::MAX), (ROUNDS, 1));
    }

    #[test]
    fn what_has_not_rung_is_not_polled_and_what_rings_outside_wakes_the_task() {
        let (count, door) = (Arc::new(Count::default()), Door::default());
        let task = Waker::from(count.clone());
        let (bell, mut waker) = (Bell::new(&door), None);
        door.open(&Context::from_waker(&task));
        assert!(
            bell.poll(|inside| {
                waker = Some(inside.waker().clone());
                Poll::<()>::Pending
            })
            .is_pending()
        );
        assert!(bell.poll(|_| Poll::Ready(())).is_pending());
        waker.unwrap().wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(bell.poll(|_| Poll::Ready(())).is_ready());
        assert!(bell.poll(|_| Poll::Ready(())).is_ready(), "there may be more");
    }
}
