//! Outcomes become saved positions.
//!
//! In: outcomes of messages. Out: the position on disk, after every change; synced once a second and at the end. A task of the
//! pipeline.
//!
//! **Invariants**: what is on disk is never ahead of what was delivered; a disk that takes nothing is tried again and stops
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use service::ErrorChain;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::flight::Flight;
use super::metrics::PipelineMetrics;
use crate::logs::deliver::Outcome;
use crate::logs::shape::Now;
use crate::logs::store::{PositionFile, StoreError};

/// How often positions are synced, and gauges set.
const TICK: Duration = Duration::from_secs(1);

/// Saves one destination's position.
#[derive(Debug)]
pub(super) struct Settler {
    flight: Arc<Flight>,
    file: PositionFile,
    metrics: PipelineMetrics,
    clock: fn() -> Now,
    is_synced: bool,
    is_failing: bool,
}

impl Settler {
    pub(super) const fn new(
        flight: Arc<Flight>,
        file: PositionFile,
        metrics: PipelineMetrics,
        clock: fn() -> Now,
    ) -> Self {
        Self { flight, file, metrics, clock, is_synced: false, is_failing: false }
    }

    /// Runs until no more outcomes come.
    pub(super) async fn run(&mut self, mut outcomes: mpsc::Receiver<Outcome>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let flight = Arc::clone(&self.flight);
        loop {
            tokio::select! {
                outcome = outcomes.recv() => {
                    let Some(outcome) = outcome else { break };
                    flight.settle(outcome.id.batch);
                    while let Ok(outcome) = outcomes.try_recv() {
                        flight.settle(outcome.id.batch);
                    }
                    self.save();
                }
                () = flight.moved() => self.save(),
                _ = tick.tick() => {
                    self.save();
                    self.sync();
                    self.gauge();
                }
            }
        }
        self.save();
    }

    fn save(&mut self) {
        let Some(saved) = self.flight.unsaved() else { return };
        match self.file.save(&saved) {
            Ok(()) => {
                self.flight.persist(saved.delivered);
                (self.is_synced, self.is_failing) = (false, false);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Makes what is saved survive a power cut.
    pub(super) fn sync(&mut self) {
        if self.is_synced {
            return;
        }
        match tokio::task::block_in_place(|| self.file.sync()) {
            Ok(()) => self.is_synced = true,
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &StoreError) {
        self.metrics.save_errors.inc();
        if !self.is_failing {
            tracing::warn!(
                error = %ErrorChain(error),
                "The position cannot be saved and is tried again; until then a restart repeats records"
            );
        }
        self.is_failing = true;
    }

    fn gauge(&self) {
        let now = (self.clock)().realtime_us.saturating_mul(1_000);
        let age = self.flight.oldest_ns().map_or(0, |oldest| now.saturating_sub(oldest));
        let seconds = i64::try_from(age / 1_000_000_000).unwrap_or(i64::MAX);
        self.metrics.unsent_age.set(seconds);
        self.metrics.batches.set(i64::try_from(self.flight.len()).unwrap_or(i64::MAX));
    }
}
