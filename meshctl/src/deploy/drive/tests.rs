//! The loop beside a Nomad and a Consul that are scripted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::Uri;
use clap::Parser;
use consul::testing::{Reply, ScriptedConsul};
use lab::wait;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::console::Console;
use crate::deploy::flags::Reach;
use crate::deploy::work::Work;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    reach: Reach,
}

/// A Nomad in which version 5 waits for a promotion, and nothing changes; how often it was asked for deployments.
fn unchanging(asked: &Arc<AtomicUsize>) -> Router {
    let asked = Arc::clone(asked);
    Router::new().fallback(async move |uri: Uri| {
        if uri.query().is_some_and(|query| query.contains("index=")) {
            std::future::pending::<()>().await;
        }
        let group = json!({"DesiredCanaries": 1, "HealthyAllocs": 1});
        let deployment =
            json!({"ID": "d", "JobVersion": 5, "Status": "running", "TaskGroups": {"web": group}});
        let job = json!({"ID": "orders", "Type": "service", "Version": 5});
        match uri.path().rsplit('/').next().unwrap_or_default() {
            "orders" => job.to_string(),
            "versions" => json!({"Versions": [job]}).to_string(),
            "deployments" => {
                asked.fetch_add(1, Ordering::SeqCst);
                json!([deployment]).to_string()
            }
            _ => "[]".to_owned(),
        }
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
    let words = ["deploy", "--nomad", &nomad, "--consul", &consul.url()];
    let Flags { reach } = Flags::parse_from(words);
    let why = "--gate manual".to_owned();
    let mut record = Record::sample(State::AwaitingPromotion { version: 5, why });
    record.gates.convergence = false;
    let timeout = Duration::from_millis(100);
    let limits = Limits { timeout, max_outage: Duration::from_secs(30), awaits_person: true };
    let mut console = Console {
        out: &mut Vec::new(),
        err: &mut Vec::new(),
        input: &mut &b""[..],
        is_interactive: false,
        has_color: false,
        width: None,
        err_width: None,
        now: std::time::SystemTime::UNIX_EPOCH,
    };
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
