//! What a sidecar may call, by host name (design 3.3), and its TCP listeners.

use std::collections::BTreeMap;

use contract::name::{ServiceName, SystemName};
use contract::registration::Protocol;
use contract::upstreams::{Upstream, Upstreams};

use crate::mesh::forged::FORGED_BY_APPLICATIONS;
use crate::mesh::split::{self, Destination};
use crate::mesh::{
    Action, Admission, Caller, ExternalModel, Forward, MESH_DOMAIN, MeshModel, Origin, Requests,
    RouteRule, RouteTable, ServiceModel, SystemModel, Target, Treatment, VirtualHost, policy,
};

/// The egress route table's name at the proxy.
pub const TABLE: &str = "egress";

/// What one caller reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// By host name.
    pub table: RouteTable,
    /// By loopback port.
    pub tcp: BTreeMap<u16, (Target, Origin)>,
}

/// What narrows a caller down, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowed {
    /// What it calls.
    pub upstreams: Upstreams,
    /// The registrations' `mesh_upstreams`, or the bootstrap.
    pub origin: Origin,
}

/// What a caller reaches: all of its System and every gateway, or what it is narrowed to.
pub fn build(model: &MeshModel, caller: &Caller, narrowed: Option<&Narrowed>) -> Egress {
    let origin = narrowed.map_or(Origin::Default("every System's gateway"), |n| n.origin.clone());
    let mut egress =
        Builder { model, caller, origin, hosts: BTreeMap::new(), tcp: BTreeMap::new() };
    match narrowed {
        None => egress.add_everything(),
        Some(narrowed) => {
            narrowed.upstreams.iter().for_each(|(upstream, port)| egress.add(upstream, port));
        }
    }
    let system = model.systems.get(&caller.system);
    let traced = policy::traced(system.and_then(|system| system.document.as_deref()));
    let mut hosts: Vec<VirtualHost> = egress.hosts.into_values().collect();
    for rule in hosts.iter_mut().flat_map(|host| &mut host.routes) {
        rule.treatment.traced = Some(traced);
    }
    hosts.push(unknown_name(caller, narrowed));
    Egress {
        table: RouteTable { name: TABLE, hosts, strips: FORGED_BY_APPLICATIONS, hop: None },
        tcp: egress.tcp,
    }
}

struct Builder<'a> {
    model: &'a MeshModel,
    caller: &'a Caller,
    origin: Origin,
    hosts: BTreeMap<String, VirtualHost>,
    tcp: BTreeMap<u16, (Target, Origin)>,
}

