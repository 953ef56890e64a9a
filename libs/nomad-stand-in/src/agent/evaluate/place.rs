//! Where an instance goes: nodes that may have it, with room for it, and its ports.
//!
//! In: what is to be placed and the state. Out: an [`Allocation`] in the plan, or why there is no place for it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

use super::{Chance, Look, Plan, reschedule};
use crate::agent::evaluate::place::feasible::refusal;
use crate::agent::job::{Group, Port};
use crate::agent::state::{
    AllocatedPort, AllocatedResources, Allocation, ClientStatus, Desired, Health, JobRecord, Node,
    TaskShare, Transition, Unplaced,
};

pub(crate) mod feasible;

/// An instance that is wanted.
pub(super) struct Place {
    number: usize,
    previous: Option<Arc<Allocation>>,
    is_canary: bool,
    is_rescheduled: bool,
    /// Another version than the newest.
    version: Option<Arc<JobRecord>>,
    /// The previous one stops when, and only when, there is a place for this one.
    instead: Option<&'static str>,
    /// Only this node, for system jobs.
    node: Option<Arc<Node>>,
}

impl Place {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            previous: None,
            is_canary: false,
            is_rescheduled: false,
            version: None,
            instead: None,
            node: None,
        }
    }

    pub(super) fn after(previous: &Arc<Allocation>) -> Self {
        Self { previous: Some(Arc::clone(previous)), ..Self::new(previous.number()) }
    }

    pub(super) fn canary(mut self) -> Self {
        self.is_canary = true;
        self
    }

    pub(super) fn rescheduled(mut self) -> Self {
        self.is_rescheduled = true;
        self.is_canary = self.previous.as_ref().is_some_and(|one| one.is_canary());
        self
    }

    pub(super) fn on(mut self, node: &Arc<Node>) -> Self {
        self.node = Some(Arc::clone(node));
        self
    }

    pub(super) fn with(mut self, version: Arc<JobRecord>) -> Self {
        self.version = Some(version);
        self
    }

    pub(super) fn instead(mut self, why: &'static str) -> Self {
        self.instead = Some(why);
        self
    }
}

/// Places instances of one group.
pub(super) struct Placer<'a> {
    pub(super) look: &'a Look<'a>,
    pub(super) record: &'a Arc<JobRecord>,
    pub(super) group: &'a Group,
    pub(super) deployment: Option<String>,
    pub(super) chance: &'a mut dyn Chance,
}

