//! Nomad fails in its various ways: nothing shrinks, the failure shows, and recovery needs no restart.

use super::server::Fault;
use super::*;

const A_WHILE: Duration = Duration::from_millis(1500);

async fn a_nomad() -> FakeNomad {
    let nomad = FakeNomad::start(&[
        Instance::of("orders", "a1"),
        Instance::of("orders", "a2"),
        Instance { node: "n2", ..Instance::of("quotes", "b1") },
    ])
    .await;
    nomad.set(|world| world.checks = [("a1", "success"), ("a2", "success")].into());
    nomad
}

fn has_all(seen: &Seen) -> bool {
    seen.of("orders") == "a1 a2" && seen.of("quotes") == "b1" && seen.lists("quotes")
}

fn says(seen: &Seen, words: &str) -> bool {
    seen.error.as_ref().is_some_and(|error| error.contains(words))
}

/// The fault shows, takes nothing away while it lasts, and is over when it is over.
async fn strikes(namespace: &str, fault: Fault, words: &str) {
    let nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &[namespace]);
    observer.until("all is there", has_all).await;
    nomad.change(|world| world.fault = Some(fault));
    observer.until("it shows", |seen| says(seen, words)).await;
    observer.hold_true(A_WHILE, "nothing shrinks", has_all).await;
    nomad.change(|world| {
        world.fault = None;
        world.instances.push(Instance::of("new", "c1"));
    });
    observer.until("it goes on", |seen| seen.of("new") == "c1" && seen.error.is_none()).await;
    observer.until("nothing is held", |seen| seen.held.is_empty()).await;
    assert!(has_all(&observer.seen));
    observer.stop().await;
}

#[tokio::test]
async fn a_lost_leader_takes_nothing_away() {
    strikes("default", Fault::NoLeader, "finds no leader among Nomad's servers").await;
}

#[tokio::test]
async fn a_token_that_loses_its_rights_takes_nothing_away() {
    strikes("default", Fault::Denied, "give a token whose policy allows read-job").await;
}

#[tokio::test]
async fn a_token_that_sees_no_namespace_any_more_takes_nothing_away() {
    strikes("*", Fault::Denied, "give a token whose policy allows read-job").await;
}

#[tokio::test]
async fn an_answer_cut_short_takes_nothing_away() {
    strikes("default", Fault::Cut, "answers with a body that is not Nomad's").await;
}

#[tokio::test]
async fn one_service_that_cannot_be_read_keeps_its_instances_and_holds_up_no_other() {
    let nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("all is there", has_all).await;
    nomad.change(|world| {
        world.fault = Some(Fault::DeniedRead("quotes"));
        world.instances.retain(|one| one.allocation != "a1");
    });
    observer.until_is("orders", "a2").await;
    observer.until("it shows", |seen| says(seen, "GET /v1/service/quotes is denied")).await;
    observer.hold_true(A_WHILE, "quotes stays", |seen| seen.of("quotes") == "b1").await;
    observer.stop().await;
}

#[tokio::test]
async fn a_nomad_that_restarts_takes_nothing_away() {
    let mut nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("all is there", has_all).await;
    nomad.kill().await;
    observer.until("its end shows", |seen| says(seen, "does not reach Nomad")).await;
    observer.hold_true(A_WHILE, "nothing shrinks", has_all).await;
    nomad.restart(101).await;
    observer.until("it answers again", |seen| seen.error.is_none()).await;
    observer.hold_true(A_WHILE, "nothing shrinks", has_all).await;
    nomad.change(|world| world.instances.push(Instance::of("new", "c1")));
    observer.until_is("new", "c1").await;
    observer.stop().await;
}

#[tokio::test]
async fn an_empty_nomad_after_a_restart_is_believed_only_when_it_had_time_to_settle() {
    let mut nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("all is there", has_all).await;
    let instances = nomad.world().instances.clone();
    nomad.kill().await;
    nomad.set(|world| world.instances.clear());
    nomad.restart(7).await;
    // Its index is lower, and it has less with each answer: that is how a state comes back that is not whole yet.
    nomad.change(|world| world.instances.push(Instance::of("new", "c1")));
    observer.until("what is new arrives", |seen| seen.of("new") == "c1").await;
    let went_back = |seen: &Seen| {
        has_all(seen) && seen.held.values().any(|reason| reason.contains("index went back"))
    };
    observer.until("the rest is kept", went_back).await;
    nomad.change(|world| world.instances.extend(instances));
    observer.until("it is released", |seen| seen.held.is_empty()).await;
    assert!(has_all(&observer.seen));

    // What stays away is gone in the end.
    nomad.kill().await;
    nomad.set(|world| world.instances.retain(|one| one.service == "orders"));
    nomad.restart(5).await;
    observer.until("quotes is held", |seen| seen.held.contains_key("service quotes")).await;
    assert!(has_all(&observer.seen));
    observer.until("and then believed gone", |seen| !seen.lists("quotes")).await;
    assert_eq!(observer.seen.of("orders"), "a1 a2");
    observer.stop().await;
}

#[tokio::test]
async fn hosts_that_cannot_be_asked_keep_the_health_that_their_instances_had() {
    let nomad = a_nomad().await;
    nomad.set(|world| {
        world.checks.insert("a2", "failure");
    });
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until_is("orders", "a1 a2!").await;
    nomad.set(|world| world.fault = Some(Fault::NoPath));
    observer.until("it shows", |seen| says(seen, "the checks on node n1 cannot be asked")).await;
    nomad.change(|world| world.instances.push(Instance::of("orders", "a3")));
    observer.until("a new one counts as passing", |seen| seen.of("orders") == "a1 a2! a3").await;
    observer.hold_true(A_WHILE, "nothing changes", |seen| seen.of("orders") == "a1 a2! a3").await;
    nomad.set(|world| {
        world.fault = None;
        world.checks.insert("a2", "success");
    });
    observer.until_is("orders", "a1 a2 a3").await;
    observer.until("it is told", |seen| seen.error.is_none()).await;
    observer.stop().await;
}

#[tokio::test]
async fn what_is_published_first_is_whole_whatever_fails_at_the_start() {
    let nomad = a_nomad().await;
    nomad.set(|world| world.fault = Some(Fault::DeniedRead("quotes")));
    let mut observer = Observer::start(&nomad, &["default", "shop"]);
    observer
        .until("the listing is there", |seen| seen.lists("orders") && seen.lists("quotes"))
        .await;
    observer.until_is("orders", "a1 a2").await;
    let quotes_is_open = |seen: &Seen| !seen.services.contains_key("quotes");
    observer.hold_true(A_WHILE, "nothing is said of quotes", quotes_is_open).await;
    nomad.set(|world| world.fault = None);
    observer.until_is("quotes", "b1").await;
    observer.stop().await;
}
