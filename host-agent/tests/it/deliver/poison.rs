//! Records that a server does not take: found, set aside, and never mistaken for a server that is down.

use std::path::Path;
use std::time::Duration;

use host_agent::logs::deliver::config::{Compression, RawForward};
use lab::fault_proxy::{Fault, FaultProxy};
use lab::forward_receiver::{Behaviour, ForwardReceiver};
use lab::wait;
use serde_json::{Value, json};

use super::sender::{Sender, forward, message, nothing_lost, send_many};

const POISON: &str = "this one kills the parser";

fn dead_letters(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("dead-letters/main.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn refusing() -> ForwardReceiver {
    let refuse = Some(POISON.as_bytes().to_vec());
    ForwardReceiver::start(Behaviour { refuse, ..Behaviour::default() }).await.unwrap()
}

/// Says POISON in place of some records.
fn poisoned(bad: &[u32]) -> impl Fn(u32) -> String {
    move |number| if bad.contains(&number) { POISON.to_owned() } else { format!("line {number}") }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_among_five_thousand_is_found_while_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = refusing().await;
    let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
    send_many(&mut sender, "before", 3, 100).await;
    sender.send(message("bad", 5_000, poisoned(&[3_217]))).await;
    send_many(&mut sender, "after", 30, 100).await;
    assert_eq!(sender.all_settled().await, (8_299, 1));
    nothing_lost(&[&receiver], 8_299);
    let [letter] = <[Value; 1]>::try_from(dead_letters(folder.path())).unwrap();
    let reason = letter["reason"].as_str().unwrap();
    assert!(reason.starts_with("refused 3 times, alone on a connection, "), "{reason}");
    let expected = json!({
        "time": "2026-11-21T19:05:47.309244Z",
        "tag": "mesh.trading.orders",
        "id": "bad-3217",
        "server": receiver.address().to_string(),
        "reason": reason,
        "record": {"record_id": "bad-3217", "message": POISON},
    });
    assert_eq!(letter, expected);
    assert_eq!(sender.metric("mesh_logs_dead_records_total"), 1.0);
    assert_eq!(sender.metric("mesh_logs_suspects"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_in_a_message_that_is_all_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = refusing().await;
    let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
    sender.send(message("bad", 5_000, poisoned(&[4_999]))).await;
    assert_eq!(sender.all_settled().await, (4_999, 1));
    nothing_lost(&[&receiver], 4_999);
    assert_eq!(dead_letters(folder.path())[0]["id"], "bad-4999");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_in_every_message_of_the_window_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = refusing().await;
    let raw = RawForward { window_messages: 4, ..forward(&[receiver.address()]) };
    let mut sender = Sender::start(raw, folder.path());
    for number in 0..6 {
        sender.send(message(&format!("bad{number}"), 200, poisoned(&[0, 77, 199]))).await;
    }
    assert_eq!(sender.all_settled().await, (1_182, 18));
    nothing_lost(&[&receiver], 1_182);
    assert_eq!(dead_letters(folder.path()).len(), 18);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_for_the_server_is_found_although_no_connection_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let behaviour = Behaviour { most_bytes: Some(50_000), ..Behaviour::default() };
    let receiver = ForwardReceiver::start(behaviour).await.unwrap();
    let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
    let large = |number| if number == 3 { "x".repeat(60_000) } else { "x".to_owned() };
    sender.send(message("bad", 8, large)).await;
    // Later ones are acknowledged on the same connection.
    for number in 0..200 {
        sender.send(message(&format!("m{number}"), 10, |_| "x".to_owned())).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sender.all_settled().await, (2_007, 1));
    nothing_lost(&[&receiver], 2_007);
    assert_eq!(dead_letters(folder.path())[0]["id"], "bad-3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_everything_is_down_and_nobody_s_record_is_at_fault() {
    let folder = tempfile::tempdir().unwrap();
    let behaviour = Behaviour { refuses_all: true, ..Behaviour::default() };
    let receiver = ForwardReceiver::start(behaviour).await.unwrap();
    let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
    send_many(&mut sender, "m", 5, 100).await;
    wait::holds("nothing is given up", Duration::from_secs(6), async || {
        let dead = sender.metric("mesh_logs_dead_records_total");
        if dead == 0.0 { Ok(()) } else { Err(dead) }
    })
    .await
    .unwrap();
    receiver.set(|behaviour| behaviour.refuses_all = false);
    assert_eq!(sender.all_settled().await, (500, 0));
    assert_eq!(nothing_lost(&[&receiver], 500), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_record_waits_until_another_one_passed() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = refusing().await;
    let mut sender = Sender::start(forward(&[receiver.address()]), folder.path());
    sender.send(message("bad", 1, poisoned(&[0]))).await;
    wait::holds("it is not given up", Duration::from_secs(4), async || {
        let dead = sender.metric("mesh_logs_dead_records_total");
        if dead == 0.0 { Ok(()) } else { Err(dead) }
    })
    .await
    .unwrap();
    let mut number = 0;
    wait::until("it is a dead letter", Duration::from_secs(20), async || {
        sender.send(message(&format!("m{number}"), 1, |_| "x".to_owned())).await;
        number += 1;
        let dead = sender.metric("mesh_logs_dead_records_total");
        if dead == 1.0 { Ok(()) } else { Err(dead) }
    })
    .await
    .unwrap();
    assert_eq!(sender.all_settled().await, (number, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_breaks_connections_at_random_makes_no_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = ForwardReceiver::start(Behaviour::default()).await.unwrap();
    let proxy = FaultProxy::start(receiver.address()).await.unwrap();
    let raw = RawForward { compression: Compression::None, ..forward(&[proxy.address()]) };
    let mut sender = Sender::start(raw, folder.path());
    let faults = async {
        for round in 0..40_u64 {
            let cut = Fault::CutAfter(round * 7_919 % 40_000);
            proxy.set(if round % 4 == 3 { Fault::Reset } else { cut });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        proxy.set(Fault::None);
    };
    let ((), ()) = tokio::join!(faults, send_many(&mut sender, "m", 100, 50));
    assert_eq!(sender.all_settled().await, (5_000, 0));
    nothing_lost(&[&receiver], 5_000);
    assert_eq!(dead_letters(folder.path()), [] as [Value; 0]);
}
