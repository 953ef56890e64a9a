//! Who shares a scrape with whom, and what a deadline does.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;

use super::harness::{Exporter, Relay, TEXT, client, value_of};

#[tokio::test]
async fn callers_within_a_second_share_one_scrape_and_later_ones_never_do() {
    let exporter = Exporter::saying(TEXT, "a 1\n").await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let begun = Instant::now();
    let (one, other) = tokio::join!(relay.text(), relay.text());
    assert_eq!(one, other);
    assert_eq!(exporter.asked(), 1);
    // Each of these is asked as soon as the one before is too old; never earlier.
    while exporter.asked() < 3 {
        relay.text().await;
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_secs(2) && elapsed < Duration::from_secs(5), "{elapsed:?}");
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_scrape_that_another_one_joined() {
    let exporter = Exporter::start(|_, _| {
        let stream = futures_body(Duration::from_millis(300), "a 1\n");
        Response::builder().header("content-type", TEXT).body(stream).unwrap()
    })
    .await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let first = tokio::time::timeout(Duration::from_millis(100), relay.text()).await;
    assert!(first.is_err());
    let text = relay.text().await;
    assert_eq!(value_of(&text, "up{").as_deref(), Some("0"), "the agent's own page: {text}");
    assert!(text.contains("\na{instance="), "{text}");
    assert_eq!(exporter.asked(), 1);
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
    assert!(
        elapsed > Duration::from_millis(850) && elapsed < Duration::from_secs(1),
        "{elapsed:?}"
    );
    assert!(text.contains("\na{"), "{text}");
    let error = format!("instance=\"{}\",job=\"slow\",class=\"timeout\"", slow.address);
    assert!(text.contains(&error), "{text}");
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
