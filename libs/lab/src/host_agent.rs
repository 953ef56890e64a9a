//! The host's agent: the built binary with a configuration of its own, on ports that stay the same for its whole life.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::Client;
use crate::process::{Process, Program};
use crate::{LabError, ports};

const READY_DEADLINE: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(12);

/// What the agent is to know.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// Consul's address; `None`: it knows no instances.
    pub consul: Option<String>,
    /// Exporters that Consul does not know of: job and address of their `/metrics`.
    pub exporters: Vec<(String, SocketAddr)>,
    /// Where spans go, by OTLP over gRPC; `None`: it takes none.
    pub spans_to: Option<SocketAddr>,
    /// Nomad's data directory, whose tasks' output is read; what is read goes to [`HostAgent::logs`].
    pub nomad_data_dir: Option<PathBuf>,
    /// Whether the machine's journal is read too: what [`JOURNAL_WRITER`] writes.
    pub journal: bool,
}

/// The one whose lines in the machine's journal the lab's agent reads.
pub const JOURNAL_WRITER: &str = "ayatori-lab";

/// A running agent.
#[derive(Debug)]
pub struct HostAgent {
    process: Process,
    client: Client,
    admin: SocketAddr,
    relay: SocketAddr,
    spans: Option<SocketAddr>,
    logs: PathBuf,
    config: PathBuf,
}

impl HostAgent {
    /// Starts `binary`; it may not be ready yet.
    ///
    /// # Errors
    /// When there is no port, or it cannot be started.
    pub fn start(binary: &Path, dir: &Path, options: &AgentOptions) -> Result<Self, LabError> {
        let dir = dir.join("host-agent");
        std::fs::create_dir_all(&dir)
            .map_err(LabError::io(format!("make the folder {}", dir.display())))?;
        let listen =
            || Ok::<_, LabError>(SocketAddr::from((Ipv4Addr::LOCALHOST, ports::reserve()?)));
        let (admin, relay) = (listen()?, listen()?);
        let spans = options.spans_to.map(|_| listen()).transpose()?;
        let instances = match &options.consul {
            Some(address) => format!("[consul]\naddress = {address:?}\n"),
            None => {
                "[instances]\nconsul = false\nnode = \"lab\"\ndatacenter = \"lab\"\n".to_owned()
            }
        };
        let logs = dir.join("logs.jsonl");
        let text = [
            logs_tables(&dir, &logs, options),
            instances,
            format!("[admin]\nlisten = \"{admin}\"\n"),
            relay_table(relay, &options.exporters),
            spans.zip(options.spans_to).map_or_else(String::new, |(spans, to)| {
                traces_table(spans, to, &dir.join("spans"))
            }),
        ]
        .concat();
        let config = dir.join("host-agent.toml");
        std::fs::write(&config, text)
            .map_err(LabError::io(format!("write {}", config.display())))?;
        let program = Program::new("host-agent", binary)
            .args(["run".to_owned(), format!("--config={}", config.display())]);
        let process = Process::start(&program, &dir)?;
        Ok(Self { process, client: Client::new(), admin, relay, spans, logs, config })
    }

    /// Where it takes spans, in every form.
    pub const fn spans(&self) -> Option<SocketAddr> {
        self.spans
    }

    /// Where it serves the metrics of the host.
    pub const fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// Where the logs of the host's instances end: JSON lines.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its health, metrics and pages.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// When it ends, or is late.
    pub async fn wait_ready(&mut self) -> Result<(), LabError> {
        let (client, admin) = (&self.client, self.admin);
        let probe = async || match client.get(admin, "localhost", "/readyz").await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.text().trim())),
            Err(error) => Err(crate::chain(&error)),
        };
        self.process.until("host-agent is ready", READY_DEADLINE, probe).await
    }

    /// Stops it as an operator would.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        self.process.stop(STOP_GRACE).await.map(|_| ())
    }
}

/// `[logs]` of its configuration; nothing where nothing is to be read.
fn logs_tables(dir: &Path, logs: &Path, options: &AgentOptions) -> String {
    let Some(nomad) = &options.nomad_data_dir else { return String::new() };
    let state = dir.join("state");
    let journal = options.journal;
    format!(
        "[logs]\nstate_dir = {state:?}\n[logs.files]\nnomad_data_dir = {nomad:?}\n\
         [logs.journal]\nenabled = {journal}\nmatches = [[\"SYSLOG_IDENTIFIER={JOURNAL_WRITER}\"]]\n\
         [logs.destinations.lab.file]\npath = {logs:?}\n"
    )
}

/// `[relay]` of its configuration.
fn relay_table(listen: SocketAddr, exporters: &[(String, SocketAddr)]) -> String {
    let exporters = exporters.iter().map(|(job, address)| {
        format!("[[relay.static]]\njob = {job:?}\nurl = \"http://{address}/metrics\"\n")
    });
    format!("[relay]\nlisten = \"{listen}\"\n{}", exporters.collect::<String>())
}

/// `[traces]` of its configuration.
fn traces_table(listen: SocketAddr, to: SocketAddr, queue: &Path) -> String {
    format!(
        "[traces]\nlisten = [\"{listen}\"]\n[traces.queue]\nfolder = {queue:?}\n\
         [[traces.back_ends]]\nname = \"store\"\nurl = \"grpc://{to}\"\n"
    )
}
