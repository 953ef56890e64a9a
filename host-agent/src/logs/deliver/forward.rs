//! Fluentd's Forward protocol, version 1, as a client that loses nothing.
//!
//! In: parcels. Out: their outcomes, when their chunks are acknowledged. The protocol and all decisions are sans-IO; here is the
//! shell that owns the tasks.
//!
//! ```text
//!  Parcel ─▶ window ─▶ dispatcher ─▶ lane, one task for each connection ─▶ server
//!            pieces    servers        connection, handshake, reply            │
//!  Outcome ◀─ …        suspects ◀──── frame                      ◀─ ack ──────┘
//! ```
//!
//! # When is a message the culprit?
//!
//! A record that a server cannot take is never refused in words: the connection is closed, or the acknowledgement does not come.
//! A server that is down looks the same. What tells them apart is whether the *same server* takes anything else *afterwards*:
//!
//! 1. Only what happens to a chunk after the handshake counts. A server that cannot be reached speaks against no chunk.
//! 2. Servers work in order, so a broken connection speaks against the first chunk that it had not acknowledged. The second time,
//!    that chunk becomes a *suspect*: it is tried alone, on a connection of its own, while the others go on. A chunk that is not
//!    acknowledged in time while later ones are (servers pass over what is too large for them) is a suspect at once.
//! 3. A suspect's failure is a *strike* only after the same server has acknowledged another chunk since. Until then it is pending.
//! 4. After `refusals` strikes a suspect of several records is halved. Halves keep the strikes, which is evidence against one of them;
//!    the half that passes is in turn proof against the other. So one record among 5,000 is found in about 13 steps.
//! 5. A single record is a dead letter after `refusals` strikes and as many failures of its own.
//! 6. When everything fails, nothing can be proof, and the server may be down in all but its port. Then one parcel's first piece is
//!    halved, again and again, to find anything that passes: some 13 pieces, at growing pauses. This proves nothing by itself, and
//!    no record is ever given up without a strike. If nothing passes, everything waits.
//!
//! A single record that a quiet host has to send, and that its server refuses, therefore waits until another record passed.
//!
//! **Invariants**: what a failed connection had not acknowledged is sent again, first, over any server; repeats are at most what was
//! in flight; the window bounds what is held. **Absent**: UDP heartbeats (connections are made instead), Forward's other modes.

mod connection;
mod dispatcher;
mod frame;
mod handshake;
mod lane;
mod reply;
mod servers;
mod shown;
mod suspects;
mod transport;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::dispatcher::{Command, Dispatcher, LaneId, Plan};
use self::lane::{Lane, Report};
use self::servers::{Health, ServerPlan};
use self::shown::Server;
use self::window::{Bounds, Chunk, Piece};
use super::config::ForwardConfig;
use super::dead_letter::{self, DeadLetter, DeadLetters};
use super::{Context, Outcome, OutputError, Parcel};

/// Reports that may wait; more of them make the connections wait.
const REPORTS: usize = 64;

/// A Forward destination.
#[derive(Debug)]
pub struct ForwardOutput {
    config: Arc<ForwardConfig>,
    context: Context,
    random: fastrand::Rng,
    dispatcher: Dispatcher,
    servers: Vec<Server>,
    dead_letters: Arc<Mutex<DeadLetters>>,
}

