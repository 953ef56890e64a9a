//! What a queue promises to who offers and to who takes.

use std::collections::BTreeMap;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;

fn options(folder: Option<&TempDir>) -> QueueOptions {
    QueueOptions {
        folder: folder.map(|folder| folder.path().to_owned()),
        memory_bytes: 10_000,
        limit_bytes: 1_000_000,
        durability: Durability::ProcessEnd,
    }
}

const BATCHING: Batching =
    Batching { bytes: 40_000, spans: 1_000_000, delay: Duration::ZERO, hold: Duration::ZERO };

fn piece(lane: &str, byte: u8, length: usize) -> Piece {
    Piece { lane: lane.into(), system: None, spans: 1, bytes: vec![byte; length].into() }
}

/// A queue with its keeper on a thread that ends with `stop`.
fn open(
    folder: &TempDir,
    stop: &CancellationToken,
) -> (Queue, Recovery, std::thread::JoinHandle<()>) {
    let (queue, keeper, recovery) = Queue::open(options(Some(folder)), |_, _| {}).unwrap();
    let keeper = keeper.unwrap();
    let (stop, runtime) = (stop.clone(), tokio::runtime::Handle::current());
    (queue, recovery, std::thread::spawn(move || keeper.run(&stop, &runtime)))
}

fn bytes_of(queue: &Queue, entry: &Entry) -> Vec<u8> {
    if let Some(bytes) = &entry.bytes {
        return bytes.to_vec();
    }
    let record = queue.reader().unwrap().read(entry.position).unwrap();
    match record::read(&record) {
        Some(record::Record::Piece { bytes, .. }) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn drain(queue: &Queue) -> Vec<Entry> {
    let mut all = Vec::new();
    while let Ok(batch) = queue.take(&BATCHING, Instant::now()) {
        all.extend(batch);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_and_not_delivered_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let stop = CancellationToken::new();
    let (queue, _, thread) = open(&folder, &stop);
    for n in 0..20 {
        queue.offer(piece("orders", n, 3000)).await.unwrap();
    }
    let batch = queue.take(&BATCHING, Instant::now()).unwrap();
    let delivered: Vec<u8> = batch.iter().map(|entry| bytes_of(&queue, entry)[0]).collect();
    assert!(!delivered.is_empty() && delivered.len() < 20);
    queue.done(&batch).await;
    stop.cancel();
    thread.join().unwrap();
    drop(queue);

    let (queue, recovery, thread) = open(&folder, &CancellationToken::new());
    assert_eq!(recovery.damaged_bytes + recovery.torn_bytes, 0);
    let left: Vec<u8> = drain(&queue).iter().map(|entry| bytes_of(&queue, entry)[0]).collect();
    let expected: Vec<u8> = (0..20).filter(|n| !delivered.contains(n)).collect();
    assert_eq!(left, expected);
    drop((queue, thread));
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_that_go_away_while_they_wait_leave_nothing_of_their_share_behind() {
    let folder = TempDir::new().unwrap();
    let (queue, keeper, _) = Queue::open(options(Some(&folder)), |_, _| {}).unwrap();
    // The disk is slow: the keeper takes nothing yet, so the last offers wait for a place.
    for _ in 0..COMMANDS + 10 {
        let offer = queue.offer(piece("orders", 0, 1024));
        assert!(tokio::time::timeout(Duration::ZERO, offer).await.is_err());
    }
    let (stop, runtime) = (CancellationToken::new(), tokio::runtime::Handle::current());
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || keeper.unwrap().run(&stopped, &runtime));
    queue.offer(piece("orders", 1, 1024)).await.unwrap();
    let all = drain(&queue);
    queue.done(&all).await;
    assert_eq!(queue.usage(), (1_000_000, 0));
    stop.cancel();
    thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_its_back_end_never_answers_for_does_not_fill_the_queue() {
    let folder = TempDir::new().unwrap();
    let stop = CancellationToken::new();
    let (queue, _, thread) = open(&folder, &stop);
    queue.offer(piece("stuck", 7, 100)).await.unwrap();
    let stuck = queue.take(&BATCHING, Instant::now()).unwrap();
    for n in 0..60 {
        queue
            .offer(piece("orders", n, 100_000))
            .await
            .unwrap_or_else(|why| panic!("{why:?} at {n}"));
        let all = drain(&queue);
        queue.done(&all).await;
    }
    stop.cancel();
    thread.join().unwrap();
    drop((queue, stuck));
    let (queue, _, thread) = open(&folder, &CancellationToken::new());
    assert_eq!(bytes_of(&queue, &drain(&queue)[0]), [7; 100]);
    drop((queue, thread));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_the_rest_is_read_from_disk() {
    let folder = TempDir::new().unwrap();
    let stop = CancellationToken::new();
    let (queue, _, thread) = open(&folder, &stop);
    for n in 0..40 {
        queue.offer(piece("orders", n, 2000)).await.unwrap();
    }
    let status = queue.status(Instant::now());
    assert!(status.memory_bytes <= 10_000 && status.bytes == 80_000, "{status:?}");
    let all = drain(&queue);
    let read: Vec<u8> = all.iter().map(|entry| bytes_of(&queue, entry)[0]).collect();
    assert_eq!(read, (0..40).collect::<Vec<u8>>());
    queue.done(&all).await;
    stop.cancel();
    thread.join().unwrap();
    let status = queue.status(Instant::now());
    assert_eq!((status.spans, status.bytes, status.memory_bytes), (0, 0, 0));
    assert_eq!(queue.usage(), (1_000_000, 0));
}

#[tokio::test]
async fn a_flood_is_refused_while_a_quiet_sender_is_taken_and_leaves_at_once() {
    let (queue, ..) = Queue::open(options(None), |_, _| {}).unwrap();
    let mut refused = 0;
    for _ in 0..1000 {
        refused += u32::from(queue.offer(piece("flood", 0, 2000)).await.is_err());
    }
    assert!(refused > 500, "{refused}");
    queue.offer(piece("quiet", 1, 2000)).await.unwrap();
    let batch = queue.take(&BATCHING, Instant::now()).unwrap();
    assert!(batch.iter().any(|entry| &*entry.lane == "quiet"), "not in the first batch");
}

#[tokio::test]
async fn senders_take_turns_by_bytes_not_by_pieces() {
    let mut options = options(None);
    options.limit_bytes = 100_000_000;
    let (queue, ..) = Queue::open(options, |_, _| {}).unwrap();
    for _ in 0..200 {
        queue.offer(piece("large", 0, 20_000)).await.unwrap();
    }
    for _ in 0..2000 {
        queue.offer(piece("small", 0, 2000)).await.unwrap();
    }
    let mut sent: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for _ in 0..50 {
        for entry in queue.take(&BATCHING, Instant::now()).unwrap() {
            *sent.entry(entry.lane).or_default() += entry.length;
        }
    }
    let (large, small) = (sent["large"], sent["small"]);
    assert!(large.abs_diff(small) < 120_000, "{large} {small}");
}

#[tokio::test]
async fn a_batch_waits_for_its_delay_unless_it_is_large_enough() {
    let (queue, ..) = Queue::open(options(None), |_, _| {}).unwrap();
    let batching = Batching { delay: Duration::from_millis(200), ..BATCHING };
    assert_eq!(queue.take(&batching, Instant::now()).unwrap_err(), None);
    let begin = Instant::now();
    queue.offer(piece("orders", 0, 10)).await.unwrap();
    let due = queue.take(&batching, begin).unwrap_err().unwrap();
    assert!(due >= begin + batching.delay);
    assert_eq!(queue.take(&batching, due).unwrap().len(), 1);
    for _ in 0..5 {
        queue.offer(piece("orders", 0, 10_000)).await.unwrap();
    }
    assert_eq!(queue.take(&batching, Instant::now()).unwrap().len(), 4);
}

#[tokio::test]
async fn what_is_held_for_sampling_stays_until_its_time() {
    let (queue, ..) = Queue::open(options(None), |_, _| {}).unwrap();
    let batching = Batching { hold: Duration::from_secs(5), ..BATCHING };
    queue.offer(piece("orders", 0, 10)).await.unwrap();
    let due = queue.take(&batching, Instant::now()).unwrap_err().unwrap();
    queue.offer(piece("quotes", 0, 10)).await.unwrap();
    let batch = queue.take(&batching, due).unwrap();
    assert_eq!(batch.iter().map(|entry| &*entry.lane).collect::<Vec<_>>(), ["orders"]);
    assert!(queue.take(&batching, due).is_err());
}
