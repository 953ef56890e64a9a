//! The pipeline's thread: reads batches and hands their messages to the output, through the spool when that must be.
//!
//! ```text
//!            ┌─ reading ─▶ batch ─────────────────────────▶ messages ─▶ output
//!  at risk ──┤                 └─▶ spool, synced ─▶ oldest ──▲
//! ```
//!
//! In the ordinary course a batch is read when the one before went out; a destination that takes nothing stops the reading,
//! and journald keeps the entries. When journald is about to delete what was not read, reading goes on into the spool, the
//! batches on their way first. Nothing is read past the spool before it is drained, except into it.
//!
//! **Invariants**: batches go out in the order of their numbers; whatever was read is on its way, in the spool, or in the
//! batch being filled; the thread looks at its orders and says that it lives several times a second.

mod spooling;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::flight::Flight;
use super::metrics::PipelineMetrics;
use super::reading::{Came, Decisions, Reading};
use super::source::Source;
use crate::logs::batch::Batch;
use crate::logs::deliver::{Parcel, ParcelId};
use crate::logs::shape::Now;
use crate::logs::spool::Spool;

/// Longest wait before the thread looks at its orders again.
const LOOK: Duration = Duration::from_millis(100);
/// A destination that takes nothing for so long ends the hold on files: where journald could not free what it deleted, the
/// room is freed then.
const RELEASE: Duration = Duration::from_secs(60);
/// How long the first position may take to be saved before reading begins all the same.
const FIRST_SAVE: Duration = Duration::from_secs(1);

/// What the thread shares with the rest of the pipeline.
#[derive(Debug)]
pub(super) struct Joint {
    /// Batches on their way.
    pub flight: Arc<Flight>,
    /// To the output.
    pub parcels: mpsc::Sender<Parcel>,
    /// Rules and routes, when the configuration is read again.
    pub decisions: watch::Receiver<Decisions>,
    /// Asks the thread to end.
    pub stop: CancellationToken,
    /// How long the last messages may wait for room then.
    pub grace: Duration,
    /// Counts the thread's rounds: who watches it sees that it lives.
    pub beats: Arc<AtomicU64>,
    /// Where the thread waits for room.
    pub runtime: Handle,
    /// What is counted.
    pub metrics: PipelineMetrics,
}

/// The thread's state.
pub(super) struct Feed<S> {
    reading: Reading<S>,
    spool: Spool,
    joint: Joint,
    /// Messages of the batch that goes out now.
    outgoing: VecDeque<Parcel>,
    /// The number of the last batch that began to go out.
    launched: u64,
    /// The number of the last batch that is in the spool.
    spooled: u64,
    /// A batch that was read and could not be put into the spool yet.
    held: Option<Batch>,
    is_at_risk: bool,
    risk_asked: Option<Instant>,
    spool_again: Option<Instant>,
    /// When the destination last took something.
    took: Instant,
    is_released: bool,
    clock: fn() -> Now,
}

/// How the thread came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was asked to end.
    Asked,
    /// The output ended first.
    OutputGone,
}

/// The output ended; its own error says why.
#[derive(Debug)]
struct OutputGone;

impl<S: Source> Feed<S> {
    pub(super) fn new(
        reading: Reading<S>,
        spool: Spool,
        (launched, spooled): (u64, u64),
        joint: Joint,
        clock: fn() -> Now,
    ) -> Self {
        Self {
            reading,
            spool,
            joint,
            outgoing: VecDeque::new(),
            launched,
            spooled,
            held: None,
            is_at_risk: false,
            risk_asked: None,
            spool_again: None,
            took: clock().monotonic,
            is_released: false,
            clock,
        }
    }

    /// Runs until it is asked to end or the output is gone.
    pub(super) fn run(mut self) -> Ended {
        self.save_beginning();
        while !self.joint.stop.is_cancelled() {
            self.joint.beats.fetch_add(1, Ordering::Relaxed);
            if self.joint.decisions.has_changed().unwrap_or(false) {
                let decisions = self.joint.decisions.borrow_and_update().clone();
                self.reading.decide_by(decisions);
            }
            self.forget_delivered();
            if self.round().is_err() {
                return Ended::OutputGone;
            }
        }
        self.finish();
        Ended::Asked
    }

