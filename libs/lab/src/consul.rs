//! A real Consul agent that the lab starts, freezes, kills and starts again.
//!
//! `-dev` keeps everything in memory; with [`ConsulOptions::durable`] state survives a restart.
//! Its ports stay the same for its whole life. Nothing here speaks of the mesh: registrations are the placer's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use crate::daemon::{Answers, Daemon};
use crate::http::{Api, Client};
use crate::netns::NetNs;
use crate::process::Program;
use crate::{LabError, ports};

mod servers;

pub use servers::Servers;

const START_DEADLINE: Duration = Duration::from_secs(90);
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How an agent is to be.
#[derive(Debug, Clone, Default)]
pub struct ConsulOptions {
    /// Keeps its state on disk, so that it survives `kill` and `start_again`.
    pub durable: bool,
    /// Switches access control on, with this token as the first management token; default policy deny.
    pub management_token: Option<String>,
    /// Gossip addresses of the [`Servers`] that it is a client of; empty: it is a server itself.
    pub servers: Vec<SocketAddr>,
    /// The network namespace and the address on which it answers, beside loopback.
    pub host: Option<(NetNs, Ipv4Addr)>,
}

/// A Consul agent, server and client in one, that can be harmed.
pub type Consul = Daemon<Agent>;

/// What a Consul agent offers: its API, with the management token where it has access control.
#[derive(Debug)]
pub struct Agent {
    api: Api,
}

impl Consul {
    /// Starts an agent with its files in `dir`, and waits until it leads and answers.
    pub async fn start(
        binary: &Path,
        dir: &Path,
        options: &ConsulOptions,
    ) -> Result<Self, LabError> {
        let dir = dir.join("consul");
        std::fs::create_dir_all(&dir)
            .map_err(LabError::io(format!("make the folder {}", dir.display())))?;
        let http = ports::reserve()?;
        let (netns, ip) = match &options.host {
            Some((netns, ip)) => (Some(netns), *ip),
            None => (None, Ipv4Addr::LOCALHOST),
        };
        let config = configuration(&dir, http, ip, options)?;
        let file = dir.join("agent.json");
        std::fs::write(&file, config.to_string())
            .map_err(LabError::io(format!("write {}", file.display())))?;
        let mut program = Program::new("consul", binary)
            .args(["agent", "-node=lab", "-config-file"])
            .args([file.display().to_string()])
            .in_netns(netns);
        if !options.durable && options.servers.is_empty() {
            program = program.args(["-dev"]);
        }
        let address = SocketAddr::new(IpAddr::V4(ip), http);
        let token = options.management_token.clone().map(|secret| ("x-consul-token", secret));
        let api = Api::new(Client::inside(netns), address, token);
        let mut consul = Self::new(program, &dir, STOP_GRACE, Agent { api });
        consul.start_again().await?;
        Ok(consul)
    }
}

impl Answers for Agent {
    const STATE: &'static str = "Consul has a leader and its own service";
    const DEADLINE: Duration = START_DEADLINE;

    async fn answers(&self) -> Result<(), String> {
        match self.call(Method::GET, "/v1/health/service/consul", None).await {
            Ok(Value::Array(list)) if !list.is_empty() => Ok(()),
            Ok(other) => Err(other.to_string()),
            Err(error) => Err(crate::chain(&error)),
        }
    }
}

impl Deref for Agent {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Agent {
    /// Makes a token with the given rules (Consul's policy language) and gives its secret.
    pub async fn create_token(&self, name: &str, rules: &str) -> Result<String, LabError> {
        let policy = json!({"Name": name, "Rules": rules});
        self.call(Method::PUT, "/v1/acl/policy", Some(policy)).await?;
        let token = json!({"Policies": [{"Name": name}]});
        let answer = self.call(Method::PUT, "/v1/acl/token", Some(token)).await?;
        answer.get("SecretID").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            LabError::Refused {
                request: "PUT /v1/acl/token".to_owned(),
                status: 200,
                body: answer.to_string(),
            }
        })
    }

    /// Names of the service's instances whose checks all pass.
    pub async fn passing(&self, service: &str) -> Result<Vec<String>, LabError> {
        let path = format!("/v1/health/service/{service}?passing=true");
        let answer = self.call(Method::GET, &path, None).await?;
        let id = |entry: &Value| Some(entry.pointer("/Service/ID")?.as_str()?.to_owned());
        Ok(answer.as_array().map(|list| list.iter().filter_map(id).collect()).unwrap_or_default())
    }
}

fn configuration(
    dir: &Path,
    http: u16,
    ip: Ipv4Addr,
    options: &ConsulOptions,
) -> Result<Value, LabError> {
    let (serf, raft) = (ports::reserve()?, ports::reserve()?);
    let mut config = common(ip, http, serf, raft);
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    if options.durable || !options.servers.is_empty() {
        set("data_dir", json!(dir.join("data")));
    }
    if !options.servers.is_empty() {
        set("retry_join", json!(options.servers));
        set("retry_interval", json!("500ms"));
    } else if options.durable {
        set("server", json!(true));
        set("bootstrap_expect", json!(1));
        // One server needs no election time-outs for a slow network.
        set("performance", json!({"raft_multiplier": 1}));
    }
    if let Some(token) = &options.management_token {
        let tokens = json!({"master": token, "agent": token});
        set("acl", json!({"enabled": true, "default_policy": "deny", "tokens": tokens}));
    }
    Ok(Value::Object(config))
}

/// What every agent is told.
fn common(ip: Ipv4Addr, http: u16, serf: u16, raft: u16) -> Map<String, Value> {
    let mut config = Map::new();
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    set("bind_addr", json!(ip));
    set("client_addr", json!(ip));
    set("disable_update_check", json!(true));
    set("log_level", json!("warn"));
    set(
        "ports",
        json!({
            "http": http, "https": -1, "grpc": -1, "dns": -1,
            "server": raft, "serf_lan": serf, "serf_wan": -1,
        }),
    );
    config
}
