//! Whom it asks, and how many at once.

use ::nomad::{NomadClient, NomadConfig};

use super::*;
use crate::registry::nomad::NomadRegistryConfig;
use crate::registry::outlet::Outlet;

/// Asks nobody: its polls are never awaited.
async fn following(places: &[(String, &str)]) -> (Checks, mpsc::Receiver<News>) {
    // Another test of this process may have installed it.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = NomadClient::new(NomadConfig::new("http://127.0.0.1:1")).unwrap();
    let outlet = Outlet::new(mpsc::channel(1).0);
    let context = Arc::new(Context { client, config: NomadRegistryConfig::default(), outlet });
    let place = |node: &str| Place { namespace: "default".into(), node: node.to_owned() };
    let places = places.iter().map(|(id, node)| (id.clone(), place(node))).collect();
    let (listener, news) = mpsc::channel(64);
    let mut checks = Checks::new(context, watch::channel(places).1, listener);
    checks.follow().await.unwrap();
    (checks, news)
}

fn asking(checks: &Checks, node: &str) -> Vec<String> {
    let of_it = checks.allocations.iter().filter(|(_, asked)| asked.place.node == node);
    of_it.filter(|(_, asked)| asked.is_under_way).map(|(id, _)| id.clone()).collect()
}

/// Every question under way to a host fails.
async fn fails(checks: &mut Checks, node: &str, now: Instant) {
    for id in asking(checks, node) {
        checks.hosts.end(node);
        checks.take(&id, Err("silent".to_owned()), now).await.unwrap();
    }
}

/// Allocations whose health was told.
fn told(news: &mut mpsc::Receiver<News>) -> Vec<String> {
    let news = std::iter::from_fn(|| news.try_recv().ok());
    news.filter_map(|one| match one {
        News::Health { allocation, .. } => Some(allocation),
        News::Host { .. } => None,
    })
    .collect()
}

fn thirty_on_one_host() -> Vec<(String, &'static str)> {
    let mut places: Vec<_> = (10..40).map(|number| (format!("a{number}"), "n1")).collect();
    places.push(("z1".to_owned(), "n2"));
    places
}

#[tokio::test]
async fn one_host_never_takes_all_requests_and_a_silent_one_takes_one() {
    let (mut checks, _news) = following(&thirty_on_one_host()).await;
    let now = Instant::now();
    checks.begin(now);
    assert_eq!((asking(&checks, "n1").len(), asking(&checks, "n2").len()), (hosts::MOST, 1));
    fails(&mut checks, "n1", now).await;
    checks.begin(now + hosts::PAUSE_MAX);
    assert_eq!(asking(&checks, "n1").len(), 1, "until it answers");
    assert_eq!(checks.next_due(), None, "the others wait for that one");
}

#[tokio::test]
async fn a_host_that_fails_twice_holds_up_none_of_its_new_allocations() {
    let (mut checks, mut news) = following(&thirty_on_one_host()).await;
    let now = Instant::now();
    checks.begin(now);
    fails(&mut checks, "n1", now).await;
    assert_eq!(told(&mut news), ["a10", "a11", "a12", "a13"], "those that were asked");
    let now = now + hosts::PAUSE_MAX;
    checks.begin(now);
    fails(&mut checks, "n1", now).await;
    let all: Vec<String> = (14..40).map(|number| format!("a{number}")).collect();
    assert_eq!(told(&mut news), all);
    fails(&mut checks, "n2", now).await;
    assert_eq!(told(&mut news), ["z1"]);
}
