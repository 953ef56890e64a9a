//! Who a proxy is: `node.metadata.mesh` of its Envoy bootstrap (design 3.4).
//!
//! `meshctl bootstrap` writes it, the control plane reads it. A gRPC client that reads xDS itself has a bootstrap of
//! its own form with the same metadata in it.
//! Unknown keys are ignored: a bootstrap may be newer than the control plane.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::name::{ServiceName, SystemName};
use crate::registration::Protocol;
use crate::upstreams::Upstreams;

/// What a proxy does in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyRole {
    /// Beside an instance: its only way in and out.
    Sidecar,
    /// Relays what enters a System.
    Gateway,
    /// The fixed address that clients know.
    Router,
}

impl fmt::Display for ProxyRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sidecar => "sidecar",
            Self::Gateway => "gateway",
            Self::Router => "router",
        })
    }
}

/// The value of `node.metadata.mesh`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeMetadata {
    /// The System it belongs to; a router belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemName>,
    /// What it does.
    pub role: ProxyRole,
    /// Where its public listeners bind: every address inside a network namespace, the host's in host mode.
    #[serde(default = "unspecified")]
    pub bind: IpAddr,
    /// The host's address as reachable from the proxy (the host-agent listens there).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
    /// Port of the host's agent at `host` for spans: with it the proxy traces, through its static cluster `host-agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<u16>,
    /// What it fronts; empty for an egress-only proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<NodeService>,
    /// Loopback port of the egress listener; a gateway's is for the application behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<u16>,
    /// What it calls, in place of the registration's `mesh_upstreams`; also where TCP listeners get their ports in host mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<Upstreams>,
    /// A router's encrypted listener; with it the plain one only sends clients there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouterTls>,
    /// How many proxies before a router are trusted to name the client in `x-forwarded-for`; the next address before
    /// theirs counts as the client's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub trusted_hops: u32,
    /// Whether it is no Envoy but a gRPC client that reads xDS itself: a sidecar's egress without the sidecar.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxyless: bool,
}

/// One service that a proxy fronts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeService {
    /// Consul service name.
    pub name: ServiceName,
    /// Port of the listener that is registered: for a gateway the one for other Systems, for a router the one for clients.
    pub inbound: u16,
    /// Loopback port of the application; a gateway's is `api-gateway`, a router has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<u16>,
    /// Port of a gateway's listener for the Router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<u16>,
    /// What the application speaks, in place of the registration's `mesh_protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// How a router speaks to clients in secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouterTls {
    /// Port of the listener, for TCP and, with `http3`, for UDP.
    pub port: u16,
    /// Certificates; the one that fits the name that a client asks for is shown, else the first.
    pub certificates: Vec<CertificateFiles>,
    /// Whether HTTP/3 is spoken too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http3: bool,
}

/// PEM files on the proxy's host, read again when the folder of the chain changes (by a rename).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// Path of the certificate with its chain.
    pub chain: String,
    /// Path of its private key.
    pub key: String,
}

/// Why node metadata cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node.metadata.mesh: {0}; render the bootstrap with `meshctl bootstrap`")]
pub struct NodeError(pub String);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

const fn unspecified() -> IpAddr {
    IpAddr::V4(Ipv4Addr::UNSPECIFIED)
}

impl NodeMetadata {
    /// Reads the JSON form of `node.metadata.mesh` and checks what the role needs.
    pub fn from_json(value: serde_json::Value) -> Result<Self, NodeError> {
        let node: Self =
            serde_json::from_value(value).map_err(|error| NodeError(error.to_string()))?;
        node.check()?;
        Ok(node)
    }

    fn check(&self) -> Result<(), NodeError> {
        let fail = |reason: &str| Err(NodeError(reason.to_owned()));
        match self.role {
            _ if self.proxyless => return self.check_proxyless(),
            ProxyRole::Sidecar | ProxyRole::Gateway
                if self.tls.is_some() || self.trusted_hops > 0 =>
            {
                return fail("`tls` and `trusted_hops` are a router's: only it faces clients");
            }
            ProxyRole::Router
                if self.tls.as_ref().is_some_and(|tls| tls.certificates.is_empty()) =>
            {
                return fail("`tls` needs at least one certificate");
            }
            ProxyRole::Router if self.services.len() != 1 => {
                return fail("a router has one service, its listener");
            }
            ProxyRole::Router => {}
            _ if self.system.is_none() => return fail("`system` is missing"),
            ProxyRole::Gateway if self.services.len() != 1 => {
                return fail("a gateway has one service");
            }
            ProxyRole::Gateway
                if self.egress.is_some() != self.services.iter().any(|s| s.app.is_some()) =>
            {
                return fail("a gateway's application needs both `app` and `egress`");
            }
            ProxyRole::Gateway => {}
            ProxyRole::Sidecar if self.services.iter().any(|service| service.app.is_none()) => {
                return fail("a sidecar's service needs `app`, the application's port");
            }
            ProxyRole::Sidecar if self.services.is_empty() && self.egress.is_none() => {
                return fail("a sidecar has a service, an `egress` port, or both");
            }
            ProxyRole::Sidecar => {}
        }
        if self.agent.is_some() && self.host.is_none() {
            return fail("`agent` is a port at `host`, which is missing");
        }
        let mut names = std::collections::BTreeSet::new();
        let mut ports = std::collections::BTreeSet::new();
        for service in &self.services {
            if !names.insert(&service.name) {
                return Err(NodeError(format!("service {} is named twice", service.name)));
            }
            let tls = self.tls.as_ref().map(|tls| tls.port);
            for port in [Some(service.inbound), service.ingress, tls].into_iter().flatten() {
                if port == 0 || !ports.insert(port) {
                    return Err(NodeError(format!(
                        "port {port} of service {} is taken or zero",
                        service.name
                    )));
                }
            }
        }
        if self.egress.is_some_and(|port| port == 0 || ports.contains(&port)) {
            return fail("the `egress` port is taken or zero");
        }
        Ok(())
    }

