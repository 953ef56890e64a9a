//! Calls over connections that end: in good order, at once, or with a call that nobody has read.

use std::sync::Arc;

use api_gateway::transcode::Options;
use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, api};
use crate::service::Seen;

/// What a connection does with its next call.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Answer,
    /// Answers, and takes no more calls.
    AnswerAndGoAway,
    /// Closes without an answer.
    Close,
    /// Says that nobody has read it.
    Refuse,
    /// Breaks it off after it was read.
    Break,
}

/// How many connections were opened, and which calls they got: their size, and whether the first frame was the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Log {
    connections: usize,
    calls: Vec<(usize, bool)>,
}

/// A service whose connections follow the script, one turn for each call.
async fn scripted(turns: Vec<Turn>) -> (Gateway, watch::Receiver<Log>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (log, seen) = watch::channel(Log::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut turns = turns.into_iter();
        while let Ok((stream, _)) = listener.accept().await {
            log.send_modify(|log| log.connections += 1);
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut body = request.into_body();
                let data = body.data().await.unwrap().unwrap();
                log.send_modify(|log| log.calls.push((data.len(), body.is_end_stream())));
                match turns.next().unwrap_or(Turn::Answer) {
                    Turn::Answer => answer(&mut respond),
                    Turn::AnswerAndGoAway => {
                        answer(&mut respond);
                        connection.graceful_shutdown();
                    }
                    Turn::Close => break,
                    Turn::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
                    Turn::Break => respond.send_reset(Reason::INTERNAL_ERROR),
                }
            }
        }
    });
    let nothing = Arc::new(watch::Sender::new(Seen::default()));
    let gateway = Gateway::before(address, nothing, vec![api()], Options::default(), tasks).await;
    (gateway, seen)
}

/// An empty message and a good status.
fn answer(respond: &mut SendResponse<Bytes>) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
    let status = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
    stream.send_trailers(HeaderMap::from_iter(status)).unwrap();
}

#[tokio::test]
async fn a_call_is_one_frame_after_its_head_and_calls_share_a_connection() {
    let (gateway, log) = scripted(vec![Turn::Answer; 3]).await;
    for _ in 0..3 {
        let got = gateway.post("/v1/echo", r#"{"text":"hello"}"#).await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    }
    let calls = log.borrow().clone();
    // Five bytes of gRPC, and a field of two and five.
    assert_eq!(calls, Log { connections: 1, calls: vec![(12, true); 3] });
}

#[tokio::test]
async fn a_connection_that_ends_is_opened_again_and_one_that_says_so_before_loses_no_call() {
    let turns = vec![Turn::AnswerAndGoAway, Turn::Answer, Turn::AnswerAndGoAway, Turn::Answer];
    let (gateway, log) = scripted(turns).await;
    for _ in 0..4 {
        let got = gateway.post("/v1/echo", "{}").await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    }
    assert_eq!(log.borrow().calls.len(), 4);

    let (gateway, log) = scripted(vec![Turn::Close]).await;
    // Nobody knows what came of it.
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::OK);
    assert_eq!(log.borrow().connections, 2);
}

#[tokio::test]
async fn a_call_is_sent_again_only_when_nobody_has_read_it() {
    let (gateway, log) = scripted(vec![Turn::Refuse, Turn::Answer, Turn::Break]).await;
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::OK);
    assert_eq!(log.borrow().calls.len(), 2);
    let got = gateway.post("/v1/echo", "{}").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.message().contains("the call was broken off"), "{}", got.message());
    assert_eq!(log.borrow().calls.len(), 3);
    // For ever refused, it ends.
    let (gateway, log) = scripted(vec![Turn::Refuse; 9]).await;
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(log.borrow().calls.len(), 3);
}
