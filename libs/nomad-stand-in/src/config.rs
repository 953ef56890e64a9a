//! The configuration of `nomad agent`: files in HCL or JSON, directories of them, flags.
//!
//! In: [`Flags`]. Out: [`AgentConfig`], or everything that is wrong. Reads files; nothing else.
//!
//! **Invariants**: a later file goes before an earlier one, flags go before all; blocks are put together key by key, lists
//! replace each other. A key that Nomad does not have is an error, as it is for Nomad; one that has no meaning here is
//! taken and passed over. Deliberately absent: what a driver's `config` may hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Value, json};

mod flags;
mod hcl1;
mod keys;
#[cfg(test)]
mod tests;

pub(crate) use flags::Flags;

/// An agent's configuration.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AgentConfig {
    pub(crate) region: String,
    pub(crate) datacenter: String,
    /// Its node's name; none: the host's.
    pub(crate) name: Option<String>,
    /// None, with `-dev`: nothing outlives the agent.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) bind_addr: String,
    #[serde(default)]
    pub(crate) addresses: Addresses,
    pub(crate) ports: Ports,
    #[serde(default)]
    pub(crate) server: Server,
    #[serde(default)]
    pub(crate) client: Client,
    #[serde(default)]
    pub(crate) acl: Acl,
    pub(crate) consul: Consul,
    /// By driver: its `config` block.
    #[serde(default)]
    pub(crate) plugin: BTreeMap<String, Plugin>,
    #[serde(skip)]
    pub(crate) stand_in: StandIn,
}

/// `addresses`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Addresses {
    pub(crate) http: Option<String>,
}

/// `ports`
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ports {
    pub(crate) http: u16,
}

/// `server`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Server {
    pub(crate) enabled: bool,
}

/// `client`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Client {
    pub(crate) enabled: bool,
    pub(crate) node_class: String,
    pub(crate) meta: BTreeMap<String, String>,
    /// The interface whose address allocations get.
    pub(crate) network_interface: Option<String>,
    pub(crate) bridge_network_hairpin_mode: bool,
    /// Go's notation; `kill_timeout` is cut to it.
    pub(crate) max_kill_timeout: Option<String>,
}

/// `acl`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Acl {
    pub(crate) enabled: bool,
}

/// `consul`
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Consul {
    /// Host and port.
    pub(crate) address: String,
    pub(crate) token: Option<String>,
}

/// `plugin`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Plugin {
    pub(crate) config: BTreeMap<String, Value>,
}

/// What only the stand-in has.
#[derive(Debug, Clone)]
pub(crate) struct StandIn {
    /// Images as directories, by name and tag.
    pub(crate) images: Option<PathBuf>,
    /// Simulated nodes on this host.
    pub(crate) nodes: u8,
    /// Secrets of tokens.
    pub(crate) tokens: BTreeMap<String, Policy>,
    /// The process whose end ends all tasks.
    pub(crate) lifeline: Option<i32>,
}

impl Default for StandIn {
    fn default() -> Self {
        Self { images: None, nodes: 1, tokens: BTreeMap::new(), lifeline: None }
    }
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Management,
    Read,
    /// Read, and dispatch of jobs.
    Dispatch,
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "management" => Ok(Self::Management),
            "read" => Ok(Self::Read),
            "dispatch" => Ok(Self::Dispatch),
            _ => Err(format!("-stand-in-token=SECRET:{text}: management, read or dispatch")),
        }
    }
}

impl AgentConfig {
    /// Reads the files that the flags name, and puts the flags over them.
    pub(crate) fn load(flags: &Flags) -> Result<Self, String> {
        let mut config = json!({
            "region": "global", "datacenter": "dc1", "bind_addr": "0.0.0.0", "ports": {"http": 4646},
            "consul": {"address": "127.0.0.1:8500"},
        });
        if flags.is_dev {
            let dev = json!({
                "bind_addr": "127.0.0.1", "server": {"enabled": true}, "client": {"enabled": true},
                "plugin": {"raw_exec": {"config": {"enabled": true}}},
            });
            merge(&mut config, dev);
        }
        for path in &flags.files {
            for file in files(path)? {
                merge(&mut config, read(&file)?);
            }
        }
        merge(&mut config, flags.over.clone());
        let config: Self = serde_json::from_value(config).map_err(|error| error.to_string())?;
        if !config.server.enabled && !config.client.enabled {
            return Err("Must specify either server, client or dev mode for the agent.".to_owned());
        }
        if config.data_dir.is_none() && !flags.is_dev {
            return Err(
                "Must specify \"data_dir\" config option or \"data-dir\" CLI flag".to_owned()
            );
        }
        Ok(Self { stand_in: flags.stand_in.clone(), ..config })
    }

    /// Host and port of the HTTP API.
    pub(crate) fn http(&self) -> String {
        let host = self.addresses.http.as_deref().unwrap_or(&self.bind_addr);
        format!("{host}:{}", self.ports.http)
    }

    /// Whether a driver's plugin is switched on; those without the key are.
    pub(crate) fn has_driver(&self, name: &str) -> bool {
        let enabled = self.plugin.get(name).and_then(|own| own.config.get("enabled"));
        enabled.and_then(Value::as_bool).unwrap_or(name != "raw_exec")
    }
}

/// What is wrong with files and directories, each by itself; as `nomad config validate`.
pub(crate) fn problems(paths: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    let mut config = json!({});
    for path in paths {
        match files(path) {
            Err(why) => found.push(why),
            Ok(files) => {
                for file in files {
                    match read(&file) {
                        Ok(own) => merge(&mut config, own),
                        Err(why) => found.push(why),
                    }
                }
            }
        }
    }
    if found.is_empty() {
        let flags = Flags { over: config, ..Flags::default() };
        found.extend(AgentConfig::load(&flags).err());
    }
    found
}

/// A file, or the files of a directory in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: std::io::Error| {
        format!("Error loading configuration from {}: {error}", path.display())
    };
    if !std::fs::metadata(path).map_err(wrong)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_config = name.ends_with(".hcl") || name.ends_with(".json");
        if is_config && !name.starts_with('.') && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn read(file: &Path) -> Result<Value, String> {
    let wrong = |why: String| format!("Error loading configuration from {}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let mut config = if file.extension().is_some_and(|own| own == "json")
        || text.trim_start().starts_with('{')
    {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
    } else {
        hcl1::parse(&text).map_err(wrong)?
    };
    join_lists(&mut config, 3);
    let unknown = keys::unknown(&config);
    if !unknown.is_empty() {
        return Err(wrong(format!("invalid config keys: {}", unknown.join(", "))));
    }
    // One by one, so that a wrong type is said with its file.
    let mut whole = json!({"region": "", "datacenter": "", "bind_addr": "", "ports": {"http": 1}, "consul": {"address": ""}});
    merge(&mut whole, config.clone());
    serde_json::from_value::<AgentConfig>(whole).map_err(|error| wrong(error.to_string()))?;
    Ok(config)
}

/// In JSON a block may be a list of one: its objects become one.
fn join_lists(value: &mut Value, depth: usize) {
    let Value::Object(map) = value else { return };
    for own in map.values_mut().filter(|_| depth > 0) {
        if let Value::Array(items) = own
            && !items.is_empty()
            && items.iter().all(Value::is_object)
        {
            let mut joined = json!({});
            for item in std::mem::take(items) {
                merge(&mut joined, item);
            }
            *own = joined;
        }
        join_lists(own, depth - 1);
    }
}

/// Puts `over` over `base`.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
