//! One service in one namespace: what is believed of it, and which answers are.
//!
//! In: answers, and whether indexes went back lately. Out: what is believed; through its [`Hold`], what is held back.
//! Owned by the one that publishes.
//!
//! **Invariants**: what is believed is one whole answer, or one with what it lacks kept; an error changes nothing; nothing
//! leaves by an answer whose index went back until Nomad had time to settle, and no large loss unless it is confirmed.

use std::time::Duration;

use service::backoff::Backoff;
use tokio::time::Instant;

use super::convert::Registered;
use crate::registry::guard::{Verdict, judge_instances};
use crate::registry::hold::Hold;
use crate::registry::outlet::Ended;

pub(super) struct Unit {
    /// Whether the listing has it.
    pub(super) is_listed: bool,
    /// `None`: not answered yet.
    pub(super) believed: Option<Registered>,
    /// Index of the last answer.
    index: u64,
    /// Until then nothing leaves.
    settles_at: Option<Instant>,
    hold: Hold,
    backoff: Backoff,
    retry_at: Option<Instant>,
    read: Read,
}

/// How its reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Idle,
    /// Under way; it began when a doubt was due to be settled or not.
    UnderWay {
        confirms: bool,
        again: bool,
    },
}

impl Unit {
    pub(super) fn new(hold: Hold, backoff: Backoff) -> Self {
        Self {
            is_listed: true,
            believed: None,
            index: 0,
            settles_at: None,
            hold,
            backoff,
            retry_at: None,
            read: Read::Idle,
        }
    }

    /// Whether nothing is left to follow.
    pub(super) fn is_over(&self) -> bool {
        let is_empty = self.believed.as_ref().is_none_or(|known| known.instances.is_empty());
        !self.is_listed && is_empty
    }

    /// Nothing leaves until `at`: Nomad's index went back.
    pub(super) fn settle(&mut self, at: Instant) {
        self.settles_at = Some(at);
        self.index = 0;
    }

    /// Whether a read is to begin now; what asks while one is under way is answered by another one after it.
    pub(super) fn begin_read(&mut self, now: Instant) -> bool {
        match &mut self.read {
            Read::UnderWay { again, .. } => {
                *again = true;
                false
            }
            Read::Idle => {
                self.retry_at = None;
                let confirms = self.hold.recheck_at().is_some_and(|at| at <= now);
                self.read = Read::UnderWay { confirms, again: false };
                true
            }
        }
    }

    /// When it wants to be read without being told to.
    pub(super) fn due(&self) -> Option<Instant> {
        let idle = self.read == Read::Idle;
        [self.retry_at, self.hold.recheck_at()].into_iter().flatten().min().filter(|_| idle)
    }

    /// A read failed. The answer is whether another one is due at once.
    pub(super) async fn fail(&mut self, error: String, now: Instant) -> Result<bool, Ended> {
        let (_, again) = self.end_read();
        self.retry_at = Some(now + self.backoff.next_pause(Duration::ZERO));
        if self.hold.recheck_at().is_some() {
            self.hold.keep(error).await?;
        }
        Ok(again)
    }

    /// An answer. The answer to that is whether another read is due at once.
    pub(super) async fn take(
        &mut self,
        answered: Registered,
        index: u64,
        now: Instant,
        settle: Duration,
    ) -> Result<bool, Ended> {
        let (confirms, again) = self.end_read();
        self.backoff.reset();
        if index < self.index {
            self.settles_at = Some(now + settle);
        }
        self.index = index;
        let Some(believed) = self.believed.take() else {
            self.believed = Some(answered);
            return Ok(again);
        };
        if let Some(at) = self.settles_at.filter(|at| *at > now) {
            let (kept, lost) = answered.and_lost_of(&believed);
            self.believed = Some(kept);
            if lost > 0 {
                let reason = format!(
                    "{lost} of {} instances are gone, and Nomad's index went back",
                    believed.instances.len()
                );
                self.hold.until(at, reason).await?;
            }
            return Ok(again);
        }
        self.settles_at = None;
        match judge_instances(Some(&believed.instances), &answered.instances) {
            Verdict::Confirm(reason) if !confirms => {
                self.believed = Some(believed);
                self.hold.suspect(reason).await?;
            }
            Verdict::Unchanged | Verdict::Accept | Verdict::Confirm(_) => {
                self.believed = Some(answered);
                self.hold.release().await?;
            }
        }
        Ok(again)
    }

    fn end_read(&mut self) -> (bool, bool) {
        match std::mem::replace(&mut self.read, Read::Idle) {
            Read::UnderWay { confirms, again } => (confirms, again),
            Read::Idle => (false, false),
        }
    }
}
