//! Which connections there are, and which chunk goes over which.
//!
//! In: the state of the servers and the queue, through [`Dispatcher`]. Out: connections that are opened and closed, chunks that
//! are sent.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Command, Dispatcher, Lane, LaneId, Role};
use crate::logs::deliver::forward::servers::Health;
use crate::logs::deliver::forward::suspects::Suspect;
use crate::logs::deliver::forward::window::Piece;

impl Dispatcher {
    pub(super) fn connect(&mut self, now: Instant) {
        for server in 0..self.servers.len() {
            let is_due = self.attempt_at(server, now).is_some_and(|at| at <= now);
            if is_due {
                let role = if self.wants_main(server) { Role::Main } else { Role::Probe };
                self.open(server, role, None);
            }
        }
    }

    /// When a server without a connection is to be connected or probed.
    pub(super) fn attempt_at(&self, server: usize, now: Instant) -> Option<Instant> {
        let is_busy = |lane: &Lane| lane.server == server && lane.role != Role::Trial;
        if self.lanes.values().any(is_busy) {
            return None;
        }
        let heard = self.heard.get(server).copied().flatten();
        let heartbeat = heard.map_or(now, |heard| heard + self.plan.heartbeat);
        let due = if self.wants_main(server) { now } else { heartbeat };
        Some(self.servers.retry_at(server).map_or(due, |retry| retry.max(due)))
    }

    /// Whether a server should have a main connection now.
    fn wants_main(&self, server: usize) -> bool {
        let serves = !self.servers.is_standby(server) || self.servers.needs_standby();
        serves && (self.servers.keepalive(server) || !self.queue.is_empty())
    }

    pub(super) fn open(&mut self, server: usize, role: Role, suspect: Option<Suspect>) {
        let lane = LaneId(self.next_lane);
        self.next_lane += 1;
        let (in_flight, is_ready, is_closing) = (VecDeque::new(), false, false);
        self.lanes.insert(
            lane,
            Lane { server, role, is_ready, is_closing, in_flight, sent: 0, acked: 0, suspect },
        );
        self.commands.push_back(Command::Connect { lane, server });
    }

    /// Closes main connections that have done their work: of standbys that are not needed, and without keepalive.
    pub(super) fn retire(&mut self) {
        let done = self.lanes.iter().filter(|(_, lane)| {
            let is_used_up = lane.sent > 0 && !self.servers.keepalive(lane.server);
            let is_idle = lane.role == Role::Main && lane.is_ready && lane.in_flight.is_empty();
            let is_needless = self.servers.is_standby(lane.server) && !self.servers.needs_standby();
            is_idle && (is_used_up || is_needless)
        });
        let done: Vec<LaneId> = done.map(|(id, _)| *id).collect();
        done.into_iter().for_each(|id| self.close(id));
    }

    /// Hands the queue to connections that have room.
    pub(super) fn dispatch(&mut self) {
        while !self.queue.is_empty() {
            let free: Vec<(usize, LaneId)> = self
                .lanes
                .iter()
                .filter(|(_, lane)| lane.in_flight.len() < self.capacity(lane))
                .map(|(id, lane)| (lane.server, *id))
                .collect();
            let is_free = |server| free.iter().any(|(free, _)| *free == server);
            let on_parole = |server: &usize| self.servers.health(*server) == Health::Parole;
            // A chunk for a server on parole comes first: it is how it proves itself.
            let parole = free.iter().map(|(server, _)| *server).find(on_parole);
            let Some(server) = parole.or_else(|| self.servers.pick(is_free)) else { return };
            let Some((_, lane)) = free.iter().find(|(free, _)| *free == server) else { return };
            let Some((_, piece)) = self.queue.pop_first() else { return };
            self.send(*lane, piece);
        }
    }

    /// How many chunks a connection may have in flight.
    fn capacity(&self, lane: &Lane) -> usize {
        let is_usable = lane.role == Role::Main && lane.is_ready && !lane.is_closing;
        match self.servers.health(lane.server) {
            _ if !is_usable => 0,
            _ if !self.servers.keepalive(lane.server) => usize::from(lane.sent == 0),
            Health::Parole => usize::from(lane.sent == 0),
            // One slow server of several must not hold everything.
            Health::Up if self.servers.len() > 1 => (self.plan.bounds.parcels / 2).max(1),
            Health::Up => self.plan.bounds.parcels,
            Health::Unknown | Health::Down => 0,
        }
    }

    pub(super) fn send(&mut self, id: LaneId, mut piece: Piece) {
        let Some(chunk) = self.window.chunk(&piece) else { return };
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        piece.sends += 1;
        lane.sent += 1;
        lane.in_flight.push_back(piece);
        self.commands.push_back(Command::Send { lane: id, chunk });
    }
}
