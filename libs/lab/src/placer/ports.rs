//! Where a pair listens: at ports that the kernel chose, or at those of a Nomad bridge network.

use std::net::Ipv4Addr;

use crate::LabError;
use crate::ports::reserve;

/// The ports of one pair.
pub(super) struct Ports {
    /// The address that is registered.
    pub(super) ip: Ipv4Addr,
    /// Where the proxy's public listeners bind.
    pub(super) bind: Ipv4Addr,
    pub(super) inbound: u16,
    pub(super) app: u16,
    pub(super) egress: u16,
    pub(super) ingress: u16,
    pub(super) stats: u16,
    pub(super) admin: u16,
    pub(super) app_admin: u16,
    /// Where the application finds the host's agent.
    pub(super) spans: Vec<u16>,
}

impl Ports {
    /// In a network namespace of its own every pair has the same.
    pub(super) fn in_bridge(ip: Ipv4Addr, is_traced: bool) -> Self {
        Self {
            ip,
            bind: Ipv4Addr::UNSPECIFIED,
            inbound: 10000,
            app: 8080,
            egress: 15001,
            ingress: 10001,
            stats: 9102,
            admin: 9901,
            app_admin: 8081,
            spans: if is_traced { vec![4317, 4318, 9411] } else { Vec::new() },
        }
    }

    /// On the lab's own loopback.
    pub(super) fn on_host(is_traced: bool) -> Result<Self, LabError> {
        let ip = Ipv4Addr::LOCALHOST;
        Ok(Self {
            ip,
            bind: ip,
            inbound: reserve()?,
            app: reserve()?,
            egress: reserve()?,
            ingress: reserve()?,
            stats: reserve()?,
            admin: reserve()?,
            app_admin: reserve()?,
            // Each port is for every protocol.
            spans: is_traced.then(reserve).transpose()?.into_iter().collect(),
        })
    }
}
