//! The servers of a destination: which may be used, which comes next, when to try again.
//!
//! In: what happened on their connections, and the time. Out: choices. Pure; jitter comes from the seed.
//!
//! | health | means | gets |
//! |---|---|---|
//! | unknown | not tried yet | nothing |
//! | up | connected, or would be again at once | its share by weight |
//! | on parole | connections are accepted, but what is sent comes to nothing | one chunk at a time, at growing pauses |
//! | down | no connection | nothing |
//!
//! **Invariants**: a standby is chosen only while no other server is up, and left when one is again. Chunks are shared by smooth
//! weighted round robin, so that weights hold over any few chunks, too.

use std::time::{Duration, Instant};

use consul::Backoff;

/// Connections that came to nothing, one after the other, until a server is on parole.
const BARREN: u32 = 2;
/// Pause after the first failure.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// What the choice knows of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerPlan {
    pub(super) weight: u32,
    pub(super) standby: bool,
}

/// How a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Unknown,
    Up,
    Parole,
    Down,
}

/// How a connection ended that had been ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Closed on purpose.
    Wanted,
    /// Broken while nothing was in flight, or after it had acknowledged something.
    Broken,
    /// Broken after chunks had been sent, without any acknowledgement.
    Barren,
    /// Nothing was acknowledged for too long.
    Silent,
}

#[derive(Debug)]
struct Server {
    plan: ServerPlan,
    health: Health,
    /// Barren connections in a row.
    barren: u32,
    /// What the round robin has in its favour.
    credit: i64,
    backoff: Backoff,
    /// No attempt before this.
    retry_at: Option<Instant>,
    /// Chunks that it acknowledged.
    acks: u64,
    /// Whether it keeps connections open.
    keepalive: bool,
}

/// All of them, by their index in the configuration.
#[derive(Debug)]
pub(super) struct Servers {
    list: Vec<Server>,
}

