//! `fleet`: runs one scenario, or the default set, and says what came out.
//!
//! In: arguments. Out: tables, and `target/bench/*.json`.

#![expect(clippy::print_stdout, reason = "a program that people read")]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use bench::contender::{self, Contender};
use bench::figures::{self, Figure};
use bench::gateway::{self, Part};
use bench::logs;
use bench::plan::{self, Scenario};
use bench::relay;
use bench::stage::Setup;

/// Measures an xDS control plane with thousands of simulated Envoys and a real Consul, an API gateway, and the host's agent.
#[derive(Debug, Parser)]
#[command(name = "fleet")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The default set; written to target/bench/xds.json.
    Xds,
    /// The default set, with the peers beside; written to target/bench/peers.json.
    Peers,
    /// How soon every stream knows of an instance, and what that costs.
    Event(One),
    /// Resident memory for each stream.
    Memory(One),
    /// All streams reconnect at once.
    Storm(One),
    /// From exec to the first stream configured.
    Cold(One),
    /// Every cluster of every proxy changes.
    Document(One),
    /// From Consul to one real Envoy.
    Envoy(One),
    /// What proofs and conversion cost at a gateway; written to target/bench/gateway.json.
    Gateway(Gateway),
    /// What it costs to bring a host's logs away; written to target/bench/logs.json.
    Logs(logs::Size),
    /// How many spans a second of CPU carries through the host's agent; written to target/bench/traces.json.
    Traces(Traces),
    /// What a scrape of a host costs; written to target/bench/relay.json.
    Relay {
        /// Scrapes of each kind.
        #[arg(long, default_value_t = 20)]
        rounds: u32,
    },
}

/// Spans.
#[derive(Debug, clap::Args)]
struct Traces {
    /// Requests of 100 spans in a round of a contender.
    #[arg(long, default_value_t = 5000)]
    requests: u32,
    /// How long the back end is away, in seconds.
    #[arg(long, default_value_t = 60)]
    away_s: u64,
}

/// The gateway.
#[derive(Debug, clap::Args)]
struct Gateway {
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["auth", "unary", "stream"])]
    parts: Vec<Part>,
    /// How long a round of a contender takes, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    round_ms: u64,
}

/// One scenario.
#[derive(Debug, clap::Args)]
struct One {
    #[command(flatten)]
    setup: Setup,
    /// Events, changes or starts.
    #[arg(long, default_value_t = 20)]
    events: u32,
    /// Who is measured; the first one's figures have the others' beside.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["ayatori"])]
    contenders: Vec<Contender>,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a command line program complains there")]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let scenario = match cli.command {
        Command::Xds => return all("xds.json", &[]).await,
        Command::Peers => {
            return all("peers.json", &[Contender::Baseline, Contender::Debounced]).await;
        }
        Command::Gateway(gateway) => return measure_gateway(&gateway).await,
        Command::Logs(size) => return measure_logs(size).await,
        Command::Traces(traces) => return measure_traces(&traces).await,
        Command::Relay { rounds } => return measure_relay(rounds).await,
        Command::Event(one) => (Scenario::Event(one.setup, one.events), one.contenders),
        Command::Memory(one) => (Scenario::Memory(one.setup), one.contenders),
        Command::Storm(one) => (Scenario::Storm(one.setup), one.contenders),
        Command::Cold(one) => (Scenario::Cold(one.setup, one.events), one.contenders),
        Command::Document(one) => (Scenario::Document(one.setup, one.events), one.contenders),
        Command::Envoy(one) => (Scenario::Envoy(one.setup, one.events), one.contenders),
    };
    let (scenario, contenders) = scenario;
    for contender in contenders {
        println!("{}\n{}\n", contender.name(), figures::table(&scenario.measure(contender).await?));
    }
    Ok(())
}

async fn measure_gateway(gateway: &Gateway) -> anyhow::Result<()> {
    let file = contender::output_dir()?.join("gateway.json");
    let round = Duration::from_millis(gateway.round_ms);
    let figures = gateway::measure(&gateway.parts, round).await?;
    figures::write(&figures, &file)?;
    println!("{}\n\nwritten to {}", figures::table(&figures), file.display());
    Ok(())
}

async fn measure_logs(size: logs::Size) -> anyhow::Result<()> {
    let folder = contender::output_dir()?;
    let file = folder.join("logs.json");
    let figures = logs::measure(size, &folder).await?;
    figures::write(&figures, &file)?;
    println!("{}\n\nwritten to {}", figures::table(&figures), file.display());
    Ok(())
}

async fn measure_traces(traces: &Traces) -> anyhow::Result<()> {
    let file = contender::output_dir()?.join("traces.json");
    let away = Duration::from_secs(traces.away_s);
    let figures = bench::traces::measure(traces.requests, away).await?;
    figures::write(&figures, &file)?;
    println!("{}\n\nwritten to {}", figures::table(&figures), file.display());
    Ok(())
}

async fn measure_relay(rounds: u32) -> anyhow::Result<()> {
    let file = contender::output_dir()?.join("relay.json");
    let figures = relay::measure(rounds).await?;
    figures::write(&figures, &file)?;
    println!("{}\n\nwritten to {}", figures::table(&figures), file.display());
    Ok(())
}

/// Runs the default set; what is done is printed and written at once, so that a run cut short is not lost.
async fn all(file: &str, peers: &[Contender]) -> anyhow::Result<()> {
    let file = contender::output_dir()?.join(file);
    let mut figures: Vec<Figure> = Vec::new();
    for scenario in plan::default_set() {
        let new = scenario.compare(peers).await?;
        println!("{}\n", figures::table(&new));
        figures.extend(new);
        figures::write(&figures, &file)?;
    }
    println!("{}\n\nwritten to {}", figures::table(&figures), file.display());
    Ok(())
}
