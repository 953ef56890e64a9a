//! A scene: something is replaced while the load of [`crate::mix`] goes on; what came of it is one line.
//!
//! In: a mesh, a title, what happens. Out: a [`Told`], printed, whose losses the test then judges.

use std::net::SocketAddr;
use std::time::Duration;

use lab::load::Retries;
use tokio::time::Instant;

use crate::mesh::Mesh;
use crate::mix::{Mix, Outcome};

/// The load after what happens.
const AFTER: Duration = Duration::from_secs(1);
/// Requests a second, unless `AYATORI_DEPLOY_RATE` says otherwise: what two busy cores bear with programs of debug builds.
const RATE: u32 = 100;

/// What came of a scene.
pub(crate) struct Told {
    title: String,
    rate: u32,
    pub(crate) outcome: Outcome,
    retries: u64,
    span: Duration,
}

#[expect(clippy::disallowed_methods, reason = "how much `make` asks for is environment")]
pub(crate) fn rate() -> u32 {
    let asked = std::env::var("AYATORI_DEPLOY_RATE").ok();
    asked.map_or(RATE, |rate| rate.parse().unwrap())
}

/// The scenes that `AYATORI_DEPLOY_SCENES` names; none: all.
#[expect(clippy::disallowed_methods, reason = "how much `make` asks for is environment")]
pub(crate) fn asked() -> Vec<String> {
    let asked = std::env::var("AYATORI_DEPLOY_SCENES").unwrap_or_default();
    asked.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Plays a scene before the Router, once the load has gone on for `before`.
pub(crate) async fn play(
    mesh: &Mesh,
    title: &str,
    before: Duration,
    happens: impl Future<Output = ()>,
) -> Told {
    let proxies = [mesh.statistics()];
    play_at(mesh.consul.address(), mesh.address(), &proxies, title, before, happens).await
}

/// Plays a scene before an address, where these proxies are in no registry.
pub(crate) async fn play_at(
    consul: SocketAddr,
    address: SocketAddr,
    proxies: &[SocketAddr],
    title: &str,
    before: Duration,
    happens: impl Future<Output = ()>,
) -> Told {
    let rate = rate();
    let begin = Instant::now();
    let retries = Retries::follow(consul, proxies);
    let mut mix = Mix::start(address, rate);
    mix.goes_on_for(before, rate).await;
    happens.await;
    mix.goes_on_for(AFTER, rate).await;
    let outcome = mix.finish().await;
    let retries = retries.finish().await.unwrap();
    let told = Told { title: title.to_owned(), rate, outcome, retries, span: begin.elapsed() };
    told.print();
    told
}

impl Told {
    fn print(&self) {
        let Self { title, rate, outcome, retries, span } = self;
        let millis = |share| outcome.short.percentile(share).as_secs_f64() * 1000.0;
        println!(
            "DEPLOY {title} | {} | {rate}/s | {} sent, {} lost, {retries} tried again by proxies | short ones p50 {:.0} ms, p99 {:.0} ms | {:.0} s{}",
            outcome.protocols(),
            outcome.all.sent,
            outcome.all.lost(),
            millis(0.5),
            millis(0.99),
            span.as_secs_f64(),
            outcome.losses(),
        );
    }

    /// Nothing may be lost.
    pub(crate) fn lost_none(&self) -> Result<(), String> {
        let Outcome { all, .. } = &self.outcome;
        if all.sent > 0 && all.lost() == 0 {
            return Ok(());
        }
        Err(format!("{}: {all}{}", self.title, self.outcome.losses()))
    }

    /// Without what protects it, the same load must lose some: otherwise it could not have seen a loss.
    ///
    /// That does not hang on how late news are or how busy the machine is. At 100/s 36 requests of three to five seconds are
    /// under way at every moment ([`Stage::lead`](crate::stage::Stage::lead) waits until they are), and whatever a scene ends
    /// at once has about half of them: one of two instances, one of two gateways or Routers, a canary with its share. That
    /// none of 36 is there has a chance of 2⁻³⁶. No proxy may try them again: they were sent, and streams have begun. A
    /// version that nobody checks fails each request that comes to it.
    pub(crate) fn lost_some(&self) -> Result<(), String> {
        if self.outcome.all.lost() > 0 {
            return Ok(());
        }
        Err(format!("{}: the load proves nothing: {}", self.title, self.outcome.all))
    }
}
