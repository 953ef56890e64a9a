//! The thread's way through the spool: when it is used, what goes into it and out of it, and what is lost there.
//!
//! In: whether entries are at risk, batches that cannot be sent. Out: the same batches, in order; losses, counted.
//!
//! **Invariants**: a spool that cannot be written or read now stops nothing for good; what it cannot give back is counted.

use std::time::Duration;

use service::ErrorChain;
use tracing::{info, warn};

use super::Feed;
use crate::logs::batch::Batch;
use crate::logs::batch::builder::UNKNOWN;
use crate::logs::pipeline::reading::Came;
use crate::logs::pipeline::source::Source;
use crate::logs::spool::{Lost, SpoolError};

/// How often a source is asked whether its entries are at risk, while the destination takes nothing.
const RISK: Duration = Duration::from_millis(500);
/// Pause after the spool could not be written.
const SPOOL_PAUSE: Duration = Duration::from_secs(1);

impl<S: Source> Feed<S> {
    pub(super) fn take_spooled(&mut self) -> Option<Batch> {
        match self.spool.take() {
            Ok(batch) => batch,
            Err(ref error @ SpoolError::Read { number, ref source }) if source.is_final() => {
                warn!(error = %ErrorChain(error), "A batch of the spool is damaged: its records are lost");
                self.give_up(&Lost { damaged: 1, ..Lost::default() });
                self.spool.skip_through(number);
                None
            }
            Err(error) => {
                self.fail(&error, "The spool cannot be read; it is tried again");
                None
            }
        }
    }

    /// Whether reading must go on although the destination takes nothing.
    pub(super) fn must_spool(&mut self) -> bool {
        let now = self.now();
        if self.spool_again.is_some_and(|again| again > now) {
            return false;
        }
        if self.risk_asked.is_none_or(|asked| now.saturating_duration_since(asked) >= RISK) {
            self.risk_asked = Some(now);
            let was_at_risk = std::mem::replace(&mut self.is_at_risk, self.reading.is_at_risk());
            if self.is_at_risk && !was_at_risk {
                info!(
                    "journald is about to delete what was not delivered: copying it to the spool"
                );
            }
        }
        self.is_at_risk
    }

    /// Reads one batch into the spool; those on their way go before it.
    pub(super) fn read_into_spool(&mut self) {
        self.spool.skip_through(self.launched);
        for batch in self.joint.flight.after(self.spooled) {
            if !self.keep(&batch) {
                return;
            }
        }
        if self.held.is_none() {
            match self.reading.step() {
                Came::Batch(batch) => self.held = Some(batch),
                Came::More => {}
                Came::Nothing => self.is_at_risk = false,
            }
        }
        self.keep_held();
    }

    pub(super) fn keep_held(&mut self) {
        if let Some(batch) = self.held.take()
            && !self.keep(&batch)
        {
            self.held = Some(batch);
        }
    }

    /// Puts a batch into the spool, and what exceeds its bound out of it.
    fn keep(&mut self, batch: &Batch) -> bool {
        if let Err(error) = self.spool.append(batch) {
            self.fail(&error, "The spool cannot be written; reading waits");
            self.spool_again = Some(self.now() + SPOOL_PAUSE);
            return false;
        }
        self.spooled = batch.number;
        self.joint.metrics.spooled.inc_by(batch.records());
        match self.spool.give_way() {
            Ok(lost) if lost == Lost::default() => {}
            Ok(lost) => {
                warn!(?lost, "The spool is full: its oldest records are lost");
                self.give_up(&lost);
            }
            Err(error) => self.fail(&error, "The spool's oldest part cannot be removed"),
        }
        true
    }

    fn give_up(&self, lost: &Lost) {
        for (writer, count) in &lost.writers {
            self.joint.metrics.lost("spool_full", writer, *count);
        }
        for _ in 0..lost.damaged {
            self.joint.metrics.lost("spool_damaged", UNKNOWN, 0);
        }
    }

    fn fail(&self, error: &SpoolError, what: &'static str) {
        self.joint.metrics.spool_errors.inc();
        warn!(error = %ErrorChain(error), "{what}");
    }

    pub(super) fn forget_delivered(&mut self) {
        if !self.spool.is_empty()
            && let Err(error) = self.spool.delivered(self.joint.flight.persisted())
        {
            self.fail(&error, "A delivered part of the spool cannot be removed");
        }
        self.joint.metrics.spool_bytes.set(i64::try_from(self.spool.bytes()).unwrap_or(i64::MAX));
    }
}
