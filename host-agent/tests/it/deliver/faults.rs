//! Faults of networks and servers: nothing is lost, and repeats stay within what was in flight.

use std::time::Duration;

use host_agent::logs::deliver::config::{Compression, RawForward};
use lab::fault_proxy::{Fault, FaultProxy};
use lab::forward_receiver::{Ack, Behaviour, ForwardReceiver, Security};
use lab::wait;

use super::sender::{SOON, Sender, forward, message, nothing_lost, send_many};

const MESSAGES: u32 = 60;
const RECORDS: u32 = 100;
const ALL: u64 = 6_000;
/// Records in one window.
const WINDOW: u64 = 16 * 100;

async fn receiver(behaviour: Behaviour) -> ForwardReceiver {
    ForwardReceiver::start(behaviour).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_come_together_late_unknown_or_bytewise_are_matched() {
    for ack in [Ack::EachChunk, Ack::Together(5), Ack::Bytewise] {
        let folder = tempfile::tempdir().unwrap();
        let receiver = receiver(Behaviour { ack, ..Behaviour::default() }).await;
        let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
        send_many(&mut sender, "m", MESSAGES, RECORDS).await;
        assert_eq!(sender.all_settled().await, (6_000, 0), "{ack:?}");
        assert_eq!(nothing_lost(&[&receiver], ALL), 0, "{ack:?}");
        let unknown = if ack == Ack::Together(5) { 12.0 } else { 0.0 };
        assert_eq!(sender.metric("mesh_logs_unknown_acks_total"), unknown);
        assert_eq!(sender.metric("mesh_logs_connections_total"), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_arrives() {
    for (compression, word) in [
        (Compression::Gzip, Some("gzip")),
        (Compression::Zstd, Some("zstd")),
        (Compression::None, None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let receiver = receiver(Behaviour::default()).await;
        let raw = RawForward { compression, ..forward(&[receiver.address()]) };
        let mut sender = Sender::start(raw, folder.path());
        sender.send(message("m", 5_000, |number| format!("line {number}"))).await;
        assert_eq!(sender.all_settled().await, (5_000, 0));
        assert_eq!(nothing_lost(&[&receiver], 5_000), 0);
        assert_eq!(receiver.received().compressed.as_deref(), word);
        let (raw, wire) = (
            sender.metric("mesh_logs_sent_raw_bytes_total"),
            sender.metric("mesh_logs_sent_wire_bytes_total"),
        );
        assert_eq!(wire < raw / 4.0, compression != Compression::None, "{wire} of {raw}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_before_the_acknowledgement_repeat_only_what_was_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = receiver(Behaviour { ack: Ack::CutAfter(7), ..Behaviour::default() }).await;
    let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
    send_many(&mut sender, "m", MESSAGES, RECORDS).await;
    assert_eq!(sender.all_settled().await, (6_000, 0));
    let repeats = nothing_lost(&[&receiver], ALL);
    // Each cut takes one chunk that is not acknowledged; there is one for seven that are.
    assert!((100..=1_000).contains(&repeats), "{repeats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_in_the_middle_of_a_chunk_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = receiver(Behaviour::default()).await;
    let proxy = FaultProxy::start(receiver.address()).await.unwrap();
    proxy.set(Fault::CutAfter(100_000));
    let raw = RawForward { compression: Compression::None, ..forward(&[proxy.address()]) };
    let mut sender = Sender::start(raw, folder.path());
    send_many(&mut sender, "m", MESSAGES, RECORDS).await;
    assert_eq!(sender.all_settled().await, (6_000, 0));
    nothing_lost(&[&receiver], ALL);
    assert!(proxy.accepted() > 3, "{}", proxy.accepted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_noticed_within_the_time_for_acknowledgements() {
    for fault in [Fault::Blackhole, Fault::Mute] {
        let folder = tempfile::tempdir().unwrap();
        let receiver = receiver(Behaviour::default()).await;
        let proxy = FaultProxy::start(receiver.address()).await.unwrap();
        let mut sender = Sender::start(forward(&[proxy.address()]), folder.path());
        send_many(&mut sender, "m", MESSAGES / 2, RECORDS).await;
        sender.all_settled().await;
        proxy.set(fault);
        for number in 0..10 {
            sender.send(message(&format!("n{number}"), RECORDS, |_| "x".to_owned())).await;
        }
        wait::until("the silence is noticed", SOON, async || {
            let failures = sender.metric("mesh_logs_connection_failures_total");
            if failures >= 1.0 { Ok(()) } else { Err(failures) }
        })
        .await
        .unwrap();
        proxy.set(Fault::None);
        assert_eq!(sender.all_settled().await, (4_000, 0), "{fault:?}");
        let repeats = nothing_lost(&[&receiver], 4_000);
        assert!(repeats <= 2 * WINDOW, "{repeats}");
        assert_eq!(sender.metric("mesh_logs_dead_records_total"), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = receiver(Behaviour::default()).await;
    let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
    send_many(&mut sender, "m", MESSAGES / 2, RECORDS).await;
    sender.all_settled().await;
    receiver.go_away().await;
    for number in 0..10 {
        sender.send(message(&format!("n{number}"), RECORDS, |_| "x".to_owned())).await;
    }
    wait::until("the server counts as down", SOON, async || {
        let up = sender.metric("mesh_logs_server_up");
        if up == 0.0 { Ok(()) } else { Err(up) }
    })
    .await
    .unwrap();
    wait::holds("nothing is given up", Duration::from_secs(1), async || {
        let dead = sender.metric("mesh_logs_dead_records_total");
        if dead == 0.0 { Ok(()) } else { Err(dead) }
    })
    .await
    .unwrap();
    receiver.come_back().await.unwrap();
    assert_eq!(sender.all_settled().await, (4_000, 0));
    assert!(nothing_lost(&[&receiver], 4_000) <= WINDOW);
    assert_eq!(sender.metric("mesh_logs_server_up"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_stops_the_reading_and_what_is_held_stays_bounded() {
    let folder = tempfile::tempdir().unwrap();
    // A message takes it longer than the test waits for room, and a busy machine has the time to hand in what there is room for.
    let behaviour = Behaviour { bytes_per_second: Some(50_000), ..Behaviour::default() };
    let receiver = receiver(behaviour).await;
    let raw = RawForward {
        compression: Compression::None,
        window_mb: 1,
        window_messages: 100,
        ack_timeout_s: 20,
        ..forward(&[receiver.address()])
    };
    let mut sender = Sender::start(raw, folder.path());
    let big = |number: u32| message(&format!("m{number}"), 100, |_| "x".repeat(4_000));
    let mut taken = 0;
    while sender.try_send(big(taken), Duration::from_secs(4)).await {
        taken += 1;
        assert!(taken < 20, "nothing stops the reading");
    }
    let held = sender.metric("mesh_logs_in_flight_bytes");
    assert!((400_000.0..=1_500_000.0).contains(&held), "{held}");
    receiver.set(|behaviour| behaviour.bytes_per_second = None);
    sender.all_settled().await;
    assert_eq!(sender.metric("mesh_logs_in_flight_bytes"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_prove_that_it_knows_the_key_gets_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    let security =
        Security { host: "server".to_owned(), shared_key: "s3cret".to_owned(), lies: true };
    let receiver = receiver(Behaviour { security: Some(security), ..Behaviour::default() }).await;
    let raw = RawForward { shared_key_file: Some(key), ..forward(&[receiver.address()]) };
    let mut sender = Sender::start(raw, folder.path());
    sender.send(message("m", 10, |_| "x".to_owned())).await;
    wait::until("it was tried twice", SOON, async || {
        let failures = sender.metric("mesh_logs_connection_failures_total");
        if failures >= 2.0 { Ok(()) } else { Err(failures) }
    })
    .await
    .unwrap();
    assert_eq!(receiver.records(), 0);
    receiver.set(|behaviour| behaviour.security.as_mut().unwrap().lies = false);
    assert_eq!(sender.all_settled().await, (10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_demand_a_connection_for_each_message() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "s3cret").unwrap();
    let security =
        Security { host: "server".to_owned(), shared_key: "s3cret".to_owned(), lies: false };
    let behaviour =
        Behaviour { security: Some(security), keepalive: false, ..Behaviour::default() };
    let receiver = receiver(behaviour).await;
    let raw = RawForward { shared_key_file: Some(key), ..forward(&[receiver.address()]) };
    let mut sender = Sender::start(raw, folder.path());
    send_many(&mut sender, "m", 20, RECORDS).await;
    assert_eq!(sender.all_settled().await, (2_000, 0));
    assert_eq!(nothing_lost(&[&receiver], 2_000), 0);
    assert_eq!(receiver.received().connections, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_and_delayed_connections_are_only_slow() {
    for fault in [Fault::Delay(Duration::from_millis(30)), Fault::Throttle(200_000)] {
        let folder = tempfile::tempdir().unwrap();
        let receiver = receiver(Behaviour::default()).await;
        let proxy = FaultProxy::start(receiver.address()).await.unwrap();
        proxy.set(fault);
        let mut sender = Sender::start(forward(&[proxy.address()]), folder.path());
        send_many(&mut sender, "m", MESSAGES, RECORDS).await;
        assert_eq!(sender.all_settled().await, (6_000, 0), "{fault:?}");
        assert_eq!(nothing_lost(&[&receiver], ALL), 0, "{fault:?}");
    }
}
