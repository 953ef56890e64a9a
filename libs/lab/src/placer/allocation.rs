//! A placed instance: its processes, its registration, and where it answers.

use std::net::SocketAddr;
use std::path::Path;

use super::spec::ServiceSpec;
use crate::LabError;
use crate::daemon::Daemon;
use crate::envoy::Envoy;
use crate::http::Client;
use crate::netns::NetNs;
use crate::process::Process;
use crate::registry::Registration;

/// A placed instance.
#[derive(Debug)]
pub struct Allocation {
    pub(super) id: String,
    pub(super) spec: ServiceSpec,
    pub(super) registration: Registration,
    pub(super) envoy: Envoy,
    pub(super) app: Option<Daemon<()>>,
    pub(super) egress: Option<SocketAddr>,
    pub(super) ingress: Option<u16>,
    pub(super) app_admin: Option<SocketAddr>,
    pub(super) netns: Option<NetNs>,
}

impl Allocation {
    /// Its id, as Nomad's allocations have one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the application calls itself: the beginning of the id.
    pub fn instance(&self) -> &str {
        short(&self.id)
    }

    /// What was placed.
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Its registration.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The address of its inbound listener.
    pub fn address(&self) -> SocketAddr {
        self.registration.address
    }

    /// A gateway's port for the Router.
    pub fn ingress(&self) -> Option<u16> {
        self.ingress
    }

    /// Its egress listener, with a client that can reach it.
    pub fn egress(&self) -> Option<(Client, SocketAddr)> {
        Some((Client::inside(self.netns.as_ref()), self.egress?))
    }

    /// The admin port of a gateway's application, with a client that can reach it.
    pub fn app_admin(&self) -> Option<(Client, SocketAddr)> {
        Some((Client::inside(self.netns.as_ref()), self.app_admin?))
    }

    /// Its Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Its Envoy, to harm it.
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        &mut self.envoy
    }

    /// Where its application's output goes.
    pub fn log(&self) -> Option<&Path> {
        self.app.as_ref().and_then(Daemon::process).map(Process::log)
    }

    /// Kills its application and starts it again; it may not answer yet.
    pub async fn restart_app(&mut self) -> Result<(), LabError> {
        let Some(app) = &mut self.app else { return Ok(()) };
        app.kill().await?;
        app.launch()
    }

    /// Its application, to harm it.
    pub fn app_mut(&mut self) -> Option<&mut Daemon<()>> {
        self.app.as_mut()
    }
}

/// The beginning of an allocation's id, as people read it.
pub(super) fn short(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}
