//! `meshctl bootstrap`: the command line of one proxy → its Envoy bootstrap in YAML.
//!
//! In: flags, mostly ports that a placer chose. Out: [`render::bootstrap`]'s value as YAML.
//! Called by whoever starts an Envoy: a Nomad template, a placer, a person.
//!
//! **Invariants**: the node metadata passes the same check as in the control plane; no port is used twice;
//! the same flags give the same bytes.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use contract::name::SystemName;
use contract::node::{NodeMetadata, NodeService, ProxyRole, RouterTls};
use contract::upstreams::Upstreams;

use crate::failure::Failure;

pub mod render;
mod values;

pub use values::Endpoint;
use values::{CertificateArg, ServiceArg};

/// What a proxy does, as written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Beside an instance: its only way in and out.
    Sidecar,
    /// Relays what enters a System.
    Gateway,
    /// The fixed address that clients know.
    Router,
}

/// Print the Envoy bootstrap of one proxy.
///
/// The bootstrap says who the proxy is and where the control planes are; listeners, routes and clusters come from there.
/// Ports are those that the placer chose; in a network namespace of its own a proxy can have the same ones everywhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  meshctl bootstrap --role sidecar --system trading --id a1b2 --service orders=20000:8080 \\
      --egress 15001 --upstreams 'quotes, ledger-db=15432' --stats 20001 --xds 10.0.0.5:18000 \\
      --host 172.26.64.1 --agent 4317 --spans 4317,4318,9411
  meshctl bootstrap --role gateway --system trading --id c3d4 --service trading-gateway=21000:21002 \\
      --ingress 21001 --egress 21003 --xds control-plane.service.consul:18000
  meshctl bootstrap --role router --id edge-1 --service router=80 --xds 10.0.0.5:18000,10.0.0.6:18000 \\
      --https 443 --certificate /etc/ayatori/edge.pem:/etc/ayatori/edge.key --http3")]
pub struct BootstrapArgs {
    /// What the proxy does.
    #[arg(long)]
    role: RoleArg,
    /// The System it belongs to; a router has none.
    #[arg(long, value_name = "NAME")]
    system: Option<SystemName>,
    /// Node id: the allocation's id.
    #[arg(long)]
    id: String,
    /// Node cluster; the first service's name when not given.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// A service that it fronts: its registered port and the application's, for a gateway that of api-gateway (repeatable).
    #[arg(long = "service", value_name = "NAME=INBOUND[:APP[:PROTOCOL]]")]
    services: Vec<ServiceArg>,
    /// A gateway's listener for the Router.
    #[arg(long, value_name = "PORT")]
    ingress: Option<u16>,
    /// Loopback port through which the application calls others; with a gateway's application too.
    #[arg(long, value_name = "PORT")]
    egress: Option<u16>,
    /// What the application calls, in place of the registration's mesh_upstreams.
    #[arg(long, value_name = "LIST")]
    upstreams: Option<Upstreams>,
    /// Where public listeners bind.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind: IpAddr,
    /// The host's address as the proxy reaches it: where the host's agent listens.
    #[arg(long, value_name = "IP")]
    host: Option<IpAddr>,
    /// Port of the host's agent at --host for spans: the proxy's own go there.
    #[arg(long, value_name = "PORT", requires = "host")]
    agent: Option<u16>,
    /// Loopback ports at which the application finds the host's agent, each for OTLP by gRPC and HTTP and for Zipkin; in a
    /// network namespace of its own the usual 4317,4318,9411.
    #[arg(long, value_name = "PORT", value_delimiter = ',', requires = "agent")]
    spans: Vec<u16>,
    /// Port of the statistics listener: only /stats/prometheus and /ready.
    #[arg(long, value_name = "PORT")]
    stats: Option<u16>,
    /// Loopback port of Envoy's admin interface.
    #[arg(long, value_name = "PORT", default_value_t = 9901)]
    admin: u16,
    /// A router's port for HTTPS; its plain port then sends clients there.
    #[arg(long, value_name = "PORT", requires = "certificates")]
    https: Option<u16>,
    /// PEM files of a certificate with its chain and of its key, on the router's host (repeatable). Replace them by a
    /// rename, and they are read again.
    #[arg(long = "certificate", value_name = "CHAIN:KEY", requires = "https")]
    certificates: Vec<CertificateArg>,
    /// HTTP/3 too, at the same port over UDP.
    #[arg(long, requires = "https")]
    http3: bool,
    /// Proxies before a router that are trusted to name the client in x-forwarded-for.
    #[arg(long, value_name = "N", default_value_t = 0)]
    trusted_hops: u32,
    /// The control planes' xDS addresses.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    xds: Vec<Endpoint>,
    /// State-of-the-world ADS in place of delta.
    #[arg(long)]
    sotw: bool,
}

