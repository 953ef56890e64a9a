//! System documents in Nomad's variables.

use super::server::Fault;
use super::*;

/// Whether there are just these documents, as `name=text`.
fn has(seen: &Seen, expected: &[&str]) -> bool {
    let documents = seen.documents.iter().flatten();
    let shown: Vec<String> = documents.map(|(name, text)| format!("{name}={text}")).collect();
    seen.documents.is_some() && shown == expected
}

async fn a_nomad() -> FakeNomad {
    let nomad = FakeNomad::start(&[]).await;
    nomad.set(|world| {
        world.documents = [("portfolio", (7, "one")), ("trading", (8, "two"))].into();
    });
    nomad
}

#[tokio::test]
async fn documents_arrive_change_and_leave() {
    let nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("both are there", |seen| has(seen, &["portfolio=one", "trading=two"])).await;
    nomad.change(|world| {
        let index = world.index;
        world.documents.insert("trading", (index, "three"));
    });
    observer.until("one changes", |seen| has(seen, &["portfolio=one", "trading=three"])).await;
    let reads = || {
        let world = nomad.world();
        world.requests.iter().filter(|(what, _)| what == "variable portfolio").count()
    };
    assert_eq!(reads(), 1, "what did not change is not read again");
    nomad.change(|world| {
        world.documents.remove("portfolio");
    });
    observer.until("one leaves", |seen| has(seen, &["trading=three"])).await;
    nomad.change(|world| world.documents.clear());
    observer.until("the last leaves", |seen| has(seen, &[])).await;
    assert!(observer.seen.ever_held.contains("documents"), "it is confirmed");
    observer.until("nothing is held", |seen| seen.held.is_empty()).await;
    observer.stop().await;
}

#[tokio::test]
async fn a_variable_without_the_item_is_named() {
    let nomad = a_nomad().await;
    nomad.set(|world| {
        world.documents.insert("trading", (9, ""));
    });
    let mut observer = Observer::start(&nomad, &["default"]);
    let is_named = |seen: &Seen| {
        let reason = seen.held.get("variable mesh/systems/trading");
        reason.is_some_and(|reason| reason.contains("nomad var put"))
    };
    observer.until("it is named", is_named).await;
    nomad.change(|world| {
        let index = world.index;
        world.documents.insert("trading", (index, "good"));
    });
    observer.until("it is good", |seen| has(seen, &["portfolio=one", "trading=good"])).await;
    observer.until("nothing is named", |seen| seen.held.is_empty()).await;
    observer.stop().await;
}

#[tokio::test]
async fn lost_rights_and_outages_take_no_document_away() {
    let mut nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &["default"]);
    let has_both = |seen: &Seen| has(seen, &["portfolio=one", "trading=two"]);
    observer.until("both are there", has_both).await;
    for (fault, words) in
        [(Fault::Denied, "read on the variable's path"), (Fault::NoLeader, "no leader")]
    {
        nomad.change(|world| world.fault = Some(fault));
        let shows =
            |seen: &Seen| seen.documents_error.as_ref().is_some_and(|error| error.contains(words));
        observer.until("it shows", shows).await;
        observer.hold_true(Duration::from_millis(800), "nothing leaves", has_both).await;
        nomad.change(|world| world.fault = None);
        observer.until("it is over", |seen| seen.documents_error.is_none()).await;
    }

    nomad.kill().await;
    nomad.set(|world| {
        world.documents.remove("portfolio");
    });
    nomad.restart(5).await;
    observer.until("it is kept", |seen| seen.held.contains_key("documents")).await;
    assert!(has_both(&observer.seen));
    observer.until("and then believed gone", |seen| has(seen, &["trading=two"])).await;
    observer.until("nothing is held", |seen| seen.held.is_empty()).await;
    observer.stop().await;
}

#[tokio::test]
async fn after_an_index_that_went_back_new_documents_arrive_while_lost_ones_are_kept() {
    let mut nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("both are there", |seen| has(seen, &["portfolio=one", "trading=two"])).await;
    nomad.kill().await;
    nomad.set(|world| {
        world.documents.remove("portfolio");
        world.documents.insert("trading", (4, "three"));
    });
    nomad.restart(5).await;
    observer.until("one changes", |seen| has(seen, &["portfolio=one", "trading=three"])).await;
    observer.until("the other is held", |seen| seen.held.contains_key("documents")).await;
    observer.until("and then believed gone", |seen| has(seen, &["trading=three"])).await;
    observer.until("nothing is held", |seen| seen.held.is_empty()).await;
    observer.stop().await;
}

#[tokio::test]
async fn a_document_that_cannot_be_read_stays_as_it_was_and_holds_up_no_other() {
    let nomad = a_nomad().await;
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("both are there", |seen| has(seen, &["portfolio=one", "trading=two"])).await;
    nomad.change(|world| {
        world.fault = Some(Fault::DeniedRead("portfolio"));
        let index = world.index;
        world.documents = [("portfolio", (index, "new")), ("trading", (index, "three"))].into();
    });
    observer
        .until("the other changes", |seen| has(seen, &["portfolio=one", "trading=three"]))
        .await;
    observer.until("it shows", |seen| is_denied(seen, "portfolio")).await;
    nomad.set(|world| world.fault = None);
    observer
        .until("it changes as well", |seen| has(seen, &["portfolio=new", "trading=three"]))
        .await;
    observer.until("it is over", |seen| seen.documents_error.is_none()).await;
    observer.stop().await;
}

#[tokio::test]
async fn nothing_is_said_of_documents_before_each_was_read() {
    let nomad = a_nomad().await;
    nomad.set(|world| world.fault = Some(Fault::DeniedRead("portfolio")));
    let mut observer = Observer::start(&nomad, &["default"]);
    observer.until("it shows", |seen| is_denied(seen, "portfolio")).await;
    assert_eq!(observer.seen.documents, None);
    nomad.set(|world| world.fault = None);
    observer.until("both are there", |seen| has(seen, &["portfolio=one", "trading=two"])).await;
    observer.stop().await;
}

fn is_denied(seen: &Seen, name: &str) -> bool {
    seen.documents_error.as_ref().is_some_and(|error| error.contains(name))
}
