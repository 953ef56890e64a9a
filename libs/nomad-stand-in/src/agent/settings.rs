//! What an agent is told, whoever read it: the command line and the configuration files are `config.rs`'s business.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How an agent is to be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// In memory alone, and tasks end with the agent.
    pub(crate) is_dev: bool,
    /// Where state and allocations are kept.
    pub(crate) data_dir: PathBuf,
    /// Where the HTTP API answers.
    pub(crate) http: SocketAddr,
    pub(crate) region: String,
    pub(crate) datacenter: String,
    /// Empty: the host's name.
    pub(crate) node_name: String,
    pub(crate) node_class: String,
    pub(crate) node_meta: BTreeMap<String, String>,
    /// How many nodes this host pretends to be.
    pub(crate) nodes: u8,
    /// Where the nodes' ports are; on loopback each node has an address of its own.
    pub(crate) address: IpAddr,
    /// In MHz, of each node.
    pub(crate) cpu: u64,
    /// In MiB, of each node.
    pub(crate) memory_mb: u64,
    /// Longest `kill_timeout` that tasks get, in nanoseconds.
    pub(crate) max_kill_timeout: i64,
    pub(crate) has_raw_exec: bool,
    /// The folder of image trees; `None`: no docker.
    pub(crate) images: Option<PathBuf>,
    /// `http://HOST:PORT` and a token; `None`: no Consul.
    pub(crate) consul: Option<(String, Option<String>)>,
    /// Secrets and what they allow; empty: no access control.
    pub(crate) tokens: BTreeMap<String, Policy>,
    /// Tasks end when this process does.
    pub(crate) lifeline: Option<i32>,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    Read,
    /// Reading, and dispatching parameterized jobs.
    Dispatch,
    Management,
}

impl Default for Settings {
    fn default() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            is_dev: false,
            data_dir: PathBuf::new(),
            http: SocketAddr::new(loopback, 4646),
            region: "global".to_owned(),
            datacenter: "dc1".to_owned(),
            node_name: String::new(),
            node_class: String::new(),
            node_meta: BTreeMap::new(),
            nodes: 1,
            address: loopback,
            cpu: 32_000,
            memory_mb: 16_384,
            max_kill_timeout: 30_000_000_000,
            has_raw_exec: false,
            images: None,
            consul: None,
            tokens: BTreeMap::new(),
            lifeline: None,
        }
    }
}