impl BootstrapArgs {
    /// Loopback port of Envoy's admin interface.
    pub const fn admin(&self) -> u16 {
        self.admin
    }
}

/// Renders the bootstrap that the arguments ask for.
///
/// # Errors
/// A usage failure when they do not make a proxy that can work.
pub fn run(args: BootstrapArgs) -> Result<String, Failure> {
    let spec = spec(args).map_err(Failure::Usage)?;
    let value = render::bootstrap(&spec).map_err(|error| Failure::Usage(error.to_string()))?;
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&value, options)
        .map_err(|error| Failure::Usage(error.to_string()))
}

fn spec(args: BootstrapArgs) -> Result<render::Spec, String> {
    let role = match args.role {
        RoleArg::Sidecar => ProxyRole::Sidecar,
        RoleArg::Gateway => ProxyRole::Gateway,
        RoleArg::Router => ProxyRole::Router,
    };
    if args.id.is_empty() {
        return Err("--id is empty: pass the allocation's id".to_owned());
    }
    if args.ingress.is_some() && role != ProxyRole::Gateway {
        return Err("--ingress is a gateway's listener for the Router".to_owned());
    }
    if role == ProxyRole::Router && (args.system.is_some() || args.egress.is_some()) {
        return Err(
            "a router has neither --system nor --egress: it stands before all Systems".to_owned()
        );
    }
    if role == ProxyRole::Router
        && let Some(service) = args.services.iter().find(|service| service.app.is_some())
    {
        return Err(format!(
            "--service {name}=…: a router has no application behind it, write {name}={port}",
            name = service.name,
            port = service.inbound
        ));
    }
    let ingress = args.ingress;
    let services: Vec<NodeService> = args.services.into_iter().map(|s| s.node(ingress)).collect();
    let cluster = args
        .cluster
        .or_else(|| services.first().map(|service| service.name.to_string()))
        .ok_or("--cluster is missing: without a --service the proxy needs a name for its kind")?;
    let mesh = NodeMetadata {
        system: args.system,
        role,
        bind: args.bind,
        host: args.host,
        agent: args.agent,
        services,
        egress: args.egress,
        upstreams: args.upstreams,
        tls: args.https.map(|port| RouterTls {
            port,
            certificates: args.certificates.into_iter().map(|files| files.0).collect(),
            http3: args.http3,
        }),
        trusted_hops: args.trusted_hops,
        proxyless: false,
    };
    check_ports(&mesh, args.admin, args.stats, &args.spans)?;
    Ok(render::Spec {
        id: args.id,
        cluster,
        mesh,
        stats: args.stats,
        spans: args.spans,
        admin: args.admin,
        control_planes: args.xds,
        is_sotw: args.sotw,
    })
}

/// The metadata's own ports are checked with it; here are those of Envoy itself.
fn check_ports(
    mesh: &NodeMetadata,
    admin: u16,
    stats: Option<u16>,
    spans: &[u16],
) -> Result<(), String> {
    let value = serde_json::to_value(mesh).map_err(|error| error.to_string())?;
    NodeMetadata::from_json(value).map_err(|error| error.0)?;
    // Both are on the loopback of one network namespace.
    let apps = mesh.services.iter().filter_map(|service| service.app);
    if let Some(port) = apps.into_iter().find(|port| mesh.egress == Some(*port)) {
        return Err(format!("--egress {port} is the application's own port"));
    }
    let mut taken: Vec<u16> = mesh.services.iter().map(|service| service.inbound).collect();
    taken.extend(mesh.services.iter().filter_map(|service| service.ingress));
    taken.extend(mesh.services.iter().filter_map(|service| service.app));
    taken.extend(mesh.egress);
    taken.extend(mesh.tls.as_ref().map(|tls| tls.port));
    taken.extend(mesh.upstreams.iter().flat_map(Upstreams::iter).filter_map(|(_, port)| port));
    let own = [("--admin", Some(admin)), ("--stats", stats)].into_iter();
    let own = own.chain(spans.iter().map(|port| ("--spans", Some(*port))));
    for (flag, port) in own {
        let Some(port) = port else { continue };
        if port == 0 || taken.contains(&port) {
            return Err(format!("{flag} {port} is taken by another listener or zero"));
        }
        taken.push(port);
    }
    Ok(())
}
