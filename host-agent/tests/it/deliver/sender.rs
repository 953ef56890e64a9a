//! An output under test, with what goes in and what came out counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use host_agent::logs::batch::Message;
use host_agent::logs::deliver::config::{RawDestination, RawForward, RawServer};
use host_agent::logs::deliver::metrics::DeliverMetrics;
use host_agent::logs::deliver::{Context, Outcome, Output, Parcel, ParcelId, RECORD_ID};
use lab::forward_receiver::{ForwardReceiver, Received};
use lab::wait;
use prometheus_client::registry::Registry;
use rmp::encode;
use service::config::Problems;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Within which everything on one machine must have happened.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// 2026-11-21 19:05:47 UTC.
pub(super) const TIME_S: u32 = 1_795_287_947;
pub(super) const TIME_NS: u32 = 309_244_000;

/// A message of `count` records, whose ids are `PREFIX-0` …; `text` makes what each says.
pub(super) fn message(prefix: &str, count: u32, text: impl Fn(u32) -> String) -> Message {
    let (mut entries, mut ends) = (Vec::new(), Vec::new());
    for number in 0..count {
        encode::write_array_len(&mut entries, 2).unwrap();
        encode::write_ext_meta(&mut entries, 8, 0).unwrap();
        entries.extend_from_slice(&TIME_S.to_be_bytes());
        entries.extend_from_slice(&TIME_NS.to_be_bytes());
        encode::write_map_len(&mut entries, 2).unwrap();
        encode::write_str(&mut entries, RECORD_ID).unwrap();
        encode::write_str(&mut entries, &format!("{prefix}-{number}")).unwrap();
        encode::write_str(&mut entries, "message").unwrap();
        encode::write_str(&mut entries, &text(number)).unwrap();
        ends.push(u32::try_from(entries.len()).unwrap());
    }
    Message { tag: "mesh.trading.orders".into(), entries: Bytes::from(entries), ends }
}

/// A configuration for these servers, quick to see failures.
pub(super) fn forward(servers: &[SocketAddr]) -> RawForward {
    let server =
        |address: &SocketAddr| RawServer { address: address.to_string(), ..RawServer::default() };
    RawForward {
        servers: servers.iter().map(server).collect(),
        ack_timeout_s: 1,
        connect_timeout_s: 1,
        heartbeat_s: 1,
        backoff_max_s: 1,
        ..RawForward::default()
    }
}

/// A running output.
pub(super) struct Sender {
    parcels: mpsc::Sender<Parcel>,
    outcomes: mpsc::Receiver<Outcome>,
    settled: BTreeMap<u64, Outcome>,
    registry: Registry,
    sent: u64,
    _running: JoinSet<()>,
}

impl Sender {
    /// Starts it; dead letters go to `FOLDER/dead-letters/main.jsonl`.
    pub(super) fn start(raw: RawForward, folder: &Path) -> Self {
        Self::start_any(RawDestination { forward: Some(raw), ..RawDestination::default() }, folder)
    }

    pub(super) fn start_any(raw: RawDestination, folder: &Path) -> Self {
        let mut problems = Problems::default();
        let config = raw.resolve("main", "main", folder, &mut problems);
        let config = problems.finish(None, config).unwrap();
        let mut registry = Registry::default();
        let metrics = DeliverMetrics::new(&mut registry).destination("main");
        let context =
            Context { name: "main".into(), host: "agent".into(), metrics, seed: fastrand::u64(..) };
        let output = Output::open(config, context).unwrap();
        let (parcels, taken) = mpsc::channel(2);
        let (settle, outcomes) = mpsc::channel(64);
        let mut running = JoinSet::new();
        running.spawn(async move {
            output.run(taken, settle, CancellationToken::new()).await.unwrap();
        });
        let settled = BTreeMap::new();
        Self { parcels, outcomes, settled, registry, sent: 0, _running: running }
    }

    /// Hands a message in, and waits for room while outcomes are taken.
    pub(super) async fn send(&mut self, message: Message) {
        let id = ParcelId { batch: self.sent, message: 0 };
        let parcel = Parcel { id, message };
        let (parcels, outcomes) = (&self.parcels, &mut self.outcomes);
        let mut handed = std::pin::pin!(parcels.send(parcel));
        loop {
            tokio::select! {
                done = &mut handed => {
                    self.sent += 1;
                    return done.unwrap();
                }
                Some(outcome) = outcomes.recv() => note(&mut self.settled, outcome),
            }
        }
    }

    /// Hands a message in if there is room within this time.
    pub(super) async fn try_send(&mut self, message: Message, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.send(message)).await.is_ok()
    }

    /// Outcomes so far.
    pub(super) fn settled(&mut self) -> &BTreeMap<u64, Outcome> {
        while let Ok(outcome) = self.outcomes.try_recv() {
            note(&mut self.settled, outcome);
        }
        &self.settled
    }

    /// Awaits the outcome of everything that was handed in: records delivered and dead.
    pub(super) async fn all_settled(&mut self) -> (u32, u32) {
        let sent = self.sent;
        wait::until("everything has its outcome", SOON, async || {
            let settled = self.settled().len() as u64;
            if settled == sent { Ok(()) } else { Err(format!("{settled} of {sent}")) }
        })
        .await
        .unwrap();
        let all = self.settled.values();
        all.fold((0, 0), |(delivered, dead), one| (delivered + one.delivered, dead + one.dead))
    }

    /// The sum of a metric over its labels.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }
}

fn note(settled: &mut BTreeMap<u64, Outcome>, outcome: Outcome) {
    let before = settled.insert(outcome.id.batch, outcome);
    assert_eq!(before, None, "an outcome came twice");
}

/// Sends `count` messages of `records` each.
pub(super) async fn send_many(sender: &mut Sender, prefix: &str, count: u32, records: u32) {
    for number in 0..count {
        let line = |record| format!("line {record} of {number}");
        sender.send(message(&format!("{prefix}{number}"), records, line)).await;
    }
}

/// Everything that was sent arrived; gives how many records came again.
pub(super) fn nothing_lost(receivers: &[&ForwardReceiver], records: u64) -> u64 {
    let all: Vec<Received> = receivers.iter().map(|receiver| receiver.received()).collect();
    let mut ids: BTreeMap<&str, u64> = BTreeMap::new();
    for (id, count) in all.iter().flat_map(|received| &received.ids) {
        *ids.entry(id).or_default() += u64::from(*count);
    }
    assert_eq!(ids.len() as u64, records, "records lost");
    ids.values().map(|count| count - 1).sum()
}
