//! The dispatcher against a simulated world: servers that come and go, connections that break, records that cannot be taken.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::logs::batch::Message;
use crate::logs::deliver::ParcelId;

/// What a record that no server takes consists of; good ones are zeros.
const POISON: u8 = 255;
/// A piece is sent alone after two breaks, and given up after three more: fewer breaks than that accuse nobody.
const MOST_BREAKS: usize = 4;
/// The shell asks for the deadline a little after it looked at the clock last.
const LATE: Duration = Duration::from_millis(20);

struct World {
    dispatcher: Dispatcher,
    now: Instant,
    is_up: Vec<bool>,
    /// Connections are accepted, and closed at the first chunk.
    refuses_all: bool,
    /// Connections: server, whether ready, chunks that were sent.
    lanes: BTreeMap<LaneId, (usize, bool, VecDeque<Chunk>)>,
    sent: BTreeMap<u64, (u32, u32)>,
    outcomes: BTreeMap<u64, Outcome>,
    buried: u32,
}

fn plan(servers: &[ServerPlan], parcels: usize) -> Plan {
    Plan {
        servers: servers.to_vec(),
        bounds: Bounds { bytes: 1 << 20, parcels, chunk_bytes: 50 },
        keepalive: true,
        heartbeat: Duration::from_secs(5),
        backoff_max: Duration::from_secs(10),
        refusals: 3,
    }
}

impl World {
    fn new(servers: &[ServerPlan], parcels: usize, seed: u64) -> Self {
        let mut world = Self {
            dispatcher: Dispatcher::new(plan(servers, parcels), seed),
            now: Instant::now(),
            is_up: vec![true; servers.len()],
            refuses_all: false,
            lanes: BTreeMap::new(),
            sent: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            buried: 0,
        };
        world.dispatcher.advance(world.now);
        world.obey();
        world
    }

    /// Hands a parcel in; `bad` are the records that are poison.
    fn parcel(&mut self, records: u32, bad: &[u32]) {
        let batch = self.sent.len() as u64;
        let entries: Vec<u8> =
            (0..records).map(|record| if bad.contains(&record) { POISON } else { 0 }).collect();
        let dead = entries.iter().filter(|byte| **byte == POISON).count();
        self.sent.insert(batch, (records, u32::try_from(dead).unwrap()));
        let ends = (1..=records).collect();
        let message = Message { tag: "t".into(), entries: Bytes::from(entries), ends };
        let id = ParcelId { batch, message: 0 };
        self.dispatcher.parcel(Parcel { id, message }, self.now);
        self.obey();
    }

    /// Does what the shell does, at once.
    fn obey(&mut self) {
        while let Some(command) = self.dispatcher.command() {
            match command {
                Command::Connect { lane, server } => {
                    self.lanes.insert(lane, (server, false, VecDeque::new()));
                }
                Command::Send { lane, chunk } => {
                    let (_, is_ready, chunks) = self.lanes.get_mut(&lane).unwrap();
                    assert!(*is_ready, "sent to a connection that is not ready");
                    assert!(chunks.iter().all(|other| other.id != chunk.id), "sent twice at once");
                    chunks.push_back(chunk);
                }
                Command::Close { lane } => {
                    let (_, _, chunks) = self.lanes.remove(&lane).unwrap();
                    assert!(chunks.is_empty(), "closed with chunks in flight");
                    self.dispatcher.closed(lane, Closing::Wanted, self.now);
                }
                Command::Settle(outcome) => {
                    let before = self.outcomes.insert(outcome.id.batch, outcome);
                    assert_eq!(before, None, "an outcome came twice");
                }
                Command::Bury { piece, chunk, .. } => {
                    assert_eq!(&chunk.entries[..], [POISON], "a good record was given up");
                    self.buried += 1;
                    self.dispatcher.buried(&piece, self.now);
                }
                Command::Refused { .. } => {}
            }
        }
        let sizes = self.dispatcher.size();
        assert!(sizes.0 <= self.dispatcher.plan.bounds.parcels + 1, "{sizes:?}");
    }

    fn close(&mut self, lane: LaneId, closing: Closing) {
        self.lanes.remove(&lane);
        self.dispatcher.closed(lane, closing, self.now);
        self.obey();
    }

