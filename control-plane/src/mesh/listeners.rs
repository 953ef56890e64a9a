//! The listeners of one proxy: its bootstrap's ports, and what stands behind each.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use contract::name::ServiceName;
use contract::node::{NodeMetadata, NodeService, ProxyRole, RouterTls};
use contract::registration::Protocol;

use crate::mesh::{
    Faces, ListenerKind, ListenerView, MeshModel, Origin, Target, Transport, admission, egress,
    gateway, router,
};

/// Where TCP upstreams listen, by port.
pub type TcpListeners = BTreeMap<u16, (Target, Origin)>;

/// The listeners of a proxy in a fixed order.
pub fn listeners(model: &MeshModel, node: &NodeMetadata, tcp: &TcpListeners) -> Vec<ListenerView> {
    let mut listeners = Vec::new();
    for service in &node.services {
        match node.role {
            ProxyRole::Sidecar => listeners.push(inbound(model, node, service)),
            ProxyRole::Gateway => gateway_listeners(model, node, service, &mut listeners),
            ProxyRole::Router => router_listeners(node, service, &mut listeners),
        }
    }
    if let Some(port) = node.egress {
        let table = match node.role {
            ProxyRole::Sidecar => egress::TABLE,
            ProxyRole::Gateway | ProxyRole::Router => gateway::APPLICATION_TABLE,
        };
        listeners.push(routed("egress", loopback(port), table, Faces::Application, "egress"));
    }
    if node.role == ProxyRole::Sidecar {
        listeners.extend(tcp.iter().map(|(port, (target, origin))| ListenerView {
            name: format!("tcp:{port}"),
            address: loopback(*port),
            kind: ListenerKind::Tcp { target: target.clone() },
            origin: origin.clone(),
            is_traced: false,
        }));
    }
    for listener in &mut listeners {
        // A connection of bytes has no requests.
        let has_requests = !matches!(listener.kind, ListenerKind::Tcp { .. });
        listener.is_traced = node.agent.is_some() && has_requests;
    }
    listeners
}

/// What a service's application speaks: the bootstrap's word, else its registrations'.
pub fn protocol_of(model: &MeshModel, node: &NodeMetadata, service: &NodeService) -> Protocol {
    let registered = || {
        let system = model.systems.get(node.system.as_ref()?)?;
        Some(system.services.get(&service.name)?.protocol)
    };
    // The application behind a gateway is the mesh's own: calls of both kinds come as HTTP/2.
    let of_role = || match node.role {
        ProxyRole::Gateway => Some(Protocol::Http2),
        ProxyRole::Sidecar | ProxyRole::Router => None,
    };
    service.protocol.or_else(of_role).or_else(registered).unwrap_or_default()
}

fn inbound(model: &MeshModel, node: &NodeMetadata, service: &NodeService) -> ListenerView {
    ListenerView {
        name: inbound_name(&service.name),
        address: SocketAddr::new(node.bind, service.inbound),
        kind: ListenerKind::Inbound {
            service: service.name.clone(),
            protocol: protocol_of(model, node, service),
        },
        origin: Origin::Bootstrap("services"),
        is_traced: false,
    }
}

fn inbound_name(service: &ServiceName) -> String {
    format!("inbound:{service}")
}

fn gateway_listeners(
    model: &MeshModel,
    node: &NodeMetadata,
    service: &NodeService,
    listeners: &mut Vec<ListenerView>,
) {
    let at = |port| SocketAddr::new(node.bind, port);
    listeners.push(routed(
        "mesh",
        at(service.inbound),
        gateway::MESH_TABLE,
        Faces::Proxies,
        "services",
    ));
    if let Some(port) = service.ingress {
        let app = service.app.is_some().then_some(&service.name);
        let system = node.system.as_ref();
        let checkpoint = system.and_then(|system| admission::checkpoint(model, system, app));
        let kind = ListenerKind::Routed {
            table: gateway::INGRESS_TABLE.to_owned(),
            faces: Faces::Proxies,
            transport: Transport::Plain,
            checkpoint: checkpoint.map(Arc::new),
        };
        let origin = Origin::Bootstrap("services");
        listeners.push(ListenerView {
            name: "ingress".to_owned(),
            address: at(port),
            kind,
            origin,
            is_traced: false,
        });
    }
}

/// With certificates, clients are served over TLS and QUIC, and the plain port sends them there.
fn router_listeners(node: &NodeMetadata, service: &NodeService, listeners: &mut Vec<ListenerView>) {
    let faces = Faces::Clients { trusted_hops: node.trusted_hops };
    let at = |port| SocketAddr::new(node.bind, port);
    let plain = routed("router", at(service.inbound), router::TABLE, faces, "services");
    let Some(RouterTls { port, certificates, http3 }) = node.tls.clone() else {
        return listeners.push(plain);
    };
    listeners.push(ListenerView { kind: ListenerKind::ToHttps(port), ..plain });
    let mut serve = |name: &str, transport| {
        listeners.push(ListenerView {
            name: name.to_owned(),
            address: at(port),
            kind: ListenerKind::Routed {
                table: router::TABLE.to_owned(),
                faces,
                transport,
                checkpoint: None,
            },
            origin: Origin::Bootstrap("tls"),
            is_traced: false,
        });
    };
    let advertised = http3.then_some(port);
    serve("router:https", Transport::Tls { certificates: certificates.clone(), http3: advertised });
    if http3 {
        serve("router:http3", Transport::Quic { certificates });
    }
}

fn routed(
    name: &str,
    address: SocketAddr,
    table: &str,
    faces: Faces,
    key: &'static str,
) -> ListenerView {
    ListenerView {
        name: name.to_owned(),
        address,
        kind: ListenerKind::Routed {
            table: table.to_owned(),
            faces,
            transport: Transport::Plain,
            checkpoint: None,
        },
        origin: Origin::Bootstrap(key),
        is_traced: false,
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
