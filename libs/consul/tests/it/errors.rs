//! Classes of error, deadlines, limits, tokens.

use std::time::Duration;

use consul::testing::{Reply, ScriptedConsul, install_crypto_provider};
use consul::{Consistency, ConsulClient, ConsulConfig, ConsulError, ErrorClass, Query, Token};
use tokio::time::Instant;

use crate::{a_client_of, a_config_of, soon};

async fn error_of(reply: Reply) -> ConsulError {
    let server = ScriptedConsul::start(move |_, _| reply.clone()).await.unwrap();
    let query = Query::health_service("web");
    soon(a_client_of(&server).read(&query, Consistency::Default)).await.unwrap_err()
}

#[tokio::test]
async fn each_status_has_its_class() {
    let classes = [
        (500, "rpc error: No cluster leader", ErrorClass::Retry),
        (502, "bad gateway", ErrorClass::Retry),
        (503, "unavailable", ErrorClass::Retry),
        (503, "rate limit exceeded", ErrorClass::Throttled),
        (429, "Resource Exhausted", ErrorClass::Throttled),
        (403, "Permission denied", ErrorClass::Denied),
        (403, "ACL not found", ErrorClass::Denied),
        (400, "Invalid query", ErrorClass::Invalid),
        (301, "", ErrorClass::Invalid),
    ];
    for (status, body, class) in classes {
        let error = error_of(Reply::status(status, body)).await;
        assert_eq!(error.class(), class, "{status} {body}: {error}");
    }
}

#[tokio::test]
async fn a_denied_request_names_the_missing_rule_and_consuls_words() {
    let text = error_of(Reply::status(403, "Permission denied")).await.to_string();
    assert!(text.contains("service \"web\" { policy = \"read\" }"), "{text}");
    assert!(text.contains("Permission denied"), "{text}");
    assert!(text.starts_with("GET /v1/health/service/web"), "{text}");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_a_failure() {
    let error = error_of(Reply::json(7, "<html>")).await;
    assert!(matches!(error, ConsulError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_a_failure() {
    let server = ScriptedConsul::start(|_, _| Reply::json(7, &" ".repeat(5000))).await.unwrap();
    let mut config = a_config_of(&server);
    config.limits.body_bytes = 4000;
    let client = ConsulClient::new(config).unwrap();
    let error = soon(client.read(&Query::services(), Consistency::Default)).await.unwrap_err();
    assert!(matches!(error, ConsulError::TooLarge { limit: 4000, .. }), "{error}");
}

#[tokio::test]
async fn a_poll_that_outlives_its_deadline_fails_and_the_next_one_does_not_block() {
    let server = ScriptedConsul::start(|_, nth| match nth {
        1 => Reply::hang(),
        _ => Reply::json(5, "{}"),
    })
    .await
    .unwrap();
    let mut watch = a_client_of(&server).watch(Query::services()).unwrap();
    soon(watch.next()).await.unwrap();
    let started = Instant::now();
    let error = soon(watch.next()).await.unwrap_err();
    assert!(matches!(error, ConsulError::TimedOut { .. }), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(700), "wait × 17/16 + slack");
    soon(watch.next()).await.unwrap();
    assert_eq!(server.calls()[2].index(), None);
}

#[tokio::test]
async fn a_consul_that_is_not_there_is_to_be_retried() {
    install_crypto_provider();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = ConsulClient::new(ConsulConfig::new(format!("http://{gone}"))).unwrap();
    let error = soon(client.read(&Query::services(), Consistency::Default)).await.unwrap_err();
    assert!(matches!(error, ConsulError::Unreachable { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
}

#[tokio::test]
async fn a_connection_closed_at_once_beside_many_points_to_consuls_limit() {
    let server = ScriptedConsul::start(|call, _| match call.path.ends_with("services") {
        true => Reply::close(),
        false => Reply::hang(),
    })
    .await
    .unwrap();
    let client = a_client_of(&server);
    let alone = soon(client.read(&Query::services(), Consistency::Default)).await.unwrap_err();
    assert_eq!(alone.class(), ErrorClass::Retry, "{alone}");
    let watches: Vec<_> = (0..20)
        .map(|nth| client.watch(Query::health_service(&format!("s{nth}"))).unwrap())
        .collect();
    let error = soon(client.read(&Query::services(), Consistency::Default)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::ConnectionLimit, "{error}");
    assert!(error.to_string().contains("limits.http_max_conns_per_client"), "{error}");
    drop(watches);
}

#[tokio::test]
async fn a_watch_beyond_the_cap_is_refused_until_another_ends() {
    let server = ScriptedConsul::start(|_, _| Reply::hang()).await.unwrap();
    let mut config = a_config_of(&server);
    config.limits.plain_watches = 2;
    let client = ConsulClient::new(config).unwrap();
    let first = client.watch(Query::services()).unwrap();
    let _second = client.watch(Query::services()).unwrap();
    let refused = client.watch(Query::services()).unwrap_err();
    assert_eq!(refused.class(), ErrorClass::ConnectionLimit);
    drop(first);
    client.watch(Query::services()).unwrap();
}

#[tokio::test]
async fn a_token_file_is_read_for_each_request() {
    let server = ScriptedConsul::start(|_, _| Reply::json(1, "{}")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "one\n").unwrap();
    let mut config = a_config_of(&server);
    config.token = Token::File(file.clone());
    let client = ConsulClient::new(config.clone()).unwrap();
    soon(client.read(&Query::services(), Consistency::Default)).await.unwrap();
    std::fs::write(&file, "two").unwrap();
    soon(client.read(&Query::services(), Consistency::Default)).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = soon(client.read(&Query::services(), Consistency::Default)).await.unwrap_err();
    assert!(matches!(error, ConsulError::Token(_)), "{error}");
    config.token = Token::Value(service::secret::Secret::new("three".to_owned()));
    let client = ConsulClient::new(config).unwrap();
    soon(client.read(&Query::services(), Consistency::Default)).await.unwrap();
    let tokens: Vec<_> = server.calls().into_iter().filter_map(|call| call.token).collect();
    assert_eq!(tokens, ["one", "two", "three"]);
}

#[tokio::test]
async fn the_first_answer_after_an_outage_ends_the_pauses_of_all() {
    let server = ScriptedConsul::start(|call, nth| match call.path.as_str() {
        "/v1/catalog/services" if nth > 0 => Reply::json(5, "{}"),
        "/v1/health/service/web" if nth > 3 => Reply::json(5, "[]"),
        _ => Reply::status(500, "No cluster leader"),
    })
    .await
    .unwrap();
    let mut config = a_config_of(&server);
    config.limits.backoff_max = Duration::from_secs(3600);
    let client = ConsulClient::new(config.clone()).unwrap();
    let mut web = client.watch(Query::health_service("web")).unwrap();
    for _ in 0..4 {
        soon(web.next()).await.unwrap_err();
    }
    soon(client.read(&Query::services(), Consistency::Default)).await.unwrap_err();
    let query = Query::services();
    let services = client.read(&query, Consistency::Default);
    let (answer, services) = soon(async { tokio::join!(web.next(), services) }).await;
    answer.unwrap();
    services.unwrap();
}