    /// Lets one connection go on; false when none has anything to do.
    fn step(&mut self, choice: usize) -> bool {
        let busy: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, (server, is_ready, chunks))| {
                !is_ready || !chunks.is_empty() || !self.is_up[*server]
            })
            .map(|(lane, _)| *lane)
            .collect();
        let Some(&lane) = busy.get(choice % busy.len().max(1)) else { return false };
        let (server, is_ready, chunks) = self.lanes.get_mut(&lane).unwrap();
        match (self.is_up[*server], *is_ready) {
            (false, false) => self.close(lane, Closing::Unreachable),
            (false, true) => self.close(lane, Closing::Broken),
            (true, false) => {
                *is_ready = true;
                self.dispatcher.ready(lane, true, self.now);
                self.obey();
            }
            (true, true) => {
                let chunk = chunks.pop_front().unwrap();
                if self.refuses_all || chunk.entries.contains(&POISON) {
                    self.close(lane, Closing::Broken);
                } else {
                    self.dispatcher.acked(lane, chunk.id, self.now);
                    self.obey();
                }
            }
        }
        true
    }

    /// Lets time pass until something is due; false when nothing ever will be.
    fn sleep(&mut self) -> bool {
        let asked = self.now + LATE;
        let Some(deadline) = self.dispatcher.deadline(asked) else { return false };
        assert!(deadline > self.now, "it would be busy waiting");
        self.now = deadline.max(asked);
        self.dispatcher.advance(self.now);
        self.obey();
        true
    }

    /// Goes on until everything has its outcome, with other traffic now and then; panics when it never does.
    fn calm_down(&mut self) {
        for server in &mut self.is_up {
            *server = true;
        }
        for round in 0..20_000 {
            if self.outcomes.len() == self.sent.len() {
                return;
            }
            if !self.step(round) {
                // A quiet host has something to say now and then.
                if round % 7 == 0 && self.dispatcher.has_room() {
                    self.parcel(1, &[]);
                }
                self.sleep();
            }
        }
        panic!("{} of {} have an outcome", self.outcomes.len(), self.sent.len());
    }

    fn check(&self) {
        for (batch, (records, dead)) in &self.sent {
            let outcome = self.outcomes[batch];
            assert_eq!((outcome.delivered, outcome.dead), (records - dead, *dead));
        }
        assert_eq!(self.dispatcher.size(), (0, 0));
        assert_eq!(self.dispatcher.suspects(), 0);
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Parcel(u32, Vec<u32>),
    Step(usize),
    Sleep,
    Break(usize),
    Down(usize),
    Up(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1..120_u32, prop::collection::vec(0..120_u32, 0..3)).prop_map(|(records, bad)| Happening::Parcel(records, bad)),
        2 => (1..120_u32).prop_map(|records| Happening::Parcel(records, Vec::new())),
        20 => any::<usize>().prop_map(Happening::Step),
        3 => Just(Happening::Sleep),
        1 => any::<usize>().prop_map(Happening::Break),
        1 => (0..3_usize).prop_map(Happening::Down),
        1 => (0..3_usize).prop_map(Happening::Up),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_parcel_has_one_outcome_and_only_what_cannot_be_taken_is_given_up(
        happenings in prop::collection::vec(happening(), 0..150),
        weights in prop::collection::vec((1..4_u32, any::<bool>()), 0..3),
        seed in any::<u64>(),
    ) {
        let first = ServerPlan { weight: 1, standby: false };
        let others = weights.iter().map(|&(weight, standby)| ServerPlan { weight, standby });
        let servers: Vec<ServerPlan> = std::iter::once(first).chain(others).collect();
        let mut world = World::new(&servers, 6, seed);
        let mut breaks = 0;
        for happening in happenings {
            match happening {
                Happening::Parcel(records, bad) => {
                    if world.dispatcher.has_room() {
                        world.parcel(records, &bad);
                    }
                }
                Happening::Step(choice) => { world.step(choice); }
                Happening::Sleep => { world.sleep(); }
                Happening::Break(choice) => {
                    let lanes: Vec<LaneId> = world.lanes.keys().copied().collect();
                    if let Some(lane) = lanes.get(choice % lanes.len().max(1)).filter(|_| breaks < MOST_BREAKS) {
                        breaks += 1;
                        world.close(*lane, Closing::Broken);
                    }
                }
                // A server that goes breaks its connections, too.
                Happening::Down(server) if breaks < MOST_BREAKS => {
                    breaks += 1;
                    if let Some(up) = world.is_up.get_mut(server) { *up = false; }
                }
                Happening::Down(_) => {}
                Happening::Up(server) => {
                    if let Some(up) = world.is_up.get_mut(server) { *up = true; }
                }
            }
        }
        world.calm_down();
        world.check();
    }
}

const ONE: &[ServerPlan] = &[ServerPlan { weight: 1, standby: false }];

#[test]
fn a_server_that_refuses_everything_makes_few_pieces_and_no_dead_letters() {
    let mut world = World::new(ONE, 6, 1);
    for _ in 0..4 {
        world.parcel(50, &(0..50).collect::<Vec<u32>>());
    }
    // Everything fails: all records are poison to it, and nothing can prove that it takes others.
    for round in 0..2_000 {
        if !world.step(round) && !world.sleep() {
            break;
        }
    }
    assert_eq!((world.buried, world.outcomes.len()), (0, 0));
    // Each of four parcels may have been halved down to one record once: six pieces of 50 records more.
    let pieces = world.dispatcher.suspects() + world.dispatcher.queue.len();
    assert!(pieces <= 4 * 7, "{pieces}");
}

#[test]
fn a_server_that_takes_chunks_again_gets_all_that_waited_without_other_traffic() {
    let mut world = World::new(ONE, 6, 1);
    world.refuses_all = true;
    for _ in 0..5 {
        world.parcel(50, &[]);
    }
    for round in 0..400 {
        assert!(world.step(round) || world.sleep(), "nothing is tried any more");
    }
    world.refuses_all = false;
    for round in 0..400 {
        if world.outcomes.len() == 5 {
            break;
        }
        assert!(world.step(round) || world.sleep(), "nothing is tried any more");
    }
    world.check();
}

#[test]
fn what_a_broken_connection_had_goes_first_and_in_order() {
    let mut world = World::new(ONE, 6, 1);
    world.step(0);
    for _ in 0..3 {
        world.parcel(1, &[]);
    }
    let lane = *world.lanes.keys().next().unwrap();
    world.close(lane, Closing::Broken);
    world.parcel(1, &[]);
    while world.lanes.is_empty() {
        assert!(world.sleep());
    }
    world.step(0);
    let (_, _, chunks) = world.lanes.values().next().unwrap();
    let resent: Vec<bool> = chunks.iter().map(|chunk| chunk.is_resent).collect();
    assert_eq!(resent, [true, true, true, false]);
}
