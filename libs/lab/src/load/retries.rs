//! How often the proxies tried a request again while a load ran: also those that came, and those that went.
//!
//! In: Consul, where `mesh_stats` of a registration says at which port a proxy tells its statistics, and the ports of
//! proxies that are in no registry. Out: one sum. Called beside a load whose report would otherwise look as if no proxy
//! had helped.
//!
//! **Invariant**: what a proxy had told before it ended counts. What it did in its last half second does not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::LabError;
use crate::http::Client;

const PAUSE: Duration = Duration::from_millis(500);
const PATH: &str = "/stats/prometheus?filter=upstream_rq_retry$";
const COUNTER: &str = "envoy_cluster_upstream_rq_retry{";

/// A count under way.
#[derive(Debug)]
pub struct Retries {
    stop: CancellationToken,
    tasks: JoinSet<u64>,
}

impl Retries {
    /// Begins to count, at the proxies that this Consul knows and at these.
    pub fn follow(consul: SocketAddr, others: &[SocketAddr]) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(consul, others.to_vec(), stop.clone()));
        Self { stop, tasks }
    }

    /// Looks a last time, and gives the sum.
    pub async fn finish(mut self) -> Result<u64, LabError> {
        self.stop.cancel();
        match self.tasks.join_next().await {
            Some(Ok(sum)) => Ok(sum),
            Some(Err(error)) => Err(LabError::Request {
                request: "the count of retries".to_owned(),
                source: Box::new(error),
            }),
            None => Ok(0),
        }
    }
}

/// What the counters came to, by proxy.
#[derive(Debug, Default)]
struct Tally {
    sum: u64,
    last: BTreeMap<SocketAddr, u64>,
}

impl Tally {
    /// Takes a counter in. A proxy that was there before the count began starts at what it says first (`is_old`).
    fn observe(&mut self, proxy: SocketAddr, value: u64, is_old: bool) {
        let before = self.last.insert(proxy, value).unwrap_or(if is_old { value } else { 0 });
        // Smaller than before: another proxy has the port now.
        self.sum += value.checked_sub(before).unwrap_or(value);
    }
}

async fn follow(consul: SocketAddr, others: Vec<SocketAddr>, stop: CancellationToken) -> u64 {
    let client = Client::new();
    let mut tally = Tally::default();
    let mut proxies: Vec<SocketAddr> = others.clone();
    let mut is_first = true;
    loop {
        let is_last = stop.is_cancelled();
        // While Consul is away, those are asked that were there last.
        if let Ok(registered) = registered(&client, consul).await {
            proxies = others.iter().copied().chain(registered).collect();
        }
        // A proxy that has ended counts with what it said last.
        for proxy in &proxies {
            if let Ok(answer) = client.get(*proxy, "localhost", PATH).await {
                tally.observe(*proxy, counter(&answer.text()), is_first);
            }
        }
        if is_last {
            return tally.sum;
        }
        is_first = false;
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Where the proxies of registrations tell their statistics.
async fn registered(client: &Client, consul: SocketAddr) -> Result<Vec<SocketAddr>, String> {
    let read = async |path: String| {
        let answer = client.get(consul, "localhost", &path).await;
        answer.map_err(|error| crate::chain(&error))?.json()
    };
    let services = read("/v1/catalog/services".to_owned()).await?;
    let mut found = Vec::new();
    for name in services.as_object().into_iter().flat_map(|map| map.keys()) {
        let instances = read(format!("/v1/catalog/service/{name}")).await?;
        found.extend(instances.as_array().into_iter().flatten().filter_map(statistics));
    }
    Ok(found)
}

fn statistics(instance: &Value) -> Option<SocketAddr> {
    let ip = instance.get("ServiceAddress")?.as_str()?.parse().ok()?;
    let port = instance.pointer("/ServiceMeta/mesh_stats")?.as_str()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

fn counter(text: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(COUNTER));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_proxy_had_counted_before_does_not_count_and_what_a_new_one_counts_does() {
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut tally = Tally::default();
        tally.observe(a, 7, true);
        tally.observe(a, 9, false);
        tally.observe(b, 3, false);
        tally.observe(b, 3, false);
        assert_eq!(tally.sum, 5);
        // Another proxy on the same port.
        tally.observe(a, 1, false);
        assert_eq!(tally.sum, 6);
    }

    #[test]
    fn counters_of_all_clusters_are_one_sum() {
        let text = "# TYPE envoy_cluster_upstream_rq_retry counter\n\
                    envoy_cluster_upstream_rq_retry{envoy_cluster_name=\"a\"} 3\n\
                    envoy_cluster_upstream_rq_retry_success{envoy_cluster_name=\"a\"} 9\n\
                    envoy_cluster_upstream_rq_retry{envoy_cluster_name=\"b\"} 4\n";
        assert_eq!(counter(text), 7);
    }

    #[test]
    fn a_registration_says_where_its_proxy_tells_its_statistics() {
        let instance = json!({"ServiceAddress": "10.0.0.1", "ServiceMeta": {"mesh_stats": "9102"}});
        assert_eq!(statistics(&instance), Some(SocketAddr::from(([10, 0, 0, 1], 9102))));
        assert_eq!(statistics(&json!({"ServiceAddress": "10.0.0.1", "ServiceMeta": {}})), None);
    }
}
