//! A real Consul with a catalogue of the size that a scenario asks for.
//!
//! In: a [`Catalogue`]. Out: an agent on plain HTTP and HTTPS, filled; instances that come and go. Ends with its value.
//!
//! Standing instances are written as other nodes' registrations, in transactions; the instances of events go through
//! the agent, as Nomad registers them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, header};
use lab::http::Client;
use lab::process::{Process, Program};
use lab::{parts, ports};
use serde_json::{Value, json};

const START_DEADLINE: Duration = Duration::from_secs(30);
/// Operations of one transaction; Consul takes 64.
const TRANSACTION: usize = 64;
/// Nodes that the standing instances are spread over.
const NODES: usize = 10;
/// The System of every service.
pub const SYSTEM: &str = "fleet";

/// What is registered before a scenario begins.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue {
    /// Services.
    pub services: usize,
    /// Instances of each.
    pub instances: usize,
}

/// The name of a service.
pub fn service_name(index: usize) -> String {
    format!("svc-{index:04}")
}

/// A running agent.
#[derive(Debug)]
pub struct Consul {
    process: Process,
    client: Client,
    http: std::net::SocketAddr,
    https: u16,
    /// PEM file of who signed its certificate.
    pub ca_file: PathBuf,
}

impl Consul {
    /// Starts an agent and fills its catalogue; `connections` raises `limits.http_max_conns_per_client`.
    ///
    /// # Errors
    /// It is missing, does not start, or refuses the catalogue.
    pub async fn start(
        dir: &Path,
        catalogue: Catalogue,
        connections: Option<u32>,
    ) -> anyhow::Result<Self> {
        let binary = parts::real_part("consul")
            .context("Consul is missing: run `make setup`, or name the binary in AYATORI_CONSUL")?;
        let ca_file = write_certificates(dir)?;
        let (http, https) = (ports::reserve()?, ports::reserve()?);
        let config = configuration(dir, http, https, connections)?;
        let file = dir.join("agent.json");
        std::fs::write(&file, config.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
        let program = Program::new("consul", &binary)
            .args(["agent", "-dev", "-node=bench", "-config-file"])
            .args([file.display().to_string()]);
        let process = Process::start(&program, dir)?;
        let http = std::net::SocketAddr::from(([127, 0, 0, 1], http));
        let mut consul = Self { process, client: Client::new(), http, https, ca_file };
        consul.wait_ready().await?;
        consul.fill(catalogue).await?;
        Ok(consul)
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.process.id()
    }

    /// Where control planes reach it.
    pub fn url(&self, is_tls: bool) -> String {
        if is_tls {
            format!("https://127.0.0.1:{}", self.https)
        } else {
            format!("http://{}", self.http)
        }
    }

    /// Registers an instance through the agent.
    ///
    /// # Errors
    /// Consul refuses.
    pub async fn add(&self, service: &str, id: &str, address: &str) -> anyhow::Result<()> {
        let body = json!({
            "ID": id, "Name": service, "Address": address, "Port": 8080,
            "Meta": {"mesh_system": SYSTEM},
        });
        self.put("/v1/agent/service/register", body.to_string()).await
    }

    /// Removes an instance through the agent.
    ///
    /// # Errors
    /// Consul refuses.
    pub async fn remove(&self, id: &str) -> anyhow::Result<()> {
        self.put(&format!("/v1/agent/service/deregister/{id}"), String::new()).await
    }

    /// Writes the System's document.
    ///
    /// # Errors
    /// Consul refuses.
    pub async fn put_document(&self, text: String) -> anyhow::Result<()> {
        self.put(&format!("/v1/kv/mesh/systems/{SYSTEM}"), text).await
    }

    async fn put(&self, path: &str, body: String) -> anyhow::Result<()> {
        let request =
            Request::builder().method(Method::PUT).uri(path).header(header::HOST, "consul");
        let answer = self.client.exchange(self.http, request, Bytes::from(body)).await?;
        if !answer.status.is_success() {
            anyhow::bail!("Consul answered PUT {path} with {}: {}", answer.status, answer.text());
        }
        Ok(())
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let Self { process, client, http, .. } = self;
        let probe = async || {
            let answer = client.get(*http, "consul", "/v1/health/service/consul").await;
            match answer.map_err(|error| lab::chain(&error))?.json()? {
                Value::Array(list) if !list.is_empty() => Ok(()),
                other => Err(other.to_string()),
            }
        };
        process.until("Consul has a leader and its own service", START_DEADLINE, probe).await?;
        Ok(())
    }

    async fn fill(&self, catalogue: Catalogue) -> anyhow::Result<()> {
        for node in 0..NODES {
            let body = json!({"Node": node_name(node), "Address": format!("10.0.0.{}", node + 1)});
            self.put("/v1/catalog/register", body.to_string()).await?;
        }
        let all = (0..catalogue.services)
            .flat_map(|service| (0..catalogue.instances).map(move |number| (service, number)));
        let operations: Vec<Value> =
            all.map(|(service, number)| operation(service, number)).collect();
        for chunk in operations.chunks(TRANSACTION) {
            self.put("/v1/txn", json!(chunk).to_string()).await?;
        }
        Ok(())
    }
}

fn node_name(node: usize) -> String {
    format!("host-{node}")
}

fn operation(service: usize, number: usize) -> Value {
    let name = service_name(service);
    json!({"Service": {
        "Verb": "set",
        "Node": node_name(number % NODES),
        "Service": {
            "ID": format!("{name}-{number}"),
            "Service": name,
            "Address": format!("10.{}.{}.{}", 1 + service / 250, service % 250, 1 + number),
            "Port": 20_000 + number,
            "Meta": {"mesh_system": SYSTEM},
        },
    }})
}

/// A certificate for 127.0.0.1 that signs itself.
fn write_certificates(dir: &Path) -> anyhow::Result<PathBuf> {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
        .context("cannot make Consul's certificate")?;
    let certificate = dir.join("consul.pem");
    std::fs::write(&certificate, certified.cert.pem())
        .and_then(|()| {
            std::fs::write(dir.join("consul.key"), certified.signing_key.serialize_pem())
        })
        .with_context(|| format!("cannot write {}", certificate.display()))?;
    Ok(certificate)
}

fn configuration(
    dir: &Path,
    http: u16,
    https: u16,
    connections: Option<u32>,
) -> anyhow::Result<Value> {
    let (server, serf) = (ports::reserve()?, ports::reserve()?);
    let mut config = json!({
        "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
        "disable_update_check": true, "log_level": "warn",
        "cert_file": dir.join("consul.pem"), "key_file": dir.join("consul.key"),
        "ports": {
            "http": http, "https": https, "grpc": -1, "dns": -1,
            "server": server, "serf_lan": serf, "serf_wan": -1,
        },
    });
    if let (Some(connections), Some(object)) = (connections, config.as_object_mut()) {
        object.insert("limits".to_owned(), json!({"http_max_conns_per_client": connections}));
    }
    Ok(config)
}