    /// Where sources begin that had no position is saved before anything is read, so that a kill does not begin elsewhere.
    fn save_beginning(&mut self) {
        let Some(batch) = self.reading.finish() else { return };
        if !self.spool.is_drained() {
            // Delivered means: with all before it. So it goes behind what is in the spool.
            self.held = Some(batch);
            return self.keep_held();
        }
        let (number, deadline) = (batch.number, self.now() + FIRST_SAVE);
        self.launch(batch);
        while self.joint.flight.persisted() < number && self.now() < deadline {
            self.pause(Duration::from_millis(1));
        }
    }

    fn now(&self) -> Instant {
        (self.clock)().monotonic
    }

    fn round(&mut self) -> Result<(), OutputGone> {
        self.offer()?;
        if self.outgoing.is_empty() {
            if !self.spool.is_drained() {
                match self.take_spooled() {
                    Some(batch) => self.launch(batch),
                    None => self.pause(LOOK),
                }
            } else if let Some(batch) = self.held.take() {
                self.launch(batch);
            } else {
                match self.reading.step() {
                    Came::Batch(batch) => self.launch(batch),
                    Came::More => {}
                    Came::Nothing => self.reading.wait(LOOK),
                }
            }
            return Ok(());
        }
        // The destination takes nothing now.
        if self.must_spool() {
            self.read_into_spool();
            return Ok(());
        }
        if !self.is_released && self.now().saturating_duration_since(self.took) >= RELEASE {
            self.is_released = true;
            self.reading.release();
        }
        self.wait_for_room()
    }

    /// Hands out messages while there is room.
    fn offer(&mut self) -> Result<(), OutputGone> {
        while let Some(parcel) = self.outgoing.pop_front() {
            match self.joint.parcels.try_send(parcel) {
                Ok(()) => self.taken(),
                Err(mpsc::error::TrySendError::Full(parcel)) => {
                    self.outgoing.push_front(parcel);
                    return Ok(());
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(OutputGone),
            }
        }
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), OutputGone> {
        // Timers are made inside, because this thread is none of the runtime's.
        let room = async { tokio::time::timeout(LOOK, self.joint.parcels.reserve()).await };
        match self.joint.runtime.block_on(room) {
            Ok(Ok(permit)) => match self.outgoing.pop_front() {
                Some(parcel) => permit.send(parcel),
                None => drop(permit),
            },
            Ok(Err(_)) => return Err(OutputGone),
            Err(_) => return Ok(()),
        }
        self.taken();
        Ok(())
    }

    fn taken(&mut self) {
        (self.took, self.is_released) = (self.now(), false);
    }

    fn pause(&self, span: Duration) {
        self.joint.runtime.block_on(async { tokio::time::sleep(span).await });
    }

    fn launch(&mut self, batch: Batch) {
        self.launched = batch.number;
        let messages = batch.messages.iter().cloned().zip(0..);
        self.outgoing = messages
            .map(|(message, index)| Parcel {
                id: ParcelId { batch: batch.number, message: index },
                message,
            })
            .collect();
        self.joint.flight.launch(batch);
    }

    /// Sends what was read already, as far as there is room in time: what does not go out is read again at the next start.
    fn finish(mut self) {
        let deadline = self.now() + self.joint.grace;
        let mut last = self.spool.is_drained() && self.held.is_none();
        while self.now() < deadline {
            if self.outgoing.is_empty() {
                let batch = if last { self.reading.finish() } else { None };
                last = false;
                match batch {
                    Some(batch) => self.launch(batch),
                    None => return,
                }
            }
            if self.offer().is_err() || self.wait_for_room().is_err() {
                return;
            }
        }
    }
}
