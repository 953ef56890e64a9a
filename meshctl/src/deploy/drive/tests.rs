//! The loop beside a Nomad and a Consul that are scripted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::Uri;
use consul::testing::{Reply, ScriptedConsul};
use lab::wait;
use tokio::net::TcpListener;

use super::*;
use crate::deploy::testing::{self, Nobody};
use crate::deploy::work::Work;

/// A Nomad in which nothing changes; how often it was asked for deployments.
fn unchanging(asked: &Arc<AtomicUsize>) -> Router {
    let asked = Arc::clone(asked);
    Router::new().fallback(async move |uri: Uri| {
        if uri.query().is_some_and(|query| query.contains("index=")) {
            std::future::pending::<()>().await;
        }
        if uri.path().ends_with("/deployments") {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        testing::waiting_nomad(&uri, false).to_string()
    })
}

#[tokio::test]
async fn a_person_who_takes_longer_than_the_whole_may_costs_nomad_no_more_questions() {
    consul::testing::install_crypto_provider();
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nomad = format!("http://{}", listener.local_addr().unwrap());
    let consul = ScriptedConsul::start(|call, _| match call.path.as_str() {
        "/v1/session/create" => Reply::status(200, "{\"ID\": \"s\"}"),
        _ => Reply::json(1, "[]"),
    });
    let consul = consul.await.unwrap();
    let reach = testing::reach(&nomad, &consul.url());
    let why = "--gate manual".to_owned();
    let mut record = Record::sample(State::AwaitingPromotion { version: 5, why });
    record.gates.convergence = false;
    let timeout = Duration::from_millis(100);
    let limits = Limits { timeout, max_outage: Duration::from_secs(30), awaits_person: true };
    let mut nobody = Nobody::default();
    let mut console = nobody.console();
    let mut report = Reporter::new(&mut console, true);
    let deploy = async {
        let work = Work::open("orders", &reach.nomad, &reach).await.unwrap();
        work.carry_out(record, None, limits, &mut report).await
    };
    let count = || asked.load(Ordering::SeqCst);
    let left_alone = async {
        // Once when the command begins, once when it goes on.
        let begun = async || if count() == 2 { Ok(()) } else { Err(count()) };
        wait::until("it waits", Duration::from_secs(30), begun).await.unwrap();
        wait::holds("Nomad is left alone", Duration::from_secs(2), begun).await.unwrap();
    };
    tokio::select! {
        ended = async { axum::serve(listener, unchanging(&asked)).await } => panic!("{ended:?}"),
        ended = deploy => panic!("{ended:?}"),
        () = left_alone => {}
    }
}
