//! The release host-agent as it is measured: its defaults, one Forward destination, no Consul.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use lab::process::{Process, Program};
use lab::{ports, wait};

use crate::contender;

const READY: Duration = Duration::from_secs(30);

/// Writes its configuration and starts it, without waiting. `journal` are the keys of `[logs.journal]`.
pub(super) fn start(
    name: &str,
    folder: &Path,
    journal: &str,
    receiver: SocketAddr,
) -> anyhow::Result<Process> {
    let config = folder.join(format!("{name}.toml"));
    let admin = ports::reserve()?;
    let state = folder.join(format!("{name}-state"));
    let text = format!(
        "instances.consul = false\nadmin.listen = \"127.0.0.1:{admin}\"\n[logs]\nstate_dir = {state:?}\n\
         [logs.journal]\n{journal}\n[[logs.destinations.main.forward.servers]]\naddress = \"{receiver}\"\n"
    );
    std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let program = Program::new(name, &contender::ours("host-agent")?).args([
        "run",
        "--config",
        &config.display().to_string(),
    ]);
    Ok(Process::start(&program, folder)?)
}

/// Waits until it reads.
pub(super) async fn until_reading(folder: &Path, name: &str) -> anyhow::Result<()> {
    let config = std::fs::read_to_string(folder.join(format!("{name}.toml")))?;
    let admin = config.split('"').find_map(|word| word.parse::<SocketAddr>().ok());
    let admin = admin.context("the configuration has no admin address")?;
    let client = lab::http::Client::new();
    let ready = async || match client.get(admin, "agent", "/readyz").await {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(answer.text()),
        Err(error) => Err(lab::chain(&error)),
    };
    wait::until("the agent is ready", READY, ready).await?;
    Ok(())
}

/// Resident memory of a process in KB: all of it, and without the pages of journal files that it has mapped.
pub(super) fn resident_kb(process: i32) -> anyhow::Result<(f64, f64)> {
    let path = PathBuf::from(format!("/proc/{process}/smaps"));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let (mut all, mut own, mut is_journal) = (0.0, 0.0, false);
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("Rss:") {
            let kb: f64 = value.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
            all += kb;
            own += if is_journal { 0.0 } else { kb };
        } else if line.as_bytes().first().is_some_and(u8::is_ascii_hexdigit) && line.contains('-') {
            is_journal = line.contains(".journal");
        }
    }
    Ok((all, own))
}
