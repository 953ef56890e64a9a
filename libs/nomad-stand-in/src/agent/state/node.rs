//! Nodes: places for allocations on this host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::agent::job::Nanos;

/// A node; a host may pretend to be several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) datacenter: String,
    pub(crate) class: String,
    /// Where its host ports are.
    pub(crate) address: IpAddr,
    /// In MHz.
    pub(crate) cpu: u64,
    /// In MiB.
    pub(crate) memory_mb: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) drivers: BTreeSet<String>,
    /// Whether groups can have a network namespace of their own.
    pub(crate) has_bridge: bool,
    pub(crate) is_eligible: bool,
    pub(crate) drain: Option<Drain>,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
}

/// A drain that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drain {
    /// 0: none; below 0: at once.
    pub(crate) deadline: Nanos,
    pub(crate) ignore_system_jobs: bool,
    pub(crate) started_at: Nanos,
}

impl Node {
    /// Whether new allocations may come.
    pub(crate) fn takes_allocations(&self) -> bool {
        self.is_eligible && self.drain.is_none()
    }
}
