//! `[instances]`: where registrations come from.
//!
//! In: the table. Out: [`InstancesConfig`], whose written registrations are parsed as Consul's are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Problems;

use super::Instance;
use super::read::{Raw, instance};

/// `[instances]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInstances {
    /// Whether Consul's agent is followed; `false` on a host without one.
    pub consul: bool,
    /// Consul's name of this host; without it the agent is asked, which needs the right to read it (`agent_prefix`).
    pub node: Option<String>,
    /// The datacenter; without it the agent is asked.
    pub datacenter: Option<String>,
    /// How long an instance that was deregistered is still known to logs and traces, in seconds.
    pub keep_gone_s: u64,
    /// Registrations beside Consul's, or in its stead.
    #[serde(rename = "static")]
    pub written: Vec<RawInstance>,
}

/// `[[instances.static]]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInstance {
    /// Unique on this host; one of Consul's with the same id goes first.
    pub id: String,
    /// The service's name.
    pub service: String,
    /// Its IP address.
    pub address: String,
    /// Its port; 0 for none.
    pub port: u16,
    /// The keys that a registration would have: `mesh_system`, `mesh_metrics` …
    pub meta: BTreeMap<String, String>,
}

impl Default for RawInstances {
    fn default() -> Self {
        Self { consul: true, node: None, datacenter: None, keep_gone_s: 600, written: Vec::new() }
    }
}

/// Where registrations come from.
#[derive(Debug, Clone)]
pub struct InstancesConfig {
    /// Whether Consul's agent is followed.
    pub consul: bool,
    /// Consul's name of this host, if it is written.
    pub node: Option<String>,
    /// The datacenter, if it is written.
    pub datacenter: Option<String>,
    /// How long what was deregistered is kept.
    pub keep_gone: Duration,
    /// The registrations that are written.
    pub written: Vec<Instance>,
}

impl RawInstances {
    /// Parses the written registrations; what is wrong is noted under `instances.…`.
    pub fn resolve(self, problems: &mut Problems) -> InstancesConfig {
        let mut written: Vec<Instance> = Vec::new();
        for (position, raw) in self.written.into_iter().enumerate() {
            let key = format!("instances.static.{position}");
            if raw.id.is_empty() || raw.service.is_empty() {
                problems.add(&key, "an id and a service are needed");
                continue;
            }
            if written.iter().any(|known| known.id == raw.id) {
                problems.add(&key, format!("the id {:?} is there twice", raw.id));
                continue;
            }
            let parsed = instance(Raw {
                id: raw.id,
                service: raw.service,
                address: &raw.address,
                port: i64::from(raw.port),
                meta: &raw.meta,
            });
            if parsed.address.is_none() {
                problems.add(&key, format!("its address {:?} is not an IP", raw.address));
            }
            if let Err(error) = &parsed.registration {
                problems.add(&key, error.to_string());
            }
            written.push(parsed);
        }
        InstancesConfig {
            consul: self.consul,
            node: self.node,
            datacenter: self.datacenter,
            keep_gone: Duration::from_secs(self.keep_gone_s),
            written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(written: Vec<RawInstance>) -> Result<InstancesConfig, String> {
        let mut problems = Problems::default();
        let config = RawInstances { written, ..RawInstances::default() }.resolve(&mut problems);
        problems.finish(None, Some(config)).map_err(|error| error.to_string())
    }

    fn raw(id: &str, address: &str, key: &str, value: &str) -> RawInstance {
        RawInstance {
            id: id.to_owned(),
            service: "orders".to_owned(),
            address: address.to_owned(),
            port: 8080,
            meta: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        }
    }

    #[test]
    fn a_written_registration_is_parsed_as_one_of_consul_s() {
        let config = resolve(vec![raw("o1", "10.0.0.1", "mesh_system", "trading")]).unwrap();
        let instance = config.written.first().unwrap();
        assert_eq!(instance.system(), Some("trading"));
        assert_eq!(instance.socket(), Some("10.0.0.1:8080".parse().unwrap()));
        assert_eq!(instance.name(), "o1");
    }

    #[test]
    fn every_bad_registration_is_reported_at_once() {
        let bad = raw("a", "here", "mesh_system", "trading");
        let message = resolve(vec![
            bad.clone(),
            bad,
            raw("b", "::1", "mesh_system", "Trading"),
            RawInstance::default(),
        ])
        .unwrap_err();
        for expected in [
            "instances.static.0: its address \"here\" is not an IP",
            "instances.static.1: the id \"a\" is there twice",
            "instances.static.2: meta mesh_system = \"Trading\"",
            "instances.static.3: an id and a service are needed",
        ] {
            assert!(message.contains(expected), "{message}");
        }
    }
}
