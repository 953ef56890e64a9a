//! The same exporters without the relay: Prometheus scrapes them itself, or through Debian's exporter_exporter.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lab::process::{Process, Program};
use lab::{parts, ports, wait};

use super::host::{Agent, Exporters, Http, ask, cost};
use super::{EXPORTERS, SERIES};
use crate::figures::Figure;
use crate::usage::{cpu_seconds, resident_kb};

const READY: Duration = Duration::from_secs(30);
const TEXT: &str = "text/plain;version=0.0.4";

/// Puts the peers' figures beside those of the relay, which are wall, CPU and memory without and with gzip.
pub(super) async fn beside(
    figures: &mut Vec<Figure>,
    exporters: &Exporters,
    agent: &Agent,
    rounds: u32,
    folder: &Path,
) -> anyhow::Result<()> {
    let Some(prometheus) = parts::real_part("prometheus") else { return Ok(()) };
    let bin = prometheus.parent().context("Prometheus has a folder")?;

    let expexp =
        exporter_exporter(&bin.join("prometheus-exporter-exporter"), exporters, folder).await?;
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let urls: Vec<String> =
        (0..EXPORTERS).map(|nth| format!("{}/proxy?module=m{nth}", expexp.url)).collect();
    let cost = cost(expexp.process.id(), rounds, async || {
        let answers = urls.iter().map(|url| ask(&http, url, TEXT, "identity"));
        let bytes: usize = try_join_all(answers).await?.iter().map(bytes::Bytes::len).sum();
        ensure!(bytes > EXPORTERS * SERIES * 20, "{bytes} bytes");
        Ok(())
    })
    .await?;
    let values = [cost.wall_ms, cost.cpu_ms, cost.resident_mb];
    for (figure, value) in figures.iter_mut().zip(values) {
        figure.beside("exporter_exporter, 50 requests", value);
    }

    let direct: Vec<String> = (0..EXPORTERS)
        .map(|nth| format!("- {{job_name: j{nth}, metrics_path: /{nth}, static_configs: [{{targets: ['{}']}}]}}\n", exporters.address))
        .collect();
    let direct = scraping(&prometheus, "direct", &direct.concat(), rounds, folder).await?;
    let relayed = format!(
        "- {{job_name: hosts, honor_labels: true, static_configs: [{{targets: ['{}']}}]}}\n",
        agent.host()
    );
    let relayed = scraping(&prometheus, "relayed", &relayed, rounds, folder).await?;
    let how = "CPU of Prometheus itself for a scrape of the host every 2 s, with storing it";
    let mut figure = Figure::new("Prometheus' CPU, through the relay", "ms", relayed.0, how);
    figure.beside("Prometheus, 50 targets", direct.0);
    figures.push(figure);
    let mut figure = Figure::new("Prometheus resident, through the relay", "MB", relayed.1, how);
    figure.beside("Prometheus, 50 targets", direct.1);
    figures.push(figure);
    Ok(())
}

struct Peer {
    process: Process,
    url: String,
}

async fn exporter_exporter(
    binary: &Path,
    exporters: &Exporters,
    folder: &Path,
) -> anyhow::Result<Peer> {
    let port = ports::reserve()?;
    let mut text = "modules:\n".to_owned();
    let target = exporters.address.port();
    for nth in 0..EXPORTERS {
        text += &format!(
            "  m{nth}: {{method: http, timeout: 10s, http: {{port: {target}, path: /{nth}}}}}\n"
        );
    }
    let file = folder.join("expexp.yml");
    std::fs::write(&file, text)?;
    let program = Program::new("exporter_exporter", binary).args([
        format!("-web.listen-address=127.0.0.1:{port}"),
        format!("-config.file={}", file.display()),
    ]);
    let process = Process::start(&program, folder)?;
    wait::until("exporter_exporter listens", READY, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop)
    })
    .await?;
    Ok(Peer { process, url: format!("http://127.0.0.1:{port}") })
}

/// CPU of Prometheus for each of its rounds in milliseconds, and its memory in MB.
async fn scraping(
    binary: &Path,
    name: &str,
    jobs: &str,
    rounds: u32,
    folder: &Path,
) -> anyhow::Result<(f64, f64)> {
    let port = ports::reserve()?;
    let file = folder.join(format!("{name}.yml"));
    let head = "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n";
    std::fs::write(&file, format!("{head}{jobs}"))?;
    let program = Program::new(name, binary).args([
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.join(name).display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ]);
    let process = Process::start(&program, folder)?;
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://127.0.0.1:{port}/api/v1/query?query=count(orders_queue_5_seconds)");
    wait::until("Prometheus has the series", READY, async || {
        let answer =
            ask(&http, &url, "*/*", "identity").await.map_err(|error| error.to_string())?;
        let answer: serde_json::Value =
            serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        match answer.pointer("/data/result/0/value/1") {
            Some(_) => Ok(()),
            None => Err(answer.to_string()),
        }
    })
    .await?;
    let before = cpu_seconds(process.id())?;
    tokio::time::sleep(Duration::from_secs(2) * rounds).await;
    let spent = cpu_seconds(process.id())? - before;
    Ok((spent * 1e3 / f64::from(rounds), resident_kb(process.id())? / 1024.0))
}
