//! A placer: starts and stops pairs of sidecar and application in the order, and with the registrations, of Nomad.
//!
//! Start: the sidecar; the application as soon as the sidecar runs; the registration, critical until its check passes.
//! Stop: deregister; wait for the shutdown delay; end the application; when it is dead, end the sidecar.
//! In host mode the kernel chooses all ports; in a network namespace they are those of a Nomad bridge network.
//! Unlike Nomad it never acts by itself: nothing is restarted or rescheduled.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::node::ProxyRole;

use crate::LabError;
use crate::daemon::Daemon;
use crate::envoy::{Envoy, ProxySpec};
use crate::http::Client;
use crate::netns::{NetNs, Network};
use crate::parts::Parts;
use crate::process::{Process, Program};
use crate::registry::{Registration, Registry};

mod allocation;
mod ports;
mod spec;

pub use allocation::Allocation;
use allocation::short;
use ports::Ports;
pub use spec::{Application, ServiceSpec};

const PASSING_DEADLINE: Duration = Duration::from_secs(30);
const APP_GRACE: Duration = Duration::from_secs(5);

/// How an instance ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// As Nomad does it.
    Drained,
    /// Killed first, deregistered after: what happens without a mesh that drains.
    AtOnce,
}

/// Starts and stops instances.
#[derive(Debug)]
pub struct Placer {
    /// The binaries.
    pub parts: Parts,
    /// Where logs and bootstraps go.
    pub dir: PathBuf,
    /// Control planes, in the order of preference.
    pub xds: Vec<SocketAddr>,
    /// Whether proxies speak state of the world in place of delta.
    pub sotw: bool,
    /// Port of the host's agent for spans; `None`: nothing is traced.
    pub agent: Option<u16>,
    /// The host whose pairs live in namespaces; `None`: host mode, on loopback.
    pub network: Option<Network>,
}

