//! A lock whose Consul comes and goes, scripted.

use consul::ConsulConfig;
use consul::testing::{Call, Reply, ScriptedConsul, install_crypto_provider};

use super::*;
use crate::deploy::record::State;

const TTL: Duration = Duration::from_millis(300);

/// A lock held by session `old` with the record `begun`, of a Consul that answers so.
async fn held(
    script: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static,
) -> (Lock, ScriptedConsul) {
    install_crypto_provider();
    let server = ScriptedConsul::start(script).await.unwrap();
    let client = ConsulClient::new(ConsulConfig::new(server.url())).unwrap();
    let held = Held {
        session: "old".to_owned(),
        record: b"begun".to_vec(),
        sure_until: Instant::now() + TTL,
        next: None,
    };
    let lock = Lock {
        client,
        key: "mesh/deploys/orders".to_owned(),
        name: "meshctl orders".to_owned(),
        held: Mutex::new(held),
        ttl: TTL,
        max_outage: Duration::from_secs(30),
    };
    (lock, server)
}

/// What is kept: `begun`, held by this session or by none.
fn kept(session: Option<&str>) -> Reply {
    let session = session.map_or(String::new(), |own| format!(", \"Session\": \"{own}\""));
    let key = "mesh/deploys/orders";
    Reply::json(
        7,
        &format!("[{{\"Key\": \"{key}\", \"Value\": \"YmVndW4=\", \"ModifyIndex\": 7{session}}}]"),
    )
}

/// Keeps the lock until it is held by that session; why it is lost, if it is.
async fn keeps_until(lock: &Lock, session: &str) -> Result<(), Failure> {
    let is_held = async {
        while lock.held().session != session {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        lost = lock.keep() => Err(lost),
        () = is_held => Ok(()),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing happens"),
    }
}

#[tokio::test]
async fn a_consul_that_comes_back_without_the_session_may_need_a_moment() {
    let (lock, _consul) = held(|call, before| match call.path.as_str() {
        "/v1/session/renew/old" => Reply::status(404, "Session id 'old' not found"),
        "/v1/session/create" => Reply::status(200, "{\"ID\": \"new\"}"),
        "/v1/kv/mesh/deploys/orders" if before == 0 => Reply::status(500, "No cluster leader"),
        "/v1/kv/mesh/deploys/orders" => kept(None),
        "/v1/txn" if before == 0 => Reply::status(500, "No cluster leader"),
        "/v1/txn" => Reply::status(200, "{}"),
        "/v1/session/renew/new" => Reply::status(200, "[]"),
        path => panic!("{path}"),
    })
    .await;
    assert_eq!(keeps_until(&lock, "new").await, Ok(()));
}

#[tokio::test]
async fn a_lock_whose_taking_was_not_answered_is_not_somebody_elses() {
    let (lock, _consul) = held(|call, before| match call.path.as_str() {
        "/v1/session/renew/old" => Reply::status(404, "Session id 'old' not found"),
        "/v1/session/create" => Reply::status(200, "{\"ID\": \"new\"}"),
        "/v1/kv/mesh/deploys/orders" if before == 0 => kept(None),
        "/v1/kv/mesh/deploys/orders" => kept(Some("new")),
        // Done, and the answer is lost.
        "/v1/txn" => Reply::close(),
        "/v1/session/renew/new" => Reply::status(200, "[]"),
        path => panic!("{path}"),
    })
    .await;
    assert_eq!(keeps_until(&lock, "new").await, Ok(()));
}

#[tokio::test]
async fn a_lock_that_somebody_else_took_is_lost() {
    let (lock, _consul) = held(|call, _| match call.path.as_str() {
        "/v1/session/renew/old" => Reply::status(404, "Session id 'old' not found"),
        "/v1/kv/mesh/deploys/orders" => kept(Some("theirs")),
        path => panic!("{path}"),
    })
    .await;
    let lost = keeps_until(&lock, "new").await.unwrap_err();
    assert!(lost.to_string().contains("somebody else has worked on it since"), "{lost}");
}

#[tokio::test]
async fn it_is_sure_of_the_lock_only_as_long_as_consul_answers() {
    let (lock, _consul) = held(|_, before| match before {
        0..3 => Reply::status(200, "[]"),
        _ => Reply::close(),
    })
    .await;
    assert!(lock.is_sure());
    let unsure = async {
        while lock.is_sure() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        lost = lock.keep() => panic!("{lost}"),
        () = unsure => {}
    }
    let calls = _consul.calls().len();
    assert!(calls > 3, "it was renewed, and then Consul was silent: {calls}");
}

#[tokio::test]
async fn a_finished_record_goes_although_the_session_ended_first() {
    // Consul was away for so long that the session ended; nobody has taken the record up since.
    let (lock, consul) = held(|call, _| match call.path.as_str() {
        "/v1/kv/mesh/deploys/orders" if call.method == "GET" => kept(None),
        "/v1/kv/mesh/deploys/orders" => Reply::status(200, "true"),
        "/v1/session/destroy/old" => Reply::status(200, "true"),
        path => panic!("{path}"),
    })
    .await;
    lock.release(true).await.unwrap();
    let deleted = consul.calls().into_iter().find(|call| call.method == "DELETE");
    assert_eq!(deleted.map(|call| call.parameters).as_deref(), Some("cas=7"));
}

#[tokio::test]
async fn a_record_that_somebody_else_holds_stays() {
    let (lock, consul) = held(|call, _| match call.path.as_str() {
        "/v1/kv/mesh/deploys/orders" => kept(Some("theirs")),
        "/v1/session/destroy/old" => Reply::status(200, "true"),
        path => panic!("{path}"),
    })
    .await;
    lock.release(true).await.unwrap();
    assert!(consul.calls().iter().all(|call| call.method != "DELETE"), "{:?}", consul.calls());
}

#[tokio::test]
async fn a_record_is_written_later_where_consul_asks_for_fewer_requests() {
    let (lock, _consul) = held(|_, before| match before {
        0 => Reply::status(429, "slow down"),
        _ => Reply::status(200, "true"),
    })
    .await;
    let record = Record::sample(State::Promoting { version: 5 });
    assert_eq!(lock.write(&record).await, Ok(()));
}
