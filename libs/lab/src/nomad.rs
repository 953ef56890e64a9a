//! A Nomad agent, server and client in one: a real `nomad` where this machine has one, else the stand-in for tests.
//!
//! In: [`NomadOptions`]. Out: a [`Nomad`] that answers its HTTP API, and a folder with `nomad` in it for PATH. The same
//! configuration is given to both; what only the stand-in has is in flags of its own ([`NomadOptions::nodes`] and so on).
//!
//! **Invariant**: its ports stay the same for its whole life. The stand-in's tasks end with the [`Nomad`] that
//! started them, also when its agent was killed before.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Answers, Daemon};
use crate::http::{Api, Client};
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

/// A Nomad agent that can be harmed.
pub type Nomad = Daemon<Agent>;

/// What a Nomad agent offers: its API and its command line.
#[derive(Debug)]
pub struct Agent {
    kind: Kind,
    binary: PathBuf,
    netns: Option<NetNs>,
    api: Api,
    /// The stand-in's tasks end when it does: with this value, whether its agent was killed before or not.
    _lifeline: Option<Process>,
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
        let mut lifeline = None;
        if kind == Kind::StandIn {
            let own = Program::new("lifeline", Path::new("/bin/sleep")).args(["infinity"]);
            let own = lifeline.insert(Process::start(&own, &dir)?);
            program = program.args(own_flags(options, &dir, own.id()));
        }
        let address = SocketAddr::new(IpAddr::V4(ip), http);
        let token = options.tokens.first().map(|(secret, _)| ("x-nomad-token", secret.clone()));
        let agent = Agent {
            kind,
            binary: link,
            netns: netns.cloned(),
            api: Api::new(Client::inside(netns), address, token),
            _lifeline: lifeline,
        };
        let mut nomad = Self::new(program, &dir, STOP_GRACE, agent);
        nomad.start_again().await?;
        Ok(nomad)
    }
}

impl Answers for Agent {
    const STATE: &'static str = "Nomad has a leader and a ready node";
    const DEADLINE: Duration = START_DEADLINE;

    async fn answers(&self) -> Result<(), String> {
        let nodes = self.get("/v1/nodes").await.map_err(|error| crate::chain(&error))?;
        let nodes = nodes.as_array().cloned().unwrap_or_default();
        let is_ready = |own: &Value| own.get("Status").is_some_and(|own| own == "ready");
        if !nodes.is_empty() && nodes.iter().all(is_ready) {
            return Ok(());
        }
        Err(format!("nodes: {}", json!(nodes)))
    }
}

impl Deref for Agent {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Agent {
    /// Which program it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is the stand-in.
    pub fn is_stand_in(&self) -> bool {
        self.kind == Kind::StandIn
    }

    /// A folder with `nomad` in it, to be put before others on PATH.
    pub fn path(&self) -> &Path {
        self.binary.parent().unwrap_or(Path::new("."))
    }

    /// `nomad` with these words, asking this agent from where it is.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.netns {
            Some(netns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", netns.name()]).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.args(words).env("NOMAD_ADDR", self.url()).stdin(Stdio::null());
        if let Some(token) = self.api.token() {
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

fn own_flags(options: &NomadOptions, dir: &Path, lifeline: i32) -> Vec<String> {
    let mut flags = vec![
        format!("-stand-in-nodes={}", options.nodes.max(1)),
        format!("-stand-in-lifeline={lifeline}"),
    ];
    if !options.durable {
        // Else it makes a folder of its own, which stays when the agent is killed.
        flags.push(format!("-data-dir={}", dir.join("data").display()));
    }
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
