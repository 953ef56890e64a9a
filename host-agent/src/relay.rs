//! The relay of metrics: one address for each host, whatever exporters run there and on whatever ports.
//!
//! ```text
//!  1 targets                 2 scrape                3 parse             4 label, merge          5 encode
//!  instances ─┐                                                          families by name,
//!  written ───┴▶ Target ────▶ Body, or Failure ─────▶ Exposition ───────▶ one TYPE and HELP ────▶ text, OpenMetrics,
//!                            on demand, in parallel,  every line is       each, labels of the     protobuf; gzip
//!                            bounded in time, size    checked, none       target before each      ▲
//!                            and memory               is copied           sample's own            │
//!                                 ▲ 6 flight: callers within a second share one                   7 serve ◀── Prometheus
//! ```
//!
//! Bodies are never joined as they are: one bad line would cost all of them. Each is parsed alone, and what cannot be parsed
//! costs its own target only. What is wrong with a target is told in three places: as series in the answer itself, on
//! `/targets`, and in the agent's own metrics.
//!
//! **Invariants**
//! - Nothing is served that was scraped more than a second before it was asked for: what an exporter no longer says is absent.
//! - A series keeps its name, labels and value in every format; where a format cannot say its type, it has none.
//! - Every target's body, samples and time are bounded, and so is the memory of all together.
//! - Parsing, merging and encoding are pure; no clock, no IO.
//! - The same bodies give the same answer: targets are in the order of their names, families in that of theirs.
//!
//! **Absent**: storing, rules, remote write; relabelling by rules (Prometheus has it); HTTPS to exporters of the same host.

pub mod accept;
pub mod config;
pub mod encode;
pub mod failure;
pub mod flight;
pub mod label;
pub mod merge;
pub mod metrics;
pub mod parse;
pub mod scrape;
pub mod serve;
pub mod status;
pub mod synthetic;
pub mod target;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::tasks::Tasks;
use tokio::sync::watch;

use crate::instances::Instances;
use config::RelayConfig;
use flight::Controller;
use metrics::RelayMetrics;
use scrape::Scraper;
use serve::{Context, Relay, RelayError};
use status::Statuses;

/// Binds the port and starts the relay's tasks; where it listens. `admin` is the agent's own page of metrics.
///
/// # Errors
/// When the port cannot be bound.
pub async fn start(
    config: RelayConfig,
    instances: watch::Receiver<Arc<Instances>>,
    admin: SocketAddr,
    registry: &mut Registry,
    tasks: &mut Tasks,
) -> Result<SocketAddr, RelayError> {
    let metrics = RelayMetrics::register(registry);
    let statuses = Statuses::default();
    let scraper = Scraper::new(config.scrape.clone());
    let (controller, flights) = Controller::new(scraper, statuses.clone(), Arc::clone(&metrics));
    let agent = format!("http://{admin}/metrics").parse().ok();
    let config = Arc::new(config);
    let context = Context { config, instances, agent, flights, statuses, metrics };
    let relay = Relay::bind(context).await?;
    let address = relay.address();
    let shutdown = tasks.shutdown();
    tasks.spawn("relay-scrapes", controller.run(shutdown.clone()));
    tasks.spawn("relay", relay.run(shutdown));
    Ok(address)
}