impl Placer {
    /// Starts an instance and registers it; its checks may not pass yet.
    pub async fn place(
        &self,
        registry: Registry<'_>,
        spec: &ServiceSpec,
    ) -> Result<Allocation, LabError> {
        let id = new_id()?;
        let (netns, ports) = self.ports()?;
        let netns = netns.as_ref();
        let is_gateway = spec.is_gateway();
        let has_app = spec.application != Application::None;
        let proxy = self.proxy(spec, &id, &ports);
        let bootstrap = proxy.render(&self.parts.our("meshctl")?).await?;
        let name = format!("{}-{}", spec.name, short(&id));
        let envoy_name = format!("{name}-envoy");
        let binary = &self.parts.envoy;
        let envoy = Envoy::start(binary, &envoy_name, &self.dir, &bootstrap, ports.admin, netns)?;
        let program = self.application(spec, name, &id, &ports, registry)?;
        let mut app =
            program.map(|program| Daemon::new(program.in_netns(netns), &self.dir, APP_GRACE, ()));
        if let Some(app) = &mut app {
            app.launch()?;
            let log = app.process().map(Process::log);
            log.map_or(Ok(()), |log| nomad_log(&self.dir, &id, &spec.name, log))?;
        }
        let mut allocation = Allocation {
            registration: registration(spec, &id, &ports, is_gateway),
            spec: spec.clone(),
            id,
            envoy,
            app,
            egress: has_app.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, ports.egress))),
            app_admin: (spec.application == Application::Gateway)
                .then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, ports.app_admin))),
            ingress: is_gateway.then_some(ports.ingress),
            netns: netns.cloned(),
        };
        if matches!(registry, Registry::File(_)) {
            self.wait_answering(&mut allocation).await?;
        }
        registry.register(&allocation.registration).await?;
        Ok(allocation)
    }

    /// Waits until the registry says that the instance's checks pass.
    pub async fn wait_passing(
        &self,
        registry: Registry<'_>,
        allocation: &mut Allocation,
    ) -> Result<(), LabError> {
        let Registry::Consul(consul) = registry else { return Ok(()) };
        let Registration { id, name, .. } = &allocation.registration;
        let what = format!("{name} {} passes its check", short(&allocation.id));
        let probe = async || match consul.passing(name).await {
            Ok(passing) if passing.contains(id) => Ok(()),
            Ok(passing) => Err(format!("passing: {}", passing.join(", "))),
            Err(error) => Err(crate::chain(&error)),
        };
        let late = allocation.envoy.process().until(&what, PASSING_DEADLINE, probe).await;
        allocation.app.as_mut().map_or(Ok(()), Daemon::check).and(late)
    }

    /// Takes an instance away.
    pub async fn stop(
        &self,
        registry: Registry<'_>,
        mut allocation: Allocation,
        how: Stop,
    ) -> Result<(), LabError> {
        let Registration { id, name, .. } = allocation.registration.clone();
        match how {
            Stop::Drained => {
                registry.deregister(&name, &id).await?;
                tokio::time::sleep(allocation.spec.shutdown_delay).await;
                if let Some(app) = &mut allocation.app {
                    app.stop().await?;
                }
                allocation.envoy.stop().await
            }
            Stop::AtOnce => {
                if let Some(app) = &mut allocation.app {
                    app.kill().await?;
                }
                allocation.envoy.kill().await?;
                registry.deregister(&name, &id).await
            }
        }
    }

    /// Moves an instance to other ports: a new one starts and passes its check, then the old one ends.
    pub async fn replace(
        &self,
        registry: Registry<'_>,
        old: Allocation,
        how: Stop,
    ) -> Result<Allocation, LabError> {
        let mut new = self.place(registry, &old.spec).await?;
        self.wait_passing(registry, &mut new).await?;
        self.stop(registry, old, how).await?;
        Ok(new)
    }

    fn ports(&self) -> Result<(Option<NetNs>, Ports), LabError> {
        let is_traced = self.agent.is_some();
        match &self.network {
            Some(network) => {
                let (netns, ip) = network.join()?;
                Ok((Some(netns), Ports::in_bridge(ip, is_traced)))
            }
            None => Ok((None, Ports::on_host(is_traced)?)),
        }
    }

    /// What is started behind the Envoy.
    fn application(
        &self,
        spec: &ServiceSpec,
        name: String,
        id: &str,
        ports: &Ports,
        registry: Registry<'_>,
    ) -> Result<Option<Program>, LabError> {
        let (listen, egress) =
            (format!("127.0.0.1:{}", ports.app), format!("127.0.0.1:{}", ports.egress));
        match &spec.application {
            Application::None => Ok(None),
            Application::Service(program) => Ok(Some(
                told_of_spans(Program::new(name, program), ports)
                    .args([format!("--listen={listen}"), format!("--egress=http://{egress}")])
                    .args([format!("--instance={}", short(id))])
                    .args(spec.args.iter().cloned()),
            )),
            Application::Gateway => {
                let config = self.dir.join(format!("{name}.toml"));
                let consul = match registry {
                    Registry::Consul(consul) => format!("address = {:?}\n", consul.url()),
                    Registry::File(_) => String::new(),
                };
                let text = format!("[consul]\n{consul}\n[schemas]\ndirectory = {:?}\n", self.dir);
                std::fs::write(&config, text)
                    .map_err(LabError::io(format!("write {}", config.display())))?;
                let program = Program::new(name, &self.parts.our("api-gateway")?)
                    .args(["run".to_owned(), format!("--config={}", config.display())])
                    .args([format!("--listen={listen}"), format!("--egress={egress}")])
                    .args([format!("--ingress=127.0.0.1:{}", ports.ingress)])
                    .args([format!("--admin=127.0.0.1:{}", ports.app_admin)]);
                Ok(Some(program))
            }
        }
    }

    fn proxy(&self, spec: &ServiceSpec, id: &str, ports: &Ports) -> ProxySpec {
        let host = self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, Network::host_address);
        let is_gateway = spec.is_gateway();
        let (name, inbound, app) = (&spec.name, ports.inbound, ports.app);
        let service = match spec.application {
            Application::None => format!("{name}={inbound}"),
            Application::Gateway => format!("{name}={inbound}:{app}"),
            Application::Service(_) => format!("{name}={inbound}:{app}:{}", spec.protocol),
        };
        ProxySpec {
            role: if is_gateway { ProxyRole::Gateway } else { ProxyRole::Sidecar },
            system: Some(spec.system.clone()),
            id: id.to_owned(),
            cluster: spec.name.clone(),
            services: vec![service],
            ingress: is_gateway.then_some(ports.ingress),
            egress: (spec.application != Application::None).then_some(ports.egress),
            upstreams: spec.upstreams.clone(),
            bind: IpAddr::V4(ports.bind),
            host: Some(IpAddr::V4(host)),
            agent: self.agent,
            spans: ports.spans.clone(),
            stats: Some(ports.stats),
            admin: ports.admin,
            xds: self.xds.clone(),
            sotw: self.sotw,
            tls: None,
            trusted_hops: 0,
        }
    }

    async fn wait_answering(&self, allocation: &mut Allocation) -> Result<(), LabError> {
        let client = Client::inside(allocation.netns.as_ref());
        let (address, check) = (allocation.address(), allocation.registration.check.clone());
        let what = format!("{} {} answers its check", allocation.spec.name, allocation.instance());
        let probe = async || check.passes(&client, address).await;
        let late = allocation.envoy.process().until(&what, PASSING_DEADLINE, probe).await;
        allocation.app.as_mut().map_or(Ok(()), Daemon::check).and(late)
    }
}

