//! Suspects on their own: the trial connection, and what comes of it.
//!
//! In: what the trial connection reports, through [`Dispatcher`]. Out: halves, dead letters, pieces that are cleared.

use std::time::Instant;

use super::{Command, Dispatcher, Lane, LaneId, Role};
use crate::logs::deliver::forward::suspects::Verdict;

impl Dispatcher {
    pub(super) fn has_trial(&self) -> bool {
        self.lanes.values().any(|lane| lane.role == Role::Trial)
    }

    /// Opens the trial connection for the next suspect.
    pub(super) fn try_suspect(&mut self, now: Instant) {
        if self.has_trial() || self.servers.pick_for_trial(0).is_none() {
            return;
        }
        let Some(suspect) = self.suspects.next(now) else { return };
        match self.servers.pick_for_trial(suspect.server) {
            Some(server) => self.open(server, Role::Trial, Some(suspect)),
            None => self.enqueue(suspect.piece),
        }
    }

    pub(super) fn begin_trial(&mut self, id: LaneId) {
        let piece = self
            .lanes
            .get_mut(&id)
            .and_then(|lane| lane.suspect.as_ref())
            .map(|it| it.piece.clone());
        if let Some(piece) = piece {
            self.send(id, piece);
        }
    }

    /// A suspect passed: the connection serves the next one, if there is any.
    pub(super) fn end_trial(&mut self, id: LaneId, now: Instant) {
        self.judge();
        let Some(lane) = self.lanes.get(&id) else { return };
        let next = self.servers.keepalive(lane.server).then(|| self.suspects.next(now)).flatten();
        match (next, self.lanes.get_mut(&id)) {
            (Some(suspect), Some(lane)) => {
                lane.suspect = Some(suspect);
                self.begin_trial(id);
            }
            _ => self.close(id),
        }
    }

    pub(super) fn trial_closed(&mut self, lane: Lane, now: Instant) {
        let Some(mut suspect) = lane.suspect else { return };
        match lane.in_flight.into_iter().next() {
            Some(piece) => {
                suspect.piece = piece;
                let acks = self.servers.acks(lane.server);
                self.suspects.failed(suspect, lane.server, acks, now);
            }
            None => {
                if let Some(piece) = self.suspects.unheard(suspect, now) {
                    self.enqueue(piece);
                }
            }
        }
    }

    /// Carries out verdicts.
    pub(super) fn judge(&mut self) {
        let is_idle = |lane: &Lane| lane.in_flight.is_empty() && lane.role != Role::Trial;
        let is_alone = self.queue.is_empty() && self.lanes.values().all(is_idle);
        while let Some(verdict) = self.suspects.verdict(is_alone) {
            match verdict {
                Verdict::Halve(whole) => {
                    self.commands.push_back(Command::Refused { server: whole.server });
                    let halves = self.window.halve(&whole.piece);
                    self.suspects.halved(&whole, halves);
                }
                Verdict::Dead(suspect) => {
                    let (server, failures) = (suspect.server, suspect.failures);
                    self.commands.push_back(Command::Refused { server });
                    if let Some(chunk) = self.window.chunk(&suspect.piece) {
                        let piece = suspect.piece;
                        self.commands.push_back(Command::Bury { piece, chunk, server, failures });
                    }
                }
            }
        }
    }
}
