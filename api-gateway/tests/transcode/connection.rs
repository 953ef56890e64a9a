//! Calls over connections that end: in good order, at once, or with a call that nobody has read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use api_gateway::transcode::Options;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
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
    /// Begins to answer, and does not end.
    Begin,
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

/// A service whose connections follow the script, one turn for each call; each takes so many calls at a time.
async fn scripted(turns: Vec<Turn>, most: u32) -> (Gateway, watch::Receiver<Log>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (log, seen) = watch::channel(Log::default());
    let script = Arc::new(Script { turns: Mutex::new(turns.into()), most, log });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(script.clone().serve(stream));
        }
    });
    let nothing = Arc::new(watch::Sender::new(Seen::default()));
    let gateway = Gateway::before(address, nothing, vec![api()], Options::default(), tasks).await;
    (gateway, seen)
}

struct Script {
    turns: Mutex<VecDeque<Turn>>,
    most: u32,
    log: watch::Sender<Log>,
}

impl Script {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        self.log.send_modify(|log| log.connections += 1);
        let mut settings = h2::server::Builder::new();
        let handshake = settings.max_concurrent_streams(self.most).handshake(stream);
        let mut connection = handshake.await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut body = request.into_body();
            let data = body.data().await.unwrap().unwrap();
            self.log.send_modify(|log| log.calls.push((data.len(), body.is_end_stream())));
            let turn = self.turns.lock().unwrap().pop_front();
            match turn.unwrap_or(Turn::Answer) {
                Turn::Answer => answer(&mut respond),
                Turn::AnswerAndGoAway => {
                    answer(&mut respond);
                    connection.graceful_shutdown();
                }
                Turn::Begin => held.push(begin(&mut respond)),
                Turn::Close => break,
                Turn::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
                Turn::Break => respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
    }
}

/// Calls at a time that are more than a test makes.
const MANY: u32 = 100;

/// An empty message and a good status.
fn answer(respond: &mut SendResponse<Bytes>) {
    let mut stream = begin(respond);
    let status = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
    stream.send_trailers(HeaderMap::from_iter(status)).unwrap();
}

/// An empty message, after which the answer goes on.
fn begin(respond: &mut SendResponse<Bytes>) -> SendStream<Bytes> {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
    stream
}

#[tokio::test]
async fn a_call_is_one_frame_after_its_head_and_calls_share_a_connection() {
    let (gateway, log) = scripted(vec![Turn::Answer; 3], MANY).await;
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
    let (gateway, log) = scripted(turns, MANY).await;
    for _ in 0..4 {
        let got = gateway.post("/v1/echo", "{}").await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    }
    assert_eq!(log.borrow().calls.len(), 4);

    let (gateway, log) = scripted(vec![Turn::Close], MANY).await;
    // Nobody knows what came of it.
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::OK);
    assert_eq!(log.borrow().connections, 2);
}

#[tokio::test]
async fn a_call_is_sent_again_only_when_nobody_has_read_it() {
    let (gateway, log) = scripted(vec![Turn::Refuse, Turn::Answer, Turn::Break], MANY).await;
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::OK);
    assert_eq!(log.borrow().calls.len(), 2);
    let got = gateway.post("/v1/echo", "{}").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.message().contains("the call was broken off"), "{}", got.message());
    assert_eq!(log.borrow().calls.len(), 3);
    // For ever refused, it ends.
    let (gateway, log) = scripted(vec![Turn::Refuse; 9], MANY).await;
    assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(log.borrow().calls.len(), 3);
}

#[tokio::test]
async fn streams_that_stay_open_keep_no_call_waiting() {
    let (gateway, log) = scripted(vec![Turn::Begin; 4], 2).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(gateway.begin(Request::get("/"), "/v1/count", "").await);
    }
    for _ in 0..2 {
        assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::OK);
    }
    assert_eq!((log.borrow().connections, log.borrow().calls.len()), (3, 6));
    // Places that are free again are taken again.
    drop(streams);
    for _ in 0..2 {
        assert_eq!(gateway.post("/v1/echo", "{}").await.status, StatusCode::OK);
    }
    assert_eq!(log.borrow().connections, 3);
}
