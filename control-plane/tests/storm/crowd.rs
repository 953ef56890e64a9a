//! Thousands of proxies at once: all new, and all back after a pause in which nothing changed.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::plane::{Plane, soon};
use crate::probe::Probe;
use crate::proxy::{Held, Proxy, TYPES};

const PROXIES: usize = 5_000;
/// Streams of a connection: proxies have one each, but this machine's ports are few.
const SHARING: usize = 50;

/// Every proxy does the same at once.
async fn all<T>(count: usize, act: impl AsyncFn(usize) -> T) -> Vec<T> {
    join_all((0..count).map(|n| act(n))).await
}

/// Opens a stream as Envoy does: who is sent away comes back after a growing, spread pause.
async fn open(channel: &Channel, n: usize, held: &Held) -> Result<Proxy, Status> {
    let mut pause = Duration::from_millis(500);
    loop {
        match Proxy::open(channel.clone(), &format!("proxy-{n}"), held.clone()).await {
            Err(status) if status.code() == Code::Unavailable => {
                let share = u32::try_from(n % 100).unwrap();
                tokio::time::sleep(pause * share / 100).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            opened => return opened,
        }
    }
}

async fn connections(plane: &Plane) -> Vec<Channel> {
    all(PROXIES / SHARING, async |_| plane.connect(1 << 16).await).await
}

#[tokio::test]
async fn five_thousand_proxies_at_once_are_served_whole_and_coming_back_costs_nothing() {
    let plane = Plane::start().await;
    let mut probe = Probe::of(&plane);
    let ((), quiet) = probe.during(async {}).await;
    println!("alone: {quiet}");
    let before = plane.resident();

    let channels = connections(&plane).await;
    let began = Instant::now();
    let storm = all(PROXIES, async |n| {
        let mut proxy = open(channels.get(n / SHARING).unwrap(), n, &Held::new()).await?;
        proxy.settle().await?;
        Ok::<_, Status>(proxy)
    });
    let (proxies, latencies) = probe.during(soon("all resources", storm)).await;
    let took = began.elapsed();
    let proxies: Vec<Proxy> = proxies.into_iter().collect::<Result<_, _>>().unwrap();
    let held = proxies.first().unwrap().held.clone();
    let names = |held: &Held| TYPES.map(|kind| held[&kind].keys().cloned().collect::<Vec<_>>());
    assert!(proxies.iter().all(|proxy| names(&proxy.held) == names(&held)));
    let each = (plane.resident() - before) / u64::try_from(PROXIES).unwrap();
    let away = plane.metric("mesh_xds_ended_streams_total", "crowded").await;
    println!("{PROXIES} new at once: all served in {took:.1?}, {away} times sent to come back");
    println!("they cost {each} KiB each; meanwhile {latencies}");
    assert!(each < 300, "{each} KiB for each stream");
    latencies.check("the storm");

    drop((proxies, channels));
    plane.until("mesh_xds_streams", "", |open| open == 0).await;
    reconnect(&plane, &mut probe).await;
}

/// All come back with what one of them has in the end.
async fn reconnect(plane: &Plane, probe: &mut Probe) {
    let mut newest =
        Proxy::open(plane.connect(1 << 16).await, "newest", Held::new()).await.unwrap();
    soon("the newest resources", newest.settle()).await.unwrap();
    let held = newest.held.clone();
    let requests = plane.metric("mesh_xds_requests_total", "").await;
    let sent = plane.metric("mesh_xds_sent_bytes_total", "").await;
    let channels = connections(plane).await;
    let began = Instant::now();
    let storm = all(PROXIES, async |n| {
        let proxy = open(channels.get(n / SHARING).unwrap(), n, &held).await?;
        proxy.ask_for_the_rest().await?;
        Ok::<_, Status>(proxy)
    });
    let back = soon("all proxies", storm).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    let all_asked = requests + u64::try_from(PROXIES * TYPES.len()).unwrap();
    plane.until("mesh_xds_requests_total", "", |count| count >= all_asked).await;
    let took = began.elapsed();
    let sent = plane.metric("mesh_xds_sent_bytes_total", "").await - sent;
    println!("{PROXIES} back at once: all served in {took:.1?} with {sent} bytes in all");
    assert_eq!(sent, 0, "nothing changed");
    assert!(took < Duration::from_secs(30), "{took:?}");

    let ((), latencies) = probe.during(async {}).await;
    println!("with {} connected: {latencies}", back.len());
    latencies.check("rest");
}
