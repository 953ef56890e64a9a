//! A certificate is renewed, and its file broken and mended, while clients ask on connections old and new.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::browser::{Browser, Version, put};
use super::{Edge, SHOP};
use crate::scene::soon;

/// Requests at a steady pace while a certificate is renewed: on one connection, and on new ones.
struct Traffic {
    stop: watch::Sender<bool>,
    tasks: JoinSet<Vec<Result<(), String>>>,
}

impl Traffic {
    fn start(browser: &Browser) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (version, stays) in [(Version::Two, true), (Version::One, true), (Version::Two, false)]
        {
            tasks.spawn(drive(browser.clone(), version, stays, stopped.clone()));
        }
        Self { stop, tasks }
    }

    /// How many requests were answered; none may be lost.
    async fn finish(self) -> usize {
        self.stop.send_replace(true);
        let outcomes = self.tasks.join_all().await.concat();
        let lost: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), outcomes.len());
        outcomes.len()
    }
}

/// Requests of each kind, some of them after the last renewal.
const AT_LEAST: usize = 40;

async fn drive(
    browser: Browser,
    version: Version,
    stays: bool,
    stopped: watch::Receiver<bool>,
) -> Vec<Result<(), String>> {
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = browser.connect(SHOP, version).await.unwrap();
    let mut outcomes = Vec::new();
    while !*stopped.borrow() || outcomes.len() < AT_LEAST {
        pace.tick().await;
        let exchange = async {
            if !stays {
                connection = browser.connect(SHOP, version).await?;
            }
            connection.get("/orders/7", &[]).await
        };
        outcomes.push(match exchange.await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
            Err(error) => Err(error.to_string()),
        });
    }
    outcomes
}

pub(super) async fn check(edge: &Edge) {
    let shown = async || {
        let connection = edge.browser.connect(SHOP, Version::Two).await;
        connection.map(|connection| connection.certificate).map_err(|error| error.to_string())
    };
    let refused = async || edge.router.sum("key_rotation_failed$").await.unwrap();
    let traffic = Traffic::start(&edge.browser);

    let new = edge.second.issue(SHOP, &edge.shop);
    soon("new connections are shown the new certificate", async || match shown().await? {
        certificate if certificate == new => Ok(()),
        _ => Err("the old one".to_owned()),
    })
    .await;

    let before = refused().await;
    put(&edge.shop.chain, "-----BEGIN CERTIFICATE-----\nno certificate\n");
    soon("the Router has refused the broken file", async || match refused().await {
        count if count > before => Ok(()),
        count => Err(format!("{count} refused")),
    })
    .await;
    assert_eq!(shown().await.unwrap(), new, "what worked last is kept");
    // Mended, it is taken again.
    let mended = edge.second.issue(SHOP, &edge.shop);
    soon("new connections are shown the mended certificate", async || match shown().await? {
        certificate if certificate == mended => Ok(()),
        _ => Err("the one before".to_owned()),
    })
    .await;
    let answered = traffic.finish().await;
    assert!(answered >= 3 * AT_LEAST, "{answered} requests");
}
