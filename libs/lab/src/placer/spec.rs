//! What can be placed: a service's pair, or a System's gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use contract::registration::Protocol;

use crate::registry::Check;

/// What stands behind an instance's Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Application {
    /// A service's: takes `--listen`, `--egress` and `--instance`.
    Service(PathBuf),
    /// A gateway's: the built `api-gateway`.
    Gateway,
    /// None: a gateway that is an Envoy alone.
    None,
}

/// A service to place an instance of.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// Its System.
    pub system: String,
    /// Its name, also that of the task group.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// What stands behind the Envoy.
    pub application: Application,
    /// What a service's application is told beside that.
    pub args: Vec<String>,
    /// Meta beside `mesh_system`, `mesh_protocol`, `mesh_role` and what the placer knows.
    pub meta: BTreeMap<String, String>,
    /// Upstreams for the bootstrap, in place of the meta's.
    pub upstreams: Option<String>,
    /// How its health is learnt.
    pub check: Check,
    /// Load-balancing weight.
    pub weight: u32,
    /// Pause between deregistration and the end of the application.
    pub shutdown_delay: Duration,
}

impl ServiceSpec {
    /// A service with the check that fits its protocol, weight 1 and a shutdown delay of one second.
    pub fn new(system: &str, name: &str, protocol: Protocol, program: PathBuf) -> Self {
        let check = match protocol {
            Protocol::Http | Protocol::Http2 => Check::Http("/healthz".to_owned()),
            Protocol::Grpc => Check::Grpc,
            Protocol::Tcp => Check::Tcp,
        };
        Self {
            system: system.to_owned(),
            name: name.to_owned(),
            protocol,
            application: Application::Service(program),
            args: Vec::new(),
            meta: BTreeMap::new(),
            upstreams: None,
            check,
            weight: 1,
            shutdown_delay: Duration::from_secs(1),
        }
    }

    /// A System's gateway, an Envoy alone.
    pub fn gateway(system: &str) -> Self {
        let name = format!("{system}-gateway");
        Self {
            application: Application::None,
            check: Check::Tcp,
            ..Self::new(system, &name, Protocol::Http, PathBuf::new())
        }
    }

    /// A System's gateway with the `api-gateway` application behind it.
    pub fn api_gateway(system: &str) -> Self {
        Self { application: Application::Gateway, ..Self::gateway(system) }
    }

    /// Whether it is a System's gateway.
    pub fn is_gateway(&self) -> bool {
        !matches!(self.application, Application::Service(_))
    }

    /// Adds an argument of the application.
    #[must_use]
    pub fn with_arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds a key of meta.
    #[must_use]
    pub fn with_meta(mut self, key: &str, value: &str) -> Self {
        self.meta.insert(key.to_owned(), value.to_owned());
        self
    }
}
