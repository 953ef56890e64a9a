//! A cluster that exists only in a state: clients obey at once, and health is what the test says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::agent::state::Node;

pub(super) struct World {
    pub(super) state: State,
    pub(super) now: Nanos,
    chance: Counter,
}

struct Counter(u16);

impl Chance for Counter {
    fn id(&mut self) -> String {
        self.0 += 1;
        format!("id-{}", self.0)
    }

    fn port(&mut self, _: IpAddr, is_taken: &dyn Fn(u16) -> bool) -> Option<u16> {
        (20_000..32_000).find(|port| !is_taken(*port))
    }
}

/// A service job of three instances without a stop between versions but its `version`; `update` over the defaults.
pub(super) fn service(version: &str, update: Value) -> JobRecord {
    let task = json!({"Name": "app", "Driver": "raw_exec", "Config": {"command": "app"}, "Env": {"VERSION": version}});
    record(json!({
        "ID": "web", "Update": update,
        "TaskGroups": [{"Name": "g", "Count": 3, "Tasks": [task], "Networks": [{"DynamicPorts": [{"Label": "http"}]}]}],
    }))
}

pub(super) fn record(job: Value) -> JobRecord {
    let mut body = job.as_object().cloned().unwrap();
    canonical::fill(&mut body, "global", "default");
    JobRecord::read(body).unwrap()
}

impl World {
    pub(super) fn new(nodes: u8) -> Self {
        let mut world = Self { state: State::default(), now: SECOND, chance: Counter(0) };
        for number in 0..nodes {
            let drivers = BTreeSet::from(["raw_exec".to_owned()]);
            world.state.put_node(Node {
                id: format!("node-{number}"),
                name: format!("n{number}"),
                datacenter: "dc1".to_owned(),
                class: String::new(),
                address: IpAddr::from([127, 0, 0, number + 1]),
                cpu: 1000,
                memory_mb: 10_000,
                attributes: std::collections::BTreeMap::new(),
                meta: std::collections::BTreeMap::new(),
                drivers,
                has_bridge: false,
                is_eligible: true,
                drain: None,
                create_index: 0,
                modify_index: 0,
            });
        }
        world
    }

    /// Changes something, and lets follow what follows.
    pub(super) fn act<R>(
        &mut self,
        act: impl FnOnce(&mut State, Nanos, &mut dyn Chance) -> R,
    ) -> R {
        let result = act(&mut self.state, self.now, &mut self.chance);
        step(&mut self.state, self.now, &mut self.chance);
        result
    }

    pub(super) fn register(&mut self, record: JobRecord) {
        self.act(|state, now, chance| {
            let id = record.job.id.clone();
            state.put_job(record, now);
            look(state, &id, Trigger::JobRegister, now, chance);
        });
        self.obey();
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += seconds * SECOND;
        self.act(|_, _, _| ());
        self.obey();
    }

    /// Clients start what is to run and end what is to stop.
    pub(super) fn obey(&mut self) {
        let all: Vec<Arc<Allocation>> = self.state.allocations.values().map(Arc::clone).collect();
        for one in all {
            let status = match (one.desired_status, one.client_status) {
                (Desired::Run, ClientStatus::Pending) => ClientStatus::Running,
                (Desired::Stop, ClientStatus::Pending | ClientStatus::Running) => {
                    ClientStatus::Complete
                }
                _ => continue,
            };
            self.report(&one.id, status);
        }
    }

    pub(super) fn report(&mut self, id: &str, status: ClientStatus) {
        self.act(|state, now, chance| {
            report(state, id, now, chance, |one| one.client_status = status)
        });
    }

    /// Every running allocation whose health is open is found healthy; whether there was one.
    pub(super) fn heal(&mut self) -> bool {
        let open: Vec<String> = self
            .running()
            .filter(|one| one.healthy().is_none())
            .map(|one| one.id.clone())
            .collect();
        for id in &open {
            self.act(|state, now, chance| report_health(state, id, true, now, chance));
        }
        self.obey();
        !open.is_empty()
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        self.state.allocations.values().filter(|one| !one.is_terminal())
    }

    /// What runs, as `g[0] v0`, with `canary` and the node where there are several.
    pub(super) fn shown(&self) -> Vec<String> {
        let mut list: Vec<String> = self
            .running()
            .map(|one| {
                let canary = if one.is_canary() { " canary" } else { "" };
                let node = if self.state.nodes.len() > 1 {
                    format!(" {}", one.node_name)
                } else {
                    String::new()
                };
                format!("{}[{}] v{}{canary}{node}", one.task_group, one.number(), one.job.version)
            })
            .collect();
        list.sort();
        list
    }

    /// The newest deployment, as `v1 running: description`.
    pub(super) fn deployment(&self) -> String {
        let one = self.state.latest_deployment("web").unwrap();
        let status = serde_json::to_value(one.status).unwrap();
        format!("v{} {}: {}", one.job_version, status.as_str().unwrap(), one.status_description)
    }

    pub(super) fn deployment_id(&self) -> String {
        self.state.latest_deployment("web").unwrap().id.clone()
    }

    pub(super) fn some(&self, version: u64) -> String {
        self.running().find(|one| one.job.version == version).unwrap().id.clone()
    }

    /// A job that runs, healthy and stable, as version 0.
    pub(super) fn with(update: &Value) -> Self {
        let mut world = Self::new(1);
        world.register(service("1", update.clone()));
        while world.heal() {}
        assert_eq!(world.deployment(), "v0 successful: Deployment completed successfully");
        world
    }
}
