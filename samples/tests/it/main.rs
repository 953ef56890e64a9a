//! The sample applications as processes, without a mesh: each is told where to listen and whom to call.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use lab::http::Client;
use lab::process::{Process, Program};
use lab::{ports, wait};
use nix::sys::signal::Signal;
use samples::quotes::quotes_client::QuotesClient;
use samples::quotes::{GetQuoteRequest, WatchQuotesRequest};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;

const SOON: Duration = Duration::from_secs(10);

struct Sample {
    process: Process,
    address: SocketAddr,
    _dir: TempDir,
}

async fn start(binary: &str, instance: &str, egress: Option<SocketAddr>) -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve().unwrap()));
    let egress = egress.unwrap_or(address);
    let program = Program::new(instance, Path::new(binary)).args([
        format!("--listen={address}"),
        format!("--egress=http://{egress}"),
        format!("--instance={instance}"),
    ]);
    let mut process = Process::start(&program, dir.path()).unwrap();
    wait::until("the sample listens", SOON, async || {
        tokio::net::TcpStream::connect(address).await.map(drop)
    })
    .await
    .and_then(|()| process.check())
    .unwrap();
    Sample { process, address, _dir: dir }
}

async fn orders(instance: &str, egress: Option<SocketAddr>) -> Sample {
    start(env!("CARGO_BIN_EXE_orders"), instance, egress).await
}

async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn an_order_names_the_instance_that_answers_and_is_logged_as_one_line() {
    let sample = orders("o1", None).await;
    let answer = Client::new().get(sample.address, "orders", "/orders/7").await.unwrap();
    let order = answer.json().unwrap();
    assert_eq!((order["order"].as_str(), order["instance"].as_str()), (Some("7"), Some("o1")));
    let line: serde_json::Value = serde_json::from_str(&sample.process.tail()).unwrap();
    assert_eq!((line["path"].as_str(), line["status"].as_u64()), (Some("/orders/7"), Some(200)));
}

#[tokio::test]
async fn orders_calls_another_service_through_its_egress_and_hands_on_what_it_says() {
    let other = orders("far", None).await;
    let sample = orders("near", Some(other.address)).await;
    let client = Client::new();
    let answer = client.get(sample.address, "orders", "/call/other/orders/7").await.unwrap();
    let said = answer.json().unwrap();
    assert_eq!((said["by"].as_str(), said["called"].as_str()), (Some("near"), Some("other")));
    assert_eq!(said["answer"]["instance"], "far");
    let answer = client.get(sample.address, "orders", "/call/other/nowhere").await.unwrap();
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_after_the_request_to_stop() {
    let mut sample = orders("o1", None).await;
    let address = sample.address;
    let client = Client::new();
    let slow = client.get(address, "orders", "/slow?ms=700");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        sample.process.signal(Signal::SIGTERM).unwrap();
        wait::until("nobody is let in any more", SOON, async || {
            match tokio::net::TcpStream::connect(address).await {
                Ok(_) => Err("it still listens"),
                Err(_) => Ok(()),
            }
        })
        .await
        .unwrap();
    };
    let (answer, ()) = futures::future::join(slow, stop).await;
    assert_eq!(answer.unwrap().json().unwrap()["instance"], "o1");
    assert!(sample.process.stop(SOON).await.unwrap().success());
}

#[tokio::test]
async fn a_websocket_echoes_with_the_instance_s_name() {
    let sample = orders("o1", None).await;
    let mut socket = Client::new().websocket(sample.address, "orders", "/ws").await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), "o1: hello");
}

#[tokio::test]
async fn quotes_answers_once_and_as_a_stream_and_refuses_an_empty_symbol() {
    let sample = start(env!("CARGO_BIN_EXE_quotes"), "q1", None).await;
    let mut quotes = QuotesClient::new(channel(sample.address).await);
    let request = GetQuoteRequest { symbol: "ACME".to_owned() };
    assert_eq!(quotes.get_quote(request).await.unwrap().into_inner().instance, "q1");
    let request = WatchQuotesRequest { symbol: "ACME".to_owned(), count: 4, interval_ms: 5 };
    let stream = quotes.watch_quotes(request).await.unwrap().into_inner();
    assert_eq!(stream.count().await, 4);
    let error = quotes.get_quote(GetQuoteRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn quotes_tells_tools_its_health_and_its_methods() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

    let sample = start(env!("CARGO_BIN_EXE_quotes"), "q1", None).await;
    let mut health = HealthClient::new(channel(sample.address).await);
    let status = health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    assert_eq!(status.into_inner().status, 1);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel(sample.address).await);
    let answers = reflection.server_reflection_info(tokio_stream::once(question)).await.unwrap();
    let answer = format!("{:?}", answers.into_inner().next().await.unwrap().unwrap());
    assert!(answer.contains("quotes.v1.Quotes"), "{answer}");
}

#[tokio::test]
async fn a_position_is_valued_by_quotes_and_names_both_instances() {
    let quotes = start(env!("CARGO_BIN_EXE_quotes"), "q1", None).await;
    let sample = start(env!("CARGO_BIN_EXE_positions"), "p1", Some(quotes.address)).await;
    let client = Client::new();
    let answer = client.get(sample.address, "positions", "/positions/7").await.unwrap();
    let position = answer.json().unwrap();
    assert_eq!(position["instance"], "p1");
    assert_eq!(position["quoted_by"], "q1");
    drop(quotes);
    let answer = client.get(sample.address, "positions", "/positions/7").await.unwrap();
    assert_eq!(answer.status, 502);
}
