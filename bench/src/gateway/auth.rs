//! What a token and an API key add to a request.

use std::time::Duration;

use super::load::Load;
use super::stage::{Proven, Stage};
use super::way::Way;
use crate::figures::{Figure, percentile, sorted};

const RATE: u32 = 1000;
const CONNECTIONS: u32 = 16;
const ROUNDS: u32 = 4;
const KINDS: [(Proven, &str); 3] =
    [(Proven::Open, "open"), (Proven::Token, "JWT"), (Proven::Key, "API key")];

/// The same request of the same service, open, with a token and with a key.
///
/// # Errors
/// A request fails.
pub(super) async fn measure(stage: &mut Stage, span: Duration) -> anyhow::Result<Vec<Figure>> {
    let mut pooled = [const { Vec::new() }; KINDS.len()];
    let paced = Load { connections: CONNECTIONS, rate: Some(RATE), span };
    for _ in 0..ROUNDS {
        for ((proven, _), pool) in KINDS.iter().zip(&mut pooled) {
            pool.extend(paced.run(&stage.plain(*proven)).await?.latencies);
        }
    }
    let [open, token, key] = pooled.map(sorted);
    let how = format!(
        "GET of a route to a service over HTTP/2, {ROUNDS} rounds of {span:?} each in turn, {CONNECTIONS} connections; added: \
         the percentile less that of the same route open"
    );
    let mut figures = Vec::new();
    for (share, name, goal) in [(0.5, "p50", None), (0.99, "p99", Some(0.5))] {
        let base = percentile(&open, share);
        let name = |what: &str| format!("{what} {name}, 1,000 requests/s");
        figures.push(Figure::new(name("open route,"), "ms", base, &how));
        let added = |what: &str, values| {
            Figure::new(name(what), "ms", percentile(values, share) - base, &how)
        };
        figures.push(added("JWT adds at", &token));
        let key = added("API key adds at", &key);
        figures.push(goal.into_iter().fold(key, Figure::goal));
    }
    for (proven, name) in KINDS {
        figures.extend(throughput(stage, proven, name, span).await?);
    }
    Ok(figures)
}

async fn throughput(
    stage: &mut Stage,
    proven: Proven,
    name: &str,
    span: Duration,
) -> anyhow::Result<[Figure; 2]> {
    let full = Load { connections: CONNECTIONS, rate: None, span };
    let ask = stage.plain(proven);
    // The application and Envoy both work for a key; Envoy alone for the others.
    let way = if proven == Proven::Key { Way::Ours } else { Way::Transcoder };
    let before = stage.usage(way)?;
    let report = full.run(&ask).await?;
    let used = stage.usage(way)?.all - before.all;
    let count = report.count();
    let how = format!("{CONNECTIONS} connections without pause for {span:?}");
    Ok([
        Figure::new(format!("{name}, throughput"), "requests/s", count / report.elapsed, &how),
        Figure::new(
            format!("{name}, CPU of Envoy and application"),
            "µs",
            used / count * 1e6,
            &how,
        ),
    ])
}
