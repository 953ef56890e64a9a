//! Several servers: shares, failover, return.

use std::net::SocketAddr;

use host_agent::logs::deliver::config::RawForward;
use lab::fault_proxy::{Fault, FaultProxy};
use lab::forward_receiver::{Behaviour, ForwardReceiver};
use lab::wait;

use super::sender::{SOON, Sender, forward, message, nothing_lost, send_many};

async fn receiver() -> ForwardReceiver {
    ForwardReceiver::start(Behaviour::default()).await.unwrap()
}

async fn up(sender: &Sender, count: f64) {
    wait::until(&format!("{count} servers are up"), SOON, async || {
        let up = sender.metric("mesh_logs_server_up");
        if up == count { Ok(()) } else { Err(up) }
    })
    .await
    .unwrap();
}

fn with_standby(first: SocketAddr, standby: SocketAddr) -> RawForward {
    let mut raw = forward(&[first, standby]);
    raw.servers.last_mut().unwrap().standby = true;
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_get_their_share_by_weight() {
    let folder = tempfile::tempdir().unwrap();
    let (heavy, light) = (receiver().await, receiver().await);
    let mut raw = forward(&[heavy.address(), light.address()]);
    raw.servers[0].weight = 3;
    let mut sender = Sender::start(raw, folder.path());
    up(&sender, 2.0).await;
    for number in 0..80 {
        sender.send(message(&format!("m{number}"), 10, |_| "x".to_owned())).await;
        // One at a time, so that no server is passed over because it is busy.
        sender.all_settled().await;
    }
    assert_eq!(nothing_lost(&[&heavy, &light], 800), 0);
    assert_eq!((heavy.received().chunks, light.received().chunks), (60, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_server_had_goes_to_another_and_its_return_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, second) = (receiver().await, receiver().await);
    let mut sender = Sender::start(forward(&[first.address(), second.address()]), folder.path());
    up(&sender, 2.0).await;
    send_many(&mut sender, "m", 20, 100).await;
    first.go_away().await;
    send_many(&mut sender, "n", 20, 100).await;
    assert_eq!(sender.all_settled().await, (4_000, 0));
    assert!(nothing_lost(&[&first, &second], 4_000) <= 1_600);
    up(&sender, 1.0).await;
    first.come_back().await.unwrap();
    up(&sender, 2.0).await;
    let before = first.records();
    send_many(&mut sender, "o", 20, 100).await;
    sender.all_settled().await;
    assert!(first.records() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_and_is_left_when_the_first_returns() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, standby) = (receiver().await, receiver().await);
    let raw = with_standby(first.address(), standby.address());
    let mut sender = Sender::start(raw, folder.path());
    up(&sender, 2.0).await;
    send_many(&mut sender, "m", 20, 100).await;
    sender.all_settled().await;
    assert_eq!(standby.records(), 0, "a standby gets nothing while another server is up");
    first.go_away().await;
    send_many(&mut sender, "n", 20, 100).await;
    assert_eq!(sender.all_settled().await, (4_000, 0));
    assert!(standby.records() >= 2_000, "{}", standby.records());
    first.come_back().await.unwrap();
    up(&sender, 2.0).await;
    let before = standby.records();
    send_many(&mut sender, "o", 20, 100).await;
    assert_eq!(sender.all_settled().await, (6_000, 0));
    assert_eq!(standby.records(), before, "the standby is left");
    assert!(nothing_lost(&[&first, &standby], 6_000) <= 1_600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_swallows_everything_holds_up_nothing_that_others_can_take() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (receiver().await, receiver().await);
    let proxy = FaultProxy::start(first.address()).await.unwrap();
    let mut sender = Sender::start(forward(&[proxy.address(), second.address()]), folder.path());
    up(&sender, 2.0).await;
    proxy.set(Fault::Blackhole);
    send_many(&mut sender, "m", 60, 100).await;
    assert_eq!(sender.all_settled().await, (6_000, 0));
    nothing_lost(&[&first, &second], 6_000);
    assert_eq!(sender.metric("mesh_logs_dead_records_total"), 0.0);
}
