//! Real Envoys: the bootstrap rendered by `meshctl bootstrap`, the process, and what its admin interface tells.
//!
//! The admin interface listens on loopback of the namespace that the Envoy lives in; the lab asks from inside.
//!
//! Every Envoy of a lab refuses deprecated fields: what the next version of Envoy may no longer know is a refused
//! update today. Static clusters are read before that rule is in force; they are counted ([`Envoy::config_faults`]).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use contract::node::{ProxyRole, RouterTls};
use http::Method;
use serde_json::Value;

use crate::LabError;
use crate::http::Client;
use crate::netns::NetNs;
use crate::process::{self, Process, Program};

/// Merged into each bootstrap.
const STRICT: &str = r#"{"layered_runtime": {"layers": [{"name": "strict", "static_layer": {"envoy.features.fail_on_any_deprecated_feature": true}}]}}"#;
const LIVE_DEADLINE: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(3);

/// What `meshctl bootstrap` is asked for.
#[derive(Debug, Clone)]
pub struct ProxySpec {
    /// What the proxy does.
    pub role: ProxyRole,
    /// Its System; a router has none.
    pub system: Option<String>,
    /// `node.id`: the allocation.
    pub id: String,
    /// `node.cluster`: the service.
    pub cluster: String,
    /// The services it fronts, in the form of `--service`.
    pub services: Vec<String>,
    /// A gateway's port for the Router.
    pub ingress: Option<u16>,
    /// Loopback port for calls of the application.
    pub egress: Option<u16>,
    /// What the application calls, in place of the registration's `mesh_upstreams`.
    pub upstreams: Option<String>,
    /// Where its public listeners bind.
    pub bind: IpAddr,
    /// The host's address as the proxy reaches it.
    pub host: Option<IpAddr>,
    /// Port of the host's agent for spans.
    pub agent: Option<u16>,
    /// Loopback ports at which the application finds the agent.
    pub spans: Vec<u16>,
    /// Port of the statistics listener.
    pub stats: Option<u16>,
    /// Port of the admin interface, on loopback.
    pub admin: u16,
    /// Control planes, in the order of preference.
    pub xds: Vec<SocketAddr>,
    /// State of the world in place of delta.
    pub sotw: bool,
    /// A router's encrypted listener.
    pub tls: Option<RouterTls>,
    /// Proxies before a router that are trusted to name the client.
    pub trusted_hops: u32,
}

