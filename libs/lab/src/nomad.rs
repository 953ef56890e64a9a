//! A Nomad agent, server and client in one: a real `nomad` where this machine has one, else the stand-in for tests.
//!
//! In: [`NomadOptions`]. Out: a [`Nomad`] that answers its HTTP API, and a folder with `nomad` in it for PATH. The same
//! configuration is given to both; what only the stand-in has is in flags of its own ([`NomadOptions::nodes`] and so on).
//!
//! **Invariant**: its ports stay the same for its whole life. The stand-in's tasks end with the lab's process at the latest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::netns::NetNs;
use crate::process::{Process, Program};
use crate::{LabError, parts, ports};

const START_DEADLINE: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(20);
const STAND_IN: &str = "nomad-stand-in";

/// How an agent is to be.
#[derive(Debug, Clone, Default)]
pub struct NomadOptions {
    /// Consul's HTTP address and a token for it; `None`: nobody answers where it looks for Consul.
    pub consul: Option<(SocketAddr, Option<String>)>,
    /// Keeps its state on disk, so that it survives `kill` and `start_again`.
    pub durable: bool,
    /// The network namespace and the address on which it answers and which allocations get.
    pub host: Option<(NetNs, Ipv4Addr)>,
    /// The stand-in's images, as folders `NAME:TAG`; a real Nomad has Docker's.
    pub images: Option<PathBuf>,
    /// The stand-in's simulated nodes; 0 means one.
    pub nodes: u8,
    /// Switches access control on: secrets and their policy (`management`, `read`, `dispatch`). The stand-in's alone.
    pub tokens: Vec<(String, String)>,
    /// What else its configuration says.
    pub config: Value,
}

/// Which program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A `nomad` of this machine.
    Real,
    /// The stand-in.
    StandIn,
}

/// An agent.
#[derive(Debug)]
pub struct Nomad {
    kind: Kind,
    binary: PathBuf,
    program: Program,
    process: Option<Process>,
    dir: PathBuf,
    address: SocketAddr,
    client: Client,
    token: Option<String>,
}

/// The `nomad` to test with: a real one (`AYATORI_NOMAD`, then PATH), else the stand-in beside the running executable.
pub fn choose() -> Result<(Kind, PathBuf), LabError> {
    match parts::real_part("nomad") {
        Some(real) => Ok((Kind::Real, real)),
        None => Ok((Kind::StandIn, parts::our(STAND_IN)?)),
    }
}

impl Nomad {
    /// Starts an agent with its files in `dir`, and waits until it leads and has its nodes.
    pub async fn start(dir: &Path, options: &NomadOptions) -> Result<Self, LabError> {
        let (kind, binary) = choose()?;
        let dir = dir.join("nomad");
        let folder = dir.join("bin");
        std::fs::create_dir_all(&folder)
            .map_err(LabError::io(format!("make the folder {}", folder.display())))?;
        let link = folder.join("nomad");
        if !link.exists() {
            std::os::unix::fs::symlink(&binary, &link)
                .map_err(LabError::io(format!("link {}", link.display())))?;
        }
        let (netns, ip) = match &options.host {
            Some((netns, ip)) => (Some(netns), *ip),
            None => (None, Ipv4Addr::LOCALHOST),
        };
        let http = ports::reserve()?;
        let file = dir.join("agent.json");
        std::fs::write(&file, configuration(&dir, http, ip, options)?.to_string())
            .map_err(LabError::io(format!("write {}", file.display())))?;
        let mut program = Program::new("nomad", &link).args(["agent"]).in_netns(netns);
        if !options.durable {
            program = program.args(["-dev"]);
        }
        program = program.args([format!("-config={}", file.display())]);
        if kind == Kind::StandIn {
            program = program.args(own_flags(options));
        }
        let mut nomad = Self {
            kind,
            binary: link,
            program,
            process: None,
            dir,
            address: SocketAddr::new(IpAddr::V4(ip), http),
            client: Client::inside(netns),
            token: options.tokens.first().map(|(secret, _)| secret.clone()),
        };
        nomad.start_again().await?;
        Ok(nomad)
    }

    /// Which program it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is the stand-in.
    pub fn is_stand_in(&self) -> bool {
        self.kind == Kind::StandIn
    }

    /// Its HTTP address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its HTTP address, as `NOMAD_ADDR` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A folder with `nomad` in it, to be put before others on PATH.
    pub fn path(&self) -> &Path {
        self.binary.parent().unwrap_or(Path::new("."))
    }