impl Placer<'_> {
    /// Puts the instance, or why there is none, into the plan.
    pub(super) fn place(&mut self, place: Place, plan: &mut Plan) {
        let freed =
            place.previous.as_ref().filter(|_| place.instead.is_some()).map(|one| one.id.as_str());
        let mut why = Unplaced::default();
        let all = self.look.state.nodes.values();
        let nodes: Vec<&Arc<Node>> =
            all.filter(|node| place.node.as_ref().is_none_or(|only| only.id == node.id)).collect();
        let mut found: Vec<(usize, &Arc<Node>, Vec<AllocatedPort>)> = Vec::new();
        for node in nodes {
            why.nodes_evaluated += 1;
            if node.takes_allocations() {
                *why.nodes_available.entry(node.datacenter.clone()).or_default() += 1;
                why.nodes_in_pool += 1;
            }
            if let Some(reason) = refusal(&self.record.job, self.group, node, self.look.state, plan)
            {
                why.nodes_filtered += 1;
                *why.constraint_filtered.entry(reason).or_default() += 1;
                continue;
            }
            match self.room(node, freed, plan) {
                Ok((instances, ports)) => found.push((instances, node, ports)),
                Err(dimension) => {
                    why.nodes_exhausted += 1;
                    *why.dimension_exhausted.entry(dimension).or_default() += 1;
                }
            }
        }
        let best =
            found.into_iter().min_by_key(|(instances, node, _)| (*instances, node.name.clone()));
        let Some((_, node, ports)) = best else { return plan.fail(&self.group.name, why) };
        if let (Some(why), Some(previous)) = (place.instead, &place.previous) {
            plan.end(previous, why);
        }
        let allocation = self.allocation(place, node, ports);
        plan.places.push(allocation);
    }

    /// How many instances of the group the node has, and ports for one more.
    fn room(
        &mut self,
        node: &Node,
        freed: Option<&str>,
        plan: &Plan,
    ) -> Result<(usize, Vec<AllocatedPort>), String> {
        let is_freed = |id: &str| freed == Some(id) || plan.stops.iter().any(|one| one.id == id);
        let running = self.look.state.allocations.values().map(Arc::as_ref);
        let planned = plan.places.iter();
        let (mut cpu, mut memory, mut instances) = (0, 0, 0);
        let (mut taken, mut held) = (BTreeSet::new(), BTreeSet::new());
        for one in running.chain(planned) {
            let ports = one.allocated_resources.shared.ports.iter();
            // A port is in use for as long as the process lives, and on every node: all of them are this host, and what
            // binds every address, or loopback as an Envoy's admin does, has the port on each.
            if !one.client_status.is_terminal() {
                held.extend(ports.clone().map(|port| port.value));
            }
            let is_over = one.is_terminal() || is_freed(&one.id);
            if is_over {
                continue;
            }
            let shares_address = ports.filter(|port| port.host_ip.parse() == Ok(node.address));
            taken.extend(shares_address.map(|port| port.value));
            if one.node_id != node.id {
                continue;
            }
            let shares = one.allocated_resources.tasks.values();
            cpu += shares.clone().map(|share| share.cpu.cpu_shares).sum::<u64>();
            memory += shares.map(|share| share.memory.memory_mb).sum::<u64>();
            instances +=
                usize::from(one.job_id == self.record.job.id && one.task_group == self.group.name);
        }
        let resources = self.group.tasks.iter().map(|task| task.resources);
        if cpu + resources.clone().map(|one| one.cpu).sum::<u64>() > node.cpu {
            return Err("cpu".to_owned());
        }
        if memory + resources.map(|one| one.memory_mb).sum::<u64>() > node.memory_mb {
            return Err("memory".to_owned());
        }
        Ok((instances, self.ports(node, &taken, &held)?))
    }

    fn ports(
        &mut self,
        node: &Node,
        taken: &BTreeSet<u16>,
        held: &BTreeSet<u16>,
    ) -> Result<Vec<AllocatedPort>, String> {
        let (mut ports, mut chosen) = (Vec::new(), BTreeSet::new());
        for network in &self.group.networks {
            let allocated = |port: &Port, value: u16| AllocatedPort {
                label: port.label.clone(),
                value,
                to: inside(port.to, value),
                host_ip: node.address.to_string(),
            };
            for port in &network.reserved_ports {
                if taken.contains(&port.value) {
                    return Err(format!(
                        "network: reserved port collision {}={}",
                        port.label, port.value
                    ));
                }
                ports.push(allocated(port, port.value));
            }
            for port in &network.dynamic_ports {
                let is_taken = |port: u16| {
                    held.contains(&port) || taken.contains(&port) || chosen.contains(&port)
                };
                let value = self.chance.port(node.address, &is_taken);
                let Some(value) = value else {
                    return Err("network: dynamic port selection failed".to_owned());
                };
                chosen.insert(value);
                ports.push(allocated(port, value));
            }
        }
        Ok(ports)
    }

    fn allocation(&mut self, place: Place, node: &Node, ports: Vec<AllocatedPort>) -> Allocation {
        let record = place.version.as_ref().unwrap_or(self.record);
        let group = record.job.group(&self.group.name).unwrap_or(self.group);
        let is_newest = record.version == self.record.version;
        let deployment_id = self.deployment.clone().filter(|_| is_newest).unwrap_or_default();
        let health = place.is_canary.then(|| Health::unknown(true));
        let previous = place.previous.as_ref();
        let rescheduled = previous.filter(|_| place.is_rescheduled);
        Allocation {
            id: self.chance.id(),
            eval_id: self.look.eval_id.to_owned(),
            name: format!("{}.{}[{}]", record.job.id, self.group.name, place.number),
            namespace: record.job.namespace.clone(),
            node_id: node.id.clone(),
            node_name: node.name.clone(),
            job_id: record.job.id.clone(),
            job: Arc::clone(record),
            task_group: self.group.name.clone(),
            allocated_resources: resources(group, node.address, ports),
            desired_status: Desired::Run,
            desired_description: String::new(),
            desired_transition: Transition::default(),
            client_status: ClientStatus::Pending,
            client_description: String::new(),
            task_states: std::collections::BTreeMap::new(),
            deployment_id,
            deployment_status: health,
            reschedule_tracker: rescheduled.map(|failed| {
                reschedule::tracker(failed, self.group.reschedule.as_ref(), self.look.now)
            }),
            followup_eval_id: String::new(),
            previous_allocation: previous.map(|one| one.id.clone()).unwrap_or_default(),
            next_allocation: String::new(),
            create_index: 0,
            modify_index: 0,
            alloc_modify_index: 0,
            create_time: self.look.now,
            modify_time: self.look.now,
        }
    }
}

/// The port inside the group's network: its own number unless it is mapped.
fn inside(to: i32, value: u16) -> u16 {
    u16::try_from(to).ok().filter(|to| *to != 0).unwrap_or(value)
}

fn resources(group: &Group, address: IpAddr, ports: Vec<AllocatedPort>) -> AllocatedResources {
    let mut resources = AllocatedResources::default();
    for task in &group.tasks {
        let share = task.resources;
        let share = TaskShare::new(share.cpu, share.memory_mb, share.memory_max_mb);
        resources.tasks.insert(task.name.clone(), share);
    }
    let listed = |is_static: bool, ports: &[AllocatedPort]| {
        let of_kind = |network: &crate::agent::job::Network, port: &AllocatedPort| {
            let list = if is_static { &network.reserved_ports } else { &network.dynamic_ports };
            list.iter().any(|one| one.label == port.label)
        };
        ports
            .iter()
            .filter(|port| group.networks.iter().any(|network| of_kind(network, port)))
            .map(|port| json!({"Label": port.label, "Value": port.value, "To": port.to, "HostNetwork": "default"}))
            .collect::<Vec<_>>()
    };
    for network in &group.networks {
        resources.shared.networks.push(json!({
            "Mode": network.mode, "Device": "", "CIDR": "", "IP": address, "MBits": 0,
            "ReservedPorts": listed(true, &ports), "DynamicPorts": listed(false, &ports),
        }));
    }
    resources.shared.disk_mb = 300;
    resources.shared.ports = ports;
    resources
}