impl Servers {
    pub(super) fn new(plans: &[ServerPlan], backoff_max: Duration, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let list = plans.iter().map(|plan| Server {
            plan: *plan,
            health: Health::Unknown,
            barren: 0,
            credit: 0,
            backoff: Backoff::with_random(PAUSE_MIN, backoff_max, random.fork()),
            retry_at: None,
            acks: 0,
            keepalive: true,
        });
        Self { list: list.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn health(&self, server: usize) -> Health {
        self.list.get(server).map_or(Health::Down, |server| server.health)
    }

    pub(super) fn is_standby(&self, server: usize) -> bool {
        self.list.get(server).is_some_and(|server| server.plan.standby)
    }

    /// Chunks that it acknowledged so far.
    pub(super) fn acks(&self, server: usize) -> u64 {
        self.list.get(server).map_or(0, |server| server.acks)
    }

    /// Whether its connections carry more than one message.
    pub(super) fn keepalive(&self, server: usize) -> bool {
        self.list.get(server).is_some_and(|server| server.keepalive)
    }

    /// Earliest time of the next attempt; `None`: now.
    pub(super) fn retry_at(&self, server: usize) -> Option<Instant> {
        self.list.get(server).and_then(|server| server.retry_at)
    }

    /// Whether standbys have to serve: every other server was tried, and none is up.
    pub(super) fn needs_standby(&self) -> bool {
        let mut others = self.list.iter().filter(|server| !server.plan.standby);
        others.all(|server| matches!(server.health, Health::Down | Health::Parole))
    }

    /// The server for the next chunk among those for which `is_free`.
    pub(super) fn pick(&mut self, is_free: impl Fn(usize) -> bool) -> Option<usize> {
        let standby = self.needs_standby();
        let candidates: Vec<usize> = (0..self.list.len())
            .filter(|&index| {
                self.health(index) == Health::Up && (standby || !self.is_standby(index))
            })
            .filter(|&index| is_free(index))
            .collect();
        let total: i64 = candidates.iter().map(|&index| self.weight(index)).sum();
        for &index in &candidates {
            let weight = self.weight(index);
            if let Some(server) = self.list.get_mut(index) {
                server.credit += weight;
            }
        }
        // The first of several with the same credit.
        let best = candidates.into_iter().rev().max_by_key(|&index| self.credit(index))?;
        if let Some(server) = self.list.get_mut(best) {
            server.credit -= total;
        }
        Some(best)
    }

    /// The server for a suspect that failed on `last`: the next one that serves, or if none is up, one on parole.
    pub(super) fn pick_for_trial(&self, last: usize) -> Option<usize> {
        let standby = self.needs_standby();
        let count = self.list.len();
        let after = || (1..=count).map(|step| (last + step) % count);
        let serves = |server: &usize| {
            self.health(*server) == Health::Up && (standby || !self.is_standby(*server))
        };
        let on_parole = |server: &usize| self.health(*server) == Health::Parole;
        after().find(serves).or_else(|| after().find(on_parole))
    }

    fn weight(&self, server: usize) -> i64 {
        self.list.get(server).map_or(0, |server| server.plan.weight.into())
    }

    fn credit(&self, server: usize) -> i64 {
        self.list.get(server).map_or(0, |server| server.credit)
    }

    /// A connection is ready.
    pub(super) fn ready(&mut self, server: usize, keepalive: bool) {
        let Some(server) = self.list.get_mut(server) else { return };
        server.keepalive = keepalive;
        server.retry_at = None;
        server.health = if server.barren >= BARREN { Health::Parole } else { Health::Up };
    }

    /// A chunk was acknowledged.
    pub(super) fn acked(&mut self, server: usize) {
        let Some(server) = self.list.get_mut(server) else { return };
        server.acks += 1;
        server.barren = 0;
        server.backoff.reset();
        server.health = Health::Up;
    }

    /// No connection could be made.
    pub(super) fn unreachable(&mut self, server: usize, now: Instant) {
        let Some(server) = self.list.get_mut(server) else { return };
        server.health = Health::Down;
        server.retry_at = Some(now + server.backoff.next_pause(Duration::ZERO));
    }

    /// A connection that had been ready ended.
    pub(super) fn ended(&mut self, server: usize, end: End, now: Instant) {
        let Some(server) = self.list.get_mut(server) else { return };
        match end {
            End::Wanted => return,
            End::Broken => {}
            End::Barren => server.barren += 1,
            End::Silent => server.barren = server.barren.max(BARREN),
        }
        if server.barren >= BARREN {
            server.health = Health::Parole;
        }
        server.retry_at = Some(now + server.backoff.next_pause(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(plans: &[(u32, bool)]) -> Servers {
        let plans: Vec<ServerPlan> =
            plans.iter().map(|&(weight, standby)| ServerPlan { weight, standby }).collect();
        Servers::new(&plans, Duration::from_secs(10), 1)
    }

    fn picks(servers: &mut Servers, count: usize) -> Vec<usize> {
        (0..count).filter_map(|_| servers.pick(|_| true)).collect()
    }

    #[test]
    fn chunks_are_shared_by_weight() {
        let mut servers = servers(&[(3, false), (1, false)]);
        servers.ready(0, true);
        servers.ready(1, true);
        assert_eq!(picks(&mut servers, 8), [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(servers.pick(|server| server == 1), Some(1), "a busy one is passed over");
    }

    #[test]
    fn a_standby_serves_while_no_other_is_up_and_no_longer() {
        let now = Instant::now();
        let mut servers = servers(&[(1, false), (1, true)]);
        servers.ready(1, true);
        assert_eq!(servers.pick(|_| true), None, "the first may still come up");
        servers.unreachable(0, now);
        assert_eq!(picks(&mut servers, 2), [1, 1]);
        servers.ready(0, true);
        assert_eq!(picks(&mut servers, 2), [0, 0]);
    }

    #[test]
    fn a_server_whose_connections_come_to_nothing_is_on_parole_until_it_acknowledges() {
        let now = Instant::now();
        let mut servers = servers(&[(1, false)]);
        for expected in [Health::Up, Health::Parole] {
            servers.ready(0, true);
            servers.ended(0, End::Barren, now);
            assert_eq!(servers.health(0), expected);
        }
        servers.ready(0, true);
        assert_eq!(servers.health(0), Health::Parole, "connecting proves nothing");
        servers.acked(0);
        assert_eq!(servers.health(0), Health::Up);
        servers.ended(0, End::Silent, now);
        assert_eq!(servers.health(0), Health::Parole);
    }
}
