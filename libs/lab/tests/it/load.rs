//! The open-loop load, against a real Envoy and against a server that lets it wait.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lab::folder::Folder;
use lab::http::Client;
use lab::load::{Call, Load, LoadSpec};
use lab::parts;

use crate::envoy::answering;

fn spec(address: SocketAddr) -> LoadSpec {
    LoadSpec {
        client: Client::new(),
        address,
        host: "anyone".to_owned(),
        path: "/".to_owned(),
        call: Call::Get,
        rate: 200,
        timeout: Duration::from_secs(15),
    }
}

#[tokio::test]
async fn every_answer_is_counted_and_so_is_every_request_after_the_server_is_gone() {
    let test = "every_answer_is_counted_and_so_is_every_request_after_the_server_is_gone";
    let Some(binary) = parts::real_part_or_skip(test, "envoy") else { return };
    let dir = Folder::new("lab").unwrap();
    let (mut envoy, address) = answering(&binary, "one", dir.path()).await;
    let mut load = Load::start(spec(address));
    load.until_more_sent(200).await;
    let report = load.finish().await.unwrap();
    assert_eq!((report.lost(), report.ok), (0, report.sent), "{report}");
    assert_eq!(report.by_instance.get("envoy"), Some(&report.ok));

    let mut load = Load::start(spec(address));
    load.until_more_sent(50).await;
    envoy.kill().await.unwrap();
    load.until_more_sent(50).await;
    let report = load.finish().await.unwrap();
    assert!(report.ok > 0 && report.lost() > 0, "{report}");
    assert_eq!(report.sent, report.ok + report.lost());
}

#[tokio::test]
async fn a_server_that_never_answers_slows_the_schedule_by_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = spec(listener.local_addr().unwrap());
    silent.timeout = Duration::from_millis(200);
    let begin = Instant::now();
    let mut load = Load::start(silent);
    load.until_more_sent(200).await;
    let took = begin.elapsed().as_secs_f64();
    let report = load.finish().await.unwrap();
    // One after the other they would take 40 s; on schedule they take one, and none leaves before its time.
    assert!((0.9..20.0).contains(&took), "{took} s: {report}");
    assert_eq!(report.failed.get("no answer within 200ms"), Some(&report.sent), "{report}");
}