impl<'a> Builder<'a> {
    fn own_system(&self) -> Option<&'a SystemModel> {
        self.model.systems.get(&self.caller.system).map(AsRef::as_ref)
    }

    fn add_everything(&mut self) {
        if let Some(system) = self.own_system() {
            for service in system.services.values().filter(|s| s.protocol != Protocol::Tcp) {
                self.add_service(service);
            }
            for (name, model) in &system.externals {
                self.add_external(name, *model);
            }
        }
        let model = self.model;
        for (system, entrance) in &model.directory.entrances {
            if entrance.has_gateway {
                self.add_system(system);
            }
        }
    }

    fn add(&mut self, upstream: &Upstream, port: Option<u16>) {
        match upstream {
            Upstream::Local(name) => self.add_local(name, port),
            Upstream::Remote(name, system) if *system == self.caller.system => {
                self.add_local(name, port);
            }
            Upstream::Remote(name, system) => {
                let host = format!("{name}.{system}.{MESH_DOMAIN}");
                let rules = self.through_gateway(system);
                self.insert(host.clone(), vec![host], rules, true);
            }
            Upstream::System(system) => self.add_system(system),
        }
    }

    fn add_local(&mut self, name: &ServiceName, port: Option<u16>) {
        let system = self.own_system();
        let service = system.and_then(|system| system.services.get(name));
        let external = system.and_then(|system| system.externals.get(name));
        let target = match (service, external) {
            (Some(service), _) => service.target(contract::registration::Track::Stable),
            (None, Some(_)) => Target::External(name.clone()),
            (None, None) => return self.add_missing(name),
        };
        if let Some(port) = port {
            self.tcp.insert(port, (target, self.origin.clone()));
        } else if let Some(service) = service.filter(|service| service.protocol == Protocol::Tcp) {
            self.add_portless(service);
        } else if let Some(service) = service {
            self.add_service(service);
        } else if let Some(model) = external {
            self.add_external(name, *model);
        }
    }

    fn add_service(&mut self, service: &ServiceModel) {
        let rules = split::rules(&Destination::of(service));
        self.insert(service.key.name.to_string(), names(service), rules, true);
    }

    /// Bytes cannot be routed by host name: whoever asks for one over HTTP is told what to write.
    fn add_portless(&mut self, service: &ServiceModel) {
        let name = &service.key.name;
        let body = format!("{name} speaks tcp: write {name}=PORT and connect to 127.0.0.1:PORT");
        let rules = vec![answer(503, body, self.origin.clone())];
        self.insert(name.to_string(), names(service), rules, false);
    }

    fn add_external(&mut self, name: &ServiceName, model: ExternalModel) {
        let origin = Origin::Document(self.caller.system.clone(), "external".to_owned());
        let rules = if model == ExternalModel::Missing {
            let body = format!(
                "external service {name} is allowed but nothing is registered in Consul under that name"
            );
            vec![answer(503, body, origin)]
        } else {
            forward_rules(&Target::External(name.clone()), Some(policy::DEFAULT_TIMEOUT), &origin)
        };
        // Who calls is the mesh's business: it is not told outside.
        self.insert(name.to_string(), vec![name.to_string()], rules, false);
    }

    fn add_system(&mut self, system: &SystemName) {
        let rules = self.through_gateway(system);
        let own = format!("{system}.{MESH_DOMAIN}");
        let mut domains = vec![own.clone()];
        // Names of the own System are called directly, so an unknown one is answered here.
        if *system != self.caller.system {
            domains.push(format!("*.{own}"));
        }
        self.insert(own, domains, rules, true);
    }

    fn through_gateway(&self, system: &SystemName) -> Vec<RouteRule> {
        let origin = self.origin.clone();
        match self.model.directory.entrances.get(system) {
            Some(entrance) if entrance.has_gateway => {
                forward_rules(&Target::Gateway(system.clone()), None, &origin)
            }
            Some(_) => {
                vec![answer(503, format!("System {system} has no gateway registered"), origin)]
            }
            None => vec![answer(503, format!("System {system} has no service registered"), origin)],
        }
    }

    fn add_missing(&mut self, name: &ServiceName) {
        let system = &self.caller.system;
        let body = format!(
            "{name} is what this proxy may call, but System {system} has no service and no allowed external of that name registered"
        );
        let rules = vec![answer(503, body, self.origin.clone())];
        let domains = vec![name.to_string(), format!("{name}.{system}.{MESH_DOMAIN}")];
        self.insert(name.to_string(), domains, rules, false);
    }

    fn insert(
        &mut self,
        name: String,
        domains: Vec<String>,
        routes: Vec<RouteRule>,
        names_caller: bool,
    ) {
        let names_caller = names_caller.then(|| self.caller.clone());
        self.hosts.insert(name.clone(), VirtualHost { name, domains, routes, names_caller });
    }
}

/// The host names of a service of the own System.
fn names(service: &ServiceModel) -> Vec<String> {
    let key = &service.key;
    vec![key.name.to_string(), format!("{}.{}.{MESH_DOMAIN}", key.name, key.system)]
}

/// Rules that forward everything to a target that is not a service of the mesh.
pub fn forward_rules(
    target: &Target,
    timeout: Option<std::time::Duration>,
    origin: &Origin,
) -> Vec<RouteRule> {
    split::by_safety(&policy::default_retries(), &Requests::all(), true, |retries, requests| {
        RouteRule {
            requests,
            admission: Admission::Open,
            action: Action::Forward(Forward { timeout, retries, ..Forward::to(target.clone()) }),
            treatment: Treatment::default(),
            origin: origin.clone(),
        }
    })
}

/// A rule that answers every path.
pub fn answer(status: u16, body: String, origin: Origin) -> RouteRule {
    RouteRule {
        requests: Requests::all(),
        admission: Admission::Open,
        action: Action::Answer { status, body },
        treatment: Treatment::default(),
        origin,
    }
}

/// The last resort. Envoy puts the name that was asked for in front of the body.
fn unknown_name(caller: &Caller, narrowed: Option<&Narrowed>) -> VirtualHost {
    let system = &caller.system;
    let body = match narrowed {
        None => format!(
            "no such name for {}: a service of System {system} is NAME or NAME.{system}.mesh, another System is SYSTEM.mesh",
            caller.service
        ),
        Some(Narrowed { upstreams, origin }) => {
            format!("no such name for {}: it may call {upstreams} ({origin})", caller.service)
        }
    };
    VirtualHost {
        name: "unknown".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![answer(404, body, Origin::Default("names that are not known answer 404"))],
        names_caller: None,
    }
}