impl ProxySpec {
    /// The arguments of `meshctl`.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec!["bootstrap".to_owned()];
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.extend([format!("--{name}"), value]);
            }
        };
        flag("role", Some(self.role.to_string()));
        flag("system", self.system.clone());
        flag("id", Some(self.id.clone()));
        flag("cluster", Some(self.cluster.clone()));
        for service in &self.services {
            flag("service", Some(service.clone()));
        }
        flag("ingress", self.ingress.map(|port| port.to_string()));
        flag("egress", self.egress.map(|port| port.to_string()));
        flag("upstreams", self.upstreams.clone());
        flag("bind", Some(self.bind.to_string()));
        flag("host", self.host.map(|ip| ip.to_string()));
        flag("agent", self.agent.map(|port| port.to_string()));
        for port in &self.spans {
            flag("spans", Some(port.to_string()));
        }
        flag("stats", self.stats.map(|port| port.to_string()));
        flag("admin", Some(self.admin.to_string()));
        let xds: Vec<String> = self.xds.iter().map(ToString::to_string).collect();
        flag("xds", Some(xds.join(",")));
        if let Some(tls) = &self.tls {
            flag("https", Some(tls.port.to_string()));
            for files in &tls.certificates {
                flag("certificate", Some(format!("{}:{}", files.chain, files.key)));
            }
            args.extend(tls.http3.then(|| "--http3".to_owned()));
        }
        if self.trusted_hops > 0 {
            args.extend(["--trusted-hops".to_owned(), self.trusted_hops.to_string()]);
        }
        if self.sotw {
            args.push("--sotw".to_owned());
        }
        args
    }

    /// Renders the bootstrap with the built `meshctl`.
    pub async fn render(&self, meshctl: &Path) -> Result<String, LabError> {
        process::run(&Program::new("meshctl bootstrap", meshctl).args(self.args())).await
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    client: Client,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts `binary` with a bootstrap whose admin interface is 127.0.0.1:`admin`; it may not be live yet.
    pub fn start(
        binary: &Path,
        name: &str,
        dir: &Path,
        bootstrap: &str,
        admin: u16,
        netns: Option<&NetNs>,
    ) -> Result<Self, LabError> {
        let file = dir.join(format!("{name}.yaml"));
        std::fs::write(&file, bootstrap)
            .map_err(LabError::io(format!("write {}", file.display())))?;
        let program = Program::new(name, binary)
            // Without hot restart no Envoy shares memory or a base id with another one.
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            .args(["--config-yaml", STRICT, "-c"])
            .args([file.display().to_string()])
            .in_netns(netns);
        Ok(Self {
            process: Process::start(&program, dir)?,
            client: Client::inside(netns),
            admin: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), admin),
        })
    }

    /// Its name in the lab.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until `/ready` says LIVE: the first configuration is in force.
    pub async fn wait_live(&mut self) -> Result<(), LabError> {
        let what = format!("Envoy {} is live", self.process.name());
        let Self { process, client, admin } = self;
        let probe = async || match client.get(*admin, "localhost", "/ready").await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(answer.text().trim().to_owned()),
            Err(error) => Err(crate::chain(&error)),
        };
        process.until(&what, LIVE_DEADLINE, probe).await
    }

    /// Reads a path of the admin interface, such as `/clusters`, `/config_dump` or `/init_dump`.
    pub async fn admin(&self, path: &str) -> Result<String, LabError> {
        Ok(self.client.expect(self.admin, Method::GET, path, Bytes::new()).await?.text())
    }

    /// Calls a path of the admin interface that changes something, such as `/drain_listeners?graceful`.
    pub async fn admin_post(&self, path: &str) -> Result<String, LabError> {
        Ok(self.client.expect(self.admin, Method::POST, path, Bytes::new()).await?.text())
    }

    /// Counters and gauges whose name matches the filter (a regular expression), by name.
    pub async fn stats(&self, filter: &str) -> Result<Vec<(String, u64)>, LabError> {
        let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let text = self.admin(&format!("/stats?filter={encoded}")).await?;
        let stat = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        Ok(text.lines().filter_map(stat).collect())
    }

    /// The sum of the counters and gauges whose name matches.
    pub async fn sum(&self, filter: &str) -> Result<u64, LabError> {
        Ok(self.stats(filter).await?.iter().map(|(_, value)| value).sum())
    }

    /// What must be zero in a healthy mesh and is not: refused updates, fetches that timed out, things left warming,
    /// deprecated fields.
    pub async fn config_faults(&self) -> Result<Vec<(String, u64)>, LabError> {
        let filter = "(update_rejected|init_fetch_timeout|warming_clusters|total_listeners_warming|deprecated_feature_use)$";
        let stats = self.stats(filter).await?;
        Ok(stats.into_iter().filter(|(_, value)| *value > 0).collect())
    }

    /// The configuration in force, as Envoy dumps it.
    pub async fn config_dump(&self) -> Result<Value, LabError> {
        let text = self.admin("/config_dump?include_eds").await?;
        serde_json::from_str(&text).map_err(|error| LabError::Request {
            request: "config_dump".to_owned(),
            source: Box::new(error),
        })
    }

    /// Ends it: SIGTERM, then SIGKILL.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        self.process.stop(STOP_GRACE).await.map(|_| ())
    }

    /// Kills it without warning.
    pub async fn kill(&mut self) -> Result<(), LabError> {
        self.process.kill().await.map(|_| ())
    }
}