    /// Its folder: configuration, log, state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its last lines of output.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    /// Starts it after a stop or a kill, and waits until it leads and every node is ready.
    pub async fn start_again(&mut self) -> Result<(), LabError> {
        let mut process = Process::start(&self.program, &self.dir)?;
        let started = process
            .until("Nomad has a leader and a ready node", START_DEADLINE, async || {
                let nodes = self.get("/v1/nodes").await.map_err(|error| crate::chain(&error))?;
                let nodes = nodes.as_array().cloned().unwrap_or_default();
                let is_ready = |own: &Value| own.get("Status").is_some_and(|own| own == "ready");
                if !nodes.is_empty() && nodes.iter().all(is_ready) {
                    return Ok(());
                }
                Err(format!("nodes: {}", json!(nodes)))
            })
            .await;
        self.process = Some(process);
        started
    }

    /// Stops it as an operator would.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        match self.process.take() {
            Some(mut process) => process.stop(STOP_GRACE).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Kills it without warning.
    pub async fn kill(&mut self) -> Result<(), LabError> {
        match self.process.take() {
            Some(mut process) => process.kill().await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Lets it hang: connections stay open, nothing answers.
    pub async fn freeze(&mut self) -> Result<(), LabError> {
        match &mut self.process {
            Some(process) => process.freeze().await,
            None => Ok(()),
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<(), LabError> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::SIGCONT))
    }

    /// A request, whatever its answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, LabError> {
        let body = body.map_or_else(Bytes::new, |value| Bytes::from(value.to_string()));
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header("x-nomad-token", token);
        }
        self.client.exchange(self.address, request, body).await
    }

    /// A request whose answer must be a success; what is no JSON is null.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, LabError> {
        let answer = self.send(method.clone(), path, body.as_ref()).await?;
        if answer.status.is_success() {
            return Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null));
        }
        Err(LabError::Refused {
            request: format!("{method} {}{path}", self.url()),
            status: answer.status.as_u16(),
            body: answer.text(),
        })
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Result<Value, LabError> {
        self.call(Method::GET, path, None).await
    }

    /// `nomad` with these words, asking this agent from where it is.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.program.netns {
            Some(netns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", netns.name()]).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.args(words).env("NOMAD_ADDR", self.url()).stdin(Stdio::null());
        if let Some(token) = &self.token {
            command.env("NOMAD_TOKEN", token);
        }
        command
    }

    /// What `nomad` with these words says, and its exit code. It is killed after the deadline.
    pub async fn run(&self, words: &[&str], deadline: Duration) -> Result<Output, LabError> {
        let step = || format!("run nomad {}", words.join(" "));
        let mut command = tokio::process::Command::from(self.command(words));
        let output = command.kill_on_drop(true).output();
        match tokio::time::timeout(deadline, output).await {
            Ok(output) => output.map_err(LabError::io(step())),
            Err(_) => Err(LabError::Deadline {
                what: format!("nomad {} ends", words.join(" ")),
                waited: deadline,
                seen: "it runs".to_owned(),
            }),
        }
    }
}

fn own_flags(options: &NomadOptions) -> Vec<String> {
    let mut flags = vec![
        format!("-stand-in-nodes={}", options.nodes.max(1)),
        format!("-stand-in-lifeline={}", std::process::id()),
    ];
    flags.extend(options.images.iter().map(|path| format!("-stand-in-images={}", path.display())));
    let token = |(secret, policy): &(String, String)| format!("-stand-in-token={secret}:{policy}");
    flags.extend(options.tokens.iter().map(token));
    flags
}

fn configuration(
    dir: &Path,
    http: u16,
    ip: Ipv4Addr,
    options: &NomadOptions,
) -> Result<Value, LabError> {
    let (rpc, serf) = (ports::reserve()?, ports::reserve()?);
    // Port 9 is `discard`: nobody listens there.
    let consul =
        options.consul.as_ref().map_or_else(|| "127.0.0.1:9".to_owned(), |own| own.0.to_string());
    let mut config = json!({
        "disable_update_check": true, "bind_addr": ip, "log_level": "WARN", "leave_on_interrupt": false,
        "ports": {"http": http, "rpc": rpc, "serf": serf},
        "advertise": {"http": ip, "rpc": ip, "serf": ip},
        "consul": {"address": consul},
        "client": {"options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean"}},
        "plugin": {"raw_exec": {"config": {"enabled": true}}},
        "acl": {"enabled": !options.tokens.is_empty()},
    });
    let mut set = |pointer: &str, key: &str, value: Value| {
        if let Some(Value::Object(block)) = config.pointer_mut(pointer) {
            block.insert(key.to_owned(), value);
        }
    };
    if let Some(token) = options.consul.as_ref().and_then(|own| own.1.as_ref()) {
        set("/consul", "token", json!(token));
    }
    if options.durable {
        set("", "data_dir", json!(dir.join("data")));
        set("", "server", json!({"enabled": true, "bootstrap_expect": 1}));
        set("/client", "enabled", json!(true));
    }
    if let Value::Object(more) = &options.config {
        for (key, value) in more {
            set("", key, value.clone());
        }
    }
    Ok(config)
}
