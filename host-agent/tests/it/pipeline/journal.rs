//! What journald does while the agent is behind: rotation, vacuum, deletion for want of room, a crash, a clock that is moved.

use std::sync::Arc;

use lab::forward_receiver::{Ack, ForwardReceiver};
use lab::wait;

use super::agent::{Agent, DEADLINE, Load, WINDOW, forward, journald, lines, receiver, until_all};

#[tokio::test(flavor = "multi_thread")]
async fn what_journald_deletes_while_the_destination_is_away_comes_from_the_spool() {
    let test = "what_journald_deletes_while_the_destination_is_away_comes_from_the_spool";
    let folder = tempfile::tempdir().unwrap();
    let small = ["RuntimeMaxUse=8M", "RuntimeMaxFileSize=1M"];
    let Some(journald) = journald(test, folder.path(), &small).await else { return };
    let receiver = receiver().await;
    receiver.set(|behaviour| behaviour.ack = Ack::Never);
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start_beside(folder.path(), &journald, &rest).await;
    let journald = Arc::new(journald);
    // 8 MB hold some two seconds of this.
    let load = Load::start(&journald, 4_000);
    wait::until("several times the journal's size was written", DEADLINE, async || {
        if load.sent() > 30_000 { Ok(()) } else { Err(load.sent()) }
    })
    .await
    .unwrap();
    let sent = load.end();
    wait::until("the spool holds them", DEADLINE, async || {
        let spooled = agent.metric("mesh_logs_spooled_records_total", &[]).await;
        if spooled > 10_000 { Ok(()) } else { Err(spooled) }
    })
    .await
    .unwrap();
    // A kill in this state must not cost anything either.
    agent.kill().await;
    agent.launch();
    agent.until_ready().await;
    receiver.set(|behaviour| behaviour.ack = Ack::EachChunk);
    let repeats = until_all(&receiver, sent).await;
    assert!(repeats <= 2 * WINDOW, "{repeats} came again");
    assert_eq!(agent.metric("mesh_logs_lost_records_total", &[]).await, 0);
    wait::until("the spool is empty", DEADLINE, async || {
        let bytes = agent.metric("mesh_logs_spool_bytes", &[]).await;
        if bytes == 0 { Ok(()) } else { Err(bytes) }
    })
    .await
    .unwrap();
    agent.stop().await;
}

/// What was vacuumed, which `matches` makes a count of all entries, those of journald itself included.
async fn assert_counted(agent: &Agent, receiver: &ForwardReceiver, sent: u64) {
    let counted = wait::until("what is missing is counted", DEADLINE, async || {
        let lost = agent.metric("mesh_logs_lost_records_total", &["reason=\"vacuumed\""]).await;
        let missing = sent - receiver.received().ids.len() as u64;
        if lost >= missing && missing > 0 && receiver.received().records > 0 {
            Ok((missing, lost))
        } else {
            Err(format!("{missing} are missing, {lost} are counted"))
        }
    });
    let (missing, lost) = counted.await.unwrap();
    assert!(lost - missing < 50, "{missing} are missing, {lost} are counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_vacuumed_by_hand_before_it_was_read_is_counted() {
    let test = "what_is_vacuumed_by_hand_before_it_was_read_is_counted";
    let folder = tempfile::tempdir().unwrap();
    // On a disk that is nearly full journald would have to delete by itself, and the spool would keep everything.
    let roomy = ["RuntimeMaxUse=1G", "RuntimeKeepFree=1M"];
    let Some(mut journald) = journald(test, folder.path(), &roomy).await else { return };
    let receiver = receiver().await;
    receiver.set(|behaviour| behaviour.ack = Ack::Never);
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start_beside(folder.path(), &journald, &rest).await;
    for round in 0..4 {
        lines(&journald, round * 2_000..(round + 1) * 2_000);
        journald.rotate().await.unwrap();
    }
    journald.vacuum(1).await.unwrap();
    lines(&journald, 8_000..8_100);
    receiver.set(|behaviour| behaviour.ack = Ack::EachChunk);
    assert_counted(&agent, &receiver, 8_100).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_vacuumed_while_the_agent_is_down_is_counted() {
    let test = "what_is_vacuumed_while_the_agent_is_down_is_counted";
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald(test, folder.path(), &[]).await else { return };
    let receiver = receiver().await;
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    lines(&journald, 0..1_000);
    assert_eq!(until_all(&receiver, 1_000).await, 0);
    agent.stop().await;
    lines(&journald, 1_000..3_000);
    journald.rotate().await.unwrap();
    journald.vacuum(1).await.unwrap();
    lines(&journald, 3_000..3_500);
    agent.launch();
    agent.until_ready().await;
    assert_counted(&agent, &receiver, 3_500).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journald_that_crashes_or_whose_clock_is_moved_loses_nothing() {
    let test = "a_journald_that_crashes_or_whose_clock_is_moved_loses_nothing";
    let folder = tempfile::tempdir().unwrap();
    let Some(mut journald) = journald(test, folder.path(), &[]).await else { return };
    let receiver = receiver().await;
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    lines(&journald, 0..1_000);
    assert_eq!(until_all(&receiver, 1_000).await, 0);
    let mut sent = 1_000;
    for clock in [None, Some("-2h"), Some("+1h"), None] {
        journald.kill().await.unwrap();
        journald.restart(clock).await.unwrap();
        lines(&journald, sent..sent + 1_000);
        sent += 1_000;
        assert_eq!(until_all(&receiver, sent).await, 0, "with the clock at {clock:?}");
    }
    // The same once more while the agent is down.
    agent.kill().await;
    journald.kill().await.unwrap();
    journald.restart(Some("-3h")).await.unwrap();
    lines(&journald, sent..sent + 1_000);
    agent.launch();
    assert!(until_all(&receiver, sent + 1_000).await <= WINDOW);
    assert_eq!(agent.metric("mesh_logs_lost_records_total", &[]).await, 0);
    agent.stop().await;
}
