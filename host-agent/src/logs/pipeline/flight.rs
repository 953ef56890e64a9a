//! The batches of one destination that are on their way, and how far delivery has come: outcomes arrive in any order,
//! positions move in order.
//!
//! In: batches from the pipeline's thread, outcomes from the output. Out: [`Saved`] after each change; the batches that are
//! not delivered, for the spool. Shared by the thread and the task that saves.
//!
//! **Invariants**: `saved` is past a batch only when all of its messages and all batches before it have their outcome;
//! numbers only grow; batches without messages that follow one another are one. **Absent**: IO, clocks.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::logs::batch::Batch;
use crate::logs::store::Saved;

/// Batches on their way.
#[derive(Debug)]
pub(super) struct Flight {
    state: Mutex<State>,
    /// Rings when `saved` moved without an outcome.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    unsettled: VecDeque<Item>,
    saved: Saved,
    /// The number up to which `saved` is on disk.
    persisted: u64,
}

#[derive(Debug)]
struct Item {
    batch: Batch,
    /// Messages without an outcome.
    open: usize,
}

impl State {
    fn advance(&mut self) -> bool {
        let before = self.saved.delivered;
        while self.unsettled.front().is_some_and(|item| item.open == 0) {
            if let Some(Item { batch, .. }) = self.unsettled.pop_front() {
                self.saved.delivered = batch.number;
                self.saved.positions.advance(batch.progress);
            }
        }
        self.saved.delivered != before
    }
}

impl Flight {
    /// Nothing on its way; `saved` is on disk.
    pub(super) fn new(saved: Saved) -> Self {
        let persisted = saved.delivered;
        let state = State { unsettled: VecDeque::new(), saved, persisted };
        Self { state: Mutex::new(state), moved: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held has ended the process already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is about to be sent; one without messages is delivered as soon as those before it are.
    pub(super) fn launch(&self, batch: Batch) {
        let mut state = self.state();
        let open = batch.messages.len();
        match state.unsettled.back_mut() {
            // While one record waits for its acknowledgement, rules may drop all others for days.
            Some(Item { batch: last, .. }) if open == 0 && last.messages.is_empty() => {
                last.absorb(batch);
            }
            _ => state.unsettled.push_back(Item { batch, open }),
        }
        if open == 0 && state.advance() {
            self.moved.notify_one();
        }
    }

    /// One message of a batch is delivered; `true` when that moved what may be saved. Unknown numbers change nothing.
    pub(super) fn settle(&self, number: u64) -> bool {
        let mut state = self.state();
        let found = state.unsettled.binary_search_by_key(&number, |item| item.batch.number);
        if let Some(item) = found.ok().and_then(|index| state.unsettled.get_mut(index)) {
            item.open = item.open.saturating_sub(1);
        }
        state.advance()
    }

    /// Waits until what may be saved moved without an outcome.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// What may be saved, if that is more than is on disk.
    pub(super) fn unsaved(&self) -> Option<Saved> {
        let state = self.state();
        (state.saved.delivered > state.persisted).then(|| state.saved.clone())
    }

    /// What may be saved.
    #[cfg(test)]
    pub(super) fn saved(&self) -> Saved {
        self.state().saved.clone()
    }

    /// What was saved is on disk up to this batch.
    pub(super) fn persist(&self, delivered: u64) {
        self.state().persisted = delivered;
    }

    /// The batch up to which delivery is on disk.
    pub(super) fn persisted(&self) -> u64 {
        self.state().persisted
    }

    /// Batches that are on their way and have a higher number than this. Their records are shared, not copied.
    pub(super) fn after(&self, number: u64) -> Vec<Batch> {
        let state = self.state();
        let items = state.unsettled.iter().filter(|item| item.batch.number > number);
        items.map(|item| item.batch.clone()).collect()
    }

    /// When the oldest record that is on its way was written, nanoseconds since the epoch.
    pub(super) fn oldest_ns(&self) -> Option<u64> {
        self.state().unsettled.iter().filter_map(|item| item.batch.oldest_ns).min()
    }

    /// How many batches are on their way.
    pub(super) fn len(&self) -> usize {
        self.state().unsettled.len()
    }

    /// Whether none is.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::logs::batch::{Message, Progress};
    use crate::logs::position::SourcePosition;

    fn batch(number: u64, messages: usize) -> Batch {
        let message = Message { tag: Arc::from("t"), entries: "x".into(), ends: vec![1] };
        let through = SourcePosition { through: number.to_string(), open: Vec::new() };
        Batch {
            number,
            messages: vec![message; messages],
            progress: vec![Progress { source: Arc::from("journal"), position: Some(through) }],
            ..Batch::default()
        }
    }

    fn through(flight: &Flight) -> Option<String> {
        flight.unsaved().map(|saved| saved.positions.sources["journal"].through.clone())
    }

    #[test]
    fn positions_move_in_order_whatever_the_order_of_outcomes() {
        let flight = Flight::new(Saved { delivered: 4, ..Saved::default() });
        flight.launch(batch(5, 1));
        flight.launch(batch(6, 2));
        flight.launch(batch(7, 0));
        flight.launch(batch(8, 1));
        assert!(!flight.settle(6) && !flight.settle(8));
        assert_eq!(through(&flight), None);
        assert!(flight.settle(5));
        assert_eq!(through(&flight), Some("5".to_owned()));
        assert_eq!(flight.after(6).iter().map(|one| one.number).collect::<Vec<_>>(), [7, 8]);
        assert!(flight.settle(6));
        assert_eq!((through(&flight), flight.len()), (Some("8".to_owned()), 0));
        flight.persist(8);
        assert_eq!(flight.unsaved(), None);
        assert!(!flight.settle(6) && !flight.settle(99));
    }

    #[test]
    fn a_batch_without_messages_moves_the_position_once_those_before_it_are_delivered() {
        let flight = Flight::new(Saved::default());
        flight.launch(batch(1, 0));
        assert_eq!(through(&flight), Some("1".to_owned()));
    }

    #[test]
    fn batches_without_messages_take_no_more_room_however_long_one_before_them_waits() {
        let flight = Flight::new(Saved::default());
        flight.launch(batch(1, 1));
        (2..1000).for_each(|number| flight.launch(batch(number, 0)));
        assert_eq!(flight.len(), 2);
        assert_eq!(through(&flight), None);
        assert!(flight.settle(1));
        assert_eq!((through(&flight), flight.len()), (Some("999".to_owned()), 0));
    }
}
