//! Decides what is sent where, and what a failure means. Sans-IO.
//!
//! In: parcels, what connections report, and the time. Out: [`Command`]s. The shell ([`super`]) carries them out; property tests
//! drive it without one.
//!
//! Each server has at most one *main* connection, over which chunks are pipelined. All servers together have at most one
//! *trial* connection, which carries one suspect at a time, so that only the suspect suffers when it breaks. A server without a
//! main connection is tried by a *probe*, which ends as soon as it is ready.
//!
//! **Invariants**: a piece is in exactly one place: the queue, a lane, the suspects, or being buried. The queue is in the order in
//! which records came, so what a failed connection had not acknowledged goes first.

mod lanes;
mod trial;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::servers::{End, Health, ServerPlan, Servers};
use super::suspects::{Suspect, Suspects};
use super::window::{Bounds, Chunk, ChunkId, Piece, Window};
use crate::logs::deliver::{Outcome, Parcel};

/// Times that a piece may be the first unacknowledged one of a broken connection before it is tried alone.
const HEADS: u32 = 2;

/// Names a connection for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneId(u64);

/// What the shell is to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Open a connection to a server, by its index. It must report [`Dispatcher::ready`] or [`Dispatcher::closed`].
    Connect { lane: LaneId, server: usize },
    /// Send a chunk.
    Send { lane: LaneId, chunk: Chunk },
    /// Close a connection; it reports [`Dispatcher::closed`].
    Close { lane: LaneId },
    /// Report an outcome.
    Settle(Outcome),
    /// Write one record to the dead-letter file, then report [`Dispatcher::buried`].
    Bury { piece: Piece, chunk: Chunk, server: usize, failures: u32 },
    /// A chunk was refused while others passed.
    Refused { server: usize },
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// It could not be made.
    Unreachable,
    /// It broke.
    Broken,
    /// Nothing was acknowledged for too long; which chunk, and whether the server acknowledged a later one.
    Overdue { chunk: ChunkId, is_passed_over: bool },
    /// As commanded.
    Wanted,
}

/// What it is made from.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) servers: Vec<ServerPlan>,
    pub(super) bounds: Bounds,
    pub(super) keepalive: bool,
    pub(super) heartbeat: Duration,
    pub(super) backoff_max: Duration,
    pub(super) refusals: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Trial,
    Probe,
}

#[derive(Debug)]
struct Lane {
    server: usize,
    role: Role,
    is_ready: bool,
    is_closing: bool,
    in_flight: VecDeque<Piece>,
    sent: u64,
    acked: u64,
    /// What a trial is for.
    suspect: Option<Suspect>,
}

/// The state of a destination.
#[derive(Debug)]
pub(super) struct Dispatcher {
    plan: Plan,
    window: Window,
    servers: Servers,
    suspects: Suspects,
    queue: BTreeMap<(u64, u32), Piece>,
    lanes: BTreeMap<LaneId, Lane>,
    next_lane: u64,
    /// When each server was tried or heard of last.
    heard: Vec<Option<Instant>>,
    commands: VecDeque<Command>,
}

