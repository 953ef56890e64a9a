//! Who shares a scrape with whom, and what a deadline does.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use lab::wait;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::callers::{held_back, until_answering};
use super::harness::{Exporter, Relay, TEXT, client, value_of};

#[tokio::test]
async fn callers_within_a_second_share_one_scrape_and_later_ones_never_do() {
    let exporter = Exporter::saying(TEXT, "a 1\n").await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let begun = Instant::now();
    let (one, other) = tokio::join!(relay.text(), relay.text());
    assert_eq!(one, other);
    assert_eq!(exporter.asked(), 1);
    // Each of these is asked when the one before is too old; never earlier.
    while exporter.asked() < 3 {
        relay.text().await;
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_scrape_that_another_one_joined() {
    // On a busy machine the second caller may come too late to join: then both go, and it is tried again.
    for _ in 0..20 {
        let (exporter, release) = held_back().await;
        let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
        let mut first = TcpStream::connect(relay.address).await.unwrap();
        first.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until_answering(&relay, 1).await;
        let second = async {
            until_answering(&relay, 2).await;
            // Either it joins both targets' scrapes, the agent's own page being the other one, or begins new ones.
            let awaited = wait::until("it joins or begins", Duration::from_secs(40), async || {
                let shared = value_of(&relay.own(), "mesh_relay_shared_scrapes_total ").unwrap();
                match (shared.as_str(), exporter.asked()) {
                    ("2", _) => Ok(true),
                    (_, 2) => Ok(false),
                    other => Err(format!("{other:?}")),
                }
            });
            let has_joined = awaited.await.unwrap();
            drop(first);
            until_answering(&relay, 1).await;
            release.send_replace(true);
            has_joined
        };
        let (text, has_joined) = tokio::join!(relay.text(), second);
        if has_joined {
            assert!(text.contains("\na{instance="), "{text}");
            assert_eq!(exporter.asked(), 1);
            return;
        }
    }
    panic!("the second caller never joined");
}

#[tokio::test]
async fn a_slow_target_is_given_up_before_the_caller_s_deadline() {
    let slow = Exporter::start(|_, _| {
        let stream = futures_body(Duration::from_secs(30), "b 1\n");
        Response::builder().header("content-type", TEXT).body(stream).unwrap()
    })
    .await;
    let quick = Exporter::saying(TEXT, "a 1\n").await;
    let relay = Relay::start(&[("slow", slow.url()), ("quick", quick.url())], |_| {}).await;
    let begun = Instant::now();
    let answer = client()
        .get(relay.url("/metrics"))
        .header("x-prometheus-scrape-timeout-seconds", "1")
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let elapsed = begun.elapsed();
    // The exporter takes half a minute; how soon after its time a busy machine answers is not the point.
    assert!(
        elapsed > Duration::from_millis(850) && elapsed < Duration::from_secs(25),
        "{elapsed:?}"
    );
    assert!(text.contains("\na{"), "{text}");
    let error = format!("instance=\"{}\",job=\"slow\",class=\"timeout\"", slow.address);
    assert!(text.contains(&error), "{text}");
}

#[tokio::test]
async fn a_caller_in_a_hurry_does_not_make_targets_look_dead_to_one_that_has_time() {
    let (exporter, release) = held_back().await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let request = client().get(relay.url("/metrics"));
    let hurried =
        request.header("x-prometheus-scrape-timeout-seconds", "0.2").send().await.unwrap();
    assert!(hurried.text().await.unwrap().contains("class=\"timeout\""));
    release.send_replace(true);
    let text = relay.text().await;
    assert!(text.contains("\na{instance="), "{text}");
}

/// A body that comes after a while.
pub(super) fn futures_body(after: Duration, text: &'static str) -> Body {
    let stream = tokio_stream::StreamExt::map(
        tokio_stream::wrappers::ReceiverStream::new({
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            let mut tasks = tokio::task::JoinSet::new();
            tasks.spawn(async move {
                tokio::time::sleep(after).await;
                sender.send(text).await.ok();
            });
            tasks.detach_all();
            receiver
        }),
        Ok::<_, std::io::Error>,
    );
    Body::from_stream(stream)
}
