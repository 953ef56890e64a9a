//! Destinations do not know of each other.

use std::net::SocketAddr;
use std::sync::Arc;

use lab::forward_receiver::{Ack, Behaviour, ForwardReceiver};
use lab::{ports, wait};

use super::agent::{Agent, DEADLINE, Load, forward, journald, receiver, until_all};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_destination_holds_up_no_other_and_gets_everything_when_it_is_back() {
    let test = "a_dead_destination_holds_up_no_other_and_gets_everything_when_it_is_back";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let (journald, alive, mute) = (Arc::new(journald), receiver().await, receiver().await);
    // Kept for it, so that no other test's receiver gets what is meant for this one.
    let dead = SocketAddr::from(([127, 0, 0, 1], ports::reserve().unwrap()));
    mute.set(|behaviour| behaviour.ack = Ack::Never);
    let rest = [("alive", alive.address()), ("dead", dead), ("mute", mute.address())]
        .map(|(name, address)| forward(name, address))
        .concat();
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    let load = Load::start(&journald, 3_000);
    wait::until("a second's worth was written", DEADLINE, async || {
        if load.sent() > 6_000 { Ok(()) } else { Err(load.sent()) }
    })
    .await
    .unwrap();
    let sent = load.end();
    assert_eq!(until_all(&alive, sent).await, 0);
    assert_eq!(agent.metric("mesh_logs_acked_records_total", &["destination=\"dead\""]).await, 0);
    wait::until("the age of what is not sent is told", DEADLINE, async || {
        let age = |name: &'static str| {
            let agent = &agent;
            async move {
                let label = format!("destination=\"{name}\"");
                agent.metric("mesh_logs_oldest_unsent_age_seconds", &[&label]).await
            }
        };
        match (age("alive").await, age("dead").await, age("mute").await) {
            (0, 1.., 1..) => Ok(()),
            ages => Err(format!("{ages:?}")),
        }
    })
    .await
    .unwrap();
    let dead = ForwardReceiver::start_on(dead, Behaviour::default()).await.unwrap();
    mute.set(|behaviour| behaviour.ack = Ack::EachChunk);
    assert_eq!(until_all(&dead, sent).await, 0);
    // Its first window came before it was heard of, and comes again.
    assert!(until_all(&mute, sent).await <= super::agent::WINDOW);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_begin_does_so_when_it_can() {
    let test = "a_destination_that_cannot_begin_does_so_when_it_can";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let receiver = receiver().await;
    // Something is where its folder would be.
    let (way, file) = (folder.path().join("way"), folder.path().join("way/lines.jsonl"));
    std::fs::write(&way, "").unwrap();
    let rest = format!(
        "[logs.destinations.late.file]\npath = {file:?}\n{}",
        forward("main", receiver.address())
    );
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    super::agent::lines(&journald, 0..100);
    assert_eq!(until_all(&receiver, 100).await, 0);
    std::fs::remove_file(&way).unwrap();
    wait::until("it has every line", DEADLINE, async || {
        let lines = std::fs::read_to_string(&file).unwrap_or_default().lines().count();
        if lines == 100 { Ok(()) } else { Err(lines) }
    })
    .await
    .unwrap();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outlasts_a_stop_and_two_agents_do_not_share_it() {
    let test = "a_position_outlasts_a_stop_and_two_agents_do_not_share_it";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let receiver = receiver().await;
    let rest = forward("main", receiver.address());
    let mut agent = Agent::start(folder.path(), &journald.journals(), &rest).await;
    super::agent::lines(&journald, 0..1_000);
    assert_eq!(until_all(&receiver, 1_000).await, 0);

    // A second agent on another port, with the same state.
    let config = std::fs::read_to_string(agent.config()).unwrap();
    let port = ports::reserve().unwrap();
    let other = config.replacen(
        "admin.listen = \"127.0.0.1:",
        &format!("admin.listen = \"127.0.0.1:{port}\" #"),
        1,
    );
    let path = folder.path().join("other.toml");
    std::fs::write(&path, other).unwrap();
    let program =
        lab::process::Program::new("other", std::path::Path::new(env!("CARGO_BIN_EXE_host-agent")))
            .args(["run", "--config", &path.display().to_string()]);
    let error = lab::process::run(&program).await.unwrap_err().to_string();
    assert!(error.contains("is in use by another host-agent"), "{error}");

    agent.stop().await;
    super::agent::lines(&journald, 1_000..1_500);
    agent.launch();
    assert_eq!(until_all(&receiver, 1_500).await, 0);
    agent.stop().await;
}
