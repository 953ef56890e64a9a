//! What the client sends and what it makes of answers, against a server whose answers are those seen from Nomad.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use nomad::{
    Job, LogOrigin, LogRequest, LogStream, NomadClient, NomadConfig, NomadError, Query,
    Registration, Token,
};
use service::secret::Secret;

type Seen = Arc<Mutex<Vec<(String, String)>>>;

#[derive(Clone)]
struct Script {
    seen: Seen,
    status: StatusCode,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

async fn answer(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, &'static str) {
    let token = headers.get("x-nomad-token").and_then(|value| value.to_str().ok()).unwrap_or("-");
    let body = String::from_utf8_lossy(&body).into_owned();
    script.seen.lock().unwrap().push((format!("{method} {uri} {token}"), body));
    let pairs = script.headers.iter();
    let headers = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    (script.status, headers.collect(), script.body)
}

/// A server that answers everything alike, and a client of it with a token and a namespace.
async fn scripted(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> (NomadClient, Seen) {
    // Another test of this process may have installed it.
    rustls::crypto::ring::default_provider().install_default().ok();
    let seen = Seen::default();
    let status = StatusCode::from_u16(status).unwrap();
    let script = Script { seen: Arc::clone(&seen), status, headers, body };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = NomadConfig::new(format!("http://{}", listener.local_addr().unwrap()));
    config.token = Token::Value(Secret::new("s3cret".to_owned()));
    config.namespace = Some("shop".to_owned());
    let app = Router::new().fallback(answer).with_state(script);
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move { axum::serve(listener, app).await });
    (NomadClient::new(config).unwrap(), seen)
}

fn only(seen: &Seen) -> (String, String) {
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.first().cloned().unwrap()
}

#[tokio::test]
async fn a_read_carries_token_and_namespace_and_encodes_the_slash_of_a_dispatched_job() {
    let (client, seen) = scripted(200, &[("x-nomad-index", "42")], r#"{"ID": "a/b"}"#).await;
    let answer = client.read(&Query::job("publish/dispatch-1-a")).await.unwrap();
    assert_eq!((answer.value.id(), answer.index), ("a/b", 42));
    let expected = "GET /v1/job/publish%2Fdispatch-1-a?namespace=shop s3cret";
    assert_eq!(only(&seen).0, expected);
}

#[tokio::test]
async fn what_a_query_says_of_the_namespace_holds() {
    let (client, seen) = scripted(200, &[], "[]").await;
    client.read(&Query::services().in_namespace("*")).await.unwrap();
    assert_eq!(only(&seen).0, "GET /v1/services?namespace=* s3cret");
}

#[tokio::test]
async fn a_blocking_read_names_index_and_wait_and_begins_anew_when_the_index_went_back() {
    let (client, seen) = scripted(200, &[("x-nomad-index", "9")], "null").await;
    let query = Query::service("web");
    let answer = client.poll(&query, 10, Duration::from_secs(20)).await.unwrap();
    assert_eq!((answer.value, answer.index), (Vec::new(), 0));
    assert_eq!(only(&seen).0, "GET /v1/service/web?index=10&wait=20000ms&namespace=shop s3cret");
}

#[tokio::test]
async fn a_registration_with_check_and_set_names_the_index_and_a_lost_race_is_told_apart() {
    let words = "Enforcing job modify index 7: job exists with conflicting job modify index: 9";
    let (client, seen) = scripted(500, &[], words).await;
    let job = Job { body: serde_json::json!({"ID": "web", "FromTheFuture": 1}) };
    let error = client.register(&job, Registration::CheckAndSet(7)).await.unwrap_err();
    assert!(matches!(&error, NomadError::Conflict { message, .. } if message == words), "{error}");
    let (request, body) = only(&seen);
    assert_eq!(request, "POST /v1/jobs?namespace=shop s3cret");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({
        "Job": {"ID": "web", "FromTheFuture": 1}, "EnforceIndex": true, "JobModifyIndex": 7
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_server_without_a_leader_is_not_believed() {
    let (client, _) = scripted(200, &[("x-nomad-knownleader", "false")], "[]").await;
    let error = client.read(&Query::services()).await.unwrap_err();
    assert!(error.is_outage() && error.to_string().contains("knows no leader"), "{error}");
}

#[tokio::test]
async fn a_denied_request_says_what_the_policy_must_allow_and_never_the_token() {
    let (client, _) = scripted(403, &[], "Permission denied").await;
    let error = client.stop("web", false).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("a token whose policy allows submit-job"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn logs_come_as_they_are() {
    let (client, seen) = scripted(200, &[], "line\n").await;
    let (stream, origin) = (LogStream::Stderr, LogOrigin::End);
    let what = LogRequest { allocation: "a1", task: "app", stream, origin, offset: 4096 };
    assert_eq!(client.logs(&what).await.unwrap(), b"line\n");
    let expected = "GET /v1/client/fs/logs/a1?task=app&type=stderr&origin=end&offset=4096&plain=true&namespace=shop s3cret";
    assert_eq!(only(&seen).0, expected);
}

#[tokio::test]
async fn nobody_at_the_address_is_an_outage_that_names_the_request() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = NomadClient::new(NomadConfig::new("http://127.0.0.1:1")).unwrap();
    let error = client.read(&Query::nodes()).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    assert!(error.to_string().starts_with("GET /v1/nodes does not reach Nomad"), "{error}");
}
