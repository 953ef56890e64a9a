//! A thousand services: read at once, followed while hundreds of them change, over few connections.

use std::time::{Duration, Instant};

use consul::ConsulConfig;
use control_plane::registry::CheckStatus;

use crate::catalogue::{Catalogue, INSTANCES, cpu_seconds, service_name};
use crate::world::World;

/// Services whose checks flap.
const FLAPPING: usize = 300;
const FLAPS_PER_TICK: usize = 30;
const TICK: Duration = Duration::from_millis(100);
const TICKS: usize = 40;
/// Changes whose latency is measured, one at a time.
const SINGLE: usize = 20;
/// Its next instances are placed on the last nodes, which a sweep scans.
const UNWATCHED: usize = 940;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_services_arrive_and_each_final_state_of_flapping_ones_over_few_connections() {
    let filling = Instant::now();
    let Some(mut catalogue) = Catalogue::start().await else { return };
    println!("registered in {:?}", filling.elapsed());

    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, &catalogue.authority).unwrap();
    let mut tls = ConsulConfig::new(catalogue.consul.tls_url());
    tls.ca_file = Some(authority);
    follow(&mut catalogue, tls, 9).await;

    let plain = ConsulConfig::new(catalogue.consul.url());
    follow(&mut catalogue, plain, 99).await;
}

/// The whole life of one registry. `connections` is how many its port may have; on plain HTTP with this test's own.
async fn follow(catalogue: &mut Catalogue, consul: ConsulConfig, connections: usize) {
    let is_tls = consul.is_tls();
    println!("{}", if is_tls { "HTTPS" } else { "plain HTTP, Consul's default limits" });
    let (started, cost) = (Instant::now(), Cost::begin(catalogue));
    let mut world = World::start(consul);
    world.until_complete().await;
    println!("  complete after {:?}; {}", started.elapsed(), cost.since(catalogue));
    world.until_equal(&catalogue.expected).await;

    let cost = Cost::begin(catalogue);
    let most = flap(catalogue, &mut world, is_tls).await;
    println!(
        "  {} flips of {FLAPPING} services in {:?}; {}; {most} connections",
        TICKS * FLAPS_PER_TICK,
        TICK * u32::try_from(TICKS).unwrap(),
        cost.since(catalogue)
    );
    assert!(most <= connections, "{most} connections, at most {connections} are allowed");

    single(catalogue, &mut world, 900, "check", |catalogue, service, nth| {
        let status = if nth % 2 == 0 { CheckStatus::Critical } else { CheckStatus::Passing };
        catalogue.flip(service, 0, status)
    })
    .await;
    let add = |catalogue: &mut Catalogue, service, _| catalogue.add(service);
    single(catalogue, &mut world, 900, "new instance", add).await;
    single(catalogue, &mut world, UNWATCHED, "new instance, some on unwatched nodes", add).await;
    world.until_equal(&catalogue.expected).await;
}

/// Flips checks at a steady rate, and waits until each has arrived; the most connections that were seen.
async fn flap(catalogue: &mut Catalogue, world: &mut World, is_tls: bool) -> usize {
    let (mut most, mut flips) = (0, 0);
    let mut ticks = tokio::time::interval(TICK);
    for _ in 0..TICKS {
        ticks.tick().await;
        let mut operations = Vec::new();
        for _ in 0..FLAPS_PER_TICK {
            let round = flips / FLAPPING;
            let status = [CheckStatus::Critical, CheckStatus::Warning, CheckStatus::Passing];
            let status = status[(flips + round) % status.len()];
            operations.push(catalogue.flip(flips % FLAPPING, round % INSTANCES, status));
            flips += 1;
        }
        catalogue.write(&operations).await;
        let consul = &catalogue.consul;
        let open = if is_tls { consul.tls_connections() } else { consul.connections() };
        most = most.max(open.unwrap());
    }
    let written = Instant::now();
    world.until_equal(&catalogue.expected).await;
    println!("  the last flip arrived {:?} after it was written", written.elapsed());
    most
}

/// Changes a service again and again: how soon each change arrives.
async fn single(
    catalogue: &mut Catalogue,
    world: &mut World,
    service: usize,
    what: &str,
    change: impl Fn(&mut Catalogue, usize, usize) -> serde_json::Value,
) {
    let name = service_name(service);
    let mut latencies = Vec::new();
    let cost = Cost::begin(catalogue);
    // A quiet moment before each change is what makes it a single one.
    let mut pace = tokio::time::interval(Duration::from_millis(250));
    for nth in 0..SINGLE {
        pace.tick().await;
        let operation = change(catalogue, service, nth);
        let began = Instant::now();
        catalogue.write(&[operation]).await;
        world.until(what, |world| world.has(&catalogue.expected, &name)).await;
        latencies.push(began.elapsed());
    }
    latencies.sort_unstable();
    println!(
        "  {what} → event: p50 {:?}, max {:?}; for {SINGLE} of them {}",
        latencies[SINGLE / 2],
        latencies[SINGLE - 1],
        cost.since(catalogue)
    );
}

/// CPU seconds of both sides.
struct Cost {
    consul: f64,
    ours: f64,
}

impl Cost {
    fn begin(catalogue: &Catalogue) -> Self {
        Self { consul: catalogue.cpu(), ours: cpu_seconds("self") }
    }

    fn since(&self, catalogue: &Catalogue) -> String {
        let (consul, ours) = (catalogue.cpu() - self.consul, cpu_seconds("self") - self.ours);
        format!("CPU: Consul {consul:.2} s, this process {ours:.2} s")
    }
}