/// In a namespace of its own an application finds the agent at the usual ports; else it is told where.
fn told_of_spans(program: Program, ports: &Ports) -> Program {
    match ports.spans.as_slice() {
        [port] => program
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
            .env("OTEL_EXPORTER_ZIPKIN_ENDPOINT", format!("http://127.0.0.1:{port}/api/v2/spans")),
        _ => program,
    }
}

/// Shows an application's output where Nomad's `exec` driver has it, below `DIR/nomad`: the host's agent finds it there.
fn nomad_log(dir: &Path, id: &str, task: &str, log: &Path) -> Result<(), LabError> {
    let folder = dir.join(format!("nomad/alloc/{id}/alloc/logs"));
    let step = || LabError::io(format!("link {} below {}", log.display(), folder.display()));
    std::fs::create_dir_all(&folder).map_err(step())?;
    std::fs::hard_link(log, folder.join(format!("{task}.stdout.0"))).map_err(step())
}

fn registration(spec: &ServiceSpec, id: &str, ports: &Ports, is_gateway: bool) -> Registration {
    let mut meta = spec.meta.clone();
    let mut set = |key: &str, value: String| meta.insert(key.to_owned(), value);
    set("mesh_system", spec.system.clone());
    set("mesh_instance", id.to_owned());
    set("mesh_stats", ports.stats.to_string());
    if is_gateway {
        set("mesh_role", "gateway".to_owned());
        set("mesh_ingress", ports.ingress.to_string());
    } else {
        set("mesh_protocol", spec.protocol.to_string());
    }
    Registration {
        id: format!("_nomad-task-{id}-group-{group}-{group}-mesh", group = spec.name),
        name: spec.name.clone(),
        address: SocketAddr::from((ports.ip, ports.inbound)),
        meta,
        tags: Vec::new(),
        weight: spec.weight,
        check: spec.check.clone(),
    }
}

/// A fresh allocation id; the kernel makes it.
fn new_id() -> Result<String, LabError> {
    let source = "/proc/sys/kernel/random/uuid";
    let id = std::fs::read_to_string(source).map_err(LabError::io(format!("read {source}")))?;
    Ok(id.trim().to_owned())
}
