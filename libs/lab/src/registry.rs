//! Where the placer registers: Consul's agent API as Nomad uses it, or the files of the control plane's file registry.
//!
//! With files nobody runs checks: what is registered counts as passing, so the placer asks the instance first.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::LabError;
use crate::consul::Consul;
use crate::http::Client;

/// What is registered for one instance.
#[derive(Debug, Clone)]
pub struct Registration {
    /// `_nomad-task-<allocation>-group-<group>-<service>-<port label>`.
    pub id: String,
    /// Consul service name.
    pub name: String,
    /// Where the sidecar's inbound listener answers.
    pub address: SocketAddr,
    /// Meta, as a job's `service` block has it.
    pub meta: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Load-balancing weight while passing.
    pub weight: u32,
    /// How its health is learnt.
    pub check: Check,
}

/// A check against the registered address.
#[derive(Debug, Clone)]
pub enum Check {
    /// `GET path` answers 2xx.
    Http(String),
    /// gRPC's health service says serving.
    Grpc,
    /// A connection opens.
    Tcp,
}

impl Check {
    /// Makes it once, as Consul does; `Err` says what was the case instead.
    pub(crate) async fn passes(&self, client: &Client, address: SocketAddr) -> Result<(), String> {
        let said = |error: LabError| crate::chain(&error);
        match self {
            Self::Tcp => client.connect(address).await.map(drop).map_err(|error| error.to_string()),
            Self::Http(path) => {
                let answer = client.get(address, "localhost", path).await.map_err(said)?;
                if answer.status.is_success() { Ok(()) } else { Err(answer.status.to_string()) }
            }
            Self::Grpc => {
                let path = "/grpc.health.v1.Health/Check";
                let answer = client.grpc(address, "localhost", path, &[]).await.map_err(said)?;
                // `HealthCheckResponse` with `status: SERVING`.
                match (answer.grpc_status(), &*answer.grpc_message()) {
                    (Some((0, _)), [0x08, 0x01]) => Ok(()),
                    (status, message) => Err(format!("{status:?} {message:?}")),
                }
            }
        }
    }
}

/// A place to register at.
#[derive(Debug, Clone, Copy)]
pub enum Registry<'a> {
    /// Consul's local agent.
    Consul(&'a Consul),
    /// A directory that control planes poll.
    File(&'a FileRegistry),
}

impl Registry<'_> {
    /// Registers an instance; in Consul it begins as critical, as Nomad's do.
    pub async fn register(&self, registration: &Registration) -> Result<(), LabError> {
        match self {
            Self::Consul(consul) => {
                let body = consul_form(registration);
                consul.call(Method::PUT, "/v1/agent/service/register", Some(body)).await.map(|_| ())
            }
            Self::File(files) => files.write(registration),
        }
    }

    /// Removes an instance.
    pub async fn deregister(&self, name: &str, id: &str) -> Result<(), LabError> {
        match self {
            Self::Consul(consul) => {
                let path = format!("/v1/agent/service/deregister/{id}");
                consul.call(Method::PUT, &path, None).await.map(|_| ())
            }
            Self::File(files) => files.remove(name, id),
        }
    }
}

fn consul_form(registration: &Registration) -> Value {
    let Registration { id, name, address, meta, tags, weight, check } = registration;
    let mut meta = meta.clone();
    meta.insert("external-source".to_owned(), "nomad".to_owned());
    let (kind, target) = match check {
        Check::Http(path) => ("HTTP", format!("http://{address}{path}")),
        Check::Grpc => ("GRPC", address.to_string()),
        Check::Tcp => ("TCP", address.to_string()),
    };
    // What takes seconds on a busy machine is no outage.
    let check = json!({kind: target, "Interval": "1s", "Timeout": "5s"});
    json!({
        "ID": id, "Name": name, "Address": address.ip().to_string(), "Port": address.port(),
        "Tags": tags, "Meta": meta, "Weights": {"Passing": weight, "Warning": 1}, "Checks": [check],
    })
}

/// The directory of a file registry: one YAML file for each service, replaced as a whole.
#[derive(Debug)]
pub struct FileRegistry {
    directory: PathBuf,
    services: Mutex<BTreeMap<String, BTreeMap<String, Instance>>>,
}

#[derive(Debug, Clone, Serialize)]
struct Instance {
    id: String,
    node: &'static str,
    address: String,
    port: u16,
    meta: BTreeMap<String, String>,
    tags: Vec<String>,
    status: &'static str,
    weight: u32,
}

impl FileRegistry {
    /// Uses an existing directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), services: Mutex::default() }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn write(&self, registration: &Registration) -> Result<(), LabError> {
        let instance = Instance {
            id: registration.id.clone(),
            node: "lab",
            address: registration.address.ip().to_string(),
            port: registration.address.port(),
            meta: registration.meta.clone(),
            tags: registration.tags.clone(),
            status: "passing",
            weight: registration.weight,
        };
        self.change(&registration.name, |instances| {
            instances.insert(registration.id.clone(), instance);
        })
    }

    fn remove(&self, name: &str, id: &str) -> Result<(), LabError> {
        self.change(name, |instances| {
            instances.remove(id);
        })
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, Instance>),
    ) -> Result<(), LabError> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let instances = services.entry(name.to_owned()).or_default();
        change(instances);
        let list: Vec<&Instance> = instances.values().collect();
        // JSON is YAML.
        let text = json!({"kind": "Service", "name": name, "instances": list});
        self.replace(&format!("service-{name}.yaml"), &format!("{text:#}\n"))
    }

    /// Replaces a file of the directory in one step, so that no reader sees half of it.
    pub fn replace(&self, file: &str, text: &str) -> Result<(), LabError> {
        let (path, new) = (self.directory.join(file), self.directory.join(format!(".{file}.new")));
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(LabError::io(format!("replace {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_holds_a_service_s_instances_as_the_control_plane_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let files = FileRegistry::new(dir.path());
        let registration = |id: &str, port| Registration {
            id: id.to_owned(),
            name: "orders".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            meta: BTreeMap::from([("mesh_system".to_owned(), "trading".to_owned())]),
            tags: Vec::new(),
            weight: 7,
            check: Check::Tcp,
        };
        let registry = Registry::File(&files);
        registry.register(&registration("a", 1)).await.unwrap();
        registry.register(&registration("b", 2)).await.unwrap();
        registry.deregister("orders", "a").await.unwrap();
        let text = std::fs::read_to_string(dir.path().join("service-orders.yaml")).unwrap();
        let instance = json!({
            "id": "b", "node": "lab", "address": "127.0.0.1", "port": 2, "weight": 7,
            "meta": {"mesh_system": "trading"}, "tags": [], "status": "passing",
        });
        let expected = json!({"kind": "Service", "name": "orders", "instances": [instance]});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    }
}
