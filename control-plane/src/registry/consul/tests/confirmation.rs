//! Answers that a well-behaved Consul gives too rarely.

use ::consul::testing::{Call, Reply, ScriptedConsul};

use super::*;

pub(super) const SERVERS: &str = r#"[{"Node": {"Node": "n", "Address": "10.0.0.1"}, "Service": {"ID": "consul", "Service": "consul"}}]"#;
pub(super) const WEB: &str = r#"[{"Node": {"Node": "n", "Address": "10.0.0.1"}, "Service": {"ID": "web-1", "Service": "web", "Port": 80}}]"#;

/// A Consul with one service, whose health answers are scripted; everything else is at rest.
pub(super) async fn a_consul_with_web(
    web: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static,
) -> ScriptedConsul {
    ScriptedConsul::start(move |call, nth| match call.path.as_str() {
        _ if call.path != "/v1/health/service/web" && call.index().is_some() => Reply::hang(),
        "/v1/catalog/services" => Reply::json(10, r#"{"consul": [], "web": []}"#),
        "/v1/health/service/consul" => Reply::json(10, SERVERS),
        "/v1/health/service/web" => web(call, nth),
        _ => Reply::status(404, "").with_header("X-Consul-Index", "10"),
    })
    .await
    .unwrap()
}

pub(super) fn is_consistent(call: &Call) -> bool {
    call.parameters.contains("consistent")
}

#[tokio::test]
async fn an_empty_answer_that_the_leader_contradicts_is_never_published() {
    let consul = a_consul_with_web(|call, nth| match (is_consistent(call), nth) {
        (true, _) | (false, 0) => Reply::json(11, WEB),
        (false, 1) => Reply::json(12, "[]"),
        _ => Reply::hang(),
    })
    .await;
    let mut observer =
        Observer::start(ConsulConfig::new(consul.url()), ConsulRegistryConfig::default());
    observer.until("web is held", |seen| seen.held.contains_key("service web")).await;
    observer.until("web is released", |seen| seen.held.is_empty()).await;
    assert_eq!(observer.seen.ids("web"), ["web-1"]);
    assert_eq!(observer.seen.service_events, 1);
    observer.stop().await;
}

#[tokio::test]
async fn a_loss_is_held_while_the_leader_cannot_be_asked() {
    let consul = a_consul_with_web(|call, nth| match (is_consistent(call), nth) {
        (false, 0) => Reply::json(11, WEB),
        (false, 1) => Reply::json(12, "[]"),
        (true, 0..4) => Reply::status(500, "No cluster leader"),
        (true, _) => Reply::json(12, "[]"),
        _ => Reply::hang(),
    })
    .await;
    let mut observer =
        Observer::start(ConsulConfig::new(consul.url()), ConsulRegistryConfig::default());
    observer
        .until("the reason names the failure", |seen| {
            seen.held.get("service web").is_some_and(|reason| reason.contains("No cluster leader"))
        })
        .await;
    assert_eq!(observer.seen.ids("web"), ["web-1"]);
    observer
        .until("the loss is applied", |seen| seen.services.get("web").is_some_and(Vec::is_empty))
        .await;
    observer.until("web is released", |seen| seen.held.is_empty()).await;
    observer.stop().await;
}

#[tokio::test]
async fn failures_of_one_service_show_and_change_nothing() {
    let consul = a_consul_with_web(|_, nth| match nth {
        0 => Reply::json(11, WEB),
        1 => Reply::status(403, "Permission denied"),
        2 => Reply::json(11, "not json"),
        3 => Reply::status(200, "[]"),
        4 => Reply::json(11, WEB),
        _ => Reply::hang(),
    })
    .await;
    let mut observer = Observer::start(impatient(consul.url()), ConsulRegistryConfig::default());
    observer
        .until("the failure shows", |seen| {
            seen.error("consul").is_some_and(|error| error.contains("service \"web\""))
        })
        .await;
    observer.until("it ends", |seen| seen.error("consul").is_none()).await;
    assert_eq!(observer.seen.service_events, 1);
    assert!(observer.seen.ever_held.is_empty());
    observer.stop().await;
}