/// The tasks and their channels.
struct Running {
    tasks: JoinSet<Result<(), OutputError>>,
    /// Connections, by server; a closed channel asks them to end.
    lanes: BTreeMap<LaneId, (usize, Option<mpsc::Sender<Chunk>>)>,
    reports: mpsc::Sender<Report>,
    buried: mpsc::Sender<Piece>,
    outcomes: mpsc::Sender<Outcome>,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl ForwardOutput {
    pub(super) fn new(config: ForwardConfig, context: Context) -> Self {
        let mut random = fastrand::Rng::with_seed(context.seed);
        let plans = config.servers.iter();
        let plans = plans.map(|it| ServerPlan { weight: it.weight, standby: it.standby }).collect();
        let plan = Plan {
            servers: plans,
            bounds: Bounds {
                bytes: config.window_bytes,
                parcels: config.window_messages,
                chunk_bytes: config.chunk_bytes,
            },
            keepalive: config.keepalive,
            heartbeat: config.heartbeat,
            backoff_max: config.backoff_max,
            refusals: config.refusals,
        };
        let server = |name: String| Server {
            metrics: context.metrics.server(&name),
            name: name.into(),
            last_error: String::new(),
        };
        Self {
            dispatcher: Dispatcher::new(plan, random.u64(..)),
            servers: config.servers.iter().map(|it| server(it.to_string())).collect(),
            dead_letters: Arc::new(Mutex::new(DeadLetters::new(config.dead_letters.clone()))),
            config: Arc::new(config),
            context,
            random,
        }
    }

    /// See [`super::Output::run`].
    pub(super) async fn run(
        mut self,
        mut parcels: mpsc::Receiver<Parcel>,
        outcomes: mpsc::Sender<Outcome>,
        stop: CancellationToken,
    ) -> Result<(), OutputError> {
        if !self.config.require_ack {
            let destination = &*self.context.name;
            warn!(
                destination,
                "Without acknowledgements, what is in flight when a connection breaks is lost"
            );
        }
        let (reports, mut reported) = mpsc::channel(REPORTS);
        let (buried, mut graves) = mpsc::channel(REPORTS);
        let (tasks, lanes) = (JoinSet::new(), BTreeMap::new());
        let mut running = Running { tasks, lanes, reports, buried, outcomes };
        let mut is_open = true;
        self.dispatcher.advance(now());
        loop {
            let carried_out = stop.run_until_cancelled(self.carry_out(&mut running)).await;
            let is_done = !is_open && self.dispatcher.size().0 == 0;
            if carried_out != Some(true) || is_done {
                return Ok(());
            }
            self.show();
            let deadline = self.dispatcher.deadline(now());
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ended) = running.tasks.join_next() => ended.map_err(OutputError::Panicked)??,
                Some(report) = reported.recv() => self.report(report, &mut running),
                Some(piece) = graves.recv() => self.dispatcher.buried(&piece, now()),
                parcel = parcels.recv(), if is_open && self.dispatcher.has_room() => match parcel {
                    Some(parcel) => self.dispatcher.parcel(parcel, now()),
                    None => is_open = false,
                },
                () = sleep_until(deadline.unwrap_or_else(now).into()), if deadline.is_some() => {
                    self.dispatcher.advance(now());
                }
            }
        }
    }

    /// Carries out what the dispatcher decided; false when nobody takes outcomes any more.
    async fn carry_out(&mut self, running: &mut Running) -> bool {
        while let Some(command) = self.dispatcher.command() {
            match command {
                Command::Connect { lane, server } => self.connect(lane, server, running),
                Command::Send { lane, chunk } => {
                    if let Some((_, Some(chunks))) = running.lanes.get(&lane) {
                        // A lane that takes nothing any more reports its end, and the chunk is sent again.
                        chunks.try_send(chunk).ok();
                    }
                }
                Command::Close { lane } => {
                    if let Some((_, chunks)) = running.lanes.get_mut(&lane) {
                        *chunks = None;
                    }
                }
                Command::Refused { server } => {
                    if let Some(server) = self.servers.get(server) {
                        server.metrics.refused.inc();
                    }
                }
                Command::Bury { piece, chunk, server, failures } => {
                    self.bury(piece, chunk, server, failures, running);
                }
                Command::Settle(outcome) => {
                    self.count(&outcome);
                    if running.outcomes.send(outcome).await.is_err() {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn connect(&mut self, lane: LaneId, index: usize, running: &mut Running) {
        let (Some(server), Some(shown)) = (self.config.servers.get(index), self.servers.get(index))
        else {
            return;
        };
        let mut salt = [0; 16];
        self.random.fill(&mut salt);
        let connection = Lane {
            id: lane,
            server: server.clone(),
            config: Arc::clone(&self.config),
            host: Arc::clone(&self.context.host),
            salt,
            metrics: shown.metrics.clone(),
            reports: running.reports.clone(),
        };
        // The dispatcher never has more in flight on a connection than this.
        let (chunks, taken) = mpsc::channel(self.config.window_messages.max(1));
        running.lanes.insert(lane, (index, Some(chunks)));
        running.tasks.spawn(async move {
            connection.run(taken).await;
            Ok(())
        });
    }

    fn report(&mut self, report: Report, running: &mut Running) {
        match report {
            Report::Acked { lane, chunk } => self.dispatcher.acked(lane, chunk, now()),
            Report::Ready { lane, keepalive } => {
                let Some((index, _)) = running.lanes.get(&lane) else { return };
                let index = *index;
                let before = self.dispatcher.health(index);
                self.dispatcher.ready(lane, keepalive, now());
                let Some(server) = self.servers.get(index) else { return };
                server.metrics.connections.inc();
                if before != Health::Up && self.dispatcher.health(index) == Health::Up {
                    info!(destination = %self.context.name, server = %server.name, "Server is up");
                }
            }
            Report::Closed { lane, closing, why } => {
                let Some((index, _)) = running.lanes.remove(&lane) else { return };
                let before = self.dispatcher.health(index);
                self.dispatcher.closed(lane, closing, now());
                let after = self.dispatcher.health(index);
                if let Some(why) = why {
                    self.failed(index, closing, &why, before, after);
                }
            }
        }
    }

    /// Writes a dead letter, for as long as it takes.
    fn bury(
        &self,
        piece: Piece,
        chunk: Chunk,
        server: usize,
        failures: u32,
        running: &mut Running,
    ) {
        let Some(server) = self.servers.get(server) else { return };
        let reason = format!(
            "refused {failures} times, alone on a connection, while the server took others: {}",
            server.last_error
        );
        warn!(destination = %self.context.name, server = %server.name, reason, "A record becomes a dead letter");
        let (tag, entry, server) = (chunk.tag, chunk.entries, Arc::clone(&server.name));
        let letter = DeadLetter { tag, entry, server, reason };
        let letters = Arc::clone(&self.dead_letters);
        let written = dead_letter::write(letters, letter, self.context.metrics.clone());
        let buried = running.buried.clone();
        running.tasks.spawn(async move {
            written.await?;
            // Nobody listens only when the whole output ends.
            buried.send(piece).await.ok();
            Ok(())
        });
    }
}
