//! The index rules of blocking queries.

use consul::testing::{Call, Reply, ScriptedConsul};
use consul::{ErrorClass, NodeServices, Query};

use crate::{a_client_of, soon};

/// The indexes that a watch asks with, when the server answers by the script; failures are passed over.
async fn indexes_asked(
    answers: usize,
    script: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> Vec<Option<u64>> {
    let server = ScriptedConsul::start(move |_, nth| script(nth)).await.unwrap();
    let mut watch = a_client_of(&server).watch(Query::services()).unwrap();
    let mut seen = 0;
    while seen < answers {
        if soon(watch.next()).await.is_ok() {
            seen += 1;
        }
    }
    server.calls().iter().map(Call::index).collect()
}

#[tokio::test]
async fn a_watch_asks_without_an_index_first_and_then_with_the_last() {
    let asked = indexes_asked(3, |nth| Reply::json(10 + nth as u64, "{}")).await;
    assert_eq!(asked, [None, Some(10), Some(11)]);
}

#[tokio::test]
async fn an_index_that_goes_back_is_dropped() {
    let indexes = [72, 70, 71, 72];
    let asked = indexes_asked(4, move |nth| Reply::json(indexes[nth], "{}")).await;
    assert_eq!(asked, [None, Some(72), None, Some(71)]);
}

#[tokio::test]
async fn an_index_of_a_failed_answer_is_not_used() {
    let asked = indexes_asked(3, |nth| match nth {
        1 => Reply::status(500, "No cluster leader").with_header("X-Consul-Index", "1"),
        nth => Reply::json(10 + nth as u64, "{}"),
    })
    .await;
    assert_eq!(asked, [None, Some(10), None, Some(12)]);
}

#[tokio::test]
async fn an_answer_without_a_usable_index_is_a_failure_and_not_a_value() {
    for broken in [Reply::status(200, "{}"), Reply::json(0, "{}")] {
        let server = ScriptedConsul::start(move |_, nth| match nth {
            0 => broken.clone(),
            _ => Reply::json(5, "{}"),
        })
        .await
        .unwrap();
        let mut watch = a_client_of(&server).watch(Query::services()).unwrap();
        let error = soon(watch.next()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Retry, "{error}");
        assert_eq!(soon(watch.next()).await.unwrap().index, 5);
        assert_eq!(server.calls()[1].index(), None);
    }
}

#[tokio::test]
async fn a_server_without_a_leader_is_not_believed() {
    let asked = indexes_asked(2, |nth| match nth {
        1 => Reply::json(90, "{}").with_header("X-Consul-KnownLeader", "false"),
        nth => Reply::json(10 + nth as u64, "{}"),
    })
    .await;
    assert_eq!(asked, [None, Some(10), None]);
}

#[tokio::test]
async fn null_is_an_empty_answer() {
    let server = ScriptedConsul::start(|_, _| Reply::json(3, "null")).await.unwrap();
    let mut watch = a_client_of(&server).watch(Query::services()).unwrap();
    assert!(soon(watch.next()).await.unwrap().value.is_empty());
    let gone = Query::<NodeServices>::node_services("gone");
    let mut nodes = a_client_of(&server).watch(gone).unwrap();
    assert!(soon(nodes.next()).await.unwrap().value.services.is_empty());
}

#[tokio::test]
async fn a_missing_key_is_an_empty_answer_only_with_an_index_of_consuls() {
    let server = ScriptedConsul::start(|_, nth| match nth {
        0 => Reply::status(404, "").with_header("X-Consul-Index", "8"),
        _ => Reply::status(404, "not here"),
    })
    .await
    .unwrap();
    let mut watch = a_client_of(&server).watch(Query::keys_below("mesh/systems/")).unwrap();
    let answer = soon(watch.next()).await.unwrap();
    assert!(answer.value.is_empty());
    assert_eq!(answer.index, 8);
    assert!(soon(watch.next()).await.is_err());
    assert_eq!(server.calls()[0].path, "/v1/kv/mesh/systems/");
}

#[tokio::test]
async fn a_restarted_watch_asks_without_an_index() {
    let server = ScriptedConsul::start(|_, nth| Reply::json(10 + nth as u64, "{}")).await.unwrap();
    let mut watch = a_client_of(&server).watch(Query::services()).unwrap();
    soon(watch.next()).await.unwrap();
    watch.restart();
    soon(watch.next()).await.unwrap();
    assert_eq!(server.calls()[1].index(), None);
}

#[tokio::test]
async fn an_index_taken_over_from_another_answer_counts_for_one_poll() {
    let server = ScriptedConsul::start(|_, nth| Reply::json(40 + nth as u64, "{}")).await.unwrap();
    let mut watch = a_client_of(&server).watch_from(Query::services(), 90).unwrap();
    for _ in 0..2 {
        soon(watch.next()).await.unwrap();
    }
    let asked: Vec<_> = server.calls().iter().map(|call| call.index()).collect();
    assert_eq!(asked, [Some(90), Some(40)]);
}

#[tokio::test]
async fn a_poll_goes_on_when_nobody_waits_for_it() {
    let server = ScriptedConsul::start(|_, _| {
        Reply::json(4, "{}").after(std::time::Duration::from_millis(150))
    })
    .await
    .unwrap();
    let mut watch = a_client_of(&server).watch(Query::services()).unwrap();
    let moment = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(moment, watch.next()).await.is_err());
    assert_eq!(soon(watch.next()).await.unwrap().index, 4);
    assert_eq!(server.calls().len(), 1);
}
