//! A real Consul agent that the lab starts, freezes, kills and starts again.
//!
//! `-dev` keeps everything in memory; with [`ConsulOptions::durable`] state survives a restart.
//! Its ports stay the same for its whole life. Nothing here speaks of the mesh: registrations are the placer's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

use crate::http::Client;
use crate::netns::NetNs;
use crate::process::{Process, Program};
use crate::{LabError, ports};

mod servers;

pub use servers::Servers;

const START_DEADLINE: Duration = Duration::from_secs(30);
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

/// A Consul agent, server and client in one.
#[derive(Debug)]
pub struct Consul {
    program: Program,
    process: Option<Process>,
    dir: PathBuf,
    address: SocketAddr,
    token: Option<String>,
    client: Client,
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
        let mut consul = Self {
            program,
            process: None,
            dir,
            address: SocketAddr::new(IpAddr::V4(ip), http),
            token: options.management_token.clone(),
            client: Client::inside(netns),
        };
        consul.start_again().await?;
        Ok(consul)
    }

    /// Its HTTP address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its HTTP address, as configuration files want it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its management token, when it has access control.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Starts it after a stop or a kill, and waits until it leads and answers.
    pub async fn start_again(&mut self) -> Result<(), LabError> {
        let mut process = Process::start(&self.program, &self.dir)?;
        let started = process
            .until("Consul has a leader and its own service", START_DEADLINE, async || {
                let path = "/v1/health/service/consul";
                match self.call(Method::GET, path, None).await {
                    Ok(Value::Array(list)) if !list.is_empty() => Ok(()),
                    Ok(other) => Err(other.to_string()),
                    Err(error) => Err(crate::chain(&error)),
                }
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

    /// Calls its API with the management token; the answer is JSON, or null when it is no JSON.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, LabError> {
        let body = body.map_or_else(Bytes::new, |value| Bytes::from(value.to_string()));
        let mut request = Request::builder().method(method.clone()).uri(path);
        request = request.header(header::HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let answer = self.client.exchange(self.address, request, body).await?;
        if !answer.status.is_success() {
            return Err(LabError::Refused {
                request: format!("{method} {}{path}", self.url()),
                status: answer.status.as_u16(),
                body: answer.text(),
            });
        }
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

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
