//! A service that changes its schema while it is called.

use std::time::{Duration, Instant};

use api_gateway::schema::{Counts, Pace};
use futures::future::join_all;

use crate::harness::{
    Gateway, QUOTES, Service, bindings, conversion, one, patient, quotes, restless, soon, two,
    with_v1, without_reflection,
};

#[tokio::test]
async fn both_versions_of_a_rolling_update_are_alive_newest_first_until_the_old_one_is_gone() {
    let (old, new) = (with_v1(&quotes("one")), with_v1(&quotes("two")));
    let service = Service::start(vec![old.clone()]).await;
    let gateway = Gateway::start(service.egress.clone(), restless());
    soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();

    service.replace(vec![old, new.clone()]);
    gateway.until("both versions", QUOTES, |entry| entry.versions.len() == 2).await;
    let apis = gateway.schemas.apis(QUOTES).await.unwrap();
    assert_eq!(bindings(&apis), [two(), one()]);

    let last_old = Instant::now();
    service.replace(vec![new]);
    gateway.until("the new version alone", QUOTES, |entry| entry.versions.len() == 1).await;
    assert!(last_old.elapsed() >= Duration::from_millis(300), "{:?}", last_old.elapsed());
    let apis = gateway.schemas.apis(QUOTES).await.unwrap();
    assert_eq!(bindings(&apis), [two()]);
}

#[tokio::test]
async fn a_service_that_is_away_keeps_its_schema_and_is_learnt_again_when_it_is_back() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let gateway = Gateway::start(service.egress.clone(), restless());
    soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();

    service.replace(Vec::new());
    let away = |entry: &api_gateway::schema::Entry| {
        entry.error.as_ref().is_some_and(|(_, since)| since.elapsed() > restless().keep * 2)
    };
    gateway.until("an absence twice as long as a version lives", QUOTES, away).await;
    let apis = gateway.schemas.apis(QUOTES).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);

    service.replace(vec![with_v1(&quotes("two"))]);
    gateway.until("the new version", QUOTES, |entry| entry.versions.len() == 2).await;
    let apis = gateway.schemas.apis(QUOTES).await.unwrap();
    assert_eq!(bindings(&apis), [two(), one()]);
}

#[tokio::test]
async fn a_hint_of_change_has_the_service_asked_at_once_but_not_more_often_than_the_pause() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let pace = Pace { pause: Duration::from_secs(600), ..patient() };
    let gateway = Gateway::start(service.egress.clone(), pace);
    soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();

    service.replace(vec![with_v1(&quotes("two"))]);
    let apis = gateway.schemas.apis(QUOTES).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);
    let hints = (0..50).map(|_| gateway.schemas.apis_after_doubt(QUOTES));
    let answers = soon("answers", join_all(hints)).await;
    let newest = answers.into_iter().map(Result::unwrap).max_by_key(|apis| apis.len()).unwrap();
    assert_eq!(bindings(&newest), [two(), one()]);
    assert_eq!(service.seen().len(), 2);
}

#[tokio::test]
async fn many_first_requests_wait_for_one_question() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    let answers = join_all((0..100).map(|_| gateway.schemas.apis(QUOTES)));
    for apis in soon("answers", answers).await {
        assert_eq!(bindings(&apis.unwrap()), [one()]);
    }
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn a_service_that_could_not_be_learnt_is_asked_again_by_the_next_request() {
    let service = Service::start(vec![without_reflection()]).await;
    let gateway = Gateway::start(service.egress.clone(), patient());
    gateway.refusal(QUOTES).await;
    service.replace(vec![with_v1(&quotes("one"))]);
    let apis = soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);
}

#[tokio::test]
async fn what_is_listed_is_learnt_before_requests_and_what_nobody_uses_is_forgotten() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let pace = Pace { unused: Duration::from_millis(200), ..restless() };
    let gateway = Gateway::start(service.egress.clone(), pace);
    gateway.schemas.list(vec![conversion(QUOTES)]).await;
    gateway.until("the schema", QUOTES, |entry| entry.versions.len() == 1).await;
    let counts = gateway.schemas.snapshot().counts();
    assert_eq!(counts, Counts { conversions: 1, versions: 1, failing: 0, absent: 0 });

    gateway.schemas.list(Vec::new()).await;
    let mut watch = gateway.schemas.watch();
    let forgotten = watch.wait_for(|now| now.get(QUOTES).is_none());
    soon("forgetting", forgotten).await.unwrap();
}

#[tokio::test]
async fn more_conversions_than_the_limit_are_refused_and_harm_none_that_are_kept() {
    let service = Service::start(vec![with_v1(&quotes("one"))]).await;
    let pace = Pace { conversions: 1, ..patient() };
    let gateway = Gateway::start(service.egress.clone(), pace);
    soon("the schema", gateway.schemas.apis(QUOTES)).await.unwrap();
    assert_eq!(
        gateway.refusal("orders orders.v1.Orders").await,
        "the schema of orders orders.v1.Orders cannot be learnt: 1 conversions are kept already, which is all \
         that a gateway keeps; convert fewer services in this System"
    );
    assert_eq!(bindings(&gateway.schemas.apis(QUOTES).await.unwrap()), [one()]);
}
