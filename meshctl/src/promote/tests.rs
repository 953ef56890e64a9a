//! What a person's yes comes to, by what has become of the new instances meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use consul::testing::{Reply, ScriptedConsul};
use nomad::{Deployment, GroupDeployment};
use tokio::net::TcpListener;

use super::*;
use crate::deploy::testing::{self, Nobody};

/// Version 5 waits for a promotion; its deployment has that status and is promoted or not.
fn waiting(status: &str, promoted: bool) -> (Record, View) {
    let mut record = Record::sample(State::Promoting { version: 5 });
    record.gates.manual = true;
    let group = GroupDeployment { desired_canaries: 1, promoted, ..GroupDeployment::default() };
    let deployment = Deployment {
        job_version: 5,
        status: status.to_owned(),
        task_groups: BTreeMap::from([("web".to_owned(), group)]),
        ..Deployment::default()
    };
    (record, View { deployments: vec![deployment], ..View::default() })
}

fn wait() -> Step {
    Step::Wait { on: Source::Nomad, what: "0 of 1 new instances are healthy".to_owned() }
}

#[test]
fn a_yes_is_given_once() {
    let (record, view) = waiting("running", false);
    let promote = Step::Promote { deployment: "d".to_owned() };
    assert_eq!(answer(&record, &view, promote), Answer::Promote("d".to_owned()));
    let early = Answer::NotYet(Source::Nomad, "0 of 1 new instances are healthy".to_owned());
    assert_eq!(answer(&record, &view, wait()), early);
    let (record, view) = waiting("running", true);
    assert_eq!(answer(&record, &view, wait()), Answer::Promoted);
}

#[test]
fn a_yes_that_comes_too_late_is_no_success() {
    let never = Answer::Never("it broke".to_owned());
    let why = || "it broke".to_owned();
    let (record, view) = waiting("running", false);
    let broken = Step::Enter(State::Reverting { from: 5, to: Some(4), why: why() });
    assert_eq!(answer(&record, &view, broken), never);
    let replaced = Step::End(Outcome::Failed { why: why() });
    assert_eq!(answer(&record, &view, replaced), never);
    let (record, view) = waiting("failed", true);
    let broken = Step::Enter(State::Reverting { from: 5, to: Some(4), why: why() });
    assert_eq!(answer(&record, &view, broken), never);
}

/// A Nomad in which version 5 waits for a promotion. It carries the first one out and loses its leader before it says so.
fn losing_its_leader(told: &Arc<AtomicUsize>) -> Router {
    let told = Arc::clone(told);
    Router::new().fallback(async move |method: Method, uri: Uri| {
        if method == Method::POST {
            told.fetch_add(1, Ordering::SeqCst);
            return (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader".to_owned());
        }
        let promoted = told.load(Ordering::SeqCst) > 0;
        (StatusCode::OK, testing::waiting_nomad(&uri, promoted).to_string())
    })
}

#[tokio::test]
async fn a_yes_during_which_nomads_leader_changes_is_given_once_and_seen() {
    consul::testing::install_crypto_provider();
    let told = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nomad = format!("http://{}", listener.local_addr().unwrap());
    let consul = ScriptedConsul::start(|_, _| Reply::json(1, "[]")).await.unwrap();
    let reach = testing::reach(&nomad, &consul.url());
    let mut record = Record::sample(State::Promoting { version: 5 });
    record.gates.convergence = false;
    let second = Duration::from_secs(1);
    let limits = Limits { timeout: 60 * second, max_outage: 30 * second, awaits_person: false };
    let mut nobody = Nobody::default();
    let mut console = nobody.console();
    let mut report = Reporter::new(&mut console, true);
    let approved = async {
        let work = Work::open("orders", &reach.nomad, &reach).await.unwrap();
        approve(&work, &record, limits, &mut report).await
    };
    let approved = tokio::select! {
        ended = async { axum::serve(listener, losing_its_leader(&told)).await } => panic!("{ended:?}"),
        approved = approved => approved,
    };
    assert_eq!(approved, Ok(()));
    assert_eq!(told.load(Ordering::SeqCst), 1);
}
