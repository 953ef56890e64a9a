//! How fast the Forward output is: messages of 5,000 records into the lab's acknowledging receiver, over loopback.
//!
//! `cargo bench -p host-agent --bench deliver` prints records a second, and the CPU time of the sender alone for each record: the
//! receiver runs in a process of its own, which is this program with an argument.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may fail where it stands, and prints"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use host_agent::logs::batch::Message;
use host_agent::logs::deliver::config::{Compression, RawDestination, RawForward, RawServer};
use host_agent::logs::deliver::metrics::DeliverMetrics;
use host_agent::logs::deliver::{Context, Output, Parcel, ParcelId, RECORD_ID};
use lab::forward_receiver::{Behaviour, ForwardReceiver, Keep};
use prometheus_client::registry::Registry;
use service::config::Problems;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const RECORDS: u32 = 5_000;
const MESSAGES: u64 = 400;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == "receive") {
        runtime.block_on(receive());
    } else {
        runtime.block_on(measure());
    }
}

/// Says its port and serves until it is killed.
async fn receive() {
    let behaviour = Behaviour { keep: Keep::Numbers, ..Behaviour::default() };
    let receiver = ForwardReceiver::start(behaviour).await.unwrap();
    println!("{}", receiver.address());
    std::future::pending::<()>().await;
}

async fn measure() {
    let message = message();
    println!(
        "{RECORDS} records of {} bytes in a message",
        message.entries.len() / RECORDS as usize
    );
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("receive")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let (took, cpu) = send(address.trim(), compression, &message).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let records = f64::from(RECORDS) * MESSAGES as f64;
        println!(
            "{compression:?}: {:.0} records/s, {:.2} µs of CPU for each record",
            records / took.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / records
        );
    }
}

async fn send(address: &str, compression: Compression, message: &Message) -> (Duration, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let servers = vec![RawServer { address: address.to_owned(), ..RawServer::default() }];
    let forward = Some(RawForward { servers, compression, ..RawForward::default() });
    let raw = RawDestination { forward, ..RawDestination::default() };
    let mut problems = Problems::default();
    let config = raw.resolve("main", "main", folder.path(), &mut problems);
    let config = problems.finish(None, config).unwrap();
    let metrics = DeliverMetrics::new(&mut Registry::default()).destination("main");
    let context = Context { name: "main".into(), host: "agent".into(), metrics, seed: 1 };
    let output = Output::open(config, context).unwrap();
    let (parcels, taken) = mpsc::channel(2);
    let (settle, mut outcomes) = mpsc::channel(64);
    let (began, cpu) = (Instant::now(), cpu_time());
    let feed = async {
        for batch in 0..MESSAGES {
            let id = ParcelId { batch, message: 0 };
            parcels.send(Parcel { id, message: message.clone() }).await.unwrap();
        }
        drop(parcels);
    };
    let count = async {
        let mut settled = 0;
        while outcomes.recv().await.is_some() {
            settled += 1;
        }
        settled
    };
    let run = output.run(taken, settle, CancellationToken::new());
    let ((), settled, ended) = tokio::join!(feed, count, run);
    ended.unwrap();
    assert_eq!(settled, MESSAGES);
    (began.elapsed(), cpu_time() - cpu)
}

/// CPU time of this process so far, from the kernel's clock ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|it| it.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Lines as services write them, with the fields that are sent of each.
fn message() -> Message {
    let (mut entries, mut ends) = (Vec::new(), Vec::new());
    for number in 0..RECORDS {
        let fields = [
            (RECORD_ID, format!("3d12b5c7c77c4f1f8c6d423fd3f1a0be-{number:x}")),
            (
                "message",
                format!(
                    "level=info ts=2026-11-21T19:05:{:02}Z order={} user=u{} took={}ms status=200",
                    number % 60,
                    number * 7_919,
                    number % 997,
                    number % 250
                ),
            ),
            ("system", "trading".to_owned()),
            ("service", "orders".to_owned()),
            ("instance", "5f6a1f5e-8d5b-4c39-9c1e-0f5f4a9c7a11".to_owned()),
            ("job", "trading-orders".to_owned()),
            ("task", "orders".to_owned()),
            ("host", "worker-17.example.com".to_owned()),
            ("level", "info".to_owned()),
        ];
        rmp::encode::write_array_len(&mut entries, 2).unwrap();
        rmp::encode::write_ext_meta(&mut entries, 8, 0).unwrap();
        entries.extend_from_slice(&(1_795_287_947 + number / 100).to_be_bytes());
        entries.extend_from_slice(&(number * 1_000).to_be_bytes());
        rmp::encode::write_map_len(&mut entries, 9).unwrap();
        for (name, value) in fields {
            rmp::encode::write_str(&mut entries, name).unwrap();
            rmp::encode::write_str(&mut entries, &value).unwrap();
        }
        ends.push(u32::try_from(entries.len()).unwrap());
    }
    Message { tag: "mesh.trading.orders".into(), entries: Bytes::from(entries), ends }
}