    /// A client without proxy calls, and nothing else: it has no port that someone could connect to.
    fn check_proxyless(&self) -> Result<(), NodeError> {
        let has_ports =
            || self.upstreams.iter().flat_map(Upstreams::iter).any(|(_, p)| p.is_some());
        let reason = if self.role != ProxyRole::Sidecar {
            "`proxyless` goes with the role sidecar"
        } else if self.system.is_none() {
            "`system` is missing"
        } else if !self.services.is_empty() || self.egress.is_some() {
            "a `proxyless` client has neither `services` nor an `egress` port"
        } else if has_ports() {
            "a `proxyless` client opens no port: write its `upstreams` without =PORT"
        } else {
            return Ok(());
        };
        Err(NodeError(reason.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sidecar_s_metadata_reads_and_ignores_newer_keys() {
        let node = NodeMetadata::from_json(json!({
            "system": "trading", "role": "sidecar", "newer": true,
            "services": [{"name": "orders", "inbound": 10000, "app": 8080}],
            "egress": 15001, "upstreams": "quotes, ledger-db=15432",
        }))
        .unwrap();
        assert_eq!(
            node,
            NodeMetadata {
                system: Some("trading".parse().unwrap()),
                role: ProxyRole::Sidecar,
                bind: unspecified(),
                host: None,
                agent: None,
                services: vec![NodeService {
                    name: "orders".parse().unwrap(),
                    inbound: 10000,
                    app: Some(8080),
                    ingress: None,
                    protocol: None,
                }],
                egress: Some(15001),
                upstreams: Some("quotes, ledger-db=15432".parse().unwrap()),
                tls: None,
                trusted_hops: 0,
                proxyless: false,
            }
        );
    }

    #[test]
    fn a_proxyless_client_s_metadata_is_its_system_and_what_it_calls() {
        let metadata = json!({
            "system": "trading", "role": "sidecar", "proxyless": true, "upstreams": "quotes",
        });
        let node = NodeMetadata::from_json(metadata).unwrap();
        assert!(node.proxyless);
        assert_eq!(node.upstreams, Some("quotes".parse().unwrap()));
    }

    #[test]
    fn metadata_that_cannot_work_is_refused_with_a_reason() {
        for (value, reason) in [
            (json!({"role": "proxy"}), "unknown variant"),
            (json!({"role": "sidecar"}), "`system` is missing"),
            (json!({"role": "sidecar", "system": "a"}), "an `egress` port, or both"),
            (
                json!({"role": "sidecar", "system": "a", "services": [{"name": "b", "inbound": 1}]}),
                "needs `app`",
            ),
            (json!({"role": "gateway", "system": "a"}), "a gateway has one service"),
            (json!({"role": "router"}), "a router has one service"),
            (
                json!({"role": "gateway", "system": "a", "services": [{"name": "g", "inbound": 1, "app": 2}]}),
                "both `app` and `egress`",
            ),
            (
                json!({"role": "sidecar", "system": "a", "egress": 7, "services": [{"name": "b", "inbound": 7, "app": 1}]}),
                "`egress` port is taken",
            ),
            (
                json!({"role": "router", "services": [{"name": "r", "inbound": 1}], "tls": {"port": 1, "certificates": [{"chain": "c", "key": "k"}]}}),
                "port 1 of service r is taken",
            ),
            (
                json!({"role": "router", "services": [{"name": "r", "inbound": 1}], "tls": {"port": 2, "certificates": []}}),
                "at least one certificate",
            ),
            (
                json!({"role": "sidecar", "system": "a", "egress": 1, "trusted_hops": 1}),
                "a router's",
            ),
            (json!({"role": "sidecar", "proxyless": true}), "`system` is missing"),
            (json!({"role": "gateway", "system": "a", "proxyless": true}), "goes with the role"),
            (
                json!({"role": "sidecar", "system": "a", "proxyless": true, "egress": 7}),
                "neither `services` nor",
            ),
            (
                json!({"role": "sidecar", "system": "a", "proxyless": true, "upstreams": "db=7"}),
                "without =PORT",
            ),
            (json!({"role": "sidecar", "system": "a", "proxyless": "yes"}), "invalid type"),
        ] {
            let error = NodeMetadata::from_json(value).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
