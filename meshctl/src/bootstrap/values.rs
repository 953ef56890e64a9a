//! Values of `meshctl bootstrap`'s flags: services with their ports, certificates, addresses.
//!
//! In: words of a command line. Out: what they mean, or the form that would be right.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use contract::name::ServiceName;
use contract::node::{CertificateFiles, NodeService};
use contract::registration::Protocol;

/// `HOST:PORT` of a control plane's xDS port; IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// IP address or host name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// `NAME=INBOUND[:APP[:PROTOCOL]]`.
#[derive(Debug, Clone)]
pub(super) struct ServiceArg {
    pub(super) name: ServiceName,
    pub(super) inbound: u16,
    pub(super) app: Option<u16>,
    protocol: Option<Protocol>,
}

/// `CHAIN:KEY`.
#[derive(Debug, Clone)]
pub(super) struct CertificateArg(pub(super) CertificateFiles);

impl ServiceArg {
    /// As the proxy's metadata has it; `ingress`: a gateway's second port.
    pub(super) fn node(self, ingress: Option<u16>) -> NodeService {
        let Self { name, inbound, app, protocol } = self;
        NodeService { name, inbound, app, ingress, protocol }
    }
}

impl FromStr for ServiceArg {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let (name, rest) = value.split_once('=').ok_or("write NAME=INBOUND[:APP[:PROTOCOL]]")?;
        let mut parts = rest.split(':');
        let inbound = port(parts.next().unwrap_or_default())?;
        let app = parts.next().map(port).transpose()?;
        let protocol = parts.next().map(str::parse::<Protocol>).transpose()?;
        if parts.next().is_some() {
            return Err("too many parts: write NAME=INBOUND[:APP[:PROTOCOL]]".to_owned());
        }
        let name = name.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { name, inbound, app, protocol })
    }
}

impl FromStr for CertificateArg {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        match value.split_once(':') {
            Some((chain, key)) if chain.starts_with('/') && key.starts_with('/') => {
                Ok(Self(CertificateFiles { chain: chain.to_owned(), key: key.to_owned() }))
            }
            _ => Err("write CHAIN:KEY, two absolute paths on the router's host".to_owned()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let (host, digits) = value.rsplit_once(':').ok_or("write HOST:PORT")?;
        let port = port(digits)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bare.parse::<IpAddr>().is_err() && (bare.is_empty() || !bare.bytes().all(is_name)) {
            return Err(format!("{host:?} is neither an address nor a host name"));
        }
        Ok(Self { host: bare.to_owned(), port })
    }
}

impl Endpoint {
    /// Whether it has to be looked up in DNS.
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn port(digits: &str) -> Result<u16, String> {
    match digits.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("{digits:?} is not a port (1 to 65535)")),
    }
}
