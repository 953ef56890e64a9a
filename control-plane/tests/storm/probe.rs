//! A well-behaved proxy that measures how soon it hears of a change while others misbehave.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use control_plane::xds::resources::ResourceType::Endpoints;
use tokio_util::sync::CancellationToken;

use crate::plane::{Plane, Registry, connect, soon};
use crate::proxy::{Held, Proxy};

/// How long the probe goes on at least.
const SPAN: Duration = Duration::from_millis(1500);
/// The longest that a change may take, on a busy machine and not optimised: it tells late from never.
const BOUND: Duration = Duration::from_secs(2);

/// From writing a registration to hearing of it: includes up to 20 ms until the directory is read.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    fn quantile(&self, per_cent: usize) -> Duration {
        let rank = (self.0.len() * per_cent / 100).min(self.0.len() - 1);
        *self.0.get(rank).unwrap()
    }

    /// Fails when one change in a hundred took too long.
    pub(crate) fn check(&self, during: &str) {
        assert!(self.quantile(99) < BOUND, "during {during}: {self}");
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |per_cent| self.quantile(per_cent).as_millis();
        write!(f, "{} changes heard of within p50 {} ms, p99 {} ms", self.0.len(), ms(50), ms(99))
    }
}

/// Changes endpoints and listens for them, on a thread of its own: what else this process does must not delay it.
#[derive(Clone)]
pub(crate) struct Probe {
    xds: SocketAddr,
    registry: Registry,
    port: u16,
}

impl Probe {
    pub(crate) fn of(plane: &Plane) -> Self {
        Self { xds: plane.xds(), registry: plane.registry(), port: 9000 }
    }

    /// Changes endpoints one time after the other until something is over, and notes how soon each is heard of.
    pub(crate) async fn during<T>(&mut self, something: impl Future<Output = T>) -> (T, Latencies) {
        let over = CancellationToken::new();
        let task = self.clone().run(over.clone());
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(task)
        });
        let value = something.await;
        over.cancel();
        let latencies;
        (latencies, self.port) = thread.await.unwrap();
        (value, latencies)
    }

    async fn run(mut self, over: CancellationToken) -> (Latencies, u16) {
        let channel = connect(self.xds, 1 << 20).await;
        let opened = soon("the probe's stream", Proxy::open(channel, "probe", Held::new())).await;
        let mut proxy = opened.unwrap();
        soon("the probe's resources", proxy.settle()).await.unwrap();
        let (mut latencies, began) = (Vec::new(), Instant::now());
        while !over.is_cancelled() || began.elapsed() < SPAN {
            self.port = if self.port > 30_000 { 9000 } else { self.port + 20 };
            let began = Instant::now();
            self.registry.move_instances(self.port);
            while soon("the change", proxy.next()).await.unwrap().type_url != Endpoints.type_url() {
            }
            latencies.push(began.elapsed());
        }
        latencies.sort();
        (Latencies(latencies), self.port)
    }
}