impl Dispatcher {
    pub(super) fn new(plan: Plan, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            window: Window::new(plan.bounds, random.u64(..)),
            servers: Servers::new(&plan.servers, plan.backoff_max, random.u64(..)),
            suspects: Suspects::new(plan.refusals, plan.backoff_max, random.u64(..)),
            queue: BTreeMap::new(),
            lanes: BTreeMap::new(),
            next_lane: 0,
            heard: vec![None; plan.servers.len()],
            commands: VecDeque::new(),
            plan,
        }
    }

    /// Whether another parcel may be handed in.
    pub(super) fn has_room(&self) -> bool {
        self.window.has_room()
    }

    /// Parcels and bytes without an outcome.
    pub(super) fn size(&self) -> (usize, usize) {
        self.window.size()
    }

    /// Pieces under suspicion.
    pub(super) fn suspects(&self) -> usize {
        self.suspects.len() + self.lanes.values().filter(|lane| lane.suspect.is_some()).count()
    }

    /// How a server does.
    pub(super) fn health(&self, server: usize) -> Health {
        self.servers.health(server)
    }

    /// What to do next; to be asked until there is nothing.
    pub(super) fn command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// A parcel came.
    pub(super) fn parcel(&mut self, parcel: Parcel, now: Instant) {
        match self.window.take(parcel) {
            Err(outcome) => self.commands.push_back(Command::Settle(outcome)),
            Ok(pieces) => pieces.into_iter().for_each(|piece| self.enqueue(piece)),
        }
        self.advance(now);
    }

    /// A connection is ready.
    pub(super) fn ready(&mut self, id: LaneId, keepalive: bool, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.is_ready = true;
        let (server, role) = (lane.server, lane.role);
        self.servers.ready(server, keepalive && self.plan.keepalive);
        self.hear(server, now);
        match role {
            Role::Main => {}
            Role::Probe => self.close(id),
            Role::Trial => self.begin_trial(id),
        }
        self.advance(now);
    }

    /// A chunk was acknowledged.
    pub(super) fn acked(&mut self, id: LaneId, chunk: ChunkId, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let server = lane.server;
        let Some(place) = lane.in_flight.iter().position(|piece| piece.id == chunk) else { return };
        let Some(piece) = lane.in_flight.remove(place) else { return };
        lane.acked += 1;
        lane.suspect = None;
        let is_trial = lane.role == Role::Trial;
        self.servers.acked(server);
        self.hear(server, now);
        self.suspects.acked(server, self.servers.acks(server));
        self.settle(&piece, false);
        if is_trial {
            self.end_trial(id, now);
        }
        self.advance(now);
    }

    /// A connection ended.
    pub(super) fn closed(&mut self, id: LaneId, closing: Closing, now: Instant) {
        let Some(mut lane) = self.lanes.remove(&id) else { return };
        let server = lane.server;
        self.hear(server, now);
        if lane.role == Role::Trial {
            self.trial_closed(lane, now);
        } else {
            match closing {
                Closing::Unreachable => self.servers.unreachable(server, now),
                _ if !lane.is_ready => self.servers.unreachable(server, now),
                Closing::Wanted => self.servers.ended(server, End::Wanted, now),
                Closing::Overdue { is_passed_over: false, .. } => {
                    self.servers.ended(server, End::Silent, now);
                }
                Closing::Overdue { .. } => self.servers.ended(server, End::Broken, now),
                Closing::Broken if lane.sent > 0 && lane.acked == 0 => {
                    self.servers.ended(server, End::Barren, now);
                }
                Closing::Broken => self.servers.ended(server, End::Broken, now),
            }
            if closing != Closing::Wanted {
                self.blame(&mut lane, closing);
            }
            lane.in_flight.drain(..).for_each(|piece| self.enqueue(piece));
        }
        self.advance(now);
    }

    /// A record is in the dead-letter file.
    pub(super) fn buried(&mut self, piece: &Piece, now: Instant) {
        self.settle(piece, true);
        self.advance(now);
    }

    /// Time has passed.
    pub(super) fn advance(&mut self, now: Instant) {
        self.judge();
        self.connect(now);
        self.retire();
        self.dispatch();
        self.try_suspect(now);
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let attempts = (0..self.servers.len()).filter_map(|server| self.attempt_at(server, now));
        // One that has ripened since the last look is due, not over.
        let can_try = !self.has_trial() && self.servers.pick_for_trial(0).is_some();
        let trial = can_try.then(|| self.suspects.deadline(now)).flatten();
        attempts.chain(trial).min()
    }

    fn enqueue(&mut self, piece: Piece) {
        self.queue.insert(piece.order(), piece);
    }

    fn hear(&mut self, server: usize, now: Instant) {
        if let Some(heard) = self.heard.get_mut(server) {
            *heard = Some(now);
        }
    }

    fn settle(&mut self, piece: &Piece, is_dead: bool) {
        if let Some(outcome) = self.window.end(piece, is_dead) {
            self.commands.push_back(Command::Settle(outcome));
        }
    }

    fn close(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && !lane.is_closing
        {
            lane.is_closing = true;
            self.commands.push_back(Command::Close { lane: id });
        }
    }

    /// Finds which piece a broken main connection speaks against: the first that was not acknowledged, because servers work in
    /// order, or the one that was passed over.
    fn blame(&mut self, lane: &mut Lane, closing: Closing) {
        let place = match closing {
            Closing::Overdue { chunk, .. } => {
                lane.in_flight.iter().position(|piece| piece.id == chunk)
            }
            _ => Some(0),
        };
        let is_passed_over = matches!(closing, Closing::Overdue { is_passed_over: true, .. });
        let Some(mut piece) = place.and_then(|place| lane.in_flight.remove(place)) else { return };
        piece.heads += 1;
        if is_passed_over {
            self.commands.push_back(Command::Refused { server: lane.server });
        }
        if is_passed_over || piece.heads >= HEADS {
            let acks = self.servers.acks(lane.server);
            self.suspects.add(piece, lane.server, acks, is_passed_over);
        } else {
            self.enqueue(piece);
        }
    }
}

#[cfg(test)]
mod tests;
