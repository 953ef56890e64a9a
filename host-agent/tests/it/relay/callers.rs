//! More callers than the relay answers at once, and those that do not read what they asked for.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use lab::wait;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::WatchStream;

use super::harness::{Exporter, Prometheus, Relay, TEXT, client, said, value_of};

const SOON: Duration = Duration::from_secs(40);

/// An exporter whose answers end when the value becomes true.
pub(super) async fn held_back() -> (Exporter, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let exporter = Exporter::start(move |_, _| {
        let stream = WatchStream::new(released.clone()).filter(|released| *released).take(1);
        let stream = stream.map(|_| Ok::<_, std::io::Error>("a 1\n"));
        Response::builder().header("content-type", TEXT).body(Body::from_stream(stream)).unwrap()
    });
    (exporter.await, release)
}

pub(super) async fn until_answering(relay: &Relay, callers: usize) {
    wait::until("so many callers are being answered", SOON, async || {
        let own = relay.own();
        let now = value_of(&own, "mesh_relay_callers ").unwrap();
        if now == callers.to_string() { Ok(()) } else { Err(now) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_caller_above_the_limit_is_told_at_once_and_costs_no_scrape() {
    let (exporter, release) = held_back().await;
    let other = Exporter::saying(TEXT, "b 1\n").await;
    let targets = [("x", exporter.url()), ("y", other.url())];
    let relay = Relay::start(&targets, |raw| raw.callers = 2).await;
    let alone = format!("/metrics/x/{}?job=x", exporter.address);
    let full = async {
        until_answering(&relay, 2).await;
        wait::until("the host's exporters are asked", SOON, async || {
            if other.asked() == 1 { Ok(()) } else { Err(other.asked()) }
        })
        .await
        .unwrap();
        for path in ["/metrics", alone.as_str()] {
            let answer = client().get(relay.url(path)).send().await.unwrap();
            assert_eq!(answer.status(), 503);
            assert_eq!(answer.headers()["retry-after"], "1");
            assert_eq!(
                answer.text().await.unwrap(),
                "2 callers are being answered (relay.callers): try again later\n"
            );
        }
        assert_eq!(other.asked(), 1);
        // What costs nothing is there all the same.
        let (status, ..) = relay.get("/targets", "*/*").await;
        assert_eq!(status, 200);
        release.send_replace(true);
    };
    let (host, (status, ..), ()) = tokio::join!(relay.text(), relay.get(&alone, TEXT), full);
    assert!(host.contains("\na{") && status == 200, "{status} {host}");
    let (count, refused) = ("mesh_relay_requests_total", "{format=\"text\",status=\"503\"}");
    let own = relay.own();
    assert_eq!(value_of(&own, &format!("{count}{refused}")).as_deref(), Some("2"), "{own}");
    until_answering(&relay, 0).await;
    relay.text().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_its_place_to_the_next() {
    let (exporter, release) = held_back().await;
    let relay = Relay::start(&[("x", exporter.url())], |raw| raw.callers = 1).await;
    let mut gone = TcpStream::connect(relay.address).await.unwrap();
    gone.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until_answering(&relay, 1).await;
    drop(gone);
    until_answering(&relay, 0).await;
    release.send_replace(true);
    assert!(relay.text().await.contains("\na{"));
}

/// A relay with one place, and a caller that has it and has read the first bytes of more than the kernel keeps.
async fn large_answer() -> (Relay, Exporter, TcpStream) {
    let mut body = String::new();
    // In few samples.
    for sample in 0..8000 {
        writeln!(body, "large{{sample=\"{sample}\",filling=\"{:0>3000}\"}} 1", 0).unwrap();
    }
    let exporter = Exporter::start(move |_, _| said(TEXT, body.clone())).await;
    let relay = Relay::start(&[("x", exporter.url())], |raw| {
        (raw.callers, raw.timeout_ms) = (1, 10_000);
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    SockRef::from(&socket).set_recv_buffer_size(16 << 10).unwrap();
    let mut caller = socket.connect(relay.address).await.unwrap();
    caller.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut begun = [0; 12];
    caller.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let (status, ..) = relay.get("/metrics/x/none", TEXT).await;
    assert_eq!(status, 503);
    (relay, exporter, caller)
}

async fn is_cut_off(relay: &Relay) {
    until_answering(relay, 0).await;
    let own = relay.own();
    assert_eq!(value_of(&own, "mesh_relay_cut_answers_total").as_deref(), Some("1"), "{own}");
    assert_eq!(relay.text().await.matches("\nlarge{").count(), 8000);
}

#[tokio::test]
async fn a_caller_that_reads_nothing_keeps_its_place_for_the_relay_s_time_alone() {
    let (relay, _exporter, _idle) = large_answer().await;
    is_cut_off(&relay).await;
}

#[tokio::test]
async fn a_caller_that_reads_slowly_has_no_more_time_than_others() {
    let (relay, _exporter, mut slow) = large_answer().await;
    // 80 KB a second: the whole would take five minutes.
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let read = async {
        let mut some = [0; 4096];
        while slow.read(&mut some).await.is_ok_and(|size| size > 0) {
            pace.tick().await;
        }
    };
    tokio::select! {
        () = is_cut_off(&relay) => {}
        () = async { read.await; std::future::pending().await } => {}
    }
}

#[tokio::test]
async fn a_prometheus_that_finds_no_place_says_so_and_scrapes_again() {
    let (exporter, release) = held_back().await;
    let relay = Relay::start(&[("x", exporter.url())], |raw| {
        (raw.callers, raw.timeout_ms) = (1, 60_000);
    })
    .await;
    let job = format!(
        "- {{job_name: hosts, honor_labels: true, static_configs: [{{targets: ['{}']}}]}}",
        relay.address
    );
    let test = "a_prometheus_that_finds_no_place_says_so_and_scrapes_again";
    let full = async {
        until_answering(&relay, 1).await;
        let prometheus = Prometheus::start(test, &job, &[]).await?;
        wait::until("a scrape was refused", SOON, async || {
            let targets = prometheus.api("/api/v1/targets").await;
            let error = targets["data"]["activeTargets"][0]["lastError"].clone();
            if error.as_str().is_some_and(|error| error.contains("503")) {
                Ok(())
            } else {
                Err(error)
            }
        })
        .await
        .unwrap();
        Some(prometheus)
    };
    let held = tokio::time::timeout(SOON * 10, async {
        let full = async {
            let prometheus = full.await;
            release.send_replace(true);
            prometheus
        };
        tokio::join!(relay.text(), full)
    });
    let (text, prometheus) = held.await.unwrap();
    assert!(text.contains("\na{"), "{text}");
    let Some(prometheus) = prometheus else { return };
    let series = prometheus.query_until("a{job=\"x\"}", 1).await;
    assert_eq!(series[0].1, "1");
}
