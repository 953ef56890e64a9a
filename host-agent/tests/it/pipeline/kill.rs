//! kill -9 at random moments under load: nothing is lost, and what comes again is at most the window.

use std::sync::Arc;

use lab::fault_proxy::FaultProxy;
use lab::wait;

use super::agent::{Agent, DEADLINE, Load, WINDOW, forward, journald, receiver, until_all};

/// Kills in `make test`; `make test-full` asks for 50.
const KILLS: u32 = 5;
const RATE: u64 = 2_000;

#[expect(clippy::disallowed_methods, reason = "how much `make` asks for is environment")]
fn kills() -> u32 {
    let asked = std::env::var("AYATORI_KILLS").ok();
    asked.map_or(KILLS, |count| count.parse().expect("AYATORI_KILLS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_nothing_and_repeat_at_most_the_window() {
    let test = "kills_at_random_moments_lose_nothing_and_repeat_at_most_the_window";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let (journald, receiver) = (Arc::new(journald), receiver().await);
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    let load = Load::start(&journald, RATE);
    let kills = kills();
    let mut random = fastrand::Rng::with_seed(6);
    let mut most = 0;
    for kill in 0..kills {
        let (had, repeats) = (receiver.records(), receiver.received().repeats());
        // Between a handful of batches and many of them, so that kills meet every state.
        let more = random.u64(1..RATE);
        wait::until("more records arrive", DEADLINE, async || {
            let now = receiver.records();
            if now > had + more { Ok(()) } else { Err(format!("{now} after {had}")) }
        })
        .await
        .unwrap();
        let again = receiver.received().repeats() - repeats;
        assert!(again <= WINDOW, "kill {kill}: {again} came again, the window is {WINDOW}");
        most = most.max(again);
        agent.kill().await;
        agent.launch();
    }
    let sent = load.end();
    let repeats = until_all(&receiver, sent).await;
    println!("{kills} kills, {sent} records, {repeats} repeats, at most {most} after one kill");
    assert_eq!(agent.metric("mesh_logs_lost_records_total", &[]).await, 0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_open_at_a_kill_is_joined_afterwards() {
    let test = "a_line_that_is_open_at_a_kill_is_joined_afterwards";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let receiver = receiver().await;
    let copy = folder.path().join("copy.jsonl");
    let rest = format!(
        "[logs.shape]\npartial_timeout_ms = 600000\n[logs.destinations.copy.file]\npath = {copy:?}\n{}",
        forward("main", receiver.address())
    );
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    let part = |text: &str, ordinal: &str, last: &str| {
        let fields = [
            ("MESSAGE", text),
            ("SYSLOG_IDENTIFIER", super::agent::WRITER),
            ("CONTAINER_NAME", "long"),
            ("CONTAINER_ID_FULL", "long"),
            ("CONTAINER_PARTIAL_ID", "p1"),
            ("CONTAINER_PARTIAL_ORDINAL", ordinal),
            ("CONTAINER_PARTIAL_LAST", last),
            ("CONTAINER_PARTIAL_MESSAGE", "true"),
        ];
        let count = if last == "true" { fields.len() - 1 } else { fields.len() };
        let fields = fields.map(|(name, value)| (name, value.as_bytes()));
        journald.send(&fields[..count]).unwrap();
    };
    part("one ", "1", "false");
    super::agent::lines(&journald, 0..500);
    assert_eq!(until_all(&receiver, 500).await, 0);
    part("two ", "2", "false");
    super::agent::lines(&journald, 500..1_000);
    assert_eq!(until_all(&receiver, 1_000).await, 0);
    // The position is saved within a moment of the last acknowledgement.
    wait::until("all is saved", DEADLINE, async || {
        let left = agent.metric("mesh_logs_batches_in_flight", &[]).await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await
    .unwrap();
    agent.kill().await;
    part("three", "3", "true");
    agent.launch();
    assert_eq!(
        until_all(&receiver, 1_001).await,
        0,
        "what was sent while a line was open came again"
    );
    wait::until("the whole line is in the copy", DEADLINE, async || {
        let copied = std::fs::read_to_string(&copy).unwrap();
        match copied.matches("\"message\":\"one two three\"").count() {
            1 => Ok(()),
            count => Err(format!("{count} times")),
        }
    })
    .await
    .unwrap();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_in_the_middle_of_acknowledgements_lose_nothing() {
    let test = "connections_cut_in_the_middle_of_acknowledgements_lose_nothing";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let (journald, receiver) = (Arc::new(journald), receiver().await);
    let proxy = FaultProxy::start(receiver.address()).await.unwrap();
    let rest = forward("main", proxy.address());
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    let load = Load::start(&journald, RATE);
    receiver.set(|behaviour| behaviour.ack = lab::forward_receiver::Ack::CutAfter(3));
    let cuts = wait::until("ten connections were cut", DEADLINE, async || {
        let connections = receiver.received().connections;
        if connections > 10 { Ok(connections) } else { Err(connections) }
    });
    let cuts = cuts.await.unwrap();
    receiver.set(|behaviour| behaviour.ack = lab::forward_receiver::Ack::EachChunk);
    let sent = load.end();
    let repeats = until_all(&receiver, sent).await;
    let connections = receiver.received().connections;
    assert!(repeats <= connections * WINDOW, "{repeats} after {cuts} cuts");
    agent.stop().await;
}
