//! A Consul with a thousand services of ten instances, each with a check; and what a control plane should make of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use consul::testing::{ConsulOptions, ConsulProcess, install_crypto_provider};
use control_plane::registry::{CheckStatus, RegisteredInstance};
use serde_json::{Value, json};

pub(crate) const SERVICES: usize = 1000;
pub(crate) const INSTANCES: usize = 10;
/// More than are watched on plain HTTP, so that all connections are used and some nodes are scanned.
const NODES: usize = 60;
/// Operations of one transaction; Consul takes 64.
const TRANSACTION: usize = 64;

/// The instances of a service, by Consul's name of it.
pub(crate) type Expected = BTreeMap<Arc<str>, Vec<RegisteredInstance>>;

/// A filled Consul, and what is registered in it.
pub(crate) struct Catalogue {
    pub(crate) consul: ConsulProcess,
    pub(crate) expected: Expected,
    /// PEM text of who signed Consul's certificate.
    pub(crate) authority: String,
    client: reqwest::Client,
}

impl Catalogue {
    /// `None`, after saying so, where there is no Consul.
    pub(crate) async fn start() -> Option<Self> {
        install_crypto_provider();
        let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let tls = Some((signed.cert.pem(), signed.signing_key.serialize_pem()));
        let options = ConsulOptions { tls, ..ConsulOptions::default() };
        let consul = ConsulProcess::start(options).await?;
        let client = reqwest::Client::new();
        let authority = signed.cert.pem();
        let mut catalogue = Self { consul, expected: Expected::new(), authority, client };
        catalogue.fill().await;
        Some(catalogue)
    }

    async fn fill(&mut self) {
        for node in 0..NODES {
            let body = json!({"Node": node_name(node), "Address": format!("10.0.0.{}", node + 1)});
            self.put("catalog/register", &body).await;
        }
        let mut operations = Vec::new();
        for service in 0..SERVICES {
            for number in 0..INSTANCES {
                let instance = instance(service, number);
                operations.push(registration(&service_name(service), &instance));
                operations.push(check(&service_name(service), &instance));
                let name = Arc::from(service_name(service));
                self.expected.entry(name).or_default().push(instance);
            }
        }
        self.write(&operations).await;
    }

    /// Sets an instance's check.
    pub(crate) fn flip(&mut self, service: usize, number: usize, status: CheckStatus) -> Value {
        let name = service_name(service);
        let instances = self.expected.get_mut(name.as_str()).unwrap();
        instances[number].status = status;
        check(&name, &instances[number])
    }

    /// One more instance of a service.
    pub(crate) fn add(&mut self, service: usize) -> Value {
        let name = service_name(service);
        let instances = self.expected.get_mut(name.as_str()).unwrap();
        instances.push(instance(service, instances.len()));
        registration(&name, &instances[instances.len() - 1])
    }

    /// Applies operations, a transaction after the other.
    pub(crate) async fn write(&self, operations: &[Value]) {
        for chunk in operations.chunks(TRANSACTION) {
            self.put("txn", &json!(chunk)).await;
        }
    }

    async fn put(&self, path: &str, body: &Value) {
        let url = format!("{}/v1/{path}", self.consul.url());
        let answer = self.client.put(url).body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{path}: {status} {}", answer.text().await.unwrap());
    }

    /// CPU seconds of Consul so far.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_seconds(&self.consul.id().to_string())
    }
}

pub(crate) fn service_name(service: usize) -> String {
    format!("svc-{service:04}")
}

fn node_name(node: usize) -> String {
    format!("other-{node:02}")
}

fn instance(service: usize, number: usize) -> RegisteredInstance {
    RegisteredInstance {
        id: format!("{}-{number:02}", service_name(service)),
        node: node_name((service + number) % NODES),
        address: format!("10.{}.{}.{}", 1 + service / 250, service % 250, 1 + number),
        port: u16::try_from(20_000 + number).unwrap(),
        tags: Vec::new(),
        meta: BTreeMap::from([("mesh_system".to_owned(), "trading".to_owned())]),
        status: CheckStatus::Passing,
        weight_passing: 1,
        weight_warning: 1,
    }
}

fn registration(service: &str, instance: &RegisteredInstance) -> Value {
    json!({"Service": {"Verb": "set", "Node": instance.node, "Service": {
        "ID": instance.id, "Service": service, "Address": instance.address,
        "Port": instance.port, "Meta": instance.meta,
    }}})
}

fn check(service: &str, instance: &RegisteredInstance) -> Value {
    let status = match instance.status {
        CheckStatus::Passing => "passing",
        CheckStatus::Warning => "warning",
        CheckStatus::Maintenance | CheckStatus::Critical => "critical",
    };
    json!({"Check": {"Verb": "set", "Check": {
        "Node": instance.node, "CheckID": format!("tcp-{}", instance.id), "Name": "tcp",
        "Status": status, "Output": format!("connect {}", instance.address),
        "ServiceID": instance.id, "ServiceName": service,
    }}})
}

/// CPU seconds, user and system, of a process by its id or `self`.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in brackets may hold anything; utime and stime are the 12th and 13th fields after it.
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}
